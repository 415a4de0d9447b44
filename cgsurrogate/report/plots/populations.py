"""Populations of named states and their free-energy differences, drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgsurrogate.comparison.comparison import Ensemble
from cgsurrogate.report.plots import drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FIELDS = {"populations": "population", "free_energies": "free energy (kJ/mol)"}


def populations(ax: Axes, which: str, ensembles: Sequence[Ensemble], field: str = "populations") -> Axes:
    """Points with 95 % intervals, a group a state, an ensemble beside the other.

    ``field`` is "populations" or "free_energies" (above the first state, which is left out, kJ/mol).
    """
    looks = style.looks(ensembles)
    drawn = [e for e in drawing.shown(ensembles) if which in e.states]
    step = min(0.16, 0.7 / max(1, len(drawn)))
    names: tuple[str, ...] = ()
    for place, ensemble in enumerate(drawn):
        look, values = looks[ensemble.name], getattr(ensemble.states[which], field)
        first = int(field == "free_energies")  # the first state is zero by definition
        names = ensemble.states[which].names[first:]
        at = np.arange(len(names)) + step * (place - (len(drawn) - 1) / 2)
        style.intervals(ax, at, values.low[first:], values.high[first:], look.color)
        label = style.short(ensemble.name)
        ax.plot(at, values.value[first:], look.marker, markersize=5.5, color=look.color, label=label, zorder=6)
    for edge in range(1, len(names)):
        ax.axvline(edge - 0.5, color="#dddddd", linewidth=0.8, zorder=0)
    ax.set_xticks(range(len(names)), [style.short(name, 60 // max(1, len(names))) for name in names])
    ax.set_xlim(-0.5, max(len(names) - 0.5, 0.5))
    ax.tick_params(axis="x", length=0)
    ax.set_ylabel(FIELDS[field])
    if field == "populations":
        ax.set_ylim(bottom=0)
    else:
        ax.axhline(0, color="#999999", linewidth=0.8, zorder=0)
        if drawn:
            ax.set_ylabel(f"free energy above {style.short(drawn[0].states[which].names[0], 14)} (kJ/mol)")
    return ax


def figure(ensembles: Sequence[Ensemble], which: str) -> drawing.Made:
    """Populations on the left, free-energy differences on the right."""
    drawn = [e for e in drawing.shown(ensembles) if which in e.states]
    count = len(drawn[0].states[which].names)
    made = style.new_figure(min(11.2, max(7.6, 2.2 * count + 1.6, 0.25 * count * len(drawn) + 2)), 3.1)
    several = count > 1
    axes = made.subplots(1, 1 + several, squeeze=False, width_ratios=(count + 1, count)[: 1 + several])[0]
    for ax, field in zip(axes, FIELDS, strict=False):
        populations(ax, which, ensembles, field)
    drawing.legend(made, axes[:1])
    data: dict[str, np.ndarray] = {"names": np.array(drawn[0].states[which].names, str)}
    for ensemble in drawn:
        for field in FIELDS:
            data |= drawing.estimate(f"{ensemble.name} {field}", getattr(ensemble.states[which], field))
    return made, data
