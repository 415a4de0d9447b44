"""Phi and psi of every residue; the pseudo-dihedrals of the chain where the beads are CA only."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures


def build(reference: Frames) -> Torsions:
    """Torsions in radians; a surface in two dimensions for each residue, or for neighbours along a CA chain."""
    return Torsions(*measures.torsion_quads(reference.beads))


class Torsions(OfPositions):
    name = "torsions"
    period = 2 * math.pi
    unit = "rad"
    average = True

    def __init__(self, labels: tuple[str, ...], quads: np.ndarray, pairs: tuple[tuple[int, int], ...]) -> None:
        if not labels:
            raise TooSmall("torsions need a chain of at least four beads; leave this collective variable out")
        self.labels, self.quads, self.pairs = labels, quads, pairs

    def values(self, x: np.ndarray) -> np.ndarray:
        return measures.dihedrals(x, self.quads)
