"""Blocks of two ensembles over one grid, pooled: what is looked at is found in all of them, without their labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from cgsurrogate.analysis.free_energy import kernel_density
from cgsurrogate.analysis.free_energy.basins import Basins, Saddle, basins
from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram, Grid

VISITS = 4  # blocks that must visit a region; fewer cannot tell two ensembles apart
LEVEL = 0.90  # of intervals
NEAR_MINIMUM, NEAR_SADDLE = 0.5, 1.0  # kT that the bins of a minimum and of a saddle differ from it
FINE_ENOUGH = 30  # bins of an axis; more are joined in pairs where two dimensions would have few frames in each
LEAST_VARIANCE = 1e-12  # relative


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PooledBlocks:
    """Attributes:
    name: of the surface.
    table: (B, bins) weights of the blocks, of the reference and then of the ensemble; each of the two has a mean of
        one a block.
    first: how many are of the reference.
    kT: kJ/mol, of the reference.
    samples: about how many independent frames there are in all.
    """

    name: str
    grid: Grid
    table: np.ndarray
    first: int
    kT: float
    samples: float

    @property
    def totals(self) -> np.ndarray:
        """(B,) weight of each block."""
        return np.asarray(self.table.sum(1))

    # -- what is looked at ----------------------------------------------------------------------------------------
    def basins(self) -> Basins:
        """Of both ensembles together, in their kernel estimate."""
        (edges,), (periodic,) = self.grid.edges, self.grid.periodic
        weight = self.table.sum(0) / self.table.sum()
        if np.count_nonzero(weight) < kernel_density.SPIKES:
            return Basins(np.full(len(weight), -1), np.empty(0, int), ())
        width = kernel_density.bandwidth(weight, edges, periodic, self.samples, 1)
        centres = (edges[1:] + edges[:-1]) / 2
        known = kernel_density.near(centres, edges, periodic, width) @ (weight > 0)
        density = kernel_density.matrix(centres, edges, periodic, width) @ weight
        with np.errstate(divide="ignore"):
            return basins(np.where(known, -np.log(density), np.inf), periodic)

    def visits(self, bins: np.ndarray) -> int:
        """How many blocks visit a (bins,) region."""
        return int(np.count_nonzero(self.table[:, bins].any(1)))

    def bottom(self, found: Basins, basin: int) -> np.ndarray:
        """(bins,) those about the minimum of a basin."""
        weight = self.table.sum(0)
        inside = found.labels == basin
        return np.asarray(inside & (weight >= weight[inside].max() * math.exp(-NEAR_MINIMUM)))

    def top(self, found: Basins, saddle: Saddle) -> np.ndarray | None:
        """(bins,) those about a saddle, as many as it takes to be visited; None where these are no longer near it."""
        weight, count = self.table.sum(0), len(found.labels)
        for reach in range(count // 8):
            places = np.arange(saddle.bin - reach, saddle.bin + reach + 1)
            places = places % count if self.grid.periodic[0] else places[(places >= 0) & (places < count)]
            bins = np.zeros(count, bool)
            bins[places] = True
            if weight[bins].max() > math.exp(NEAR_SADDLE) * weight[bins].mean() and reach > 1:
                return None
            if self.visits(bins) >= VISITS:
                return bins
        return None

    # -- figures of blocks, for ``deviance`` ----------------------------------------------------------------------
    def shares(self, regions: Sequence[np.ndarray]) -> np.ndarray:
        """(B, M) share of each block in each region; a block that weighs more than others counts as the ratio does."""
        inside = np.stack([self.table[:, bins].sum(1) for bins in regions], 1)
        return np.asarray(inside - inside.mean(0) * (self.totals[:, None] - 1))

    # -- amounts --------------------------------------------------------------------------------------------------
    def populations(self, bins: np.ndarray) -> tuple[float, float]:
        """Share of the ensemble and of the reference in a region."""
        inside, total = self.table[:, bins].sum(1), self.totals
        own, known = (float(inside[part].sum() / total[part].sum()) for part in self._parts)
        return own, known

    def heights(self, bins: np.ndarray, bottom: np.ndarray | None = None) -> tuple[str, str]:
        """Free energy of a region above ``bottom``, or above the minimum: own, and of the reference."""
        said = []
        for part in self._parts:
            weight = self.table[part].sum(0)
            below = weight.max() if bottom is None else weight[bottom].mean()
            above = weight[bins].mean()
            said.append(f"{self.kT * math.log(below / above):.1f} kJ/mol" if above > 0 < below else "never visited")
        return said[0], said[1]

    def free_energy_difference(self, bins: np.ndarray, bottom: np.ndarray | None = None) -> tuple[float, float, float]:
        """kJ/mol of the ensemble above the reference, with its interval; of a region, or between it and another."""
        value, low, high = self._log_ratio(bins, bottom)
        return -self.kT * value, -self.kT * high, -self.kT * low

    def factor(self, bins: np.ndarray) -> tuple[float, float, float]:
        """Population of the ensemble over that of the reference, with its interval."""
        value, low, high = (math.exp(x) for x in self._log_ratio(bins))
        return value, low, high

    @property
    def _parts(self) -> tuple[slice, slice]:
        """Of the blocks: the ensemble, and the reference."""
        return slice(self.first, None), slice(self.first)

    def _log_ratio(self, bins: np.ndarray, other: np.ndarray | None = None) -> tuple[float, float, float]:
        """ln of (share of the ensemble / share of the reference), with its interval; infinite where one is empty.

        Empty regions are taken to hold less than 3.0 visits, each of the mean weight that a block has that visits
        them, as 95 % of Poisson counts of mean 3.0 are above 0.
        """
        from scipy.stats import t

        a = self.table[:, bins].sum(1)
        b = self.totals if other is None else self.table[:, other].sum(1)
        least = min(self.first, len(a) - self.first)
        wide = float(t.ppf((1 + LEVEL) / 2, max(least - 1, 1)))
        visit = a[a > 0].mean() if a.any() else 0.0
        middle, error, most = [], [], []
        for part in self._parts:
            x, z = a[part], b[part]
            if not z.sum() > 0:
                return math.nan, -math.inf, math.inf
            empty = not x.sum() > 0
            middle.append(-math.inf if empty else math.log(x.sum() / z.sum()))
            influence = np.zeros(len(x)) if empty else x / x.sum() - z / z.sum()
            error.append(math.sqrt(float(influence @ influence) * len(x) / max(len(x) - 1, 1)))
            most.append(math.log(-math.log((1 - LEVEL) / 2) * visit / z.sum()) if empty and visit else middle[-1])
        own, known = middle
        if not math.isfinite(own) and not math.isfinite(known):
            return math.nan, -math.inf, math.inf
        spread = wide * math.hypot(*error)
        low = -math.inf if not math.isfinite(own) else own - most[1] - spread
        high = math.inf if not math.isfinite(known) else most[0] - known + spread
        return own - known, low, high

    # -- words ----------------------------------------------------------------------------------------------------
    def centre(self, place: int) -> str:
        """The middle of a bin: ``55 degrees``."""
        (edges,) = self.grid.edges
        return _number((edges[place] + edges[place + 1]) / 2, self.grid.periodic[0])

    def words(self, bins: np.ndarray) -> str:
        """Where a region of neighbouring bins is: ``= 55 degrees``, ``from 30 to 80 degrees``, ``above 0.61``."""
        (edges,), (periodic,) = self.grid.edges, self.grid.periodic
        inside = np.flatnonzero(bins)
        first, last = int(inside[0]), int(inside[-1])
        if not periodic and first == 0 and last < len(bins) - 1:  # what lies beyond counts there as well
            return f"below {_number(edges[last + 1], periodic)}"
        if not periodic and last == len(bins) - 1 and first > 0:
            return f"above {_number(edges[first], periodic)}"
        if first == last:
            return f"= {self.centre(first)}"
        low = _number(edges[first], periodic).removesuffix(" degrees")
        return f"from {low} to {_number(edges[last + 1], periodic)}"

    def wide(self) -> tuple[np.ndarray, Callable[[int], str]]:
        """(B, bins) the table, in two dimensions with bins in pairs; and words for the middle of one of its bins."""
        edges, table = list(self.grid.edges), self.table
        shape = self.grid.shape
        if len(shape) == 2 and min(shape) >= FINE_ENOUGH and not any(n % 2 for n in shape):
            table = table.reshape(len(table), shape[0] // 2, 2, shape[1] // 2, 2).sum((2, 4)).reshape(len(table), -1)
            edges = [e[::2] for e in edges]

        def words(place: int) -> str:
            where = np.unravel_index(place, [len(e) - 1 for e in edges])
            middle = [(e[k] + e[k + 1]) / 2 for e, k in zip(edges, where, strict=True)]
            return " / ".join(_number(float(x), p) for x, p in zip(middle, self.grid.periodic, strict=True))

        return table, words


def pool(reference: BlockHistogram, own: BlockHistogram) -> PooledBlocks:
    """The blocks of both."""
    parts = []
    for one in (reference, own):
        weight = one.weights.astype(float)
        parts.append(weight * (len(weight) / weight.sum()))
    name = " / ".join(reference.grid.labels)
    samples = reference.effective + own.effective
    return PooledBlocks(name, reference.grid, np.concatenate(parts), len(parts[0]), reference.kT, samples)


def together(several: Sequence[PooledBlocks]) -> PooledBlocks:
    """The mean of angles of one name and of different numbers, ``phi 1``, ``phi 2``, ...: a joint histogram."""
    one = several[0]
    table = np.mean([each.table for each in several], 0)
    return dataclasses.replace(one, name=f"{one.name.rpartition(' ')[0]} of all residues", table=table)


def deviance(figures: np.ndarray, masks: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
    """(P, M) how unlike its share of the blocks the reference's share of each figure is, under each labelling.

    The signed root of the deviance of x = share of n events from the share q that is expected, 2 n (x ln(x / q) +
    (1 - x) ln((1 - x) / (1 - q))), where n is such that x has its variance under permutations. For figures that all
    blocks have it is the difference of means in standard errors, a monotonic function of Student's t of this labelling;
    where a few blocks of many make a figure, its tail is not longer than that of others, as t would be.

    Args:
        figures: (B, M) of each block, not negative in the sum over blocks.
        masks: (P, B) 1 for the reference.
        other: (B, 1) a figure whose share is expected, with the events of both; one event more is taken to have the
            share of the blocks. That of the blocks where None.

    Returns:
        Positive where the ensemble has more than the reference.
    """
    masks = np.asarray(masks, float)
    x, events = _share(figures, masks)
    q = masks.mean(1)[:, None]
    if other is not None:
        share, more = _share(other, masks)
        q = (more * share + q) / (more + 1)
        events = 1 / (1 / events + 1 / more)
    both = _weighed_log(x, q) + _weighed_log(1 - x, 1 - q)
    return np.asarray(np.sign(q - x) * np.sqrt(2 * events * np.maximum(both, 0)))


def _share(figures: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, M) the reference's share of (B, M) figures, and (M,) about how many events they are."""
    count = len(figures)
    mean = figures.mean(0)
    size = np.where(mean > 0, mean, 1.0)
    events = count / np.maximum(figures.var(0, ddof=1) / size**2, LEAST_VARIANCE)
    return np.clip(masks @ figures / (count * size), 0, 1), events


def excess(shares: np.ndarray) -> np.ndarray:
    """(P,) how much more than usual each of (P,) shares is: the signed root of a Poisson deviance.

    2 (m / v) (u ln(u / m) - u + m) for shares u of mean m and variance v; v / m is the weight of one event.
    """
    mean, variance = float(shares.mean()), float(shares.var())
    if not variance > 0:
        return np.zeros_like(shares)
    value = 2 * mean / variance * (_weighed_log(shares, mean) - shares + mean)
    return np.asarray(np.sign(shares - mean) * np.sqrt(np.maximum(value, 0)))


def _weighed_log(x: np.ndarray, q: np.ndarray | float) -> np.ndarray:
    """x ln(x / q), 0 for x = 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(x > 0, x * np.log(x / q), 0.0))


def visited_regions(table: np.ndarray) -> list[np.ndarray]:
    """(bins,) masks that share out the visited bins of (B, bins): neighbours, as few as ``VISITS`` blocks visit."""
    visited = table > 0
    places = np.flatnonzero(visited.any(0)).tolist()
    regions: list[list[int]] = []
    current, seen = [], np.zeros(len(table), bool)
    for place in places:
        current.append(place)
        seen |= visited[:, place]
        if np.count_nonzero(seen) >= VISITS:
            regions.append(current)
            current, seen = [], np.zeros(len(table), bool)
    if current and regions:
        regions[-1] += current
    regions = regions or [places]
    return [np.isin(np.arange(table.shape[1]), region) for region in regions]


def _number(value: float, angle: bool) -> str:
    return f"{math.degrees(value):.0f} degrees" if angle else f"{value:.3g}"
