"""The verdict in words: for every surrogate what was judged, then what is known of its time."""

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
    parts = [one.judgement.head if one.judgement is not None else "", _learned(one), _time(one)]
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
