"""Structure drawn: contact maps in two triangles, fluctuations along the chain, distances between residues."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.analysis.results import ContactMap
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TICKS = 12  # residues named along an axis


def known(ensembles: Sequence[Ensemble]) -> list[tuple[Ensemble, ContactMap]]:
    """The ensembles to be shown of which this is known, each with it."""
    return [(e, e.contact_map) for e in drawing.shown(ensembles) if e.contact_map is not None]


def has_contacts(ensemble: Ensemble) -> bool:
    return ensemble.contact_map is not None and bool(np.isfinite(ensemble.contact_map.contacts).any())


def triangles(reference: ContactMap, other: ContactMap | None) -> np.ndarray:
    """(R, R) share of frames in contact: the reference above the diagonal, the other (or again it) below."""
    below = reference.contacts if other is None else other.contacts
    return np.where(np.tri(len(reference.residues), dtype=bool), below, reference.contacts)


def contacts(ax: Axes, reference: ContactMap, other: ContactMap | None = None, top: float = 1.0) -> Axes:
    """Contact map, from 0 to ``top``: the reference above the diagonal, the other ensemble below."""
    return _matrix(ax, triangles(reference, other), reference.residues, cmap=style.SEQUENTIAL, vmin=0, vmax=top)


def contact_difference(ax: Axes, reference: ContactMap, other: ContactMap, limit: float = 1.0) -> Axes:
    """Share of frames in contact, the other ensemble minus the reference."""
    values = other.contacts - reference.contacts
    return _matrix(ax, values, reference.residues, cmap=style.DIVERGING, vmin=-limit, vmax=limit)


def _matrix(ax: Axes, values: np.ndarray, residues: Sequence[str], **options: Any) -> Axes:
    ax.set_facecolor(style.EMPTY)
    ax.imshow(np.ma.masked_invalid(values), origin="upper", interpolation="none", aspect="equal", **options)
    ax.axline((0, 0), slope=1, color="#777777", linewidth=0.7)
    last = len(residues) - 0.5
    ax.set_xlim(-0.5, last)
    ax.set_ylim(last, -0.5)
    residue_ticks(ax, residues, "x")
    residue_ticks(ax, residues, "y")
    ax.spines[["top", "right"]].set_visible(True)
    return ax


def residue_ticks(ax: Axes, residues: Sequence[str], which: str) -> Axes:
    """At most ``TICKS`` residue names along an axis."""
    step = max(1, -(-len(residues) // TICKS))
    at = range(0, len(residues), step)
    labels = [style.short(residues[k], 9) for k in at]
    (ax.set_xticks if which == "x" else ax.set_yticks)(at, labels, rotation=90 * (which == "x"), fontsize=8)
    return ax


def fluctuation(ax: Axes, ensembles: Sequence[Ensemble]) -> Axes:
    """Root mean square fluctuation along the chain, nm, with 95 % bands."""
    looks = style.looks(ensembles)
    for ensemble, shape in known(ensembles):
        look, values = looks[ensemble.name], shape.fluctuation
        x = np.arange(len(values.value))
        style.band(ax, x, values.low, values.high, look)
        marker = look.marker if len(x) <= 40 else ""
        ax.plot(x, values.value, **look.line, marker=marker, markersize=3.5, label=style.short(ensemble.name))
        residue_ticks(ax, shape.residues, "x")
    ax.set_ylim(bottom=0)
    ax.set_ylabel("fluctuation (nm)")
    return ax


def pairs(ax: Axes, ensembles: Sequence[Ensemble]) -> Axes:
    """Distribution of the distance of two residues at least three apart, nm; the grey area is the reference."""
    looks = style.looks(ensembles)
    drawn = [(e, shape) for e, shape in known(ensembles) if len(shape.pairs)]
    for ensemble, shape in drawn:
        style.histogram(ax, shape.pair_edges, shape.pairs, ensemble, looks[ensemble.name])
    style.fit(ax, [(shape.pair_edges, shape.pairs) for _, shape in drawn])
    ax.set_xlabel("distance of two residues (nm)")
    ax.set_ylabel("density (1/nm)")
    return ax


def contact_figures(ensembles: Sequence[Ensemble]) -> Iterator[drawing.Made]:
    """Above: two triangles for each ensemble; below: its difference. A few ensembles a figure."""
    shapes = {e.name: shape for e, shape in known(ensembles) if has_contacts(e)}
    found = [e for e in ensembles if e.name in shapes]
    reference = shapes[found[0].name]
    top = _tenth([shape.contacts for shape in shapes.values()])
    limit = _tenth([np.abs(shape.contacts - reference.contacts) for shape in shapes.values()])
    for group in drawing.chunks(found, 5):
        first, *names = (style.short(e.name, 24) for e in group)
        columns, rows = max(1, len(names)), 1 + bool(names)
        figure = style.new_figure(max(5.0, 2.75 * columns + 1.3), 6.2 if names else 3.6)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for place, name in enumerate(names):
            other = shapes[group[place + 1].name]
            contacts(grid[0, place], reference, other, top).set_title(f"above: {first}\nbelow: {name}", fontsize=9)
            contact_difference(grid[1, place], reference, other, limit)
            grid[1, place].set_title(f"{name}\nminus {first}", fontsize=9)
            grid[0, place].tick_params(labelbottom=False)
        if not names:
            contacts(grid[0, 0], reference, top=top).set_title(first, fontsize=9)
        for row, label in zip(grid, ("share of frames in contact", "difference"), strict=False):
            figure.colorbar(row[-1].images[0], ax=list(row), label=label, aspect=18)
        data = {"residues": np.array(reference.residues, str), "cutoff": np.array(reference.cutoff)}
        yield figure, data | {f"{e.name} contacts": shapes[e.name].contacts for e in group}


def _tenth(arrays: Sequence[np.ndarray]) -> float:
    """The largest value, up to the next tenth."""
    return max(0.1, float(np.ceil(10 * (style.finite_range(arrays) or (0.0, 1.0))[1]) / 10))


def chain_figure(ensembles: Sequence[Ensemble]) -> drawing.Made:
    """Fluctuation along the chain, and distances of residues beside it where there are any."""
    drawn = known(ensembles)
    both = any(np.nansum(shape.pairs) > 0 for _, shape in drawn)
    figure = style.new_figure(9.6 if both else 6.4, 3.4)
    axes = figure.subplots(1, 1 + both, squeeze=False)[0]
    fluctuation(axes[0], ensembles)
    if both:
        pairs(axes[1], ensembles)
    drawing.legend(figure, axes[:1])
    data: dict[str, np.ndarray] = {"residues": np.array(drawn[0][1].residues, str)}
    for ensemble, shape in drawn:
        data |= drawing.estimate(f"{ensemble.name} fluctuation", shape.fluctuation)
        data |= {f"{ensemble.name} {field}": getattr(shape, field) for field in ("pair_edges", "pairs")}
    return figure, data
