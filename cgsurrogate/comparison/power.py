"""What a verdict could tell, before there is anything to judge: a judgement of reference data against reference data.

Its findings know the smallest errors that they would have shown; what was found does not matter.
"""

from __future__ import annotations

import math

from cgsurrogate.comparison.judgement import NOT_APPLICABLE, Finding, Judgement
from cgsurrogate.comparison.verdict import words
from cgsurrogate.comparison.wording import amount, size

SHOWN = {"geometry": "bond angles", "shape": "temperature"}  # the one finding that stands for its family
RATES, POPULATIONS = "kinetics", "populations"
LARGE = 10.0  # times as many data, beyond which they are not counted out


def lines(judged: Judgement, time: float) -> tuple[str, ...]:
    """What would show, what would not, and how much more data it takes.

    Args:
        time: ps that the reference is long; nan without an order in time.
    """
    known = [f for f in judged.findings if math.isfinite(f.detectable) and f.unit]
    found = []
    shown = [*_leading(known), *_rates(known), *_populations(known)]
    if shown:
        found.append(f"would show, in 80 of 100 cases: {', '.join(shown)}")
    hidden = ["some slow states" if _slow(f) else f.name for f in known if words.other_way(math.nan) in f.text]
    if hidden:
        found.append(f"would not show even the absence of {', '.join(dict.fromkeys(hidden))}")
    unjudged = [f for f in judged.findings if not math.isfinite(f.low) and not math.isfinite(f.detectable) and f.text]
    for text in dict.fromkeys(f.text for f in unjudged):
        names = ", ".join(f.name for f in unjudged if f.text == text)
        mark = (
            "does not apply to" if all(f.mark == NOT_APPLICABLE for f in unjudged if f.text == text) else "cannot judge"
        )
        found.append(f"{mark} {names}: {text.replace('the reference', 'the held-out part')}")
    return (*found, *_needs(judged, known, time))


def _leading(known: list[Finding]) -> list[str]:
    return [f"{f.name} {amount(f.detectable, f.unit)}" for f in known if SHOWN.get(f.family) == f.name]


def _rates(known: list[Finding]) -> list[str]:
    factors = [f.detectable for f in known if f.family == RATES]
    return [f"rates {amount(max(factors), 'x')}"] if factors else []


def _populations(known: list[Finding]) -> list[str]:
    """Populations by name; of the slow states that a verdict finds itself, whose letters say nothing, the range."""
    named = [f for f in known if f.family == POPULATIONS and not _slow(f)]
    slow = sorted(f.detectable for f in known if f.family == POPULATIONS and _slow(f))
    found = [f"population of {f.name} {amount(f.detectable, f.unit)}" for f in named]
    return [*found, f"populations of slow states {_range(slow, 'x')}"] if slow else found


def _slow(finding: Finding) -> bool:
    return finding.name.startswith("state ")


def _range(values: list[float], unit: str) -> str:
    low, high = (amount(value, unit) for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _needs(judged: Judgement, known: list[Finding], time: float) -> list[str]:
    """How much more has to be held out where nothing is judged, and for each error that is tolerable to show."""
    blocked = [f for f in judged.findings if not math.isfinite(f.detectable) and f.need]
    if blocked:
        need = blocked[0].need.replace(" more of the reference", "").replace("as much of the reference", "as much")
        return [f"hold out more (--held-out), or add {need}"]
    wide: dict[str, list[float]] = {}
    for f in known:
        if f.family in (POPULATIONS, RATES) or SHOWN.get(f.family) == f.name:
            name = "slow states" if f.family == POPULATIONS and _slow(f) else f.name
            wide.setdefault(f"{amount(f.tolerance, f.unit)} in {name}", []).append(_times(f))
    found = []
    for what, ratios in wide.items():
        more = [ratio - 1 for ratio in ratios if ratio > 1.1]
        if more and max(more) <= LARGE:
            found.append(f"{what}: {_more(max(more), time)}")
        elif more:
            found.append(f"{what}: more than {LARGE:g} times as much")
    return [f"to be held out in addition, to show {'; '.join(found)}"] if found else []


def _more(share: float, time: float) -> str:
    if not math.isfinite(time):
        return f"{1 + share:.1f} times as much"
    return f"about {float(f'{share * time / 1000:.1g}'):g} ns"


def _times(finding: Finding) -> float:
    """How many times as much data bring the smallest visible error down to what is tolerable: errors fall as 1/sqrt."""
    wanted = size(finding.tolerance, finding.unit)
    return (size(finding.detectable, finding.unit) / wanted) ** 2 if wanted > 0 else math.nan
