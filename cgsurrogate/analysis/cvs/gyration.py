"""Radius of gyration, weighted by the masses of the beads."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions
from cgsurrogate.core.frames import Frames


def build(reference: Frames) -> OfPositions:
    """Rg in nm: root of sum_i m_i |x_i - x_com|^2 / sum_i m_i."""
    share = np.array(reference.beads.masses) / np.sum(reference.beads.masses)

    def radius(x: np.ndarray) -> np.ndarray:
        centred = x - np.einsum("n,tnd->td", share, x)[:, None]
        return np.sqrt(np.einsum("n,tnd,tnd->t", share, centred, centred))

    return OfPositions("gyration", ("Rg",), radius, unit="nm")
