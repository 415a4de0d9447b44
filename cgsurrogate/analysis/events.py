"""Events: how often something happened, and how wide an interval must at least be where that was seldom.

One rule for populations, free energies, timescales, rates and passages: an interval comes from blocks of frames, and is
never narrower than the number of events allows, whichever is wider. Blocks alone are too narrow where a state was
visited a few times: most of them then hold none of it, and the estimate is small in just those samples in which its
error is estimated small as well.

- An event is an entry into a state and an exit from it. So many events give a waiting time (or a rate, its inverse) the
  interval of a Poisson process (Garwood 1936), and the odds of a population, the ratio of two waiting times, that of
  the ratio of two Gamma variables, Fisher's F.
- This holds for exponential waiting times. Where a few long ones hold most of the time, or where a border is crossed
  back and forth before a visit, they are worth fewer: twice (sum t)^2 / sum t^2, which is their number if they are
  exponential (Kish 1965 counts weights so). The least of the three counts is taken: events, dwells inside, dwells
  outside.
- Below ``LEAST`` events there is no factor: a share then has only the end that is known (from 0, or up to 1), and free
  energies, timescales and passages have no interval.

Grossfield et al., Living J. Comp. Mol. Sci. 1, 5067 (2018): count transitions, not frames.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from cgsurrogate.analysis.results import Estimate, Result
from cgsurrogate.core.frames import Frames

LEAST = 3
MANY = 1e6  # events beyond which the count adds nothing that can be seen


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Visits(Result):
    """Visits to each of M states, all runs together.

    Attributes:
        entries, exits: (M,) seen within runs.
        inside, outside: (M,) frames in the state and elsewhere.
        events: (M,) what they are worth, by the rule of this file; not whole numbers.
    """

    entries: np.ndarray
    exits: np.ndarray
    inside: np.ndarray
    outside: np.ndarray
    events: np.ndarray


def stretches(labels: np.ndarray, frames: Frames) -> np.ndarray:
    """Frames at which a stretch of one label begins; none crosses runs."""
    new = np.empty(len(labels), bool)
    new[0] = True
    np.not_equal(labels[1:], labels[:-1], out=new[1:])
    new[np.cumsum(frames.lengths) - frames.lengths] = True
    return np.flatnonzero(new)


def visits(labels: np.ndarray, count: int, frames: Frames) -> Visits:
    """Visits from (T,) numbers of the states of frames in time order, negative for none."""
    first, ends = stretches(labels, frames), np.cumsum(frames.lengths)
    starts = ends - frames.lengths
    stop = np.append(first[1:], len(labels))
    good = labels[first] >= 0
    first, stop = first[good], stop[good]
    state = np.asarray(labels)[first].astype(np.int64)
    run = np.searchsorted(ends, first, side="right")
    length = (stop - first).astype(float)

    def total(weight: np.ndarray, of: np.ndarray = state) -> np.ndarray:
        return np.bincount(of, weight, minlength=count)

    entries, exits = total((first > starts[run]).astype(float)), total((stop < ends[run]).astype(float))
    inside, squares = total(length), total(length**2)
    order = np.argsort(state, kind="stable")
    state, run, first, stop = state[order], run[order], first[order], stop[order]
    begins = np.ones(len(state), bool)  # the first visit of a state in a run
    begins[1:] = (state[1:] != state[:-1]) | (run[1:] != run[:-1])
    closes = np.append(begins[1:], True)[: len(state)]
    before = np.where(begins, first - starts[run], first - np.append(0, stop[:-1])[: len(first)]).astype(float)
    after = np.where(closes, ends[run] - stop, 0).astype(float)
    whole = np.asarray(frames.lengths, float) ** 2  # runs without a visit are one dwell outside
    gaps = total(before**2 + after**2, state) + whole.sum() - total(whole[run[begins]], state[begins])
    outside = len(labels) - inside
    events = np.minimum.reduce([(entries + exits) / 2, worth(inside, squares), worth(outside, gaps)])
    return Visits(entries, exits, inside, outside, events)


def worth(total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """How many exponential waiting times have as uncertain a mean as these, from their sum and sum of squares."""
    return 2 * total**2 / np.where(squares > 0, squares, np.inf)


def rate_factors(events: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to multiply a rate from so many events with, to get the ends of its 95 % interval; 0 and inf below one."""
    from scipy.stats import gamma

    n = np.minimum(np.asarray(events, float), MANY)
    few, n = ~(n >= 1), np.where(n >= 1, n, 1)
    return np.where(few, 0.0, gamma.ppf(0.025, n) / n), np.where(few, np.inf, gamma.ppf(0.975, n + 1) / n)


def odds_factors(entries: np.ndarray, exits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to multiply odds with, to get the ends of their 95 % interval; nan below one event."""
    from scipy.stats import f

    a, b = (np.minimum(np.asarray(n, float), MANY) for n in (entries, exits))
    few = np.minimum(a, b) < 1
    a, b = (np.where(few, np.nan, 2 * n) for n in (a, b))
    return f.ppf(0.025, a, b), f.ppf(0.975, a, b)


def shares(found: Estimate, visited: Visits) -> Estimate:
    """Populations with intervals that are never narrower than the visits allow.

    Their odds are those of entries over exits. A frame that is left at once says little of the next one, but a
    geometric dwell is less uncertain than an exponential one: each count is divided by 1 - its probability a frame.
    """
    n, p = visited.events, found.value
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        enter, leave = (
            n / np.maximum(1 - n / np.maximum(t, 1), 0.5 / np.maximum(t, 1)) for t in (visited.outside, visited.inside)
        )
        low, high = odds_factors(enter, leave)
        odds = p / (1 - p)
        low, high = (1 / (1 + 1 / (odds * factor)) for factor in (low, high))
        few = n < LEAST
        low = np.where(np.isnan(low) | (few & (p <= 0.5)), 0.0, low)
        high = np.where(np.isnan(high) | (few & (p > 0.5)), 1.0, high)
    mixed = (p > 0) & (p < 1)
    low, high = np.fmin(found.low, low), np.fmax(found.high, high)
    return Estimate(p, np.where(mixed, low, found.low), np.where(mixed, high, found.high))


def ratios(found: Estimate, events: np.ndarray) -> Estimate:
    """Logarithms of ratios of populations that rest on so many visits; no interval below ``LEAST``."""
    enough = np.asarray(events) >= LEAST
    low, high = odds_factors(events, events)
    return _wider(found, found.value + np.log(low), found.value + np.log(high), enough)


def times(found: Estimate, events: np.ndarray) -> Estimate:
    """Waiting times that rest on so many events; no interval below ``LEAST``."""
    low, high = rate_factors(events)
    with np.errstate(divide="ignore"):
        return _wider(found, found.value / high, found.value / low, np.asarray(events) >= LEAST)


def ranked(found: Estimate, events: np.ndarray) -> Estimate:
    """The same of (K,) relaxation times by rank, the slowest first: which process is the slowest is uncertain as well.

    If every process lies in its interval, so does the slowest between the largest low and the largest high end, and so
    on. A process with few events may be much slower than it seems, and then so may the slowest. States that are
    connected were crossed at least once.
    """
    slow, fast = rate_factors(np.fmax(events, 1.0))
    low, high = np.fmin(found.low, found.value / fast), np.fmax(found.high, found.value / slow)
    there = np.isfinite(found.value)
    low[there], high[there] = np.sort(low[there])[::-1], np.sort(high[there])[::-1]
    good = np.isfinite(found.low) & np.isfinite(found.high) & (np.asarray(events) >= LEAST)
    return Estimate(found.value, np.where(good, low, np.nan), np.where(good, high, np.nan))


def seen_error(events: np.ndarray) -> np.ndarray:
    """Least standard error of the logarithm of a count, nan for hardly more than one; 1.96 of them are 95 %.

    Of many bins the rare ones are looked at only where they were seen by chance. The lower end is that of a Poisson
    number of which it is known that it is not 0: P(N >= n | N > 0) = 0.025. Far above one that condition says nothing.
    """
    grid, width = _seen()
    n = np.asarray(events, float)
    found = np.interp(n, grid, width) / 1.96
    return np.where(n > grid[-1], 1 / np.sqrt(np.maximum(n, 1)), np.where(n >= grid[0], found, np.nan))


@functools.cache
def _seen() -> tuple[np.ndarray, np.ndarray]:
    """Numbers of events, and ln(n / low) of them."""
    from scipy.optimize import brentq
    from scipy.special import gammainc

    grid = np.geomspace(1.5, 100, 60)
    low = [brentq(lambda m, n=n: gammainc(n, m) + 0.025 * np.expm1(-m), 1e-4, n) for n in grid]
    return grid, np.log(grid / low)


def probabilities(found: Estimate, events: np.ndarray) -> Estimate:
    """Probabilities to have gone, that rest on so many departures; without one, as they are."""
    slow, fast = rate_factors(events)
    some = np.asarray(events) >= 1
    low = np.where(some, np.fmin(found.low, found.value * slow), found.low)
    high = np.where(some, np.fmin(np.fmax(found.high, found.value * np.where(some, fast, 1)), 1.0), found.high)
    return Estimate(found.value, low, high)


def stays(found: Estimate, events: np.ndarray) -> Estimate:
    """Probabilities to have stayed, from so many departures."""
    gone = probabilities(Estimate(1 - found.value, 1 - found.high, 1 - found.low), events)
    return Estimate(found.value, 1 - gone.high, 1 - gone.low)


def _wider(found: Estimate, low: np.ndarray, high: np.ndarray, enough: np.ndarray) -> Estimate:
    good = enough & np.isfinite(found.low) & np.isfinite(found.high)
    return Estimate(
        found.value,
        np.where(good, np.minimum(found.low, low), np.nan),
        np.where(good, np.maximum(found.high, high), np.nan),
    )
