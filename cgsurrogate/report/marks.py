"""The mark beside a figure: within the noise, close, beyond it, or not judged."""

from __future__ import annotations

import math

from cgsurrogate.comparison.comparison import Distance, Ensemble

CLOSE = 1.5  # times the floor: beyond the noise, yet near it
WORDS = {"within": "within the noise", "close": "close", "beyond": "beyond the noise", "unknown": "not judged"}


def ratio(distance: Distance) -> float:
    """Distance over its floor; nan where the floor is unknown or zero."""
    known = math.isfinite(distance.floor) and distance.floor > 0
    return distance.value / distance.floor if known else math.nan


def mark(distance: Distance) -> str:
    """ "within" the 95 % band of the floor, "close" (at most 1.5 times it), "beyond", or "unknown" without a floor."""
    if not (math.isfinite(distance.value) and math.isfinite(distance.floor_high)) or distance.floor_high < 0:
        return "unknown"
    if distance.within:
        return "within"
    return "close" if ratio(distance) <= CLOSE else "beyond"


def p_value(p: float) -> str:
    """ "p = 0.03"; nothing where it is unknown."""
    if not math.isfinite(p):
        return ""
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"


def state(ensemble: Ensemble) -> str:
    """The worst mark of all its distances and of its geometry.

    Frames with broken bonds or wrong chirality are "beyond"; beads closer than half of the reference's least distance
    are at best "close".
    """
    checks = ensemble.geometry.values()
    marks = {mark(d) for d in ensemble.distances.values()}
    marks |= {"beyond"} if any(check.get("bad frames") for check in checks) else set()
    marks |= {"close"} if any(check.get("below half") for check in checks) else set()
    return next((m for m in ("beyond", "close", "within") if m in marks), "unknown")
