"""Basins of a free energy along one variable: minima, the bins that drain into each, and the saddles between them."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from cgsurrogate.analysis.results import Result

DEPTH = 0.5  # kT; a shallower dip is part of the basin beside it


class Saddle(NamedTuple):
    """The highest ``bin`` on the way between two neighbouring basins; ``lower`` is the one with the lower minimum."""

    bin: int
    lower: int
    higher: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Basins(Result):
    """Basins of one free energy, numbered from the lowest minimum up.

    Attributes:
        labels: (bins,) the basin of each bin; -1 where the free energy is not known.
        minima: (M,) the bin of each minimum.
        saddles: between neighbours; two basins of a circle have two.
    """

    labels: np.ndarray
    minima: np.ndarray
    saddles: tuple[Saddle, ...]


def basins(free_energy: np.ndarray, periodic: bool, depth: float = DEPTH) -> Basins:
    """The basins of (bins,) free energies in kT, nan or infinite where unknown.

    Water rises through the bins (Vincent and Soille 1991). Where two basins meet, the one with the higher minimum is
    joined to the other if it is less than ``depth`` deep: the persistence of its minimum (Edelsbrunner et al. 2002).
    """
    energy = np.asarray(free_energy, float)
    count = len(energy)
    label = np.full(count, -1)
    minima: list[int] = []
    parent: list[int] = []
    meetings: list[tuple[int, int, int]] = []

    def root(basin: int) -> int:
        while parent[basin] != basin:
            basin = parent[basin]
        return basin

    for place in np.argsort(energy, kind="stable").tolist():
        if not np.isfinite(energy[place]):
            continue
        beside = [place - 1, place + 1]
        near = [k % count if periodic else k for k in beside if periodic or 0 <= k < count]
        met = sorted({root(label[k]) for k in near if label[k] >= 0}, key=lambda basin: energy[minima[basin]])
        if not met:
            met = [len(minima)]
            minima.append(place)
            parent.append(met[0])
        label[place] = met[0]
        if len(met) == 2:
            if energy[place] - energy[minima[met[1]]] < depth:
                parent[met[1]] = met[0]
            else:
                meetings.append((place, met[0], met[1]))
    return _numbered(energy, label, minima, [root(k) for k in range(len(minima))], meetings)


def _numbered(
    energy: np.ndarray, label: np.ndarray, minima: list[int], roots: list[int], meetings: list[tuple[int, int, int]]
) -> Basins:
    """Basins that were joined under one number, by the height of their minima."""
    kept = sorted(set(roots), key=lambda basin: energy[minima[basin]])
    number = np.array([kept.index(one) for one in roots] + [-1])
    saddles = []
    for place, first, second in meetings:
        lower, higher = sorted((int(number[first]), int(number[second])))
        if lower != higher:
            saddles.append(Saddle(place, lower, higher))
    return Basins(number[label], np.array([minima[one] for one in kept], int), tuple(saddles))
