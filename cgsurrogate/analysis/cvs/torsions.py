"""Phi and psi of every residue; the pseudo-dihedrals of the chain where the beads are CA only."""

from __future__ import annotations

import math

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures


def build(reference: Frames) -> OfPositions:
    """Torsions in radians; a surface in two dimensions for each residue, or for neighbours along a CA chain."""
    labels, quads, pairs = measures.torsion_quads(reference.beads)
    if not labels:
        raise TooSmall("torsions need a chain of at least four beads; leave this collective variable out")
    cv = OfPositions("torsions", labels, lambda x: measures.dihedrals(x, quads), unit="rad", period=2 * math.pi)
    cv.pairs, cv.average = pairs, True
    return cv
