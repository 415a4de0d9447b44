"""Weights that turn runs that were started out of equilibrium into an equilibrium sample.

Many short runs that begin in one basin hold too much of it. Their transitions still say how much of each state there
is in the long run: a reversible Markov model has a stationary distribution, and a frame is weighted by the population
of its state over how many frames the state has. Within a state nothing changes. (Reversible estimate: Prinz et al.,
J. Chem. Phys. 134, 174105 (2011); weights of pairs of frames: Wu et al., J. Chem. Phys. 146, 154104 (2017).)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.analysis.results import Result
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import kish
from cgsurrogate.geometry import measures

RUN_PER_LAG = 5  # how often the usual lag fits into a run; shorter lags remember the start
FEW = 0.02  # effective share of the frames below which weights are not worth having


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class EquilibriumWeights(Result):
    """``of_state`` (S,) the weight of a frame in each of the ``states`` of what ``project`` makes of it.

    ``kept`` is the share of the frames in the states that all reach one another; others weigh nothing. ``effective`` is
    the effective share of the frames, of Kish (1965). ``slowest`` is the implied timescale in ps of the slowest process
    and ``passages`` how often runs went through it, there and back.
    """

    project: Callable[[Frames], np.ndarray]
    states: markov_model.States
    of_state: np.ndarray
    kept: float
    effective: float
    slowest: float
    passages: tuple[int, int]

    def __call__(self, frames: Frames) -> np.ndarray:
        """(T,) weights of frames of the same molecule, of these runs or of others that were begun alike."""
        return np.asarray(self.of_state[self.states(self.project(frames))])


def torsions(frames: Frames) -> np.ndarray:
    """(T, 2 Q) cosine and sine of the torsions of the backbone, of which there may be none."""
    _, quads, _ = measures.torsion_quads(frames.beads)

    def both(x: np.ndarray) -> np.ndarray:
        turn = measures.dihedrals(x, quads)
        return np.concatenate([np.cos(turn), np.sin(turn)], 1)

    return measures.evaluate(frames, 2 * len(quads), both)


def usual_lag(frames: Frames) -> int:
    """In frames, at least one."""
    return max(1, max(frames.lengths) // RUN_PER_LAG)


def equilibrium_weights(
    frames: Frames, lag: int, project: Callable[[Frames], np.ndarray], seed: int = 0
) -> EquilibriumWeights:
    """From runs in order of time; ``lag`` in frames.

    Args:
        project: gives (T, D) values in which near means alike, best ``torsions``: the slowest directions of short runs
            miss states that they hardly reached.

    Raises:
        ValueError: no run is longer than the lag, no two states are connected, or the weights would rest on a few
            frames only.
    """
    places = project(frames)
    states = markov_model.states(places, np.random.default_rng(seed))
    labels = states(places)
    counts = markov_model.transition_counts(labels, frames, lag, len(states))[0]
    inside = markov_model.connected(counts)
    if len(inside) < 2:
        raise ValueError("the runs pass between no two states and back")
    matrix, stationary = markov_model.transition_matrix(counts[np.ix_(inside, inside)])
    begun = counts[inside].sum(1)  # pairs that begin in each state, which weights are for
    of_state = np.zeros(len(states))
    of_state[inside] = stationary / begun * begun.sum()
    own = of_state[labels]
    effective = kish(own) / len(own)
    if effective < FEW:
        raise ValueError(f"their weights would make {effective:.1%} of the frames count; add runs from other states")
    values, vectors = markov_model.spectrum(matrix, stationary)
    side = np.zeros(len(states), int)
    side[inside] = np.sign(vectors[:, 1] * stationary)
    slowest = float(markov_model.timescales(values, lag * frames.dt, 1)[0])
    kept = float((own > 0).mean())
    return EquilibriumWeights(
        project, states, of_state, kept, float(effective), slowest, _passages(side[labels], frames)
    )


def _passages(side: np.ndarray, frames: Frames) -> tuple[int, int]:
    """How often runs go from one ``side`` (T,) to the other, -1 and 1, and back; 0 is neither.

    A passage counts where both sides are held for two frames, so that a glance across is none.
    """
    there = back = 0
    for run in frames.runs:
        own = side[run]
        held = own[1:][(own[1:] == own[:-1]) & (own[1:] != 0)]
        steps = np.diff(held)
        there, back = there + int((steps > 0).sum()), back + int((steps < 0).sum())
    return there, back
