"""One figure on its way to the disk: its bytes, its numbers, and what all figures share."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from cgsurrogate.analysis.results import Estimate
from cgsurrogate.comparison.comparison import Ensemble
from cgsurrogate.core import filesystem
from cgsurrogate.report.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Made: TypeAlias = "tuple[Figure, dict[str, np.ndarray]]"  # a figure with its numbers

COLUMNS = 5  # panels side by side
LETTER = 0.07  # inches, of a letter of the legend


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


def save(figure: Figure, stem: Path, data: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """Write stem.png (150 dpi), stem.svg and stem.npz; returns the SVG and the PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    svg, png = io.BytesIO(), io.BytesIO()
    if (layout := figure.get_layout_engine()) is not None:
        layout.execute(figure)
    figure.set_layout_engine("none")  # laid out once, for both files
    FigureCanvasSVG(figure).print_svg(svg, metadata={"Date": None})
    figure.set_dpi(150)
    FigureCanvasAgg(figure).print_png(png)
    svg_bytes = shorter(svg.getvalue())
    for suffix, value in ((".svg", svg_bytes), (".png", png.getvalue())):
        with filesystem.replacing(f"{stem}{suffix}") as handle:
            handle.write(value)
    with filesystem.replacing(f"{stem}.npz") as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays(data))
    return svg_bytes, png.getvalue()


def arrays(data: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The same numbers under names that a file can hold, no two alike."""
    found: dict[str, np.ndarray] = {}
    for key, value in data.items():
        found[unused(slug(key), found)] = np.asarray(value)
    return found


def unused(name: str, taken: Mapping[str, Any]) -> str:
    """The name, with a number behind it where it is taken."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def shorter(svg: bytes) -> bytes:
    """The same drawing with its paths to a tenth of a point, and no spaces that they do not need."""

    def path(match: re.Match[bytes]) -> bytes:
        text = re.sub(rb"(\.\d)\d+", rb"\1", match.group(1))
        return b' d="' + re.sub(rb"\s*([A-Za-z])\s*", rb"\1", text).strip() + b'"'

    return re.sub(rb' d="([^"]*)"', path, svg)


def slug(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower()[:60] or "unnamed"


def shown(ensembles: Sequence[Ensemble]) -> list[Ensemble]:
    """All but the floor, which is no ensemble to look at."""
    return [e for e in ensembles if e.role != "floor"]


def chunks(ensembles: Sequence[Ensemble], columns: int = COLUMNS) -> Iterator[tuple[Ensemble, ...]]:
    """The reference with a few others at a time."""
    others = shown(ensembles)[1:]
    for start in range(0, max(1, len(others)), columns - 1):
        yield (ensembles[0], *others[start : start + columns - 1])


def estimate(stem: str, values: Estimate) -> dict[str, np.ndarray]:
    """The numbers of an estimate and of its interval, by name."""
    return {f"{stem} {part}": getattr(values, part) for part in ("value", "low", "high")}


def multiples(names: Sequence[str], draw: Callable[[Axes, str], Any], columns: int = 3) -> Figure:
    """A panel for each name, filled by ``draw``; the vertical axes are named at the left only, the legend is one."""
    rows = -(-len(names) // columns)
    columns = -(-len(names) // rows)
    figure = style.new_figure(max((3.4 if columns < 4 else 2.75) * columns, 5.6), 2.6 * rows + 0.4)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for place, name in enumerate(names):
        draw(axes[place], name)
        if place % columns:
            axes[place].set_ylabel("")
    blank(axes, len(names))
    legend(figure, axes)
    return figure


def legend(figure: Figure, axes: Iterable[Axes]) -> None:
    """One legend above all panels of everything that any of them names, in as many columns as fit."""
    found: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    labels = list(found)
    if labels:
        room = float(figure.get_size_inches()[0]) - 0.3
        columns = next((n for n in range(min(len(labels), 6), 1, -1) if _width(labels, n) <= room), 1)
        figure.legend(list(found.values()), labels, loc="outside upper left", ncols=columns)


def _width(labels: Sequence[str], columns: int) -> float:
    """Inches that a legend takes; it fills column after column."""
    return sum(0.62 + LETTER * max(map(len, part)) for part in np.array_split(labels, columns))


def blank(axes: Any, used: int) -> None:
    """Take the axes off the panels that nothing was drawn in."""
    for ax in list(axes)[used:]:
        ax.set_axis_off()
