"""Numbers as a reader takes them in: times in their own unit, shares in per cent, intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cgsurrogate.analysis.results import Estimate, StateKinetics
from cgsurrogate.comparison.wording import DASH, digits

__all__ = ["DASH", "at", "digits", "duration", "interval", "joined", "percent", "process", "rate", "seconds", "unit"]

UNITS = (("ps", 1.0), ("ns", 1e3), ("\u00b5s", 1e6), ("ms", 1e9))
RATES = (("ps", 1e-3), ("ns", 1.0), ("\u00b5s", 1e3), ("ms", 1e6))


def unit(longest: float, least: float = 2.0) -> tuple[str, float]:
    """("ns", 0.001) for times up to ``longest`` ps: the largest unit of which they are ``least``, its factor to ps."""
    found = UNITS[0]
    for one in UNITS[1:]:
        if math.isfinite(longest) and longest >= least * one[1]:
            found = one
    return found[0], 1 / found[1]


def at(values: Estimate, *place: int) -> tuple[float, float, float]:
    """(value, low, high) of one of the numbers."""
    return float(values.value[place]), float(values.low[place]), float(values.high[place])


def interval(low: float, high: float, scale: float = 1.0) -> str:
    """ "2.1 to 5"; nothing where either end is unknown."""
    return f"{digits(low * scale)} to {digits(high * scale)}" if math.isfinite(low) and math.isfinite(high) else ""


def duration(value: float, low: float = math.nan, high: float = math.nan) -> tuple[str, str]:
    """A time in ps and its interval, both in the unit that suits the value: ("3.2 ns", "2.1 to 5")."""
    if not math.isfinite(value):
        return DASH, ""
    name, scale = unit(value, 1.0)
    return f"{digits(value * scale)} {name}", interval(low, high, scale)


def rate(value: float, low: float = math.nan, high: float = math.nan) -> tuple[str, str]:
    """A rate in 1/ns and its interval, both in the unit that suits the value: ("1.2/\u00b5s", "0.5 to 2.5")."""
    if not math.isfinite(value):
        return DASH, ""
    name, scale = next(((n, f) for n, f in RATES if value * f >= 0.1), RATES[-1] if value else RATES[0])
    return f"{digits(value * scale)}/{name}", interval(low, high, scale)


def seconds(value: float) -> str:
    """Wall time: "12 s", "3.5 min" or "2.1 h"."""
    if not math.isfinite(value):
        return DASH
    for limit, name, scale in ((120, "s", 1), (7200, "min", 60), (172800, "h", 3600)):
        if value < limit:
            return f"{digits(value / scale)} {name}"
    return f"{digits(value / 86400)} d"


def percent(value: float) -> str:
    if not math.isfinite(value):
        return DASH
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"


def joined(names: Sequence[str]) -> str:
    """ "a, b and c"."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def process(kinetics: StateKinetics, start: int, end: int) -> str:
    """ "folding" or "unfolding" where the states are named so, else nothing."""
    pair = (kinetics.names[start].lower(), kinetics.names[end].lower())
    return {("unfolded", "folded"): "folding", ("folded", "unfolded"): "unfolding"}.get(pair, "")
