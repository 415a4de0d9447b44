"""Metastable states as MDGen makes them: k-means, a Markov state model, PCCA."""

from __future__ import annotations

import dataclasses

import numpy as np

from cgsurrogate.analysis.free_energy.surfaces import normalised
from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.core.frames import Frames

CENTRES, STATES, SEED = 100, 10, 137


@dataclasses.dataclass(frozen=True, eq=False)
class Metastable:
    """k-means states, each with the number of its metastable state (S,)."""

    states: markov_model.States
    state: np.ndarray

    def populations(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Share of (T, d) values, with weights (T,), in each state, by the nearest centre."""
        count = int(self.state.max()) + 1
        return normalised(np.bincount(self.state[self.states(values)], weight, minlength=count))


def metastable(values: np.ndarray, frames: Frames, steps: int) -> Metastable | None:
    """From (T, d) values of the reference, with a lag in frames; None where the data hold fewer than two states."""
    if len(values) < 40 or steps >= max(frames.lengths):
        return None
    found = markov_model.states(values, np.random.default_rng(SEED), CENTRES)
    counts = markov_model.transition_counts(found(values), frames, steps, len(found))[0]
    active = markov_model.connected(counts)
    if len(active) < 2:
        return None
    matrix, stationary = markov_model.transition_matrix(counts[np.ix_(active, active)])
    return Metastable(markov_model.States(found.centres[active]), inner_simplex(matrix, stationary, STATES))


def inner_simplex(matrix: np.ndarray, stationary: np.ndarray, most: int) -> np.ndarray:
    """(S,) set of each state of a reversible transition matrix, by the inner simplex (Weber and Galliat 2002).

    This is what PCCA+ starts from. The rows of the slowest right eigenvectors fill a simplex; the states nearest its
    corners, found by Gram and Schmidt, stand for the sets, and every state goes to the corner that it has the largest
    share of. At most ``most`` sets; a set that no state belongs to most is left out.
    """
    count = min(most, len(matrix))
    vectors = markov_model.spectrum(matrix, stationary)[1][:, :count]
    corners = [int(np.argmax(np.sum(vectors**2, 1)))]
    rest = vectors - vectors[corners[0]]
    while len(corners) < count:
        corners.append(int(np.argmax(np.sum(rest**2, 1))))
        direction = rest[corners[-1]] / np.linalg.norm(rest[corners[-1]])
        rest = rest - np.outer(rest @ direction, direction)
    shares = np.linalg.solve(vectors[corners].T, vectors.T).T
    return np.unique(np.argmax(shares, 1), return_inverse=True)[1]
