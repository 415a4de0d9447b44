"""Metastable states as MDGen makes them: k-means, a Markov state model, PCCA."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cgsurrogate.analysis.free_energy.surfaces import normalised

CENTRES, STATES, SEED = 100, 10, 137
MOST_FOR_CENTRES = 50_000


@dataclasses.dataclass(frozen=True, eq=False)
class Metastable:
    """k-means centres (S, d), each with the number of its metastable state (S,)."""

    centres: np.ndarray
    state: np.ndarray

    def populations(self, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Share of (T, d) values, with weights (T,), in each state, by the nearest centre."""
        from scipy.spatial import cKDTree

        nearest = cKDTree(self.centres).query(values, workers=1)[1]
        share = np.bincount(self.state[nearest], weight, minlength=int(self.state.max()) + 1)
        return normalised(share)


def metastable(values: np.ndarray, runs: Sequence[slice], steps: int) -> Metastable | None:
    """From (T, d) values of the reference, with a lag in frames; None where the data hold fewer than two states."""
    from deeptime.clustering import KMeans
    from deeptime.markov import TransitionCountEstimator
    from deeptime.markov.msm import MaximumLikelihoodMSM
    from scipy.spatial import cKDTree

    picked = np.asarray(values[:: max(1, len(values) // MOST_FOR_CENTRES)], float)
    wanted = min(CENTRES, len(picked) // 20)
    if wanted < 2:
        return None
    model: Any = KMeans(wanted, max_iter=100, fixed_seed=SEED, n_jobs=1).fit_fetch(picked)
    centres = np.asarray(model.cluster_centers)
    label = cKDTree(centres).query(values, workers=1)[1].astype(np.int32)
    pieces = [label[run] for run in runs if run.stop - run.start > steps]
    counts: Any = TransitionCountEstimator(steps, "sliding").fit_fetch(pieces).submodel_largest()
    if counts.n_states < 2:
        return None
    markov: Any = MaximumLikelihoodMSM(reversible=True).fit_fetch(counts)
    active = np.asarray(markov.count_model.state_symbols)
    return Metastable(centres[active], sets(markov.transition_matrix, markov.stationary_distribution, STATES))


def sets(matrix: np.ndarray, stationary: np.ndarray, most: int) -> np.ndarray:
    """(S,) set of each state of a reversible transition matrix, by the inner simplex (Weber and Galliat 2002).

    This is what PCCA+ starts from. The rows of the slowest right eigenvectors fill a simplex; the states nearest its
    corners, found by Gram and Schmidt, stand for the sets, and every state goes to the corner that it has the largest
    share of. At most ``most`` sets; a set that no state belongs to most is left out.
    """
    count = min(most, len(matrix))
    root = np.sqrt(stationary)
    symmetric = matrix * root[:, None] / root
    _, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    vectors = vectors[:, ::-1][:, :count] / root[:, None]
    corners = [int(np.argmax(np.sum(vectors**2, 1)))]
    rest = vectors - vectors[corners[0]]
    while len(corners) < count:
        corners.append(int(np.argmax(np.sum(rest**2, 1))))
        direction = rest[corners[-1]] / np.linalg.norm(rest[corners[-1]])
        rest = rest - np.outer(rest @ direction, direction)
    shares = np.linalg.solve(vectors[corners].T, vectors.T).T
    return np.unique(np.argmax(shares, 1), return_inverse=True)[1]
