"""Distance from the first to the last CA bead (the first to the last bead where there is no CA)."""

from __future__ import annotations

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures


def build(reference: Frames) -> OfPositions:
    """End-to-end distance in nm."""
    ends = measures.calphas(reference.beads)[[0, -1]]
    if ends[0] == ends[1]:
        raise TooSmall("an end-to-end distance needs at least two beads; leave this collective variable out")
    return OfPositions("end_to_end", ("end-to-end",), lambda x: measures.distances(x, ends[None]), unit="nm")
