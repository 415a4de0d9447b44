"""Whole figures: panels put together, saved as PNG and SVG with their numbers as npz beside them."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate import files
from cgsurrogate.comparison import Comparison, Ensemble, Surface
from cgsurrogate.report import captions, checks, ramachandran, style, surfaces

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 5  # panels side by side


@dataclasses.dataclass(frozen=True)
class Drawing:
    """One figure: its section of the page, a title and a caption for people, its size on the page, and its bytes."""

    name: str
    section: str
    title: str
    caption: str
    width: float  # inches
    svg: bytes
    png: bytes


def draw_all(
    comparison: Comparison, folder: str | Path, training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> tuple[Drawing, ...]:
    """Every figure of a comparison, written into ``folder`` as NAME.png, NAME.svg and NAME.npz."""
    import matplotlib

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawings = []
    with matplotlib.rc_context(style.RC):
        for name, section, title, caption, figure, data in _figures(comparison, training or {}):
            width = float(figure.get_size_inches()[0])
            drawings.append(Drawing(name, section, title, caption, width, *save(figure, folder / name, data)))
    return tuple(drawings)


def save(figure: Figure, stem: Path, data: Mapping[str, np.ndarray]) -> tuple[bytes, bytes]:
    """Write stem.png (150 dpi), stem.svg and stem.npz; returns the SVG and the PNG."""
    svg, png = io.BytesIO(), io.BytesIO()
    figure.get_layout_engine().execute(figure)
    figure.set_layout_engine("none")  # laid out once, for both files
    figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=150)
    svg_bytes = shorter(svg.getvalue())
    for suffix, value in ((".svg", svg_bytes), (".png", png.getvalue())):
        with files.replacing(f"{stem}{suffix}") as handle:
            handle.write(value)
    with files.replacing(f"{stem}.npz") as handle:
        np.savez_compressed(handle, **{_slug(k): np.asarray(v) for k, v in data.items()})
    return svg_bytes, png.getvalue()


def shorter(svg: bytes) -> bytes:
    """The same drawing with its paths to a tenth of a point, and no spaces that they do not need."""

    def path(match: re.Match[bytes]) -> bytes:
        text = re.sub(rb"(\.\d)\d+", rb"\1", match.group(1))
        return b' d="' + re.sub(rb"\s*([A-Za-z])\s*", rb"\1", text).strip() + b'"'

    return re.sub(rb' d="([^"]*)"', path, svg)


def _figures(comparison: Comparison, training: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    ensembles, kT = comparison.ensembles, comparison.reference.sample.kT
    flat, torsions, maps, angles = kinds(comparison)
    if any(e.distances for e in comparison.others):
        yield ("distances", "distances", "Distances beside the noise floor", captions.DISTANCES, *_distances(ensembles))
    if flat:
        caption = captions.PROFILES.format(kT=kT)
        yield ("free_energy_1d", "surfaces", "Free-energy profiles", caption, *_profiles(ensembles, flat, kT))
    for name in maps:
        for part, group in enumerate(_chunks(ensembles)):
            stem = f"surface_{_slug(name)}" + (f"_{part + 1}" if part else "")
            title = f"Free energy over {name.replace(' / ', ' and ')}"
            yield (stem, "surfaces", title, captions.SURFACES.format(kT=kT), *_surfaces(group, name, kT))
    if angles:
        title = "Ramachandran surfaces" if angles[0].startswith("phi") else "Surfaces over neighbouring torsions"
        yield (
            "ramachandran",
            "surfaces",
            title,
            ramachandran.caption(comparison, angles),
            *ramachandran.figure(comparison, angles, kT),
        )
    if torsions:
        shown, caption = ramachandran.worst(comparison, torsions, 12), captions.PROFILES.format(kT=kT)
        if len(shown) < len(torsions):
            caption = f"The {len(shown)} torsions of {len(torsions)} that differ most. " + caption
        yield ("torsions", "surfaces", "Torsion profiles", caption, *_profiles(ensembles, shown, kT, columns=4))
    if any(e.timescales is not None for e in ensembles):
        yield ("timescales", "timescales", "Implied timescales", captions.TIMESCALES, *_timescales(ensembles))
    if any(e.geometry for e in ensembles):
        yield ("geometry", "geometry", "Bonds, angles and contacts", captions.GEOMETRY, *_geometry(ensembles))
    curves = {name: rows for name, rows in training.items() if rows}
    if curves:
        yield ("training", "training", "Training curves", captions.TRAINING, *_training(curves))


def kinds(comparison: Comparison) -> tuple[list[str], list[str], list[str], list[str]]:
    """Names of the reference's surfaces: (profiles, torsions, surfaces over two variables, Ramachandran surfaces)."""
    found: tuple[list[str], ...] = ([], [], [], [])
    for name, surface in comparison.reference.surfaces.items():
        found[2 * (len(surface.labels) == 2) + all(surface.periodic)].append(name)
    return found  # type: ignore[return-value]


def _slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()[:60] or "unnamed"


def _chunks(ensembles: Sequence[Ensemble]) -> Iterator[tuple[Ensemble, ...]]:
    """The reference with a few others at a time; the floor is no ensemble to look at."""
    others = [e for e in ensembles[1:] if e.role != "floor"]
    for start in range(0, max(1, len(others)), COLUMNS - 1):
        yield (ensembles[0], *others[start : start + COLUMNS - 1])


def _data(ensembles: Sequence[Ensemble], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of the named surfaces, keyed ensemble_surface_field."""
    data: dict[str, np.ndarray] = {}
    for name in names:
        for axis, edges in enumerate(ensembles[0].surfaces[name].edges):
            data[f"{name} edges {axis}"] = edges
        for ensemble in ensembles:
            if name in ensemble.surfaces:
                surface: Surface = ensemble.surfaces[name]
                for field in ("probability", "free_energy", "error"):
                    data[f"{ensemble.name} {name} {field}"] = getattr(surface, field)
    return data


def _profiles(
    ensembles: Sequence[Ensemble], names: Sequence[str], kT: float, columns: int = 3
) -> tuple[Figure, dict[str, np.ndarray]]:
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    figure = style.new_figure(max(3.4 * columns if columns < 4 else 2.7 * columns, 5.6), 2.6 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, ax in enumerate(grid.flat):
        if place >= len(names):
            ax.set_axis_off()
            continue
        surfaces.profile(ax, names[place], ensembles, kT)
        if place % columns:
            ax.set_ylabel("")
    _legend(figure, grid[0, 0])
    return figure, _data(ensembles, names)


def _legend(figure: Figure, ax: Any, reverse: bool = True) -> None:
    """One legend above all panels, in the order of the comparison."""
    handles, labels = ax.get_legend_handles_labels()
    if reverse:
        handles, labels = handles[::-1], labels[::-1]
    if handles:
        figure.legend(handles, labels, loc="outside upper left", ncols=min(4, len(labels)))


def _surfaces(group: Sequence[Ensemble], name: str, kT: float) -> tuple[Figure, dict[str, np.ndarray]]:
    """Top row: the surfaces on one scale. Below: the reference's error, and each other minus the reference."""
    group = [e for e in group if name in e.surfaces]
    found = [e.surfaces[name] for e in group]
    top, reference = surfaces.ceiling(found, kT), found[0]
    count = len(group)
    figure = style.new_figure(2.65 * max(count, 2) + 1.0, 5.7)
    grid = figure.subplots(2, count, squeeze=False, sharex=True, sharey=True)
    limit = 3 * kT
    for place, (ensemble, surface) in enumerate(zip(group, found, strict=True)):
        above, below = grid[:, place]
        surfaces.surface(above, surface, kT, top)
        above.set_title(style.short(ensemble.name))
        if place:
            surfaces.difference_map(below, reference, surface, limit)
            below.set_title("minus " + style.short(group[0].name, 18), fontsize=9)
        else:
            surfaces.error_map(below, reference, kT)
            below.set_title("standard error", fontsize=9)
        above.set_xlabel("")
        if place:
            above.set_ylabel("")
            below.set_ylabel("")
    _bar(figure, grid[0, -1], grid[:, :], "free energy (kJ/mol)", "max", location="right", shrink=0.6, aspect=26)
    _bar(figure, grid[1, 0], grid[1, :1], "standard error (kJ/mol)", "max", location="bottom", aspect=22)
    if count > 1:
        aspect = 22 * (count - 1)
        _bar(figure, grid[1, -1], grid[1, 1:], "difference (kJ/mol)", "both", location="bottom", aspect=aspect)
    return figure, _data(group, [name])


def _bar(figure: Figure, ax: Any, beside: Any, label: str, extend: str, **place: Any) -> None:
    figure.colorbar(ax.images[0], ax=list(np.ravel(beside)), label=label, extend=extend, pad=0.02, **place)


def _distances(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    metrics = {m for e in ensembles for m in e.distances}
    figure = style.new_figure(max(5.6, 1.25 * len(metrics) + 1.6), 3.3)
    checks.distances(figure.subplots(), ensembles)
    rows = [
        (e.name, metric, d.value, d.low, d.high, d.floor, d.floor_high)
        for e in ensembles
        for metric, d in e.distances.items()
    ]
    data = {"ensemble": np.array([r[0] for r in rows], str), "metric": np.array([r[1] for r in rows], str)}
    for place, field in enumerate(("value", "low", "high", "floor", "floor_high"), start=2):
        data[field] = np.array([r[place] for r in rows], float)
    return figure, data


def _timescales(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    known = [e for e in ensembles if e.timescales is not None]
    count = min(3, max(e.timescales.values.shape[1] for e in known))
    figure = style.new_figure(max(3.3 * count, 5.6), 3.2)
    grid = figure.subplots(1, count, squeeze=False)
    for process, ax in enumerate(grid[0]):
        checks.timescales(ax, ensembles, process)
        ax.set_title(("slowest process", "second", "third")[process])
        if process:
            ax.set_ylabel("")
    _legend(figure, grid[0, 0], reverse=False)
    data = {}
    for ensemble in known:
        for field in ("lags", "values", "low", "high"):
            data[f"{ensemble.name} {field}"] = getattr(ensemble.timescales, field)
    return figure, data


def _geometry(ensembles: Sequence[Ensemble]) -> tuple[Figure, dict[str, np.ndarray]]:
    drawn = [e for e in ensembles if e.role != "floor"]
    names = list(dict.fromkeys(n for e in drawn for n in e.geometry))
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = style.new_figure(max((3.3 if columns < 4 else 2.75) * columns, 5.6), 2.6 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for place, ax in enumerate(grid.flat):
        if place >= len(names):
            ax.set_axis_off()
            continue
        checks.geometry(ax, names[place], ensembles)
        if place % columns:
            ax.set_ylabel("")
    _legend(figure, grid[0, 0])
    data = {}
    for ensemble in drawn:
        for name, check in ensemble.geometry.items():
            for field in ("edges", "probability"):
                data[f"{ensemble.name} {name} {field}"] = np.asarray(check[field])
    return figure, data


def _training(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[Figure, dict[str, np.ndarray]]:
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = style.new_figure(max(3.6 * columns, 5.6), 2.8 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    data = {}
    for place, ax in enumerate(grid.flat):
        if place >= len(curves):
            ax.set_axis_off()
            continue
        name, values = list(curves.items())[place]
        checks.training(ax, values)
        ax.set_title(style.short(name))
        for key in ("step", "seconds", "train", "held_out"):
            data[f"{name} {key}"] = np.array([checks.number(row.get(key)) for row in values], float)
    return figure, data
