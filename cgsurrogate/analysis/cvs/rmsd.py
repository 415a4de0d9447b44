"""Root mean square deviation of the CA beads from one structure, after the best fit."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.superposition import deviation, target


def build(reference: Frames, to: str | int | np.ndarray = "medoid") -> OfPositions:
    """RMSD in nm over the CA beads, or over all beads where there is no CA.

    Args:
        to: "medoid" (the frame of the reference with the least mean RMSD to a few hundred others), "first", the
            number of a frame of the reference, the path of a structure file that holds these atoms, or (N, 3) nm.
    """
    chosen = measures.calphas(reference.beads)
    structure, where = target(reference, chosen, to)
    note = f"RMSD of {len(chosen)} beads to {where}"
    return OfPositions("rmsd", ("RMSD",), lambda x: deviation(x[:, chosen], structure), unit="nm", notes=(note,))
