"""A network of states drawn: circles by population, arrows by how fast one state turns into another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgsurrogate.analysis.results import StateKinetics
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.report import numbers
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle

MARGIN = 0.8, 0.58  # beside and above the outermost state, in units of the circle that the states lie on
LARGEST, SMALLEST = 0.4, 0.1  # radius of a state that holds everything; of the rarest
BEND = {2: 0.3}  # of an arrow, by the number of states; else 0.16
NEAREST = 0.95  # of two states
CROWDED = 5  # states; from here on, smaller circles, fewer arrows, larger panels


def layout(count: int, places: np.ndarray | None = None) -> np.ndarray:
    """(count, 2) where the states are drawn: on a circle, or by ``places`` (count, 2) moved apart where too near."""
    if places is None or not np.isfinite(places).all() or count < 2:
        start = {1: 0.0, 2: math.pi, 4: 0.75 * math.pi}.get(count, math.pi / 2)
        turn = start - 2 * math.pi * np.arange(count) / max(count, 1)
        radius = 0.0 if count == 1 else 1.0
        return radius * np.stack([np.cos(turn), np.sin(turn)], 1)
    spread = np.ptp(places, axis=0)
    at = 2 * (places - places.min(0)) / np.where(spread > 0, spread, 1.0) - 1.0
    at += 1e-3 * layout(count)  # two at one place part in some direction
    for _ in range(200):
        gap = at[:, None] - at[None]
        distance = np.linalg.norm(gap, axis=-1) + 10 * np.eye(count)
        push = np.clip(NEAREST - distance, 0, None) / distance
        at = np.clip(at + 0.5 * (push[..., None] * gap).sum(1), -1.1, 1.1)
    return at


def speed(kinetics: StateKinetics, start: int, end: int) -> float:
    """How fast one state turns into another, 1/ns: 1 / mean first-passage time, else the counted rate; 0 if unknown."""
    if kinetics.mean_first_passage is None:
        return float(np.nan_to_num(kinetics.rates.value[start, end], posinf=0))
    time = float(kinetics.mean_first_passage.value[start, end])
    return 1000 / time if math.isfinite(time) and time > 0 else 0.0


def label(kinetics: StateKinetics, start: int, end: int) -> str:
    """Mean first-passage time (or rate) with its interval below."""
    if kinetics.mean_first_passage is not None:
        text, under = numbers.duration(*numbers.at(kinetics.mean_first_passage, start, end))
    else:
        text, under = numbers.rate(*numbers.at(kinetics.rates, start, end))
    return f"{text}\n({under.replace(' to ', numbers.DASH)})" if under else text


def strongest(kinetics: StateKinetics) -> list[tuple[int, int]]:
    """The pairs of states to join: by flux, so that all hang together; of many states no more than that takes."""
    count, populations = len(kinetics.names), np.nan_to_num(kinetics.populations.value)
    flux = {
        (i, j): populations[i] * speed(kinetics, i, j) + populations[j] * speed(kinetics, j, i)
        for i, j in itertools.combinations(range(count), 2)
    }
    order = sorted((pair for pair in flux if flux[pair] > 0), key=lambda pair: -flux[pair])
    group = list(range(count))
    kept = []
    for i, j in order:  # a spanning tree first (Kruskal 1956)
        if group[i] != group[j]:
            kept.append((i, j))
            group = [group[i] if g == group[j] else g for g in group]
    most = count if count < CROWDED else count - 1
    return kept + [pair for pair in order if pair not in kept][: max(0, most - len(kept))]


def network(
    ax: Axes,
    kinetics: StateKinetics,
    *,
    places: np.ndarray | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    fastest: float | None = None,
    color: str = "#0072B2",
) -> Axes:
    """States as circles whose area is their population, arrows labelled with the mean first-passage time.

    Args:
        places: (M, 2) where the states lie, e.g. their means in the first two TICs; a circle by default.
        pairs: of states to join; the strongest by default.
        fastest: 1/ns, the rate of the thickest arrow; the fastest of these by default.
    """
    at = layout(len(kinetics.names), places)
    scale = 0.7 if len(at) >= CROWDED else 1.0
    nodes = [_node(ax, spot, p, color, scale) for spot, p in zip(at, kinetics.populations.value, strict=True)]
    joined = strongest(kinetics) if pairs is None else pairs
    arrows = [(a, b) for i, j in joined for a, b in ((i, j), (j, i)) if speed(kinetics, a, b) > 0]
    top = fastest or max((speed(kinetics, a, b) for a, b in arrows), default=1.0)
    for start, end in arrows:
        width = float(np.clip(4.0 + 1.4 * math.log10(speed(kinetics, start, end) / top), 0.7, 4.0))
        _arrow(ax, nodes[start], nodes[end], BEND.get(len(at), 0.16), width, color)
        _tag(ax, at[start], at[end], label(kinetics, start, end), len(at))
    for name, p, spot, node in zip(kinetics.names, kinetics.populations.value, at, nodes, strict=True):
        _name(ax, spot, node, f"{style.short(name, 14)}\n{numbers.percent(float(p))}")
    ax.set_xlim(at[:, 0].min() - MARGIN[0], at[:, 0].max() + MARGIN[0])
    ax.set_ylim(at[:, 1].min() - MARGIN[1], at[:, 1].max() + MARGIN[1])
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax


def _node(ax: Axes, spot: np.ndarray, population: float, color: str, scale: float) -> Circle:
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Circle

    radius = max(SMALLEST, scale * LARGEST * math.sqrt(population)) if math.isfinite(population) else SMALLEST
    face = tuple(1 - 0.25 * (1 - c) for c in to_rgb(color))  # opaque, so that arrows end at its rim
    node = Circle((float(spot[0]), float(spot[1])), radius, facecolor=face, edgecolor=color, linewidth=1.5, zorder=3)
    ax.add_patch(node)
    return node


def _arrow(ax: Axes, start: Circle, end: Circle, bend: float, width: float, color: str) -> None:
    from matplotlib.patches import FancyArrowPatch

    arrow = FancyArrowPatch(
        start.center, end.center, patchA=start, patchB=end, shrinkA=1.5, shrinkB=1.5, arrowstyle="-|>",
        connectionstyle=f"arc3,rad={bend}", mutation_scale=8 + 2 * width, linewidth=width, color=color, alpha=0.55,
        zorder=2,
    )  # fmt: skip
    ax.add_patch(arrow)


def _tag(ax: Axes, a: np.ndarray, b: np.ndarray, text: str, count: int) -> None:
    """A label on the arrow from a to b: in its middle, or nearer to a where other arrows may cross there."""
    along = b - a
    bend = (a + b) / 2 + BEND.get(count, 0.16) * np.array([along[1], -along[0]])
    t = 0.5 if count < 3 else 0.36 if count < CROWDED else 0.4
    x, y = (1 - t) ** 2 * a + 2 * t * (1 - t) * bend + t**2 * b
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
    ax.text(x, y, text, ha="center", va="center", fontsize=7.5, linespacing=1.15, bbox=box, zorder=4, gid="time")


def _name(ax: Axes, spot: np.ndarray, node: Circle, text: str) -> None:
    """The state's name in its circle, or beside it, away from the middle, where it does not fit."""
    longest = max(map(len, text.split("\n")))
    if node.radius > 0.14 + 0.028 * longest:
        ax.text(spot[0], spot[1], text, ha="center", va="center", fontsize=8.5, zorder=5, gid="name")
        return
    away = spot / max(float(np.linalg.norm(spot)), 1e-9) if np.linalg.norm(spot) > 0.2 else np.array([0.0, -1.0])
    x, y = spot + away * (node.radius + 0.06)
    ha = "center" if abs(away[0]) < 0.5 else "left" if away[0] > 0 else "right"
    va = "center" if abs(away[1]) < 0.3 else "bottom" if away[1] > 0 else "top"
    ax.text(x, y, text, ha=ha, va=va, ma=ha, fontsize=8.5, zorder=5, gid="name")


def figures(ensembles: Sequence[Ensemble], which: str, places: np.ndarray | None = None) -> Iterator[drawing.Made]:
    """One network an ensemble, side by side, with the same places and the same pairs joined."""
    looks = style.looks(ensembles)
    known = [(e, e.states[which]) for e in drawing.shown(ensembles) if which in e.states]
    known = [(ensemble, kinetics) for ensemble, kinetics in known if strongest(kinetics)]
    if not known:
        return
    pairs, names = strongest(known[0][1]), known[0][1].names
    both = [*pairs, *((j, i) for i, j in pairs)]
    fastest = max((speed(k, i, j) for _, k in known if k.physical for i, j in both), default=0.0) or None
    crowded = len(names) >= CROWDED
    columns = min(2 if len(known) in (2, 4) or crowded else 3, len(known))
    wide, tall = np.ptp(layout(len(names), places), axis=0) + 2 * np.array(MARGIN)
    inches = 5.5 if crowded else 11.2 / 3 if columns == 3 else 4.4
    for group in (known[start : start + 6] for start in range(0, len(known), 6)):
        rows = -(-len(group) // columns)
        figure = style.new_figure(inches * columns, rows * (inches * tall / wide + 0.35))
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        drawing.blank(axes, len(group))
        data: dict[str, np.ndarray] = {"names": np.array(names, str)}
        for ax, (ensemble, kinetics) in zip(axes, group, strict=False):
            top = fastest if kinetics.physical else None
            network(ax, kinetics, places=places, pairs=pairs, fastest=top, color=looks[ensemble.name].color)
            ax.set_title(style.short(ensemble.name, 34) + ("" if kinetics.physical else " (force-field time)"))
            data |= _data(ensemble.name, kinetics)
        yield figure, data


def _data(name: str, kinetics: StateKinetics) -> dict[str, np.ndarray]:
    data = {f"{name} counts": kinetics.counts, f"{name} lag": np.array(kinetics.lag)}
    for field in ("populations", "mean_first_passage", "rates", "transitions"):
        if (values := getattr(kinetics, field)) is not None:
            data |= drawing.estimate(f"{name} {field}", values)
    return data
