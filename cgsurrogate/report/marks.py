"""The mark beside a figure: within the noise, close, beyond it, or not judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from cgsurrogate.comparison.comparison import Distance, Ensemble

CLOSE = 1.5  # times the floor: beyond the noise, yet near it
WORDS = {"within": "within the noise", "close": "close", "beyond": "beyond the noise", "unknown": "not judged"}


def mark(distance: Distance) -> str:
    """ "within" the 95 % band of the floor, "close" (at most 1.5 times it), "beyond", or "unknown" without a floor."""
    if not (math.isfinite(distance.value) and math.isfinite(distance.floor_high)) or distance.floor_high < 0:
        return "unknown"
    if distance.within:
        return "within"
    return "close" if distance.ratio <= CLOSE else "beyond"


def p_value(p: float) -> str:
    """ "p = 0.03"; nothing where it is unknown."""
    if not math.isfinite(p):
        return ""
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"


def broken(check: Mapping[str, Any]) -> str:
    """ "beyond" for frames with broken bonds or wrong chirality, "close" for beads closer than half of the reference's
    least distance, else nothing."""
    return "beyond" if check.get("bad frames") else "close" if check.get("below half") else ""


def state(ensemble: Ensemble) -> str:
    """The worst mark of all its distances and of its geometry."""
    found = {mark(d) for d in ensemble.distances.values()} | {broken(check) for check in ensemble.geometry.values()}
    return next((m for m in ("beyond", "close", "within") if m in found), "unknown")
