"""The slowest directions of the reference without the assumption of equilibrium (VAMP)."""

from __future__ import annotations

from cgsurrogate.analysis.cvs import _linear_projection as projection
from cgsurrogate.core.frames import Frames


def build(reference: Frames, dimensions: int = 4, lag: float | None = None) -> projection.Projection:
    """A projection fitted on the reference, from sine and cosine of the torsions and CA-CA distances (|i - j| > 1).

    Left singular functions of the whitened time-lagged covariance (Wu and Noe 2020), scaled by their singular values.
    Nothing is symmetrised in time, so that runs out of equilibrium (relaxation, steering) are described as they are.

    Args:
        lag: ps; by default a tenth of the correlation time of the slowest feature, at most a tenth of the longest run.
    """
    if why := projection.no_time_order(reference):
        raise ValueError(f"a VAMP projection needs runs in time order, but {why}; leave vamp out, or use tica")
    return projection.fitted(reference, dimensions, lag, equilibrium=False)
