"""How many residues touch, whether they do so in the native structure or not."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures

SEPARATION = 3  # residues; nearer ones always touch


def build(reference: Frames, cutoff: float = 0.8, share: bool = False, beta: float = 50.0) -> OfPositions:
    """Number of pairs of residues in contact, at least three apart, by their CA (by all beads where there is no CA).

    Args:
        cutoff: nm.
        share: the share of all pairs instead of their number.
        beta: 1/nm, how sharp a contact ends: sum of 1 / (1 + exp(beta (r - cutoff))); 0 for a sharp count.
    """
    if not cutoff > 0:
        raise ValueError(f"the cutoff of a contact must be above 0 nm, got {cutoff}")
    pairs = measures.separated(reference.beads, measures.calphas(reference.beads), SEPARATION)
    if not len(pairs):
        raise TooSmall("contacts need residues at least three apart; leave this collective variable out")
    note = f"contacts: {len(pairs)} pairs at least three residues apart, within {cutoff:g} nm"

    def count(x: np.ndarray) -> np.ndarray:
        r = measures.distances(x, pairs)
        touching = measures.switched(r, cutoff, beta) if beta else (r <= cutoff).astype(float)
        return touching.mean(1) if share else touching.sum(1)

    return OfPositions("contacts", ("contacts",), count, width=6 * len(pairs), notes=(note,))
