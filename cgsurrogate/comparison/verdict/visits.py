"""How often each ensemble visits a state: the events that a population rests on, and what so many of them can tell.

With physical time a visit begins when a run enters the state, or starts in it; a return within the memory of the state
is the same visit. Without, the frames in a state count as many visits as they are independent frames.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from cgsurrogate.comparison.verdict.permutation import Labels
from cgsurrogate.comparison.verdict.samples import Pair, Sample
from cgsurrogate.core.statistics import statistical_inefficiency

LEAST = 2.0  # visits of both together, below which a state is left out
POWER = 0.8416  # standard normal quantile of 80 %


@dataclasses.dataclass(frozen=True, eq=False)
class Visits:
    """Visits to one state, block by block, those of the reference first.

    Attributes:
        events, exposure: (B,) visits, and the time (ps, or independent frames) in which they were seen.
        populations: shares of the frames of reference and surrogate.
        seen, times: visits and exposure in all, of reference and surrogate.
        dispersion: variance of the number of visits over that of a Poisson process, at least 1.
        uneven: 1 and the squared variation of how long visits last.
    """

    name: str
    events: np.ndarray
    exposure: np.ndarray
    populations: tuple[float, float]
    seen: tuple[float, float]
    times: tuple[float, float]
    dispersion: float
    uneven: float

    @property
    def expected(self) -> float:
        """Visits that the reference would have if both went there equally often."""
        return sum(self.seen) * self.times[0] / sum(self.times)

    def ratio(self, coverage: float = 0.90) -> tuple[float, float, float]:
        """Population of the surrogate over that of the reference, with an interval.

        The interval is that of so many events (Clopper and Pearson 1934, half-way between its two forms), fewer by
        their overdispersion and by the spread of their lengths (a compound Poisson process).
        """
        value = self.populations[1] / self.populations[0] if self.populations[0] > 0 else math.inf
        often, low, high = self._often(self.dispersion * self.uneven, coverage)
        longer = value / often if min(self.seen) > 0 else 1.0
        return value, low * longer, high * longer

    def often(self, coverage: float = 0.90) -> tuple[float, float, float]:
        """How often the surrogate visits it over how often the reference does, likewise; of this ``deviances`` tell."""
        return self._often(self.dispersion, coverage)

    def _often(self, worth: float, coverage: float) -> tuple[float, float, float]:
        """The ratio of visits a time, where so many of them are worth a single independent one."""
        from scipy.stats import beta

        first, second = (n / worth for n in self.seen)
        times, tail = self.times[0] / self.times[1], (1 - coverage) / 2
        low = beta.ppf(tail, second + 0.5, first + 0.5) if second > 0 else 0.0
        high = beta.ppf(1 - tail, second + 0.5, first + 0.5) if first > 0 else 1.0
        value = second / first if first > 0 else math.inf
        return value * times, _odds(float(low)) * times, _odds(float(high)) * times

    def detectable(self, critical: float) -> tuple[float, float]:
        """Factors below and above 1 that are found in 80 of 100 cases; 0 where only absence is, nan where nothing is.

        Args:
            critical: standard normal deviate beyond which the family rejects.
        """
        reference = max(self.expected, 1e-9) / self.dispersion
        own = reference * self.times[1] / self.times[0]
        return _factor(reference, own, critical, -1), _factor(reference, own, critical, 1)

    def events_needed(self, factor: float) -> float:
        """Visits of the reference that would bound the ratio within ``factor`` on either side (90 %)."""
        wanted = math.log(factor) / 1.645
        return self.dispersion * self.uneven * (1 + self.times[0] / self.times[1]) / wanted**2


def _odds(p: float) -> float:
    return math.inf if p >= 1 else p / (1 - p)


def _factor(reference: float, own: float, critical: float, sign: int) -> float:
    """The smallest factor, up (1) or down (-1), whose signed root of the deviance is beyond the critical value."""
    grid = np.concatenate([np.linspace(0.99, 0.02, 98), [0.0]]) if sign < 0 else np.geomspace(1.01, 50, 400)
    share = reference / (reference + own)
    first, second = np.full(len(grid), reference), own * grid
    deviance = _deviance(first, second, share)
    found = np.flatnonzero(deviance > critical + POWER)
    return float(grid[found[0]]) if len(found) else math.nan


def _deviance(first: np.ndarray, second: np.ndarray, share: np.ndarray | float) -> np.ndarray:
    """Signless root of the deviance of counts whose expected share for the first is ``share``."""
    both = first + second
    with np.errstate(divide="ignore", invalid="ignore"):
        one = np.where(first > 0, first * np.log(first / (both * share)), 0.0)
        two = np.where(second > 0, second * np.log(second / (both * (1 - share))), 0.0)
    return np.asarray(np.sqrt(np.maximum(2 * (one + two), 0)))


def count(pair: Pair, name: str, inside: np.ndarray, labels: Labels) -> Visits | None:
    """Visits to a state that the pooled frames are in, (T,) or (T, residues) bool; None where there are too few."""
    columns = inside[:, None] if inside.ndim == 1 else inside
    split = len(pair.first.frames)
    parts = (columns[:split], columns[split:])
    memory = _memory(pair, np.asarray(columns.any(1)))
    events, exposure, shares, lasting = [], [], [], []
    for sample, own in zip(pair.samples, parts, strict=True):
        frames = np.bincount(sample.block, minlength=sample.count).astype(float)
        if pair.physical:
            begun, long = _visits(sample, own, round(memory))
            events.append(begun)
            lasting.append(long)
            exposure.append(frames * sample.frames.dt)
        else:
            weight = sample.weights
            held = np.bincount(sample.block, weight * own.sum(1), minlength=sample.count)
            events.append(held / memory)
            exposure.append(np.bincount(sample.block, weight, minlength=sample.count) / memory)
        shares.append(float(sample.weights @ own.mean(1) / len(own)))
    if sum(float(e.sum()) for e in events) < LEAST:
        return None
    every, time = np.concatenate(events), np.concatenate(exposure)
    lengths = np.concatenate(lasting) if lasting else np.ones(1)
    uneven = 1.0 + (float(np.var(lengths) / np.mean(lengths) ** 2) if pair.physical else 0.0)
    seen, times = ((float(both[0].sum()), float(both[1].sum())) for both in (events, exposure))
    dispersion = _dispersion(every, time, labels)
    return Visits(name, every, time, (shares[0], shares[1]), seen, times, dispersion, uneven)


def deviances(visits: Visits, labels: Labels) -> np.ndarray:
    """(P + 1,) how far the visits are from equally frequent ones, as normal deviates, under every labelling."""
    first, time = labels.masks @ visits.events, labels.masks @ visits.exposure
    return _deviance(first, visits.events.sum() - first, time / visits.exposure.sum())


def _dispersion(events: np.ndarray, exposure: np.ndarray, labels: Labels) -> float:
    """Variance of the reference's share of the visits under the permutations over that of a binomial, at least 1."""
    first = labels.masks[1:] @ events
    share = (labels.masks[1:] @ exposure) / exposure.sum()
    expected = events.sum() * share
    binomial = events.sum() * share * (1 - share)
    return float(max(1.0, np.mean((first - expected) ** 2) / max(float(np.mean(binomial)), 1e-12)))


def _memory(pair: Pair, inside: np.ndarray) -> float:
    """Frames that a visit is remembered for, of both ensembles together: their blocks hold equally many frames."""
    split = len(pair.first.frames)
    later = [slice(r.start + split, r.stop + split) for r in pair.second.frames.runs]
    return statistical_inefficiency(inside[:, None].astype(float), (*pair.first.frames.runs, *later))


def _visits(sample: Sample, inside: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """(B,) visits that begin in each block, and (visits,) frames in the state of each; of (T, residues) bool."""
    begun, lengths = np.zeros(sample.count), [np.empty(0)]
    ends = np.cumsum(sample.frames.lengths)
    for column in inside.T:
        where = np.flatnonzero(column)
        if not len(where):
            continue
        run = np.searchsorted(ends, where, side="right")
        new = np.flatnonzero(np.r_[True, (np.diff(where) > max(1, gap)) | (np.diff(run) > 0)])
        begun += np.bincount(sample.block[where[new]], minlength=sample.count)
        lengths.append(np.diff(np.r_[new, len(where)]).astype(float))
    return begun, np.concatenate(lengths)
