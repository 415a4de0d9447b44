"""Helix and strand content along the chain, drawn: a panel a region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgsurrogate.analysis.results import BackboneRegions
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.report.plots import contact_maps, drawing, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def known(ensembles: Sequence[Ensemble]) -> list[tuple[Ensemble, BackboneRegions]]:
    """The ensembles to be shown of which the regions are known, each with them."""
    return [(e, e.regions) for e in drawing.shown(ensembles) if e.regions is not None]


def region(ax: Axes, number: int, ensembles: Sequence[Ensemble]) -> Axes:
    """Share of the frames that each residue spends in a region, per cent, with 95 % intervals."""
    looks, drawn = style.looks(ensembles), known(ensembles)
    step = min(0.2, 0.7 / max(1, len(drawn)))
    for place, (ensemble, own) in enumerate(drawn):
        look = looks[ensemble.name]
        value, low, high = (100 * part[:, number] for part in (own.shares.value, own.shares.low, own.shares.high))
        at = np.arange(len(value)) + step * (place - (len(drawn) - 1) / 2)
        style.intervals(ax, at, low, high, look.color)
        ax.plot(at, value, look.marker, markersize=5, color=look.color, label=style.short(ensemble.name), zorder=6)
    residues = drawn[0][1].residues
    contact_maps.residue_ticks(ax, residues, "x")
    ax.set_xlim(-0.5, len(residues) - 0.5)
    ax.set_ylim(-4, 104)
    ax.set_ylabel("share of frames (%)")
    ax.set_title(drawn[0][1].regions[number])
    return ax


def figure(ensembles: Sequence[Ensemble]) -> drawing.Made:
    """A panel a region."""
    drawn = known(ensembles)
    regions = drawn[0][1].regions
    made = drawing.multiples(regions, lambda ax, name: region(ax, regions.index(name), ensembles), 4)
    data = {"residues": np.array(drawn[0][1].residues, str), "regions": np.array(regions, str)}
    for ensemble, own in drawn:
        data |= drawing.estimate(ensemble.name, own.shares)
    return made, data
