"""The slowest directions of the reference (TICA), or its widest (PCA) where its time order means nothing."""

from __future__ import annotations

from cgsurrogate.analysis.cvs import _linear_projection as projection
from cgsurrogate.core.frames import Frames


def build(reference: Frames, dimensions: int = 4, lag: float | None = None) -> projection.Projection:
    """A projection fitted on the reference, from sine and cosine of the torsions and CA-CA distances (|i - j| > 1).

    Time-lagged independent components (Perez-Hernandez et al. 2013), scaled as a kinetic map (Noe and Clementi 2015).
    A reference with weights has no meaningful time order, and one whose runs are too short has none to use: there it
    is a weighted principal component analysis of the same features, labelled "PC".

    Args:
        lag: ps; by default a tenth of the correlation time of the slowest feature, at most a tenth of the longest run.
    """
    return projection.fitted(reference, dimensions, lag)
