"""The verdict in words: for every surrogate what was judged, then what is wrong with single frames and its time."""

from __future__ import annotations

from collections.abc import Sequence

from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.comparison.judgement import AGREES, DIFFERS


def sentences(ensembles: Sequence[Ensemble]) -> tuple[str, ...]:
    """One line for each surrogate; before them one for the training runs where these are there."""
    rows = [one for one in ensembles if one.role == "floor" and one.judgement is not None]
    lines = [f"{one.name}: {one.judgement.head}" for one in rows if one.judgement is not None]
    return (*lines, *(_sentence(one) for one in ensembles if one.role == "surrogate"))


def _sentence(one: Ensemble) -> str:
    parts = [one.judgement.head if one.judgement is not None else "", _learned(one), _time(one), *_structure(one)]
    return f"{one.name}: {' '.join(part for part in parts if part)}"


def _learned(one: Ensemble) -> str:
    """Whether it learned its training data, where that is not already said."""
    if one.learned is None:
        return ""
    if one.learned.mark == DIFFERS:
        return f"It did not learn its training data: {one.learned.head[:1].lower()}{one.learned.head[1:]}"
    return "It agrees with its training data." if one.learned.mark == AGREES else ""


def _time(one: Ensemble) -> str:
    times = one.timescales
    if times is None or times.time_scaling is None:
        return ""
    value, low, high = (float(x) for x in (times.time_scaling.value, times.time_scaling.low, times.time_scaling.high))
    worth = f"{value:.3g} ps ({low:.3g} to {high:.3g})"
    return f"Its time is not physical: by the slowest process, 1 ps of it is worth {worth}."


def _structure(one: Ensemble) -> list[str]:
    parts = []
    broken = one.geometry.get("bonds", {}).get("bad frames", 0)
    flipped = one.geometry.get("chirality", {}).get("bad frames", 0)
    if broken:
        parts.append(f"{broken} of {one.frames_count} frames have a broken bond.")
    if flipped:
        parts.append(f"{flipped} of {one.frames_count} frames have a residue of the wrong chirality.")
    close = one.geometry.get("closest approach", {})
    if close.get("below half"):
        parts.append(f"Beads come closer than half of the reference's least distance ({close['worst']}).")
    return parts
