"""Ladders of temperatures, from what a user says."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.core import limits, units


def geometric(lowest: float, highest: float, number: int) -> tuple[float, ...]:
    """Temperatures in K with one ratio between neighbours: even acceptance where the heat capacity is constant."""
    if not (0 < lowest < highest and math.isfinite(highest)):
        raise ValueError(f"expected a ladder from a lower to a higher temperature, got {lowest:g} K to {highest:g} K")
    if number < 2:
        raise ValueError(f"a ladder needs at least 2 temperatures, got {number}")
    return tuple(float(t) for t in np.geomspace(lowest, highest, number))


def parse(text: str, lowest: float) -> tuple[float, ...]:
    """``300:450:6`` (lowest:highest:number), or ``:450:6`` from ``lowest`` up, as temperatures in K."""
    try:
        low, high, number = text.split(":")
        values = float(low) if low.strip() else lowest, float(high), int(number)
    except ValueError:
        raise ValueError(f"expected temperatures as lowest:highest:number, e.g. 300:450:6, got {text!r}") from None
    for name, value in (("lowest", values[0]), ("highest", values[1])):
        limits.above_zero(f"the {name} temperature", value, "K", units.HOTTEST)
    limits.above_zero("the number of temperatures", values[2], "temperatures", limits.MOST_TEMPERATURES)
    return geometric(*values)
