"""Checks drawn: distances over their floor, implied timescales, geometry, closest approach, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.comparison.comparison import Distance, Ensemble
from cgsurrogate.report import numbers as words
from cgsurrogate.report.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = "#bdbdbd"


def distances(ax: Axes, ensembles: Sequence[Ensemble], *, legend: bool = True) -> Axes:
    """Bars of the Jensen-Shannon distance to the reference, one group a metric, with 95 % intervals.

    The grey band of each group is the reference against itself: from zero to the 95 % quantile of its halves, with a
    line at the median.
    """
    others = [e for e in ensembles if e.distances and e.role != "floor"]
    metrics = list(dict.fromkeys(m for e in others for m in e.distances))
    looks = style.looks(ensembles)
    width = 0.8 / max(1, len(others))
    for group, metric in enumerate(metrics):
        known = next(e.distances[metric] for e in others if metric in e.distances)
        span = (group - 0.44, group + 0.44)
        first = group == 0
        if np.isfinite([known.floor, known.floor_high]).all():
            _floor(ax, span, known, "noise floor" if first else None)
        for place, ensemble in enumerate(others):
            if metric in ensemble.distances:
                at = group - 0.4 + width * (place + 0.5)
                label = style.short(ensemble.name) if first else None
                _bar(ax, at, width, ensemble, ensemble.distances[metric], looks[ensemble.name], label)
    ax.set_xticks(range(len(metrics)), [_wrap(style.short(style.greek(m), 30)) for m in metrics])
    ax.set_xlim(-0.6, max(0.6, len(metrics) - 0.4))
    ax.set_ylim(bottom=0)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("Jensen\u2013Shannon distance")
    if legend:
        ax.legend(ncols=min(4, len(others) + 1), loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.3)
    return ax


def _floor(ax: Axes, span: tuple[float, float], known: Distance, label: str | None) -> None:
    ax.fill_between(span, 0, known.floor_high, color=FLOOR, alpha=0.55, linewidth=0, label=label)
    ax.plot(span, (known.floor, known.floor), color="#666666", linewidth=1.1)


def _bar(ax: Axes, at: float, width: float, ensemble: Ensemble, d: Distance, look: style.Look, label: Any) -> None:
    solid = ensemble.role == "surrogate"
    ax.bar(
        at,
        d.value,
        width * 0.82,
        facecolor=look.color if solid else "white",
        edgecolor=look.color,
        hatch=None if solid else "////",
        linewidth=1.0,
        alpha=0.92,
        label=label,
        zorder=3,
    )
    if np.isfinite([d.low, d.high]).all():
        ax.plot((at, at), (d.low, d.high), color="#222222", linewidth=1.2, zorder=4, solid_capstyle="butt")


def _wrap(text: str, most: int = 12) -> str:
    """Break a long label at its middle space."""
    words = text.split(" ")
    if len(text) <= most or len(words) < 2:
        return text
    best = min(range(1, len(words)), key=lambda i: abs(len(" ".join(words[:i])) - len(text) / 2))
    return " ".join(words[:best]) + "\n" + " ".join(words[best:])


def timescales(ax: Axes, ensembles: Sequence[Ensemble], process: int = 0, *, legend: bool = False) -> Axes:
    """One implied timescale against lag with its band; grey where the timescale is shorter than the lag."""
    looks = style.looks(ensembles)
    known = [e for e in ensembles if e.timescales is not None and process < e.timescales.values.shape[1]]
    longest = style.finite_range([e.timescales.values for e in known if e.timescales is not None])
    unit, scale = words.unit(longest[1] if longest else 0.0)
    for ensemble in known:
        times, look = ensemble.timescales, looks[ensemble.name]
        lags = times.lags * scale
        if look.band:
            low, high = times.low[:, process] * scale, times.high[:, process] * scale
            ax.fill_between(lags, low, high, color=look.color, alpha=0.18, linewidth=0)
        ax.plot(
            lags,
            times.values[:, process] * scale,
            color=look.color,
            linestyle=look.dashes,
            linewidth=look.width,
            marker=look.marker,
            markersize=4,
            label=style.short(ensemble.name) + ("" if times.physical else " *"),
        )
    _timescale_axes(ax, known, process, unit, scale)
    if legend and known:
        ax.legend()
    return ax


def _timescale_axes(ax: Axes, known: Sequence[Ensemble], process: int, unit: str, scale: float) -> None:
    lags = style.finite_range([e.timescales.lags * scale for e in known]) or (1.0, 10.0)
    spread = style.finite_range([e.timescales.values[:, process] * scale for e in known]) or lags
    style.log_axis(ax, "x")
    style.log_axis(ax, "y")
    low, high = lags[0] / 1.15, lags[1] * 1.15
    bottom, top = min(spread[0], lags[0]) / 1.6, spread[1] * 3
    grid = np.geomspace(low, high, 50)
    ax.fill_between(grid, bottom, grid, color="#000000", alpha=0.09, linewidth=0, zorder=0)
    ax.plot(grid, grid, color="#888888", linewidth=0.8, zorder=0)
    ax.set_xlim(low, high)
    ax.set_ylim(bottom, max(top, high))
    ax.set_xlabel(f"lag time ({unit})")
    ax.set_ylabel(f"implied timescale ({unit})")


def geometry(ax: Axes, name: str, ensembles: Sequence[Ensemble], *, legend: bool = False) -> Axes:
    """Histogram of one check (bonds or angles in standard deviations, closest approach in nm) of every ensemble."""
    looks = style.looks(ensembles)
    unit, top, span = "", 0.0, []
    for ensemble in reversed([e for e in ensembles if name in e.geometry and e.role != "floor"]):
        check, look = ensemble.geometry[name], looks[ensemble.name]
        unit = str(check.get("unit", ""))
        edges, probability = np.asarray(check["edges"], float), np.asarray(check["probability"], float)
        density = probability / np.diff(edges)
        top = max(top, float(np.nanmax(density, initial=0)))
        span += [edges[:-1][probability > 1e-4], edges[1:][probability > 1e-4]]
        filled = ensemble.role == "reference"
        ax.stairs(
            density,
            edges,
            fill=filled,
            facecolor="#d9d9d9",
            edgecolor=look.color,
            color=None if filled else look.color,
            linestyle="-" if filled else look.dashes,
            linewidth=look.width if not filled else 1.0,
            label=style.short(ensemble.name),
            zorder=2 if filled else 3,
        )
    style.few_ticks(ax)
    found = style.finite_range(span)
    if found and found[1] > found[0]:
        ax.set_xlim(*found)
    ax.set_ylim(0, 1.08 * top if top > 0 else 1)
    ax.set_xlabel(_wrap(f"{name} ({unit})" if unit else name, 28))
    ax.set_ylabel("density")
    if legend:
        ax.legend()
    return ax


def training(ax: Axes, rows: Sequence[Mapping[str, Any]], *, legend: bool = True) -> Axes:
    """Loss against step, of training and of held-out runs; a ring marks the best held-out value."""
    for key, label, color in (("train", "training runs", "#56B4E9"), ("held_out", "held-out runs", "#D55E00")):
        points = np.array([(number(r.get("step")), number(r.get(key))) for r in rows], float).reshape(-1, 2)
        points = points[np.isfinite(points).all(1)]
        if not len(points):
            continue
        marker = "o" if len(points) < 40 else ""
        ax.plot(points[:, 0], points[:, 1], color=color, label=label, marker=marker, markersize=3)
        if key == "held_out":
            best = points[np.argmin(points[:, 1])]
            ax.plot(*best, marker="o", markersize=9, fillstyle="none", color="#000000", linestyle="none", label="kept")
    style.few_ticks(ax)
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    if legend and ax.lines:
        ax.legend()
    return ax


def number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
