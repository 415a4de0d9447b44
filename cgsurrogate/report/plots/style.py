"""One look for every figure: colour-blind safe (Okabe and Ito), legible in print, axes with units."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.comparison.comparison import Ensemble, Surface

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RC: dict[Any, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titlepad": 6,
    "axes.labelsize": 9.5,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.direction": "out",
    "ytick.direction": "out",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "path",
    "svg.hashsalt": "cgsurrogate",
    "pdf.fonttype": 42,
    "text.parse_math": False,  # names come from users: a dollar sign is a dollar sign
}
SEQUENTIAL = "viridis"
DIVERGING = "RdBu_r"
EMPTY = "#f1f1f1"  # bins without samples

_SURROGATES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_BASELINES = ("#7a6a00", "#8c564b", "#5a7d9a", "#4d4d4d")
_MARKERS = "osD^vP"
_DASHES = ((0, (5, 2)), (0, (6, 2, 1.5, 2)), (0, (3, 3)), (0, (8, 2)))


@dataclasses.dataclass(frozen=True)
class Look:
    """How one ensemble is drawn everywhere; ``order``: what is drawn over what."""

    color: str
    width: float
    dashes: str | tuple
    marker: str
    band: bool
    order: int

    @property
    def line(self) -> dict[str, Any]:
        """Options of ``Axes.plot``."""
        return {"color": self.color, "linewidth": self.width, "linestyle": self.dashes, "zorder": self.order}


def looks(ensembles: Sequence[Ensemble]) -> dict[str, Look]:
    """Name -> look: the reference black, surrogates coloured, baselines thin and dashed, the floor grey.

    Always call it with every ensemble of the comparison, so that each looks the same in all figures.
    """
    found: dict[str, Look] = {}
    seen = dict.fromkeys(("reference", "surrogate", "baseline", "floor"), 0)
    for ensemble in ensembles:
        number = seen[ensemble.role]
        seen[ensemble.role] += 1
        if ensemble.role == "reference":
            look = Look("#000000", 1.7, "-", "o", True, 4)
        elif ensemble.role == "surrogate":
            look = Look(_cycled(_SURROGATES, number), 1.5, "-", _cycled(_MARKERS, number), True, 3)
        elif ensemble.role == "floor":
            look = Look("#8c8c8c", 1.2, (0, (1.5, 1.5)), "+", False, 2)
        else:
            look = Look(_cycled(_BASELINES, number), 1.2, _cycled(_DASHES, number), "x", False, 2)
        found[ensemble.name] = look
    return found


def _cycled(options: Sequence[Any], number: int) -> Any:
    return options[number % len(options)]


def intervals(ax: Axes, x: Any, low: Any, high: Any, color: str) -> None:
    """Upright bars from ``low`` to ``high`` at each x, where both are known."""
    x, low, high = (np.atleast_1d(np.asarray(a, float)) for a in (x, low, high))
    known = np.isfinite(low) & np.isfinite(high)
    ax.vlines(x[known], low[known], high[known], colors=color, linewidth=1.2, zorder=5, capstyle="butt")


def band(ax: Axes, x: np.ndarray, low: np.ndarray, high: np.ndarray, look: Look) -> None:
    """The area from ``low`` to ``high``, where such areas are drawn for the ensemble."""
    if look.band:
        ax.fill_between(x, low, high, color=look.color, alpha=0.2, linewidth=0, zorder=1)


def histogram(ax: Axes, edges: np.ndarray, probability: np.ndarray, ensemble: Ensemble, look: Look) -> None:
    """Density of a histogram: an area for the reference, a line for every other ensemble."""
    line: dict[str, Any] = {"edgecolor": look.color, "linewidth": look.width, "linestyle": look.dashes}
    if ensemble.role == "reference":
        line = {"fill": True, "facecolor": "#d9d9d9", "edgecolor": look.color, "linewidth": 1.0}
    order = 1 if ensemble.role == "reference" else look.order
    ax.stairs(probability / np.diff(edges), edges, label=short(ensemble.name), zorder=order, **line)


def fit(ax: Axes, histograms: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """A horizontal axis over the bins of any (edges, probability) that hold more than one sample in ten thousand."""
    full = [(np.asarray(edges), np.asarray(probability) > 1e-4) for edges, probability in histograms]
    found = finite_range([side[kept] for edges, kept in full for side in (edges[:-1], edges[1:])])
    few_ticks(ax)
    if found and found[1] > found[0]:
        ax.set_xlim(*found)
    ax.set_ylim(bottom=0)


def new_figure(width: float, height: float) -> Figure:
    """A figure outside of pyplot, so that nothing global is touched. Inches."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05, wspace=0.02, hspace=0.02)
    return Figure(figsize=(width, height), layout=layout)


def finite_range(arrays: Sequence[np.ndarray]) -> tuple[float, float] | None:
    """(lowest, highest) finite value of all arrays, or None where there is none."""
    values = np.concatenate([np.asarray(a, float).ravel() for a in arrays] or [np.empty(0)])
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def short(name: str, most: int = 26) -> str:
    """A name that fits above a panel."""
    return name if len(name) <= most else name[: most - 1].rstrip() + "\u2026"


def centres(edges: np.ndarray) -> np.ndarray:
    edges = np.asarray(edges, float)
    return (edges[1:] + edges[:-1]) / 2


_LENGTHS = {"Rg": "radius of gyration", "RMSD": "RMSD", "end-to-end": "end-to-end distance"}


def axis_label(surface: Surface, axis: int) -> str:
    """The label of an axis with its unit."""
    label = surface.labels[axis]
    if surface.periodic[axis]:
        return f"{greek(label)} (degrees)"
    return f"{_LENGTHS[label]} (nm)" if label in _LENGTHS else greek(label)


def greek(label: str) -> str:
    """``phi 3`` as a reader writes it."""
    words = {"phi": "\u03c6", "psi": "\u03c8", "omega": "\u03c9", "chi1": "\u03c71"}
    return " ".join(words.get(word, word) for word in label.split(" "))


def angle_ticks(ax: Axes, which: str) -> Axes:
    """Ticks in degrees on an axis that holds radians."""
    degrees = np.array([-180, -90, 0, 90, 180])
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_ticks(np.radians(degrees), [str(d).replace("-", "\u2212") for d in degrees])
    (ax.set_xlim if which == "x" else ax.set_ylim)(-np.pi, np.pi)
    return ax


def few_ticks(ax: Axes, x: int = 5, y: int = 5) -> Axes:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(x, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(y, steps=[1, 2, 5, 10]))
    return ax


def log_axis(ax: Axes, which: str, fine: bool) -> Axes:
    """A logarithmic axis with plain numbers; ``fine``: with 2 and 5 among them."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    axis = ax.xaxis if which == "x" else ax.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    if fine:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    return ax
