"""Samples of several thermodynamic states, weighted for one of them or for another.

The multistate Bennett acceptance ratio (MBAR; Shirts & Chodera, J. Chem. Phys. 129, 124105 (2008)) gives a frame x, of
whichever state it was sampled in, the weight

    w(x) ~ exp(-u(x)) / sum_k N_k exp(f_k - u_k(x))

for a state of reduced energy u, with N_k frames of state k, of reduced energy u_k and reduced free energy f_k.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from cgsurrogate.core.statistics import kish


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
    """Weights of frames for one state.

    Attributes:
        weights: (T,) that sum to one.
        overlap: (K, K) chance that a frame of the state of the row belongs to that of the column; rows sum to one.
    """

    weights: np.ndarray
    overlap: np.ndarray

    @property
    def effective(self) -> float:
        """How many frames of the state itself the weighted frames are worth, by the spread of their weights."""
        return kish(self.weights)

    def weakest(self) -> tuple[float, int, int]:
        """The overlap that joins all states at its weakest place, and the numbers of the two states there.

        It is the largest limit at which a path of larger overlaps joins every two states; 1 for a single state.
        """
        shared = np.minimum(self.overlap, self.overlap.T)
        side = np.arange(len(shared))
        first, second = np.triu_indices(len(shared), 1)
        last = (1.0, 0, 0)
        for k in np.argsort(-shared[first, second], kind="stable"):
            a, b = int(first[k]), int(second[k])
            if side[a] != side[b]:
                last = (float(shared[a, b]), a, b)
                side[side == side[b]] = side[a]
        return last


def weights(reduced: np.ndarray, counts: Sequence[int] | np.ndarray, target: np.ndarray) -> Weighted:
    """Weights for the state of reduced energies ``target`` (T,).

    Args:
        reduced: (K, T) energy of every frame in every sampled state, in units of that state's kT.
        counts: (K,) frames sampled in each, none of them 0; frames may stand in any order.
    """
    logging.getLogger("pymbar").setLevel(logging.ERROR)  # it greets on import
    from pymbar import MBAR

    counts = np.asarray(counts)
    mbar = MBAR(np.concatenate([reduced, target[None]]), np.array([*counts, 0]))
    found = mbar.weights()
    own = found[:, :-1]
    return Weighted(found[:, -1] / found[:, -1].sum(), (own.T @ own) * counts)
