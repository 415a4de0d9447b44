"""Findings in words: amounts with units, what would be needed, and the sentence that stands at the head."""

from __future__ import annotations

import math
from collections.abc import Iterable

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, UNKNOWN, Finding, Judgement
from cgsurrogate.comparison.verdict.samples import Pair
from cgsurrogate.comparison.wording import amount, p_value, short

MOST = 3  # findings that are named in a sentence


def more(pair: Pair, blocks: float) -> str:
    """ "about 300 ns more of the reference", for so many blocks in all."""
    missing = blocks - pair.first.count
    if not missing > 0 or not math.isfinite(missing):
        return ""
    length = missing * pair.first.time
    if pair.physical:
        return f"about {float(f'{length / 1000:.1g}'):g} ns more of the reference"
    return f"about {missing / max(pair.first.count, 1) + 1:.1f} times as much of the reference"


def either_way(fewer: float, more_: float) -> str:
    """Factors that would have been seen, "x 0.4 or x 2.5"."""
    parts = []
    if math.isfinite(fewer):
        parts.append("only its absence" if fewer == 0 else f"x {fewer:.2g}")
    if math.isfinite(more_):
        parts.append(f"x {more_:.2g}")
    return " or ".join(parts) or "nothing short of x 50"


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
    text = f"{f.name} {amount(f.value, f.unit, signed=True)}" if math.isfinite(f.value) else f.name
    if f.family == "populations":
        text = (
            f"{f.name} never visited"
            if f.value == 0
            else f"population of {f.name} {amount(f.value, f.unit, signed=True)}"
        )
    return f"{text} ({p_value(f.p)})"


def _agreeing(f: Finding) -> str:
    if not math.isfinite(f.detectable):
        return f.name
    return f"{f.name} (would have shown {amount(f.detectable, f.unit)})"


def _unknown(f: Finding) -> str:
    if not (math.isfinite(f.low) and f.unit):
        return f.name
    low, high = short(f.low), short(f.high) if math.isfinite(f.high) else "any"
    return f"{f.name} (x {low} to {high} fit)" if f.unit == "x" else f"{f.name} ({low} to {high} {f.unit} fit)"
