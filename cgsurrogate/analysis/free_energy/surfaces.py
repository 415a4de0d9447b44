"""Histograms, kernel estimates, free energies and populations, each with an error.

Everything is counted once, in blocks of frames that can be taken as independent; every error and interval (and, in
``comparison.noise_floor``, every noise floor) is then made by drawing blocks anew, without looking at the frames again.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np

from cgsurrogate.analysis import events
from cgsurrogate.analysis.free_energy import kernel_density
from cgsurrogate.analysis.results import Result, Surface
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks, kish, resamples

BINS_1D, BINS_2D = 100, 50
FINE = (10, 3)  # finer bins of the kernel estimate in a bin, in one and in two dimensions
RATIO_DRAWS = 1000
TAIL, WIDER = 0.0005, 0.25  # share of the frames at each end, and of the span between, that even bins are made of


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Grid(Result):
    """Bins of one or two collective variables, taken from the reference and then kept."""

    labels: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    periodic: tuple[bool, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(e) - 1 for e in self.edges)

    @classmethod
    def over(cls, values: np.ndarray, labels: tuple[str, ...], period: float | None, bins: int | None = None) -> Grid:
        """Even bins over ``values`` (T, d), or over one whole period: [-period / 2, period / 2].

        They span the central 99.9 % of the values and a quarter of that beyond on both sides, as far as there are any:
        all of a usual sample. So a few frames that lie far off cannot make all bins coarse; they count as ``outside``.
        """
        bins = bins or (BINS_1D if len(labels) == 1 else BINS_2D)
        edges = []
        for column in values.T:
            if period is not None:
                low, high = -period / 2, period / 2
            else:
                low, high = _span(column)
            edges.append(np.linspace(low, high, bins + 1))
        return cls(labels, tuple(edges), (period is not None,) * len(labels))

    @property
    def fine(self) -> tuple[np.ndarray, ...]:
        """Edges of the finer bins that the kernel estimate is made from, a whole number of them in each bin."""
        parts = FINE[len(self.edges) - 1]
        return tuple(np.linspace(e[0], e[-1], (len(e) - 1) * parts + 1) for e in self.edges)

    def index(self, values: np.ndarray, parts: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """(T, d) -> (T,) flat bin numbers, and (T,) whether a frame lies outside (it counts in the outermost bin).

        Every bin is cut into ``parts`` along each axis.
        """
        flat, outside = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
        for column, edges, periodic in zip(values.T, self.edges, self.periodic, strict=True):
            bins = (len(edges) - 1) * parts
            low, width = edges[0], (edges[-1] - edges[0]) / bins
            place = (np.asarray(column, float) - low) / width
            if periodic:
                place = np.mod(place, bins)
            else:
                slack = 1e-5 * bins  # values are float32
                outside |= (place < -slack) | (place > bins + slack)
            flat = flat * bins + np.clip(np.floor(place), 0, bins - 1).astype(np.int64)
        return flat, outside

    def coarse(self, table: np.ndarray, parts: int) -> np.ndarray:
        """(K, finer bins) -> (K, bins)."""
        split = [size for bins in self.shape for size in (bins, parts)]
        axes = tuple(range(2, 2 * len(self.shape) + 1, 2))
        return table.reshape(len(table), *split).sum(axes).reshape(len(table), -1)


def _span(column: np.ndarray) -> tuple[float, float]:
    """Where the even bins of (T,) values begin and end."""
    least, most = float(column.min()), float(column.max())
    beyond = max(1, int(TAIL * len(column)))  # one at least: a single outlier of a short sample counts as one
    if len(column) > 2 * beyond:
        low, high = (float(x) for x in np.partition(column, (beyond, -1 - beyond))[[beyond, -1 - beyond]])
        if high > low:
            margin = WIDER * (high - low)
            least, most = max(least, low - margin), min(most, high + margin)
    return (least, most) if most > least else (least - 0.5, most + 0.5)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class BlockHistogram(Result):
    """Weight of every bin in every block, a mean of one a frame.

    Attributes:
        weights: (K, bins) float32.
        runs: (K,) run of each block.
        outside: share of the weight beyond the grid (it counts in the outermost bins).
        effective: about how many independent and equally weighted frames these are.
        kT: kJ/mol.
        smooth: (K, bins) float32, kernel estimate of the density at the bin centres, nan far from every sample; what
            lies outside is left out of it. None where it was not asked for.
        bandwidths: of the kernel, in the units of each axis.
    """

    grid: Grid
    weights: np.ndarray
    runs: np.ndarray
    outside: float
    effective: float
    kT: float
    smooth: np.ndarray | None = None
    bandwidths: tuple[float, ...] = ()

    @property
    def probability(self) -> np.ndarray:
        """(bins,) sums to one."""
        return normalised(self.weights.sum(0, dtype=float))


def normalised(weights: np.ndarray) -> np.ndarray:
    """(..., bins) that sum to one over the last axis."""
    total = weights.sum(-1, keepdims=True, dtype=float)
    return weights / np.where(total > 0, total, 1.0)


def block_histogram(
    values: np.ndarray, frames: Frames, grid: Grid, cut: Blocks, *, smooth: bool = True
) -> BlockHistogram:
    """Sort (T, d) values of the frames into the bins of the grid, block by block; ``smooth`` adds a kernel estimate."""
    parts = FINE[len(grid.edges) - 1] if smooth else 1
    bins = math.prod(n * parts for n in grid.shape)
    table, beyond = np.empty((len(cut), bins), np.float32), np.zeros(bins)
    scale = weight_scale(frames)
    for k, (start, stop) in enumerate(itertools.pairwise(cut.edges)):
        flat, outside = grid.index(values[start:stop], parts)
        weight = None if frames.weights is None else np.asarray(frames.weights[start:stop], float) * scale
        table[k] = np.bincount(flat, weight, minlength=bins)
        if outside.any():
            beyond += np.bincount(flat[outside], None if weight is None else weight[outside], minlength=bins)
    samples = samples_of(frames)
    density: np.ndarray | None = None
    widths: tuple[float, ...] = ()
    if smooth:
        inner = table
        if beyond.any():  # taken out of every block in proportion, as a spike at the edge is no density
            total = table.sum(0, dtype=float)
            inner = table * np.maximum(1 - beyond / np.where(total > 0, total, 1), 0).astype(np.float32)
        density, widths = kernel_density.smooth(inner, grid.fine, grid.edges, grid.periodic, samples)
    return BlockHistogram(
        grid,
        grid.coarse(table, parts),
        cut.runs,
        float(beyond.sum() / len(frames)),
        max(samples / cut.inefficiency, 1.0),
        frames.kT,
        density,
        widths,
    )


def weight_scale(frames: Frames) -> float:
    """What turns weights into weights of mean one."""
    return 1.0 if frames.weights is None else len(frames) / float(np.sum(frames.weights, dtype=float))


def samples_of(frames: Frames) -> float:
    return float(len(frames)) if frames.weights is None else kish(frames.weights)


def surface(histogram: BlockHistogram, kT: float, rng: np.random.Generator) -> Surface:
    """Free energy -kT ln p above its minimum, in kJ/mol; its error is that of -kT ln p by drawing blocks anew.

    The error is kT sd(p) / p over the draws, times sqrt(K / (K - 1)) for K blocks, and wide enough for 1.96 errors to
    be a 95 % interval: see ``_widened`` and ``events.seen_error``. nan in empty bins, for one block, and where hardly
    more than one block holds a bin.
    """
    drawn = resamples(len(histogram.weights), rng) if len(histogram.weights) > 1 else None
    p, shape = histogram.probability, histogram.grid.shape
    runs = histogram.runs
    energy, error = _energy(histogram.weights, kT, drawn, runs)
    smooth = () if histogram.smooth is None else _energy(histogram.smooth, kT, drawn, runs)
    return Surface(
        histogram.grid.labels,
        histogram.grid.edges,
        p.reshape(shape),
        energy.reshape(shape),
        error.reshape(shape),
        histogram.outside,
        histogram.grid.periodic,
        *(one.reshape(shape) for one in smooth),
    )


def _energy(table: np.ndarray, kT: float, draws: np.ndarray | None, runs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(K, bins) weights of blocks -> free energy and its error; nan where there is nothing."""
    table = np.nan_to_num(table)
    p, number = normalised(table.sum(0, dtype=float)), len(table)
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = np.where(p > 0, kT * (np.log(p.max()) - np.log(p)), np.nan)
        error = np.full_like(p, np.nan)
        if draws is not None:
            spread = normalised(draws @ table).std(0) * math.sqrt(number / (number - 1)) / p
            least = events.seen_error(1 / spread**2)
            error = np.where(p > 0, kT * np.maximum(spread * _widened(table, runs), least), np.nan)
    return energy, error


def _widened(table: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """(bins,) factors for errors from (K, bins) blocks.

    Student's t over 1.96, for the degrees of freedom that the blocks leave (Satterthwaite 1946): K - 1 where a bin has
    its share in each, about twice as many as hold it where few do. And a factor for neighbours in a run that are still
    correlated.
    """
    from scipy.stats import t

    table = table.astype(float)
    off = table / table.sum(0) - (table.sum(1) / table.sum())[:, None]  # (K, bins) what a block adds to ln p
    square = np.sum(off**2, 0)
    freedom = 2 / np.maximum(np.sum(off**4, 0) / square**2 - 1 / len(table), 1e-9)
    near = (runs[1:] == runs[:-1])[:, None]
    correlated = 1 + np.maximum(2 * np.sum(near * off[1:] * off[:-1], 0) / square, 0)
    factor = t.ppf(0.975, np.clip(freedom, 1, len(table) - 1)) / 1.96 * np.sqrt(correlated)
    return np.where(square > 0, factor, 1.0)
