"""Slowest timescale and first-passage times beside the joint test: as differences of logarithms, with both errors.

They have no blocks of their own to permute, so they are never a reason to differ where the joint test of the kinetics
does not reject: they say which times are wrong, and by what factor.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from cgsurrogate.analysis.kinetics import implied_timescales, metastable_states
from cgsurrogate.analysis.results import LogDifference
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.comparison.judgement import AGREES, DIFFERS, UNKNOWN, Finding, Judgement
from cgsurrogate.comparison.verdict import words
from cgsurrogate.comparison.verdict.candidates import ENDS
from cgsurrogate.comparison.verdict.visits import POWER

WIDE = 1.96  # standard errors at the ends of a 95 % interval


def with_times(judged: Judgement, reference: Ensemble, own: Ensemble, tolerance: float = 1.5) -> Judgement:
    """The judgement with findings on the slowest timescale and first-passage times, where both ensembles have them.

    Args:
        tolerance: the factor that is small enough to agree.
    """
    if own.timescales is None or reference.timescales is None or not own.timescales.physical:
        return judged
    rejects = judged.p.get("kinetics", 1.0) <= judged.level
    found = []
    slowest = implied_timescales.log_difference(reference.timescales, own.timescales)
    if slowest is not None:
        found.append(_finding("slowest timescale", slowest, [()], [""], (rejects, tolerance)))
    for kind, known in reference.states.items():
        passages = metastable_states.log_differences(known, own.states[kind]) if kind in own.states else None
        if passages is None:
            continue
        places = [(int(a), int(b)) for a, b in np.argwhere(np.isfinite(passages.low))]
        names = [f"{known.names[a]} to {known.names[b]}" for a, b in places]
        if places:
            found.append(_finding(f"first-passage times, {kind} states", passages, places, names, (rejects, tolerance)))
    if not found:
        return judged
    findings = (*judged.findings, *found)
    mark = UNKNOWN if judged.mark == AGREES and any(f.mark == UNKNOWN for f in found) else judged.mark
    judged = dataclasses.replace(judged, findings=findings, mark=mark)
    return dataclasses.replace(judged, head=words.head(judged))


def _finding(
    name: str,
    difference: LogDifference,
    places: Sequence[tuple[int, ...]],
    names: Sequence[str],
    how: tuple[bool, float],
) -> Finding:
    """The time that differs most, in standard errors; of several, each counts as one of so many."""
    from scipy.stats import norm

    rejects, tolerance = how
    every = (difference.value, difference.low, difference.high, difference.factor)
    value, low, high, factor = (np.array([float(array[place]) for place in places]) for array in every)
    error = np.maximum((high - low) / (2 * WIDE), 1e-12)
    told = factor <= tolerance
    if not told.any():
        what = "it" if len(places) == 1 else "them"
        text = f"the reference itself knows {what} within a factor of {factor.min():.1f} only"
        k = int(np.argmin(error))
        return _made(name, UNKNOWN, value[k], error[k], tolerance, " ".join(filter(None, (names[k], text))))
    k = int(np.argmax(np.where(told, np.abs(value) / error, -1)))
    critical = float(norm.isf(0.025 / told.sum()))
    differs = abs(value[k]) > critical * error[k] and rejects
    largest = np.abs(value[told]) + ENDS * error[told]
    inside = bool(largest.max() <= math.log(tolerance))
    return _made(
        name, DIFFERS if differs else AGREES if inside else UNKNOWN, value[k], error[k], tolerance, names[k], critical
    )


def _made(
    name: str, mark: str, value: float, error: float, tolerance: float, text: str, critical: float = WIDE
) -> Finding:
    found, low, high, shows = (
        math.exp(x) for x in (value, value - ENDS * error, value + ENDS * error, (critical + POWER) * error)
    )
    return Finding(name, "kinetics", mark, "x", found, low, high, shows, tolerance, text=text)
