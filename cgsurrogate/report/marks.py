"""The marks of the page: four of a judgement, and two for what is plainly wrong with a structure or its sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, NOT_APPLICABLE, UNKNOWN

STATES = {AGREES: "agrees", DIFFERS: "differs", UNKNOWN: "unknown", NOT_APPLICABLE: "absent"}  # mark -> how it is drawn
WORDS = {state: mark for mark, state in STATES.items()} | {"broken": "broken", "caution": "caution"}


def broken(check: Mapping[str, Any]) -> str:
    """ "broken" for frames with broken bonds or wrong chirality, "caution" for beads closer than half of the
    reference's least distance, else nothing."""
    return "broken" if check.get("bad frames") else "caution" if check.get("below half") else ""
