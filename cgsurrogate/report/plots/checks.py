"""Checks drawn: distances over their floor, implied timescales, geometry, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.analysis.results import Timescales
from cgsurrogate.comparison.comparison import Distance, Ensemble
from cgsurrogate.report import numbers
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = "#bdbdbd"


def distances(ax: Axes, ensembles: Sequence[Ensemble]) -> Axes:
    """Bars of the Jensen-Shannon distance to the reference, one group a metric, with 95 % intervals.

    The grey band of each group is the reference against itself: from zero to the 95 % quantile of its halves, with a
    line at the median.
    """
    others = [e for e in drawing.shown(ensembles) if e.distances]
    metrics = list(dict.fromkeys(m for e in others for m in e.distances))
    looks = style.looks(ensembles)
    width = 0.8 / max(1, len(others))
    for group, metric in enumerate(metrics):
        known = next(e.distances[metric] for e in others if metric in e.distances)
        if np.isfinite([known.floor, known.floor_high]).all():
            span = (group - 0.44, group + 0.44)
            label = None if group else "noise floor"
            ax.fill_between(span, 0, known.floor_high, color=FLOOR, alpha=0.55, linewidth=0, label=label)
            ax.plot(span, (known.floor, known.floor), color="#666666", linewidth=1.1)
        for place, ensemble in enumerate(others):
            if metric in ensemble.distances:
                at = group - 0.4 + width * (place + 0.5)
                _bar(ax, at, width, ensemble, ensemble.distances[metric], looks[ensemble.name])
    ax.set_xticks(range(len(metrics)), [_wrap(style.short(style.greek(m), 30)) for m in metrics])
    ax.set_xlim(-0.6, max(0.6, len(metrics) - 0.4))
    ax.set_ylim(bottom=0)
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel("Jensen\u2013Shannon distance")
    return ax


def _bar(ax: Axes, at: float, width: float, ensemble: Ensemble, d: Distance, look: style.Look) -> None:
    face, hatch = (look.color, None) if ensemble.role == "surrogate" else ("white", "////")
    ax.bar(
        at, d.value, width * 0.82, facecolor=face, edgecolor=look.color, hatch=hatch, linewidth=1.0, alpha=0.92,
        label=style.short(ensemble.name), zorder=3,
    )  # fmt: skip
    style.intervals(ax, at, d.low, d.high, "#222222")


def _wrap(text: str, most: int = 12) -> str:
    """Break a long label at its middle space."""
    words = text.split(" ")
    if len(text) <= most or len(words) < 2:
        return text
    best = min(range(1, len(words)), key=lambda i: abs(len(" ".join(words[:i])) - len(text) / 2))
    return " ".join(words[:best]) + "\n" + " ".join(words[best:])


def timescales(ax: Axes, ensembles: Sequence[Ensemble], process: int = 0) -> Axes:
    """One implied timescale against lag with its band; grey where the timescale is shorter than the lag."""
    looks = style.looks(ensembles)
    known = [(e, t) for e in ensembles if (t := e.timescales) is not None and process < t.values.shape[1]]
    longest = style.finite_range([times.values for _, times in known])
    unit, scale = numbers.unit(longest[1] if longest else 0.0)
    for ensemble, times in known:
        look, lags = looks[ensemble.name], times.lags * scale
        style.band(ax, lags, times.low[:, process] * scale, times.high[:, process] * scale, look)
        label = style.short(ensemble.name) + ("" if times.physical else " *")
        ax.plot(lags, times.values[:, process] * scale, **look.line, marker=look.marker, markersize=4, label=label)
    _timescale_axes(ax, [times for _, times in known], process, scale)
    ax.set_xlabel(f"lag time ({unit})")
    ax.set_ylabel(f"implied timescale ({unit})")
    return ax


def _timescale_axes(ax: Axes, known: Sequence[Timescales], process: int, scale: float) -> None:
    lags = style.finite_range([times.lags * scale for times in known]) or (1.0, 10.0)
    spread = style.finite_range([times.values[:, process] * scale for times in known]) or lags
    low, high = lags[0] / 1.15, lags[1] * 1.15
    bottom, top = min(spread[0], lags[0]) / 1.6, max(spread[1] * 3, high)
    style.log_axis(ax, "x", fine=high < 100 * low).set_xlim(low, high)
    style.log_axis(ax, "y", fine=top < 100 * bottom).set_ylim(bottom, top)
    grid = np.geomspace(low, high, 50)
    ax.fill_between(grid, bottom, grid, color="#000000", alpha=0.09, linewidth=0, zorder=0)
    ax.plot(grid, grid, color="#888888", linewidth=0.8, zorder=0)


def geometry(ax: Axes, name: str, ensembles: Sequence[Ensemble]) -> Axes:
    """Histogram of one check (bonds or angles in standard deviations, closest approach in nm) of every ensemble."""
    looks = style.looks(ensembles)
    drawn = [(e, e.geometry[name]) for e in drawing.shown(ensembles) if name in e.geometry]
    for ensemble, check in drawn:
        edges, probability = np.asarray(check["edges"], float), np.asarray(check["probability"], float)
        style.histogram(ax, edges, probability, ensemble, looks[ensemble.name])
    style.fit(ax, [(check["edges"], check["probability"]) for _, check in drawn])
    unit = next((str(check["unit"]) for _, check in drawn if check.get("unit")), "")
    ax.set_xlabel(_wrap(f"{name} ({unit})" if unit else name, 28))
    ax.set_ylabel("density")
    return ax


def training(ax: Axes, rows: Sequence[Mapping[str, Any]]) -> Axes:
    """Loss against step, of training and of validation runs; a ring marks the best validation value."""
    for key, label, color in (("train", "training runs", "#56B4E9"), ("held_out", "validation runs", "#D55E00")):
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
    return ax


def number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
