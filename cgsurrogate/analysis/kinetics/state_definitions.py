"""States that a user names by conditions on collective variables, such as ``folded=RMSD<0.2``."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Collection, Mapping, Sequence

import numpy as np

FORM = "expected a state as NAME=VARIABLE<NUMBER or NAME=VARIABLE>NUMBER, several conditions joined by &"


@dataclasses.dataclass(frozen=True)
class Condition:
    """One bound on one collective variable; degrees where that is an angle."""

    variable: str
    above: bool
    bound: float

    def __str__(self) -> str:
        return f"{self.variable}{'>' if self.above else '<'}{self.bound:g}"


@dataclasses.dataclass(frozen=True)
class StateDefinition:
    """A state: the frames that meet every condition."""

    name: str
    conditions: tuple[Condition, ...]

    def __post_init__(self) -> None:
        if not self.name or not self.conditions:
            raise ValueError(f"{FORM}, got name {self.name!r} and {len(self.conditions)} conditions")

    def __str__(self) -> str:
        return f"{self.name}={'&'.join(map(str, self.conditions))}"


def parse(text: str) -> StateDefinition:
    """``helix=phi 2<-30&helix>0.6`` -> the state; angles are in degrees.

    Raises:
        ValueError: it is not written that way.
    """
    name, equals, rest = text.partition("=")
    if not equals or not name.strip() or re.search(r"[<>&]", name):
        raise ValueError(f"{FORM}, got {text[:100]!r}")
    return StateDefinition(name.strip(), tuple(_condition(part, text) for part in rest.split("&")))


def _condition(part: str, text: str) -> Condition:
    match = re.fullmatch(r"\s*([^<>=]*[^<>=\s])\s*([<>])\s*([^<>=]+)", part)
    try:
        bound = float(match[3]) if match else math.nan
    except ValueError:
        bound = math.nan
    if match is None or not math.isfinite(bound):
        raise ValueError(f"{FORM}, got {part.strip()[:60]!r} in {text[:100]!r}")
    return Condition(match[1], match[2] == ">", bound)


def parse_all(texts: Sequence[str]) -> tuple[StateDefinition, ...]:
    """Several states, each with a name of its own."""
    states = tuple(parse(text) for text in texts)
    names = [state.name for state in states]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"expected a name of its own for every state, got {twice!r} twice; join conditions with &")
    return states


def with_complement(
    states: Sequence[StateDefinition], columns: Mapping[str, np.ndarray], angles: Collection[str] = ()
) -> tuple[StateDefinition, ...]:
    """A single state of one condition, and what it leaves, as "not NAME", where there is any; others as they are."""
    if len(states) != 1 or len(states[0].conditions) != 1:
        return tuple(states)
    (one,) = states
    condition = dataclasses.replace(one.conditions[0], above=not one.conditions[0].above)
    rest = StateDefinition(f"not {one.name}", (condition,))
    return (one, rest) if inside(rest, columns, angles).any() else (one,)


def labels(
    states: Sequence[StateDefinition], columns: Mapping[str, np.ndarray], angles: Collection[str] = ()
) -> np.ndarray:
    """(T,) int8, number of the first state whose conditions a frame meets, -1 for none.

    Args:
        columns: (T,) values by name, as the states name them (capitals do not matter).
        angles: names of the columns that are angles in radians.
    """
    if not columns:
        raise ValueError("expected at least one collective variable to define states by, got none")
    result = np.full(len(next(iter(columns.values()))), -1, np.int8)
    for number in range(len(states) - 1, -1, -1):
        result[inside(states[number], columns, angles)] = number
    return result


def inside(state: StateDefinition, columns: Mapping[str, np.ndarray], angles: Collection[str] = ()) -> np.ndarray:
    """(T,) whether each frame meets every condition."""
    good: np.ndarray | None = None
    for condition in state.conditions:
        name = _known(condition.variable, columns, state)
        bound = math.radians(condition.bound) if name in angles else condition.bound
        met = columns[name] > bound if condition.above else columns[name] < bound
        good = met if good is None else good & met
    assert good is not None
    return good


def check(states: Sequence[StateDefinition], columns: Mapping[str, np.ndarray], angles: Collection[str] = ()) -> None:
    """That every state is visited, and that no frame lies in two, in the reference.

    Raises:
        ValueError: one is not, or two overlap.
    """
    seen: list[tuple[StateDefinition, np.ndarray]] = []
    for state in states:
        mask = inside(state, columns, angles)
        if not mask.any():
            reached = _ranges(state, columns, angles)
            raise ValueError(f"no frame of the reference is in {state}{reached}; move the bound")
        for other, earlier in seen:
            both = int((mask & earlier).sum())
            if both:
                raise ValueError(
                    f"{other} and {state} overlap in {both} of {len(mask)} frames of the reference;"
                    " move the bounds apart"
                )
        seen.append((state, mask))


def check_variables(states: Sequence[StateDefinition], known: Collection[str]) -> None:
    """That every condition names one of the ``known`` collective variables.

    Raises:
        ValueError: one does not.
    """
    for state in states:
        for condition in state.conditions:
            _known(condition.variable, known, state)


def _known(variable: str, columns: Collection[str], state: StateDefinition) -> str:
    if variable in columns:
        return variable
    lowered = {name.lower(): name for name in columns}
    if variable.lower() in lowered:
        return lowered[variable.lower()]
    near = difflib.get_close_matches(variable.lower(), lowered, 1)
    hint = f"; did you mean {lowered[near[0]]!r}?" if near else ""
    raise ValueError(
        f"no collective variable {variable!r} for the state {state.name!r}, there are {', '.join(columns)}{hint}"
    )


def _ranges(state: StateDefinition, columns: Mapping[str, np.ndarray], angles: Collection[str]) -> str:
    """What its variables reach, as " (RMSD is 0.05 to 0.9)"."""
    texts = []
    for name in dict.fromkeys(_known(c.variable, columns, state) for c in state.conditions):
        low, high = float(np.min(columns[name])), float(np.max(columns[name]))
        if name in angles:
            low, high = math.degrees(low), math.degrees(high)
        texts.append(f"{name} is {low:.3g} to {high:.3g}")
    return f" ({', '.join(texts)})"
