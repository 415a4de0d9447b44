"""Populations of states, and the transitions between them that were seen: counts, rates, and how long visits last.

A frame carries the number of the core that it lies in, or -1. Between cores a run counts as being still in the state of
the last core that it visited (hysteresis, "transition-based assignment": Buchete and Hummer, J. Phys. Chem. B 112,
2008), so that crossing a border back and forth is no transition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cgsurrogate.analysis import events
from cgsurrogate.analysis.free_energy import populations
from cgsurrogate.analysis.results import Estimate, Result, StateKinetics
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

TIMES, FEW = 60, 10
UNPHYSICAL = "its time is not physical time: compare ratios of times only"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DwellTimes(Result):
    """Dwells in a state, in time order, from the first frame in its core to the first in another core, or a run's end.

    Attributes:
        state, run: (V,) where it is.
        steps: (V,) frames that it lasts; up to the last frame of the run where its end is not seen.
        entered, left: (V,) whether its beginning and its end were seen.
    """

    state: np.ndarray
    run: np.ndarray
    steps: np.ndarray
    entered: np.ndarray
    left: np.ndarray

    def __len__(self) -> int:
        return len(self.state)


def dwell_times(labels: np.ndarray, frames: Frames) -> DwellTimes:
    """Dwells from (T,) numbers of cores, -1 for none; never across runs, and from the first core of a run on."""
    first, ends = events.stretches(labels, frames), np.cumsum(frames.lengths)
    starts = ends - frames.lengths
    first = first[labels[first] >= 0]
    run = np.searchsorted(ends, first, side="right")
    state = labels[first].astype(np.int64)
    changed = np.ones(len(first), bool)
    changed[1:] = (state[1:] != state[:-1]) | (run[1:] != run[:-1])
    first, run, state = first[changed], run[changed], state[changed]
    left = np.zeros(len(first), bool)
    left[:-1] = run[1:] == run[:-1]
    stop = ends[run] - 1
    stop[:-1] = np.where(left[:-1], first[1:], stop[:-1])
    return DwellTimes(state, run, stop - first, first > starts[run], left)


def counts(dwells: DwellTimes, count: int) -> np.ndarray:
    """(M, M) transitions from the row's to the column's state."""
    before = np.flatnonzero(dwells.left)
    code = dwells.state[before] * count + dwells.state[before + 1]
    return np.bincount(code, minlength=count * count).reshape(count, count)


def frames_in_states(dwells: DwellTimes, count: int) -> np.ndarray:
    """(M,) frames spent in each state, whether or not the end of the dwell was seen."""
    return np.bincount(dwells.state, dwells.steps, minlength=count)


def passages(dwells: DwellTimes, count: int) -> np.ndarray:
    """(M, M) how often a run went from the row's state to the column's, through whatever lies between."""
    found = np.zeros((count, count), int)
    for a in range(count):
        for b in range(count):
            pair = (dwells.state == a) | (dwells.state == b)
            state, run = dwells.state[pair], dwells.run[pair]
            found[a, b] = np.sum((state[:-1] == a) & (state[1:] == b) & (run[1:] == run[:-1])) if a != b else 0
    return found


def worth(dwells: DwellTimes, count: int) -> np.ndarray:
    """(M,) how many exponential dwells have as uncertain a mean as those of each state (``events``)."""
    steps = dwells.steps.astype(float)
    return events.worth(*(np.bincount(dwells.state, x, minlength=count) for x in (steps, steps**2)))


def rates(seen: np.ndarray, time: np.ndarray, worth: np.ndarray | None = None) -> Estimate:
    """(M, M) transitions and (M,) times -> transitions per time, with the interval of a Poisson process.

    Its upper end is a quantile of the Gamma distribution with shape N + 1/2 (Jeffreys prior), its lower one with shape
    N, which holds for a given number of transitions: a rare state is left once a visit, however short. From zero up
    where none was seen. nan on the diagonal and for states that were never visited.

    Args:
        worth: (M,) how many exponential dwells those in the row's state are worth; fewer than it was left widen.
    """
    from scipy.stats import gamma

    seen = np.asarray(seen, float)
    span = np.where(time > 0, time, np.nan)[:, None] * np.where(np.eye(len(seen)) > 0, np.nan, 1.0)
    left = seen.sum(1, keepdims=True)
    share = 1.0 if worth is None else np.minimum(1.0, worth[:, None] / np.where(left > 0, left, np.nan))
    n = np.where(seen > 0, seen * share, 0.0)
    scale = np.where(seen > 0, share, 1.0) * span
    low = np.where(seen > 0, gamma.ppf(0.025, np.where(seen > 0, n, 1)), 0.0)
    return Estimate(seen / span, low / scale, gamma.ppf(0.975, n + 0.5) / scale)


def survival(dwells: DwellTimes, count: int, points: int = TIMES) -> tuple[np.ndarray, np.ndarray]:
    """(L,) frames and (M, L) share of the dwells that last at least so long (Kaplan and Meier 1958).

    Dwells that a run's end cuts off count as long as they were seen. Only dwells whose beginning was seen count; where
    there are fewer than three of a state, all of them. nan beyond the longest dwell of a state.
    """
    longest = int(dwells.steps.max()) if len(dwells) else 0
    if longest < 1:
        return np.zeros(1), np.ones((count, 1))
    grid = np.unique(np.concatenate([[0], np.geomspace(1, longest, points).round()]))
    curves = np.full((count, len(grid)), np.nan)
    for state in range(count):
        own = dwells.state == state
        if (own & dwells.entered).sum() >= 3:
            own &= dwells.entered
        if not own.any():
            continue
        steps, left = dwells.steps[own], dwells.left[own]
        when, ended = np.unique(steps[left], return_counts=True)
        at_risk = len(steps) - np.searchsorted(np.sort(steps), when)
        share = np.concatenate([[1.0], np.cumprod(1 - ended / at_risk)])
        curves[state] = np.where(grid <= steps.max(), share[np.searchsorted(when, grid)], np.nan)
    return grid, curves


def measure(
    labels: np.ndarray,
    names: Sequence[str],
    frames: Frames,
    cut: Blocks,
    rng: np.random.Generator,
    cores: np.ndarray | None = None,
) -> StateKinetics:
    """Populations of states and the transitions between them that were seen, without a Markov state model.

    Args:
        labels: (T,) number of the state of each frame, -1 for none.
        cut: blocks that the errors of the populations come from.
        cores: (T,) the same, or -1 between the cores that transitions lead from and to; the states themselves if None.
    """
    names, count = tuple(names), len(names)
    if labels.shape != (len(frames),):
        raise ValueError(f"expected one state a frame, ({len(frames)},), got {labels.shape}")
    counted = populations.state_histogram(labels, count, frames, cut)
    visited = events.visits(labels, count, frames) if frames.time_ordered else None
    shares, energies = populations.populations(counted, rng, visited)
    physical, notes = frames.provenance.physical_time, absent(names, counted.weights.sum(0)[:-1])
    if visited is not None:
        notes += seldom(names, shares.value, visited.events)
        dwells = dwell_times(labels if cores is None else cores, frames)
        seen, steps = counts(dwells, count), frames_in_states(dwells, count)
        grid, curves = survival(dwells, count)
        found = rates(seen, steps * frames.dt / 1000, worth(dwells, count))
        notes += judge(seen, steps, names, physical)
    else:
        seen, grid, curves = np.full((count, count), np.nan), np.zeros(1), np.full((count, 1), np.nan)
        found = Estimate(seen, seen, seen)
        notes += (f"no transitions: {frames.out_of_order} have no time order",)
    return StateKinetics(
        names, shares, energies, np.nan, None, None, seen, found, grid * frames.dt, curves, None, physical, notes,
        frames.dt,
    )  # fmt: skip


def judge(seen: np.ndarray, steps: np.ndarray, names: tuple[str, ...], physical: bool) -> tuple[str, ...]:
    """Whether the data allow rates: enough transitions, visits longer than the time between frames, physical time."""
    notes = [] if physical else [UNPHYSICAL]
    few, never = [], []
    for a in range(len(names)):
        for b in range(a + 1, len(names)):
            if not (steps[a] and steps[b]):
                continue
            there, back = int(seen[a, b]), int(seen[b, a])
            pair = f"{names[a]} and {names[b]}"
            if there + back == 0:
                never.append(pair)
            elif there + back < FEW:
                few.append(f"{pair} ({there} there, {back} back)")
    if few:
        notes.append(f"fewer than {FEW} transitions between {'; '.join(few)}: rates are known within a factor at best")
    if never and not seen.sum():
        notes.append(f"no transition was seen between {'; '.join(never)}")
    leaving = seen.sum(1)
    short = [names[k] for k in range(len(names)) if leaving[k] and steps[k] < 3 * leaving[k]]
    if short:
        visited = ", ".join(short)
        notes.append(f"visits to {visited} last fewer than three frames on average: some transitions are missed")
    return tuple(notes)


def seldom(names: Sequence[str], shares: np.ndarray, worth: np.ndarray) -> tuple[str, ...]:
    """A note on the states with too few visits for an interval, by the rule of ``events``."""
    few = [
        f"{name} ({n:.2g})" for name, p, n in zip(names, shares, worth, strict=True) if 0 < p < 1 and n < events.LEAST
    ]
    if not few:
        return ()
    return (
        f"fewer than {events.LEAST} visits, with entry and exit, to {', '.join(few)}: of the population only one end is"
        " known, and there is no interval of the free energy",
    )


def absent(names: Sequence[str], total: np.ndarray) -> tuple[str, ...]:
    """A note on the states that hold no frame."""
    gone = [name for name, weight in zip(names, total, strict=True) if not weight > 0]
    return (f"no frame is in {', '.join(gone)}",) if gone else ()
