"""Root mean square deviation of the CA beads from one structure, after the best fit."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.superposition import deviation, target


def build(reference: Frames, to: str | int | np.ndarray = "medoid") -> RMSD:
    """RMSD in nm over the CA beads, or over all beads where there is no CA.

    Args:
        to: "medoid" (the frame of the reference with the least mean RMSD to a few hundred others), "first", the
            number of a frame of the reference, the path of a structure file that holds these atoms, or (N, 3) nm.
    """
    chosen = measures.calphas(reference.beads)
    return RMSD(chosen, *target(reference, chosen, to))


class RMSD(OfPositions):
    name = "rmsd"
    labels = ("RMSD",)
    unit = "nm"

    def __init__(self, chosen: np.ndarray, target: np.ndarray, to: str) -> None:
        self.chosen = chosen
        self.target = target
        self.notes = (f"RMSD of {len(chosen)} beads to {to}",)

    def values(self, x: np.ndarray) -> np.ndarray:
        return deviation(x[:, self.chosen], self.target)
