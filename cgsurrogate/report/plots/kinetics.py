"""Kinetics between named states, drawn: Chapman-Kolmogorov test, dwell times."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.analysis.results import ChapmanKolmogorov, StateKinetics
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.report import numbers
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = 6  # panels side by side
RAREST = 0.003  # of the dwell times; longer ones are not drawn


def check(
    ax: Axes, which: str, state: int, ensembles: Sequence[Ensemble], shown: Sequence[Ensemble] | None = None
) -> Axes:
    """Chapman-Kolmogorov test of one state: predicted (line, band) and counted (points, bars), 95 % intervals.

    Args:
        which: name of the set of states.
        ensembles: all of the comparison, so that each keeps its look.
        shown: those to draw; all that have a test by default.
    """
    looks = style.looks(ensembles)
    drawn = _tested(ensembles if shown is None else shown, which)
    unit, scale = numbers.unit(max((float(test.lags.max()) for _, test in drawn), default=0.0))
    for place, (ensemble, test) in enumerate(drawn):
        look, lags = looks[ensemble.name], test.lags * scale
        predicted, counted = test.predicted, test.counted
        style.band(ax, lags, predicted.low[state], predicted.high[state], dataclasses.replace(look, band=True))
        ax.plot(lags, predicted.value[state], **look.line, label=style.short(ensemble.name))
        at = lags + 0.018 * (float(np.ptp(lags)) or lags[0]) * (place - (len(drawn) - 1) / 2)
        style.intervals(ax, at, counted.low[state], counted.high[state], look.color)
        face = look.color if look.marker == "x" else "white"
        ax.plot(at, counted.value[state], look.marker, markersize=4.2, zorder=6, color=look.color, markerfacecolor=face)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel(f"lag ({unit})")
    ax.set_ylabel("probability to be there again")
    style.few_ticks(ax, x=4)
    return ax


def survival(
    ax: Axes, which: str, state: int, ensembles: Sequence[Ensemble], shown: Sequence[Ensemble] | None = None
) -> Axes:
    """Share of the dwell times in a state that are at least so long, on a logarithmic scale; arguments as above."""
    looks = style.looks(ensembles)
    drawn = [e for e in (ensembles if shown is None else shown) if has_survival(e, which)]
    longest = max((_last(e.states[which], state) for e in drawn), default=1.0) or 1.0
    unit, scale = numbers.unit(longest)
    for ensemble in drawn:
        kinetics = ensemble.states[which]
        x, label = kinetics.times * scale, style.short(ensemble.name)
        ax.plot(
            x, _positive(kinetics.survival[state]), **looks[ensemble.name].line, label=label, drawstyle="steps-post"
        )
    lowest = style.finite_range([_positive(e.states[which].survival) for e in drawn])
    least = max(RAREST, (lowest or (1e-2,))[0]) / 1.5
    style.few_ticks(ax, x=4)
    style.log_axis(ax, "y", fine=least > 0.01).set_ylim(least, 1.3)
    ax.set_xlim(0, 1.03 * scale * longest)
    ax.set_xlabel(f"dwell time ({unit})")
    ax.set_ylabel("share of longer dwell times")
    return ax


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def has_survival(ensemble: Ensemble, which: str) -> bool:
    kinetics = ensemble.states.get(which)
    return kinetics is not None and len(kinetics.times) > 1 and bool((kinetics.survival > 0).any())


def _last(kinetics: StateKinetics, state: int) -> float:
    """ps, up to which more than ``RAREST`` of the dwell times in a state reach."""
    lasting = np.flatnonzero(kinetics.survival[state] > RAREST)
    return float(kinetics.times[lasting[-1]]) if len(lasting) else 0.0


def _tested(ensembles: Sequence[Ensemble], which: str) -> list[tuple[Ensemble, ChapmanKolmogorov]]:
    known = [(e, e.states[which].check) for e in drawing.shown(ensembles) if which in e.states]
    return [(ensemble, test) for ensemble, test in known if test is not None]


def time_axes(ensembles: Sequence[Ensemble], which: str) -> list[list[Ensemble]]:
    """Ensembles that share a time axis: all of physical time together, each of force-field time alone."""
    physical = [e for e in ensembles if e.states[which].physical]
    return ([physical] if physical else []) + [[e] for e in ensembles if not e.states[which].physical]


def set_names(ensembles: Sequence[Ensemble]) -> list[str]:
    """Names of the sets of states, in the order that they come."""
    return list(dict.fromkeys(name for e in ensembles for name in e.states))


def called(which: str) -> str:
    """What the page calls a set of states."""
    return {"metastable": "metastable states", "named": "named states"}.get(which, which)


def check_figures(ensembles: Sequence[Ensemble], which: str) -> Iterator[drawing.Made]:
    """The Chapman-Kolmogorov test, a column a state and a row for each time axis; a few ensembles a figure."""
    for group in drawing.chunks(ensembles):
        drawn = _tested(group, which)
        data: dict[str, np.ndarray] = {}
        for ensemble, test in drawn:
            data |= {f"{ensemble.name} lags": test.lags}
            data |= drawing.estimate(f"{ensemble.name} predicted", test.predicted)
            data |= drawing.estimate(f"{ensemble.name} counted", test.counted)
        if drawn:
            yield _grid(check, ensembles, [ensemble for ensemble, _ in drawn], which), data


def survival_figures(ensembles: Sequence[Ensemble], which: str) -> Iterator[drawing.Made]:
    """Dwell times, laid out as the test is."""
    drawn = [e for e in drawing.shown(ensembles) if has_survival(e, which)]
    if drawn:
        fields = [(e, field) for e in drawn for field in ("times", "survival")]
        data = {f"{e.name} {field}": getattr(e.states[which], field) for e, field in fields}
        yield _grid(survival, ensembles, drawn, which), data


def _grid(panel: Any, ensembles: Sequence[Ensemble], drawn: Sequence[Ensemble], which: str) -> Figure:
    """One panel a state, in as many rows as there are time axes (and as the page is wide)."""
    names, groups = drawn[0].states[which].names, time_axes(drawn, which)
    columns = min(len(names), STATES)
    rows_each = -(-len(names) // columns)
    rows = rows_each * len(groups)
    wide = min(3.2, 11.2 / columns) if columns > 1 else 4.2
    figure = style.new_figure(max(wide * columns, 5.6), 2.45 * rows + 0.45)
    grid = figure.subplots(rows, columns, squeeze=False, sharey="row")
    for number, group in enumerate(groups):
        axes = grid[number * rows_each : (number + 1) * rows_each].ravel()
        drawing.blank(axes, len(names))
        for state, name in enumerate(names):
            ax = panel(axes[state], which, state, ensembles, group)
            if number == 0:
                ax.set_title(style.short(name, int(9 * wide)))
            if state % columns:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            if not group[0].states[which].physical:
                ax.set_xlabel(ax.get_xlabel().replace(" (", "\n(force-field time, "))
    drawing.legend(figure, grid[:, 0])
    return figure
