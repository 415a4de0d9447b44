"""How far an ensemble lies from the reference by any of the divergences: interval, noise floor and verdict.

Everything is made from the histograms over blocks, without looking at the frames again.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from cgsurrogate.analysis.free_energy.divergences import JENSEN_SHANNON, Divergence
from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram, normalised
from cgsurrogate.analysis.results import Result
from cgsurrogate.comparison.ensemble import Distance
from cgsurrogate.core.statistics import LEAST_RUNS, resamples

SPLITS = 200
STRETCHES = 32


def mean_distance(
    a: Sequence[BlockHistogram], reference: Sequence[BlockHistogram], divergence: Divergence = JENSEN_SHANNON
) -> float:
    """Mean over grids of the distance of an ensemble ``a`` from the reference."""
    own, known = ([x.weights.sum(0, dtype=float) for x in some] for some in (a, reference))
    return float(_mean(divergence, own, known, reference))


def _mean(
    divergence: Divergence,
    first: Sequence[np.ndarray],
    second: Sequence[np.ndarray],
    reference: Sequence[BlockHistogram],
) -> np.ndarray:
    """Mean over grids of the distance between weights of bins, (..., bins) for each grid: (...,)."""
    grids = zip(first, second, reference, strict=True)
    return np.asarray(np.mean([divergence.function(normalised(x), normalised(y), r) for x, y, r in grids], 0))


def interval(
    a: Sequence[BlockHistogram],
    reference: Sequence[BlockHistogram],
    rng: np.random.Generator,
    divergence: Divergence = JENSEN_SHANNON,
) -> tuple[float, float]:
    """95 % interval of the mean distance by drawing the blocks of both ensembles anew.

    Drawing anew adds noise to a figure that is never negative, so the draws are shifted to have the figure as their
    mean: the interval says how the figure would vary on a repetition, and keeps the bias that the floor has as well.
    A single block leaves all that is possible; nan for a divergence without an upper end.
    """
    value = mean_distance(a, reference, divergence)
    if len(a[0].weights) < 2 or len(reference[0].weights) < 2:
        return 0.0, divergence.most if math.isfinite(divergence.most) else math.nan
    first, second = resamples(len(a[0].weights), rng), resamples(len(reference[0].weights), rng)
    drawn = _mean(divergence, [first @ x.weights for x in a], [second @ y.weights for y in reference], reference)
    low, high = np.quantile(drawn - drawn.mean(), (0.025, 0.975))
    return max(0.0, value + min(low, 0.0)), min(divergence.most, value + max(high, 0.0))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Floor(Result):
    """What an independent all-atom sample would show.

    Attributes:
        typical: distance of such a sample.
        high: 95 % quantile of it.
        splits: number of splits that it was made from.
        note: how it was made.
        null: (splits,) distances of such samples, rising; their 95 % quantile is ``high``.
    """

    typical: float
    high: float
    splits: int
    note: str
    null: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0))

    def p(self, value: float) -> float:
        """Share of such samples that lie at least as far; below 0.05 where ``value`` is above ``high``.

        Read off between the splits; never below one over their number and one.
        """
        if not len(self.null) or not math.isfinite(value):
            return math.nan
        share = 1 - np.interp(value, self.null, np.linspace(0, 1, len(self.null)), left=0.0, right=1.0)
        return float(max(share, 1 / (len(self.null) + 1)))


def floor(
    reference: Sequence[BlockHistogram],
    training: Sequence[BlockHistogram] | None,
    rng: np.random.Generator,
    divergence: Divergence = JENSEN_SHANNON,
) -> Floor:
    """The distance that sampling alone makes, for the same mean over grids as the figure it is held against.

    With ``training`` beside a held-out reference: the training data against the reference, which is what a perfect
    surrogate of the training data would reach. Its 95 % quantile is that of random splits of all these runs into two
    sets of the same two sizes.

    Without it: disjoint halves of the reference, scaled from half the size to the size of the reference (the noise of
    a distance falls with the sample; the exponent is measured between quarters and halves), so that the floor is that
    of an independent sample as large as the reference.

    Split are whole runs where there are at least six, else stretches of them. The upper part is widened where
    they are few, see ``_widened``.
    """
    if training is None:
        return _floor_of_halves(reference, rng, divergence)
    sizes = (len(set(training[0].runs.tolist())), len(set(reference[0].runs.tolist())))
    by_runs = sum(sizes) >= LEAST_RUNS
    pooled = [_units(x, by_runs, y) for x, y in zip(training, reference, strict=True)]
    share = sizes if by_runs else tuple(len(_units(x[0], False)) for x in (training, reference))
    masks = _splits(sum(share), share[0], rng)
    drawn = _mean(divergence, [masks @ u for u in pooled], [(1 - masks) @ u for u in pooled], reference)
    typical = mean_distance(training, reference, divergence)
    note = f"training against reference; {len(masks)} splits of {sum(share)} {'runs' if by_runs else 'stretches'}"
    null = _widened(drawn, sum(share))
    return Floor(typical, float(np.quantile(null, 0.95)), len(masks), note, null)


def _floor_of_halves(reference: Sequence[BlockHistogram], rng: np.random.Generator, divergence: Divergence) -> Floor:
    by_runs = len(set(reference[0].runs.tolist())) >= LEAST_RUNS
    units = [_units(x, by_runs) for x in reference]
    number = len(units[0])
    if number < 2:
        return Floor(math.nan, math.nan, 0, "a single block has no halves; add runs")
    masks = _splits(number, number // 2, rng)
    drawn = _mean(divergence, [masks @ u for u in units], [(1 - masks) @ u for u in units], reference)
    scale = _to_full_size([_units(x, False) for x in reference], rng, divergence, reference)
    null = scale * _widened(drawn, number)
    split = f"{len(masks)} splits of {number} {'runs' if by_runs else 'stretches'}"
    note = f"halves against halves of the reference; {split}, scaled by {scale:.2f} to full size"
    return Floor(scale * float(np.median(drawn)), float(np.quantile(null, 0.95)), len(masks), note, null)


def _widened(drawn: np.ndarray, units: int) -> np.ndarray:
    """The splits in rising order, the upper half widened as Student's t widens a normal distribution.

    The splits share one small sample of ``units``, which varies from one data set to the next less than an independent
    sample would.
    """
    from scipy.stats import t

    wide = t.ppf(0.95, max(units - 1, 1)) / 1.645 * math.sqrt(1 + 1 / units)
    excess = np.sort(drawn) - np.median(drawn)
    return np.asarray(np.median(drawn) + np.where(excess > 0, wide, 1.0) * excess)


def _units(histogram: BlockHistogram, by_runs: bool, other: BlockHistogram | None = None) -> np.ndarray:
    """(U, bins) weights of what is split: whole runs or stretches of a run; those of ``other`` follow.

    Neighbouring blocks still share a little of their correlation, so stretches are several blocks together where there
    are many (about ``STRETCHES`` in all).
    """
    parts = []
    for one in (histogram,) if other is None else (histogram, other):
        _, number = np.unique(one.runs, return_inverse=True)
        if not by_runs:
            number = _stretches(number)
        table = np.zeros((number.max() + 1, one.weights.shape[1]), np.float32)
        np.add.at(table, number, one.weights)
        parts.append(table)
    return np.concatenate(parts)


def _stretches(runs: np.ndarray) -> np.ndarray:
    """(K,) number of the stretch that each block belongs to; none crosses runs."""
    together = max(1, len(runs) // STRETCHES)
    number, last = np.empty(len(runs), int), -1
    for run in range(runs.max() + 1):
        mine = np.flatnonzero(runs == run)
        pieces = max(1, round(len(mine) / together))
        number[mine] = last + 1 + np.arange(len(mine)) * pieces // len(mine)
        last += pieces
    return number


def _splits(number: int, first: int, rng: np.random.Generator) -> np.ndarray:
    """(S, count) ones for the first set: all ways if there are few, else random ones."""
    if math.comb(number, first) <= 2 * SPLITS:
        chosen = [c for c in itertools.combinations(range(number), first) if 2 * first != number or 0 in c]
    else:
        chosen = [tuple(rng.permutation(number)[:first]) for _ in range(SPLITS)]
    masks = np.zeros((len(chosen), number), np.float32)
    for mask, index in zip(masks, chosen, strict=True):
        mask[list(index)] = 1
    return masks


def _to_full_size(
    units: Sequence[np.ndarray], rng: np.random.Generator, divergence: Divergence, reference: Sequence[BlockHistogram]
) -> float:
    """How much smaller the distance between two whole samples is than between two halves of one.

    A distance falls as a power of the sample size (one half for smooth densities, less where bins hold few samples).
    The power is measured from eighths to quarters and from quarters to halves of the units; the next step is the
    straight continuation of these two, kept within 0 and the power of the divergence.
    """
    number = len(units[0])
    if number < 8:
        return 2**-divergence.power
    order = np.argsort(rng.random((SPLITS, number)), 1)
    sizes = [number // k for k in ((2, 4, 8) if number >= 16 else (2, 4))]

    def mean(size: int) -> float:
        first, second = ((order // size == k).astype(np.float32) for k in (0, 1))
        return float(np.mean(_mean(divergence, [first @ u for u in units], [second @ u for u in units], reference)))

    found = [mean(size) for size in sizes]
    if not min(found) > 0:
        return 1.0
    powers = [
        math.log(b / a) / math.log(m / n) for (a, b), (m, n) in zip(pairwise(found), pairwise(sizes), strict=True)
    ]
    power = powers[0] if len(powers) < 2 else 2 * powers[0] - powers[1]
    return 2 ** -min(max(power, 0.0), divergence.power)


def distance(
    a: Sequence[BlockHistogram],
    reference: Sequence[BlockHistogram],
    bound: Floor,
    rng: np.random.Generator,
    divergence: Divergence = JENSEN_SHANNON,
) -> Distance:
    """The mean distance over grids, with interval and floor; ``bound`` is the floor by the same divergence."""
    value = mean_distance(a, reference, divergence)
    low, high = interval(a, reference, rng, divergence)
    return Distance(value, low, high, bound.typical, bound.high, bound.p(value))
