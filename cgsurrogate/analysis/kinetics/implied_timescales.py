"""Implied timescales from a Markov state model whose states come from the reference and serve every ensemble."""

from __future__ import annotations

import dataclasses

import numpy as np

from cgsurrogate.analysis import events
from cgsurrogate.analysis.kinetics import markov_model, transitions
from cgsurrogate.analysis.results import Estimate, LogDifference, Timescales
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

PROCESSES, LAGS, DRAWS = 4, 6, 40
FURTHER = 4  # faster processes that may be among the slowest, as their errors allow


def lag_grid(reference: Frames, correlation: float | None = None, count: int = LAGS) -> np.ndarray:
    """Lags in ps, geometric, up to a fifth of the longest run; ``correlation`` (ps, the lag of TICA) lies inside."""
    most = max(reference.lengths) // 5 * reference.dt
    low = reference.dt if correlation is None else max(reference.dt, correlation / 4)
    high = min(most, 40 * low)
    if high < reference.dt:
        return np.empty(0)
    return np.unique(np.round(np.geomspace(min(low, high), high, count) / reference.dt).astype(int)) * reference.dt


def timescales(
    labels: np.ndarray,
    frames: Frames,
    lags: np.ndarray,
    count: int,
    cut: Blocks,
    rng: np.random.Generator,
    *,
    processes: int = PROCESSES,
    draws: int = DRAWS,
) -> tuple[Timescales | None, tuple[str, ...]]:
    """Timescales of one ensemble at about the given lags (ps), rounded to its own time between frames.

    The 95 % interval is that of a Bayesian bootstrap (random weights for the blocks, Student's t times the spread of
    ln t), but no narrower than the crossings along the process allow, and by rank (``events.ranked``): which process is
    the slowest is uncertain as well. On known chains and double wells of 45 to 730 relaxations, in 3 runs or 15, the
    bootstrap held the truth in 92 to 97 of 100 cases, where crossings were few in 70 to 90. Percentiles of the same
    draws did worse, and so did the posterior of reversible matrices on counts over the lag (Trendelkamp-Schroer et
    al. 2015): 82 to 90; with 100 states and a long lag it missed even its own best estimate.
    Timescales below half the lag are nan: what is left of them after one lag is noise.

    Returns:
        The timescales (None where the runs are shorter than every lag) and what must be said about them.
    """
    steps = np.unique(np.maximum(1, np.round(np.asarray(lags) / frames.dt).astype(int)))
    steps = steps[steps < max(frames.lengths)]
    if not len(steps):
        return None, ("no timescales: every run is shorter than the shortest lag",)
    shape = (len(steps), processes)
    values, low, high, share = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan), 1.0
    crossed = _Crossings(labels, frames, count, processes + FURTHER)
    for row, step in enumerate(steps):
        lag = step * frames.dt
        table = markov_model.transition_counts(labels, frames, int(step), count, cut)
        total = table.sum(0)
        chosen = markov_model.connected(total)
        share = min(share, total[np.ix_(chosen, chosen)].sum() / max(1.0, total.sum()))
        if len(chosen) < 2:
            continue
        inner = table[:, chosen][:, :, chosen]
        inner = inner[inner.sum((1, 2)) > 0].reshape(-1, len(chosen) ** 2)
        weights = [np.ones(len(inner))]
        if len(inner) > 1:
            weights += list(markov_model.block_weights(len(inner), rng, draws))
        # no weight is zero, so that the same states stay connected in every draw
        size = (len(chosen), len(chosen))
        times = np.array([markov_model.implied((w @ inner).reshape(size), lag, processes + FURTHER) for w in weights])
        found = markov_model.interval(times[0], times[1:], len(inner), "log")
        found = events.ranked(found, crossed(total, chosen))
        resolved = found.value > lag / 2
        values[row], low[row], high[row] = (
            np.where(resolved, one, np.nan)[:processes] for one in (found.value, found.low, found.high)
        )
    result = Timescales(steps * frames.dt, values, low, high, frames.provenance.physical_time)
    return result, judge(result, frames, share, crossed.slowest)


class _Crossings:
    """Transitions along each process: between either end of its eigenvector and the rest, the rarer of the two.

    Attributes:
        slowest: how many were seen along the slowest process, at the last lag; None without one.
    """

    def __init__(self, labels: np.ndarray, frames: Frames, count: int, processes: int) -> None:
        self.labels, self.frames, self.count, self.processes = labels, frames, count, processes
        self.slowest: int | None = None

    def __call__(self, table: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """(K,) events that the timescales rest on; nan where there is no such process.

        A timescale is 1 / (k + k'), with rates of both directions from n crossings each, so its relative variance is
        (p^2 + p'^2) / n, where p, p' are the shares of the two ends: 1 / n for a rare state, 1 / 2 n between equals.

        Args:
            table: (S, S) transitions.
            chosen: the states that these connect.
        """
        worth = np.full(self.processes, np.nan)
        matrix, weight = markov_model.transition_matrix(table[np.ix_(chosen, chosen)])
        _, vectors = markov_model.spectrum(matrix, weight)
        for k in range(min(self.processes, len(chosen) - 1)):
            seen, worth[k] = self._along(vectors[:, k + 1], weight, chosen)
            self.slowest = self.slowest if k else int(seen)
        return worth

    def _along(self, vector: np.ndarray, weight: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
        found = [self._from_end(end * vector, weight, chosen) for end in (1, -1)]
        return min(found, key=lambda one: one[1])

    def _from_end(self, vector: np.ndarray, weight: np.ndarray, chosen: np.ndarray) -> tuple[float, float]:
        """Crossings between the upper end of a process and the rest, and what they are worth.

        The end are states above half of where the process has its weight; what is below a quarter is the rest.
        """
        order = np.argsort(vector)
        share = np.cumsum(np.where(vector > 0, weight * vector**2, 0)[order])
        high = vector[order][min(np.searchsorted(share, share[-1] / 2), len(order) - 1)]
        cores = np.full(self.count, -1, np.int8)
        cores[chosen] = np.where(vector > high / 2, 1, np.where(vector < high / 4, 0, -1))
        dwells = transitions.dwell_times(cores[self.labels], self.frames)
        seen, steps = int(transitions.counts(dwells, 2).sum()), transitions.frames_in_states(dwells, 2)
        ends = steps / max(1, steps.sum())
        n = min(seen / 2, *transitions.worth(dwells, 2))
        return seen, n / float(ends @ ends) if n else 0.0


def judge(times: Timescales, frames: Frames, share: float, crossings: int | None = None) -> tuple[str, ...]:
    """Whether the data allow a statement about kinetics, in sentences; empty where they do.

    Args:
        share: of the transitions, in the largest connected set of states.
        crossings: transitions between the two ends of the slowest process that were seen.
    """
    notes = []
    if not times.physical:
        notes.append(transitions.UNPHYSICAL)
    if share < 0.95:
        notes.append(
            f"only {share:.0%} of the transitions lie in one connected set of states; its timescales are too short"
        )
    slowest = times.values[:, 0]
    known = np.flatnonzero(np.isfinite(slowest))
    if not len(known):
        return (*notes, "no timescale could be estimated: nothing is slower than the lags")
    last, middle = slowest[known[-1]], slowest[known[len(known) // 2]]
    total = len(frames) * frames.dt
    if total < 20 * last:
        notes.append(
            f"{total / 1000:.3g} ns in all hold only {total / last:.0f} times the slowest relaxation"
            f" ({last / 1000:.3g} ns); timescales and populations of slow states are uncertain"
        )
    if crossings is not None and crossings < transitions.FEW:
        notes.append(
            f"only {crossings} transition{'s' * (crossings != 1)} along the slowest process were seen; its timescale"
            f" needs {transitions.FEW} or more"
        )
    if not np.isfinite(times.low[:, 0]).any():
        notes.append(
            f"the slowest timescale has no interval: fewer than {events.LEAST} crossings, or another process that was"
            " crossed as seldom may be slower"
        )
    if max(frames.lengths) * frames.dt < 2 * last:
        notes.append(
            f"the longest run ({max(frames.lengths) * frames.dt / 1000:.3g} ns) is shorter than two slowest"
            " relaxations: populations are those of the starts"
        )
    if len(known) > 2 and last > 1.5 * middle and times.low[known[-1], 0] > middle:
        notes.append("the slowest timescale still rises with the lag: the longest lag shown is a lower bound")
    return tuple(notes)


def time_scaling(reference: Timescales, own: Timescales) -> Estimate | None:
    """Physical time over an ensemble's own time: its factor, from the slowest timescales, with a 95 % interval.

    Each slowest timescale is taken on its plateau. The errors of both, on a log scale, add in squares. None where
    either is unknown.
    """
    first, second = plateau(reference), plateau(own)
    if first is None or second is None:
        return None
    found = LogDifference.of(second.estimate, first.estimate)
    return Estimate(np.exp(found.value), np.exp(found.low), np.exp(found.high))


def log_difference(reference: Timescales, own: Timescales) -> LogDifference | None:
    """ln(own / reference) of the slowest timescales, at the lag of the reference's plateau and the nearest own lag.

    There the reference is right within its errors and has the most data; at longer lags the intervals of both are so
    wide that rates several times too fast overlap. None where either has no interval.
    """
    known, rows = plateau(reference), np.flatnonzero(np.isfinite(own.low[:, 0]) & np.isfinite(own.high[:, 0]))
    if known is None or not len(rows):
        return None
    row = rows[np.argmin(np.abs(np.log(own.lags[rows] / reference.lags[known.row])))]
    return LogDifference.of(known.estimate, Estimate(own.values[row, 0], own.low[row, 0], own.high[row, 0]))


@dataclasses.dataclass(frozen=True)
class Plateau:
    """The slowest timescale in ps where it no longer rises with the lag, its 95 % interval, and its row of the lags."""

    row: int
    value: float
    low: float
    high: float

    @property
    def estimate(self) -> Estimate:
        """Value and interval."""
        return Estimate(np.array(self.value), np.array(self.low), np.array(self.high))


def plateau(times: Timescales) -> Plateau | None:
    """The slowest timescale at the shortest lag from which on it is flat within its errors; None where it is unknown.

    Flat is a row that lies above the lower end of every later interval.
    """
    rows = np.stack([times.values[:, 0], times.low[:, 0], times.high[:, 0]], 1)
    known = np.flatnonzero(np.isfinite(rows).all(1))
    for row in known:
        if (rows[known[known > row], 1] <= rows[row, 0]).all():
            return Plateau(int(row), *(float(x) for x in rows[row]))
    return None
