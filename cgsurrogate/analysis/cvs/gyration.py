"""Radius of gyration, weighted by the masses of the beads."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions
from cgsurrogate.core.frames import Frames


def build(reference: Frames) -> Gyration:
    """Rg in nm: root of sum_i m_i |x_i - x_com|^2 / sum_i m_i."""
    return Gyration(np.array(reference.beads.masses))


class Gyration(OfPositions):
    name = "gyration"
    labels = ("Rg",)
    unit = "nm"

    def __init__(self, masses: np.ndarray) -> None:
        self.share = masses / masses.sum()

    def values(self, x: np.ndarray) -> np.ndarray:
        centred = x - np.einsum("n,tnd->td", self.share, x)[:, None]
        return np.sqrt(np.einsum("n,tnd,tnd->t", self.share, centred, centred))
