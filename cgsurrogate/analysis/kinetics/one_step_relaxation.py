"""A cheap check of a stepper's kinetics: how much of the slow processes is left after one jump, and how much should be.

Rates of rare transitions hardly show in the likelihood: one jump in a thousand too many costs a thousandth of a nat and
can double the rate of the slowest process. Over a rollout they show, but long rollouts are slow. One jump from each of
a few thousand frames tells as much, if those frames are drawn where the process is: with probability psi(x)^2, the mean
of psi(later) / psi(x) is the autocorrelation of psi.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.analysis.cvs._base import TooSmall
from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.analysis.results import Result
from cgsurrogate.core import disk_arrays, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.core.statistics import draw

PROCESSES, STARTS = 3, 2000
PAIRS = 500_000  # of frames, evenly spaced, from which the data's own relaxation is taken
ONE_STEP = "one-step check"  # how its words begin
TOO_FAST = 1.5  # factor of the rate of the slowest process from which on it is said


@dataclasses.dataclass(frozen=True, repr=False)
class OneStepRelaxation(Result):
    """Autocorrelations (P,) of the slowest processes of the data after a ``lag`` (ps): of the data, and of the stepper
    with its standard error."""

    lag: float
    data: np.ndarray
    model: np.ndarray
    error: np.ndarray

    @property
    def rates(self) -> np.ndarray:
        """(P,) the stepper's relaxation rates over those of the data; nan where one of them cannot be told."""
        known = (self.data > 0) & (self.data < 1) & (self.model > 0) & (self.model < 1)
        model, data = np.where(known, self.model, 0.5), np.where(known, self.data, 0.5)
        return np.where(known, np.log(model) / np.log(data), np.nan)

    @property
    def words(self) -> tuple[str, ...]:
        """What a user should know; empty where the slowest process is right within ``TOO_FAST`` and the error."""
        off, rate = abs(self.model[0] - self.data[0]) > 2 * self.error[0], self.rates[0]
        if not off or not np.isfinite(rate) or 1 / TOO_FAST < rate < TOO_FAST:
            return ()
        return (
            f"{ONE_STEP}, jumps of {self.lag:g} ps from training frames: the slowest process is {rate:.1f} times as "
            f"fast as in these data (one jump leaves {self.model[0]:.4f} of it, in the data {self.data[0]:.4f})",
        )


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class SlowProcesses(Result):
    """The slowest processes of runs: ``psi`` (S, P) of the states that ``labels`` (T,) are numbers of, normalised."""

    project: Callable[[Frames], np.ndarray]
    states: markov_model.States
    labels: np.ndarray
    psi: np.ndarray

    def __call__(self, frames: Frames) -> np.ndarray:
        """(T,) numbers of states."""
        return self.states(self.project(frames))


def slow_processes(
    stepper: Stepper, frames: Frames, lag: float, seed: int = 0, processes: int = PROCESSES
) -> SlowProcesses | None:
    """From a Markov model at ``lag`` ps in the slowest directions; None where the frames have weights, and so no time,
    or no run is long enough, or no states are connected."""
    step = max(1, round(lag / frames.dt))
    if frames.weights is not None or max(frames.lengths) <= step:
        return None
    project = projection(stepper, frames)
    values = project(frames)
    states = markov_model.states(values, np.random.default_rng(seed))
    labels = states(values)
    counts = markov_model.transition_counts(labels, frames, step, len(states))[0]
    inside = markov_model.connected(counts)
    if len(inside) < 2:
        return None
    _, vectors = markov_model.spectrum(*markov_model.transition_matrix(counts[np.ix_(inside, inside)]))
    psi = np.zeros((len(states), min(processes, len(inside) - 1)))
    psi[inside] = vectors[:, 1 : psi.shape[1] + 1]
    return SlowProcesses(project, states, labels, psi)


def one_step_relaxation(
    stepper: Stepper, frames: Frames, lag: float, found: SlowProcesses, seed: int = 0, starts: int = STARTS
) -> OneStepRelaxation:
    """One jump of ``lag`` ps from ``frames``, whose slow processes were ``found``. A memory begins empty.

    At most ``PAIRS`` pairs of frames, evenly spaced, are looked at.
    """
    rng, generator = np.random.default_rng(seed), Generator().manual_seed(seed)
    now, later = frames.pairs(max(1, round(lag / frames.dt)), PAIRS)
    before, rows = stepper.lag, []
    stepper.lag = lag
    try:
        for psi in found.psi.T:
            value, after = psi[found.labels[now]], psi[found.labels[later]]
            squares = value**2
            drawn = draw(np.cumsum(squares), starts, rng)
            picked = now[drawn]
            state = stepper.start(torch.as_tensor(np.array(frames.positions[picked])), generator)
            jumped = stepper.step(state, generator).positions.numpy()
            there = Frames(frames.beads, jumped, (1,) * starts, frames.dt, frames.temperature)
            kept = psi[found(there)] / value[drawn]
            rows.append(((value * after).sum() / squares.sum(), kept.mean(), kept.std() / starts**0.5))
    finally:
        stepper.lag = before
    return OneStepRelaxation(lag, *np.array(rows).T)


def projection(stepper: Stepper, frames: Frames) -> Callable[[Frames], np.ndarray]:
    """Frames -> (T, D) in which near means alike: their slowest directions, or the encoding of a small molecule."""
    try:
        cv = registry.build("cvs", "tica", frames)
    except TooSmall:
        return lambda some: encoded(stepper, some).numpy()
    return lambda some: np.asarray(cv(some))


@torch.no_grad()
def encoded(stepper: Stepper, frames: Frames, piece: int = 4096) -> Tensor:
    """(T, D) codes of all frames, on the disk where they are many."""
    codes: Tensor | None = None
    for start in range(0, len(frames), piece):
        found = stepper.encode(torch.as_tensor(np.array(frames.positions[start : start + piece])))
        if codes is None:
            codes = torch.from_numpy(disk_arrays.empty((len(frames), found.shape[1]), found.numpy().dtype))
        codes[start : start + piece] = found
        frames.release()
    assert codes is not None  # frames are never none
    return codes
