"""Kinetics between named states, drawn: Chapman-Kolmogorov test, residence times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.analysis.results import Estimate
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.report import numbers
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = 6  # panels side by side
RAREST = 0.003  # of the dwell times; longer ones are not drawn


def check(
    ax: Axes,
    which: str,
    state: int,
    ensembles: Sequence[Ensemble],
    *,
    shown: Sequence[Ensemble] | None = None,
    legend: bool = False,
) -> Axes:
    """Chapman-Kolmogorov test of one state: predicted (line, band) and counted (points, bars), 95 % intervals.

    Args:
        which: name of the set of states.
        ensembles: all of the comparison, so that each keeps its look.
        shown: those to draw; all that have a test by default.
    """
    looks = style.looks(ensembles)
    drawn = _tested(ensembles if shown is None else shown, which)
    unit, scale = numbers.unit(max((float(e.states[which].check.lags.max()) for e in drawn), default=0.0))
    for place, ensemble in enumerate(drawn):
        look, test = looks[ensemble.name], ensemble.states[which].check
        lags = test.lags * scale
        wide = float(np.ptp(lags)) if len(lags) > 1 else float(lags[0])
        _band(ax, lags, test.predicted, state, look, style.short(ensemble.name))
        at = lags + 0.018 * wide * (place - (len(drawn) - 1) / 2)
        _points(ax, at, test.counted, state, look)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlabel(f"lag ({unit})")
    ax.set_ylabel("probability to be there again")
    style.few_ticks(ax, x=4)
    if legend:
        ax.legend()
    return ax


def _band(ax: Axes, x: np.ndarray, values: Estimate, row: int, look: style.Look, label: str) -> None:
    ax.fill_between(x, values.low[row], values.high[row], color=look.color, alpha=0.18, linewidth=0)
    ax.plot(x, values.value[row], color=look.color, linestyle=look.dashes, linewidth=look.width, label=label)


def _points(ax: Axes, x: np.ndarray, values: Estimate, row: int, look: style.Look) -> None:
    for at, low, high in zip(x, values.low[row], values.high[row], strict=True):
        if np.isfinite([low, high]).all():
            ax.plot((at, at), (low, high), color=look.color, linewidth=1.0, zorder=3, solid_capstyle="butt")
    face = look.color if look.marker == "x" else "white"
    ax.plot(
        x, values.value[row], linestyle="none", marker=look.marker, markersize=4.2, zorder=4,
        markeredgecolor=look.color, markerfacecolor=face, color=look.color,
    )  # fmt: skip


def survival(
    ax: Axes,
    which: str,
    state: int,
    ensembles: Sequence[Ensemble],
    *,
    shown: Sequence[Ensemble] | None = None,
    legend: bool = False,
) -> Axes:
    """Share of the dwell times in a state that are at least so long, on a logarithmic scale."""
    from matplotlib.ticker import MaxNLocator

    looks = style.looks(ensembles)
    drawn = [e for e in (ensembles if shown is None else shown) if has_survival(e, which)]
    unit, scale = numbers.unit(max((_last(e, which) for e in drawn), default=0.0))
    for ensemble in drawn:
        look, kinetics = looks[ensemble.name], ensemble.states[which]
        share = np.where(kinetics.survival[state] > 0, kinetics.survival[state], np.nan)
        ax.plot(
            kinetics.times * scale, share, color=look.color, linestyle=look.dashes, linewidth=look.width,
            label=style.short(ensemble.name), drawstyle="steps-post",
        )  # fmt: skip
    lowest = style.finite_range([_positive(e.states[which].survival) for e in drawn])
    least = max(RAREST, (lowest or (1e-2,))[0]) / 1.5
    style.log_axis(ax, "y", fine=least > 0.01).set_ylim(least, 1.3)
    ax.set_xlim(0, 1.03 * scale * max((_last(e, which) for e in drawn), default=1.0))
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    ax.set_xlabel(f"time in the state ({unit})")
    ax.set_ylabel("share of dwell times that are longer")
    if legend:
        ax.legend()
    return ax


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)


def has_survival(ensemble: Ensemble, which: str) -> bool:
    kinetics = ensemble.states.get(which)
    return kinetics is not None and len(kinetics.times) > 1 and bool((kinetics.survival > 0).any())


def _last(ensemble: Ensemble, which: str) -> float:
    """ps, up to which more than ``RAREST`` of the dwell times in any state reach."""
    kinetics = ensemble.states[which]
    lasting = np.flatnonzero((kinetics.survival > RAREST).any(0))
    return float(kinetics.times[lasting[-1]]) if len(lasting) else 0.0


def _tested(ensembles: Sequence[Ensemble], which: str) -> list[Ensemble]:
    return [e for e in drawing.shown(ensembles) if which in e.states and e.states[which].check is not None]


def clocks(ensembles: Sequence[Ensemble], which: str) -> list[list[Ensemble]]:
    """Ensembles that share a time axis: all of physical time together, each of force-field time alone."""
    physical = [e for e in ensembles if e.states[which].physical]
    return ([physical] if physical else []) + [[e] for e in ensembles if not e.states[which].physical]


def set_names(ensembles: Sequence[Ensemble]) -> list[str]:
    """Names of the sets of states, in the order that they come."""
    return list(dict.fromkeys(name for e in ensembles for name in e.states))


def called(which: str) -> str:
    """What the page calls a set of states."""
    return {"metastable": "metastable states", "named": "named states"}.get(which, which)


def check_figures(ensembles: Sequence[Ensemble], which: str) -> Iterator[tuple[Figure, dict[str, np.ndarray]]]:
    """The Chapman-Kolmogorov test, a column a state and a row for each clock; a few ensembles a figure."""
    for group in drawing.chunks(ensembles):
        drawn = _tested(group, which)
        if drawn:
            data: dict[str, np.ndarray] = {}
            for ensemble in drawn:
                test = ensemble.states[which].check
                data[f"{ensemble.name} lags"] = test.lags
                for kind in ("predicted", "counted"):
                    for field in ("value", "low", "high"):
                        data[f"{ensemble.name} {kind} {field}"] = getattr(getattr(test, kind), field)
            yield _grid(check, ensembles, drawn, which), data


def survival_figures(ensembles: Sequence[Ensemble], which: str) -> Iterator[tuple[Figure, dict[str, np.ndarray]]]:
    """Residence times, laid out as the test is."""
    drawn = [e for e in drawing.shown(ensembles) if has_survival(e, which)]
    if drawn:
        data = {}
        for ensemble in drawn:
            data[f"{ensemble.name} times"] = ensemble.states[which].times
            data[f"{ensemble.name} survival"] = ensemble.states[which].survival
        yield _grid(survival, ensembles, drawn, which), data


def _grid(panel: Any, ensembles: Sequence[Ensemble], drawn: Sequence[Ensemble], which: str) -> Figure:
    """One panel a state, in as many rows as there are clocks (and as the page is wide)."""
    names, groups = drawn[0].states[which].names, clocks(drawn, which)
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
            ax = panel(axes[state], which, state, ensembles, shown=group)
            if number == 0:
                ax.set_title(style.short(name, int(9 * wide)))
            if state % columns:
                ax.set_ylabel("")
                ax.tick_params(labelleft=False)
            if not group[0].states[which].physical:
                ax.set_xlabel(ax.get_xlabel().replace(" (", "\n(force-field time, "))
    drawing.legend_of(figure, grid[:, 0], order=[style.short(e.name) for e in drawn])
    return figure
