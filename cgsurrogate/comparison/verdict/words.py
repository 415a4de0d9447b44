"""Findings in words: amounts with units, what would be needed, and the sentence that stands at the head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, UNKNOWN, Finding, Judgement
from cgsurrogate.comparison.verdict.samples import Pair
from cgsurrogate.comparison.wording import amount, found, p_value, short

MOST = 4  # findings that are named in a sentence
LEADING = {
    "geometry": "bond angles",
    "shape": "temperature",
    "surfaces": "free-energy surfaces",
    "kinetics": "slow rates",
}


def more(pair: Pair, blocks: float) -> str:
    """ "about 300 ns more of the reference", for so many blocks in all."""
    missing = blocks - pair.first.count
    if not missing > 0 or not math.isfinite(missing):
        return ""
    length = missing * pair.first.time
    if pair.physical:
        return f"about {float(f'{length / 1000:.1g}'):g} ns more of the reference"
    return f"about {missing / max(pair.first.count, 1) + 1:.1f} times as much of the reference"


def other_way(fewer: float) -> str:
    """The largest factor below 1 that would have been seen, "; the other way x 0.4"."""
    if not math.isfinite(fewer):
        return "; even its absence would not have shown"
    return "; the other way only its absence" if fewer == 0 else f"; the other way x {short(fewer)}"


def by_other(what: str, amounts: tuple[float, float, float] | None = None) -> str:
    """By what a difference is certain where the interval of a row does not show it: "by ..., x 2.1 (1.6 to 2.7)"."""
    if amounts is None:
        return f"by {what}"
    value, low, high = amounts
    return f"by {what}, x {short(value)} ({short(low)} to {short(high)})"


def head(judged: Judgement) -> str:
    """What differs, what agrees and what cannot be judged, a sentence each."""
    differing = sorted(judged.of(DIFFERS), key=lambda f: f.p)
    agreeing, grey = judged.of(AGREES), judged.of(UNKNOWN)
    if judged.mark == DIFFERS:
        parts = [f"Differs from the {judged.against}: {_joined(map(_differing, differing), len(differing))}."]
    elif judged.mark == AGREES:
        parts = [f"Agrees with the {judged.against} on all that applies."]
    else:
        parts = [f"No difference from the {judged.against} was found, but these data cannot tell all."]
    if agreeing:
        parts.append(f"Agrees on {_joined(map(_agreeing, _leading(agreeing)), len(agreeing))}.")
    if grey:
        need = next((f"; {f.need} would help" for f in grey if f.need), "")
        parts.append(f"Cannot be judged: {_joined(map(_unknown, _leading(grey)), len(grey))}{need}.")
    return " ".join(parts)


def _leading(findings: Sequence[Finding]) -> list[Finding]:
    """The findings with the one that says most of each family first."""
    first = {family: next((f for f in findings if f.name == name), None) for family, name in LEADING.items()}
    for f in findings:
        first[f.family] = first.get(f.family) or f
    chosen = [f for f in first.values() if f is not None]
    return chosen + [f for f in findings if f not in chosen]


def _joined(texts: Iterable[str], count: int) -> str:
    said = list(dict.fromkeys(texts))[:MOST]
    return "; ".join(said) + (f"; and {count - len(said)} more" if count > len(said) else "")


def _differing(f: Finding) -> str:
    text = f"{f.name} {amount(f.value, f.unit, signed=True)}" if math.isfinite(f.value) else f.name
    if f.text.startswith("by "):  # what its amount does not show
        text = f"{f.name}, {f.text.partition(';')[0]}"
    elif f.family == "surfaces" and ":" in f.text and not f.text.startswith("worst"):  # a place, with both amounts
        text = f.text.partition(";")[0]
    elif f.family == "populations":
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
    return f"{f.name} {found(f)}" if math.isfinite(f.low) and f.unit else f.name
