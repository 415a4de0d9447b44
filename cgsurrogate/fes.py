"""Histograms, free energies and Jensen-Shannon distances, each with an error and a noise floor.

Everything is counted once, in blocks of frames that can be taken as independent; every error, interval and floor is
then made by drawing blocks anew, without looking at the frames again.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from cgsurrogate.blocks import LEAST_RUNS, Blocks, resamples
from cgsurrogate.ensemble import Distance, Surface
from cgsurrogate.frames import Frames

BINS_1D, BINS_2D = 100, 50
SPLITS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """Bins of one or two collective variables, taken from the reference and then kept."""

    labels: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    periodic: tuple[bool, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(e) - 1 for e in self.edges)

    @classmethod
    def over(cls, values: np.ndarray, labels: tuple[str, ...], period: float | None, bins: int | None = None) -> Grid:
        """Even bins over the range of ``values`` (T, d), or over one whole period: [-period / 2, period / 2]."""
        bins = bins or (BINS_1D if len(labels) == 1 else BINS_2D)
        edges = []
        for column in values.T:
            if period is not None:
                low, high = -period / 2, period / 2
            else:
                low, high = float(column.min()), float(column.max())
                if not high > low:
                    low, high = low - 0.5, high + 0.5
            edges.append(np.linspace(low, high, bins + 1))
        return cls(labels, tuple(edges), (period is not None,) * len(labels))

    def index(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(T, d) -> (T,) flat bin numbers, and (T,) whether a frame lies outside (it counts in the outermost bin)."""
        flat, outside = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
        for column, edges, periodic in zip(values.T, self.edges, self.periodic, strict=True):
            low, width, bins = edges[0], (edges[-1] - edges[0]) / (len(edges) - 1), len(edges) - 1
            place = (np.asarray(column, float) - low) / width
            if periodic:
                place = np.mod(place, bins)
            else:
                slack = 1e-5 * bins  # values are float32
                outside |= (place < -slack) | (place > bins + slack)
            flat = flat * bins + np.clip(np.floor(place), 0, bins - 1).astype(np.int64)
        return flat, outside


@dataclasses.dataclass(frozen=True, eq=False)
class Counts:
    """Weight of every bin in every block: ``weights`` (K, bins) float32; ``outside`` is the share beyond the grid."""

    grid: Grid
    weights: np.ndarray
    runs: np.ndarray
    outside: float

    @property
    def probability(self) -> np.ndarray:
        """(bins,) sums to one."""
        return normalised(self.weights.sum(0, dtype=float))


def normalised(weights: np.ndarray) -> np.ndarray:
    """(..., bins) that sum to one over the last axis."""
    total = weights.sum(-1, keepdims=True, dtype=float)
    return weights / np.where(total > 0, total, 1.0)


def count(values: np.ndarray, frames: Frames, grid: Grid, cut: Blocks) -> Counts:
    """Sort (T, d) values of the frames into the bins of the grid, block by block."""
    flat, outside = grid.index(values)
    probability = frames.probabilities
    bins = math.prod(grid.shape)
    table = np.empty((len(cut), bins), np.float32)
    for k, (start, stop) in enumerate(itertools.pairwise(cut.edges)):
        table[k] = np.bincount(flat[start:stop], probability[start:stop] * len(frames), minlength=bins)
    return Counts(grid, table, cut.runs, float(probability[outside].sum()))


def surface(counts: Counts, kT: float, rng: np.random.Generator) -> Surface:
    """Free energy -kT ln p above its minimum, in kJ/mol; its error is that of -kT ln p by drawing blocks anew.

    The error is kT sd(p) / p over the draws, times sqrt(K / (K - 1)) for K blocks; nan in empty bins and for one block.
    """
    p, shape, blocks_ = counts.probability, counts.grid.shape, len(counts.weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = np.where(p > 0, -kT * np.log(p), np.nan)
        energy = energy - np.nanmin(energy)
        error = np.full_like(p, np.nan)
        if blocks_ > 1:
            drawn = normalised(resamples(blocks_, rng) @ counts.weights)
            error = np.where(p > 0, kT * drawn.std(0) * math.sqrt(blocks_ / (blocks_ - 1)) / p, np.nan)
    return Surface(
        counts.grid.labels,
        counts.grid.edges,
        p.reshape(shape),
        energy.reshape(shape),
        error.reshape(shape),
        counts.outside,
        counts.grid.periodic,
    )


def divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence (natural logarithm, 0 to ln 2) over the last axis of two sets of probabilities."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    m = (p + q) / 2

    def relative(a: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sum(np.where(a > 0, a * np.log(a / m), 0.0), -1)

    return np.clip((relative(p) + relative(q)) / 2, 0, math.log(2))


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Square root of the divergence: 0 for equal, sqrt(ln 2) = 0.833 for disjoint probabilities."""
    return np.sqrt(divergence(p, q))


def mean_distance(a: Sequence[Counts], b: Sequence[Counts]) -> float:
    """Mean over grids of the distance between two ensembles."""
    return float(np.mean([jensen_shannon(x.probability, y.probability) for x, y in zip(a, b, strict=True)]))


def interval(a: Sequence[Counts], b: Sequence[Counts], rng: np.random.Generator) -> tuple[float, float]:
    """95 % interval of the mean distance by drawing the blocks of both ensembles anew.

    Drawing anew adds noise to a figure that is never negative, so the draws are shifted to have the figure as their
    mean: the interval says how the figure would vary on a repetition, and keeps the bias that the floor has as well.
    """
    value = mean_distance(a, b)
    if len(a[0].weights) < 2 or len(b[0].weights) < 2:
        return 0.0, math.sqrt(math.log(2))
    draw_a, draw_b = resamples(len(a[0].weights), rng), resamples(len(b[0].weights), rng)
    drawn = np.mean(
        [
            jensen_shannon(normalised(draw_a @ x.weights), normalised(draw_b @ y.weights))
            for x, y in zip(a, b, strict=True)
        ],
        0,
    )
    low, high = np.quantile(drawn - drawn.mean(), (0.025, 0.975))
    return max(0.0, value + min(low, 0.0)), min(math.sqrt(math.log(2)), value + max(high, 0.0))


@dataclasses.dataclass(frozen=True)
class Floor:
    """What an independent all-atom sample would show: its typical distance and the 95 % quantile; how it was made."""

    typical: float
    high: float
    splits: int
    note: str


def floor(reference: Sequence[Counts], training: Sequence[Counts] | None, rng: np.random.Generator) -> Floor:
    """The distance that sampling alone makes, for the same mean over grids as the figure it is held against.

    With ``training`` beside a held-out reference: the training data against the reference, which is what a perfect
    surrogate of the training data would reach. Its 95 % quantile is that of random splits of all these runs into two
    sets of the same two sizes, moved up if the training data lie further from the reference than the typical split.

    Without it: disjoint halves of the reference, scaled from half the size to the size of the reference (the noise of
    a distance falls with the sample; the exponent is measured between quarters and halves), so that the floor is that
    of an independent sample as large as the reference.

    Split are whole runs where there are at least six, else the blocks.
    """
    if training is None:
        return _floor_of_halves(reference, rng)
    sizes = (len(set(training[0].runs.tolist())), len(set(reference[0].runs.tolist())))
    by_runs = sum(sizes) >= LEAST_RUNS
    pooled = [_units(x, by_runs, y) for x, y in zip(training, reference, strict=True)]
    share = sizes if by_runs else (len(training[0].weights), len(reference[0].weights))
    masks = _splits(sum(share), share[0], rng)
    drawn = _between(pooled, masks, 1 - masks)
    typical, median = mean_distance(training, reference), float(np.median(drawn))
    high = _upper(drawn, len(pooled[0]))
    note = f"training against reference; {len(masks)} splits of {sum(share)} {'runs' if by_runs else 'blocks'}"
    return Floor(typical, max(typical, median) + high - median, len(masks), note)


def _floor_of_halves(reference: Sequence[Counts], rng: np.random.Generator) -> Floor:
    runs = len(set(reference[0].runs.tolist()))
    by_runs = runs >= LEAST_RUNS
    units = [_units(x, by_runs) for x in reference]
    count_ = len(units[0])
    if count_ < 2:
        return Floor(math.nan, math.nan, 0, "a single block has no halves; add runs")
    masks = _splits(count_, count_ // 2, rng)
    drawn = _between(units, masks, 1 - masks)
    scale = _to_full_size([x.weights for x in reference], rng)
    note = f"halves against halves of the reference; {len(masks)} splits of {count_} {'runs' if by_runs else 'blocks'}"
    high = float(np.quantile(drawn, 0.95))
    return Floor(
        scale * float(np.median(drawn)), scale * high, len(masks), f"{note}, scaled by {scale:.2f} to full size"
    )


def _upper(drawn: np.ndarray, units: int) -> float:
    """The 95 % quantile of splits of a few units, widened as Student's t widens that of a normal distribution.

    The splits share one small sample, which varies from one data set to the next less than an independent sample would.
    """
    from scipy.stats import t

    median, high = np.quantile(drawn, (0.5, 0.95))
    return float(median + (high - median) * t.ppf(0.95, max(units - 1, 1)) / 1.645 * math.sqrt(1 + 1 / units))


def _units(counts: Counts, by_runs: bool, other: Counts | None = None) -> np.ndarray:
    """(U, bins) weights of whole runs or of blocks, those of ``other`` after those of ``counts``."""
    parts = []
    for one in (counts,) if other is None else (counts, other):
        _, number = np.unique(one.runs, return_inverse=True)
        if by_runs:
            table = np.zeros((number.max() + 1, one.weights.shape[1]), np.float32)
            np.add.at(table, number, one.weights)
            parts.append(table)
        else:
            parts.append(one.weights)
    return np.concatenate(parts)


def _splits(count_: int, first: int, rng: np.random.Generator) -> np.ndarray:
    """(S, count) ones for the first set: all ways if there are few, else random ones."""
    if math.comb(count_, first) <= 2 * SPLITS:
        chosen = [c for c in itertools.combinations(range(count_), first) if 2 * first != count_ or 0 in c]
    else:
        chosen = [tuple(rng.permutation(count_)[:first]) for _ in range(SPLITS)]
    masks = np.zeros((len(chosen), count_), np.float32)
    for mask, index in zip(masks, chosen, strict=True):
        mask[list(index)] = 1
    return masks


def _between(units: Sequence[np.ndarray], first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(S,) mean over grids of the distance between two sets of units, given as masks (S, U)."""
    return np.mean([jensen_shannon(normalised(first @ u), normalised(second @ u)) for u in units], 0)


def _to_full_size(units: Sequence[np.ndarray], rng: np.random.Generator) -> float:
    """How much smaller the distance between two whole samples is than between two halves of one.

    A distance falls as a power of the sample size (one half for smooth densities, less where bins hold few samples);
    the power is measured between quarters and halves of the blocks, kept within 0 and 1/2.
    """
    count_ = len(units[0])
    if count_ < 8:
        return math.sqrt(0.5)
    order = np.argsort(rng.random((SPLITS, count_)), 1)
    half, quarter = count_ // 2, count_ // 4

    def mask(start: int, size: int) -> np.ndarray:
        return ((order >= start) & (order < start + size)).astype(np.float32)

    halves = np.mean(_between(units, mask(0, half), mask(half, half)))
    quarters = np.mean(_between(units, mask(0, quarter), mask(quarter, quarter)))
    if not halves > 0:
        return 1.0
    power = math.log(quarters / halves) / math.log(half / quarter)
    return 2 ** -min(max(power, 0.0), 0.5)


def distance(a: Sequence[Counts], reference: Sequence[Counts], bound: Floor, rng: np.random.Generator) -> Distance:
    """The mean distance over grids, with interval and floor."""
    low, high = interval(a, reference, rng)
    return Distance(mean_distance(a, reference), low, high, bound.typical, bound.high)
