"""A finding and a judgement in words: amounts with their unit and interval, what would have shown, the sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, NOT_APPLICABLE, UNKNOWN, Finding, Judgement

DASH = "\u2013"
FACTOR = "x"  # the unit of a finding whose amount is a factor
SIGNED = ("K", "degrees", "pm")  # units of errors that go both ways; a share does not
ORDER = (DIFFERS, UNKNOWN, AGREES, NOT_APPLICABLE)  # of the marks, as a reader wants them


def digits(value: float, places: int = 2) -> str:
    """Two (or so many) significant digits, without an exponent where that is readable; a dash where unknown."""
    if not math.isfinite(value):
        return DASH
    size = abs(value)
    if size == 0:
        return "0"
    if size < 1e-4 or size >= 1e6:
        return f"{value:.{places - 1}e}"
    rounded = float(f"{value:.{places - 1}e}")
    decimals = max(0, places - 1 - math.floor(math.log10(abs(rounded))))
    return f"{value:,.{decimals}f}"


def short(value: float) -> str:
    """Two significant digits without a nought at the end: "4", "0.3", "10"."""
    text = digits(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def amount(value: float, unit: str, signed: bool = False) -> str:
    """ "+4 K", "x 0.3", "1 degree"; a sign only if asked for and the unit has one."""
    text = short(value)
    if unit == FACTOR:
        return f"x {text}"
    sign = "+" if signed and value > 0 and unit in SIGNED else ""
    return f"{sign}{text} {'degree' if unit == 'degrees' and text == '1' else unit}".rstrip()


def found(finding: Finding) -> str:
    """The error with its 90 % interval, "+4 K (-2 to 10)"; nothing where it has no single amount."""
    value, low, high = finding.value, finding.low, finding.high
    if not math.isfinite(value):
        return ""
    if finding.unit != FACTOR and high > low and math.isfinite(high - low):  # to two digits of half the interval
        places = 1 - math.floor(math.log10((high - low) / 2))
        value, low, high = (round(number, places) + 0.0 for number in (value, low, high))
    if math.isfinite(low) and math.isfinite(high):
        bounds = f" ({short(low)} to {short(high)})"
    elif math.isfinite(low):
        bounds = f" ({short(low)} or more)"
    else:
        bounds = f" (up to {short(high)})" if math.isfinite(high) else ""
    return amount(value, finding.unit, signed=True) + bounds


def size(value: float, unit: str) -> float:
    """How large an error is: a factor and its inverse are alike."""
    if unit != FACTOR:
        return abs(value)
    return abs(math.log(value)) if value > 0 else math.inf


def would_show(finding: Finding) -> str:
    """The smallest error that the data would have shown; where that is too large to judge by, what is not shown."""
    if not math.isfinite(finding.detectable):
        return ""
    text = f"would have shown {amount(finding.detectable, finding.unit)}"
    if finding.mark == UNKNOWN and size(finding.detectable, finding.unit) > size(finding.tolerance, finding.unit):
        text += f", not {amount(finding.tolerance, finding.unit)}"
    return text


def p_value(p: float) -> str:
    """ "p = 0.003"; nothing where it is unknown."""
    if not math.isfinite(p):
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.{3 if p < 0.1 else 2}f}"


def need(finding: Finding) -> str:
    """ "needed: about 300 ns more", where it cannot be judged."""
    return f"needed: {finding.need}" if finding.need and finding.mark == UNKNOWN else ""


def parts(finding: Finding) -> tuple[str, ...]:
    """All that is said of a finding, without its mark and name: the error, p if it differs, the rest."""
    p = p_value(finding.p) if finding.mark == DIFFERS else ""
    said = (found(finding), p, would_show(finding), finding.text, need(finding))
    return tuple(text for text in said if text)


def sentence(judgement: Judgement) -> str:
    """The head, with the mark before it where the head does not say it."""
    head = judgement.head
    return head if judgement.mark in head.lower() else f"{judgement.mark}: {head}".rstrip(": ")


def counts(findings: Sequence[Finding]) -> str:
    """ "differs 1, cannot be judged 2, agrees 5"."""
    numbers = {mark: sum(one.mark == mark for one in findings) for mark in ORDER}
    return ", ".join(f"{mark} {number}" for mark, number in numbers.items() if number) or "nothing was judged"
