"""A prediction in a few figures: what each model says of the molecule, and where two models disagree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from cgsurrogate.analysis.results import Surface
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.ensemble import Ensemble

SHOWN = 4  # disagreements that are told one by one
SMALL = 0.05  # of a population; a smaller difference is not told
LENGTHS = {"Rg": "radius of gyration (nm)", "end-to-end": "end-to-end distance (nm)"}


def figures(one: Ensemble) -> dict[str, float]:
    """Mean content of helix, strand, ... over the residues, and mean lengths (nm)."""
    found: dict[str, float] = {}
    if one.regions is not None:
        mean = one.regions.shares.value.mean(0)
        found |= dict(zip(one.regions.regions, map(float, mean), strict=True))
    for name, label in LENGTHS.items():
        if (surface := one.surfaces.get(name)) is not None:
            found[label] = average(surface)
    return found


def average(surface: Surface) -> float:
    """Of the variable of a surface in one dimension, by its bins."""
    centres = (surface.edges[0][1:] + surface.edges[0][:-1]) / 2
    return float(surface.probability @ centres / surface.probability.sum())


def slowest(one: Ensemble) -> tuple[float, float, float]:
    """The slowest implied timescale in ps at the longest lag where it is known, with its 95 % interval; nan for one
    without physical time."""
    times = one.timescales
    known = [] if times is None or not times.physical else np.flatnonzero(np.isfinite(times.values[:, 0])).tolist()
    if times is None or not known:
        return (math.nan,) * 3
    return tuple(float(part[known[-1], 0]) for part in (times.values, times.low, times.high))  # type: ignore[return-value]


def disagreements(comparison: Comparison) -> list[str]:
    """Where the first two surrogates differ by more than their sampling errors, a sentence each."""
    pair = [one for one in comparison.ensembles if one.role == "surrogate"][:2]
    if len(pair) < 2:
        return []
    told = [*_beyond_sampling(comparison, pair), *_populations(*pair)]
    return told or [
        f"{pair[0].name} and {pair[1].name} agree within their sampling errors. Both learned from the same data, so "
        "this does not say that either is right."
    ]


def _beyond_sampling(comparison: Comparison, pair: Sequence[Ensemble]) -> list[str]:
    """Distances of the second to the first, where these were measured, beyond what two samples of the first show."""
    known = {name: d for name, d in pair[1].distances.items() if d.judged} if comparison.basis is pair[0] else {}
    beyond = {name: d for name, d in known.items() if not d.within}
    if not beyond:
        return []
    worst = max(beyond, key=lambda name: beyond[name].ratio)
    d = beyond[worst]
    return [
        f"{len(beyond)} of {len(known)} distributions of the {pair[1].name} lie further from those of the "
        f"{pair[0].name} than a second sample of it would; furthest {worst}, with a Jensen\u2013Shannon distance of "
        f"{d.value:.2f} where sampling alone makes {d.floor:.2f}."
    ]


def _populations(first: Ensemble, second: Ensemble) -> list[str]:
    """The largest differences in the content of helix, strand, ... of a residue whose intervals do not overlap."""
    one, other = first.regions, second.regions
    if one is None or other is None:
        return []
    away = np.abs(one.shares.value - other.shares.value)
    places: list[Any] = [np.unravel_index(k, away.shape) for k in np.argsort(-away, axis=None)]
    apart = [p for p in places if away[p] > SMALL and one.shares.apart(other.shares, *p)]
    told = []
    for r, k in apart[:SHOWN]:
        said = (f"{_share(e.shares, r, k)} by the {name}" for e, name in ((one, first.name), (other, second.name)))
        told.append(f"{one.residues[r]}, {one.regions[k]}: {' and '.join(said)}.")
    more = len(apart) - SHOWN
    return told + ([f"{more} more such populations differ by more than {100 * SMALL:.0f} %."] if more > 0 else [])


def _share(shares: Any, *place: int) -> str:
    value, low, high = (100 * float(part[place]) for part in (shares.value, shares.low, shares.high))
    return f"{value:.0f} % ({low:.0f} to {high:.0f})"
