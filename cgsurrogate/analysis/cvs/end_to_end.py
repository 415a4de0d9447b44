"""Distance from the first to the last CA bead (the first to the last bead where there is no CA)."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures


def build(reference: Frames) -> EndToEnd:
    """End-to-end distance in nm."""
    ends = measures.calphas(reference.beads)[[0, -1]]
    if ends[0] == ends[1]:
        raise TooSmall("an end-to-end distance needs at least two beads; leave this collective variable out")
    return EndToEnd(ends)


class EndToEnd(OfPositions):
    name = "end_to_end"
    labels = ("end-to-end",)
    unit = "nm"

    def __init__(self, ends: np.ndarray) -> None:
        self.pair = ends[None]

    def values(self, x: np.ndarray) -> np.ndarray:
        return measures.distances(x, self.pair)
