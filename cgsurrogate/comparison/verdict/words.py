"""Findings in words: amounts with units, what would be needed, and the sentence that stands at the head."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, UNKNOWN, Finding, Judgement
from cgsurrogate.comparison.verdict.samples import Pair

MOST = 3  # findings that are named in a sentence


def more(pair: Pair, blocks: float) -> str:
    """ "about 300 ns more of the reference", for so many blocks in all."""
    missing = blocks - pair.first.count
    if not missing > 0 or not math.isfinite(missing):
        return ""
    length = missing * pair.first.time
    if pair.physical:
        text = f"{length / 1000:.1g} ns" if length < 1e4 else f"{round(length / 1000, -1):.0f} ns"
        return f"about {text} more of the reference"
    return f"about {missing / max(pair.first.count, 1) + 1:.1f} times the reference"


def either_way(fewer: float, more_: float) -> str:
    """Factors that would have been seen, "x 0.4 or x 2.5"."""
    parts = []
    if math.isfinite(fewer):
        parts.append("only its absence" if fewer == 0 else f"x {fewer:.2g}")
    if math.isfinite(more_):
        parts.append(f"x {more_:.2g}")
    return " or ".join(parts) or "nothing short of x 50"


def amount(value: float, unit: str) -> str:
    """A number with its unit and sign; a factor with a cross."""
    if not math.isfinite(value):
        return "unboundedly" if value > 0 else "unknown"
    if unit == "x":
        return f"x {value:.2g}"
    name = {"sd": "standard deviations", "": ""}.get(unit, unit)
    return f"{value:+.2g} {name}".strip()


def head(judged: Judgement) -> str:
    """ "differs: ...; agrees on ...; cannot be judged: ..." as sentences."""
    parts = []
    differing = sorted(judged.of(DIFFERS), key=lambda f: f.p)
    if differing:
        parts.append(f"Differs from the {judged.against}: {_joined(map(_differing, differing))}.")
    elif judged.mark == DIFFERS:
        parts.append(f"Differs from the {judged.against}.")
    agreeing = judged.of(AGREES)
    if agreeing:
        lead = "Agrees on" if differing else f"Agrees with the {judged.against} on"
        parts.append(f"{lead} {_joined(map(_agreeing, agreeing))}.")
    grey = judged.of(UNKNOWN)
    if grey:
        needs = [f.need for f in grey if f.need]
        text = _joined(map(_unknown, grey))
        parts.append(f"Cannot be judged: {text}{f'; {needs[0]} would help' if needs else ''}.")
    return " ".join(parts)


def _joined(texts: Iterable[str]) -> str:
    found = list(dict.fromkeys(texts))
    rest = len(found) - MOST
    return "; ".join(found[:MOST]) + (f"; and {rest} more" if rest > 0 else "")


def _differing(f: Finding) -> str:
    text = f"{f.name} {amount(f.value, f.unit)}" if math.isfinite(f.value) else f.name
    if f.family == "populations":
        text = f"{f.name} never visited" if f.value == 0 else f"population of {f.name} {amount(f.value, f.unit)}"
    return f"{text} (p {'< 0.001' if f.p < 0.001 else f'{f.p:.2g}'})"


def _agreeing(f: Finding) -> str:
    if not math.isfinite(f.detectable):
        return f.name
    return f"{f.name} (would have shown {amount(f.detectable, f.unit).lstrip('+')})"


def _unknown(f: Finding) -> str:
    if not (math.isfinite(f.low) and f.unit):
        return f.name
    if f.unit == "x":
        high = f"{f.high:.2g}" if math.isfinite(f.high) else "any"
        return f"{f.name} (x {f.low:.2g} to {high} fit)"
    return f"{f.name} ({amount(f.low, f.unit)} to {amount(f.high, f.unit)} fit)"
