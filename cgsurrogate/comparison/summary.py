"""A comparison as text for a terminal: a table of its figures, the verdict with what was judged, and a few lines."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from cgsurrogate.analysis.results import Estimate
from cgsurrogate.comparison import wording
from cgsurrogate.comparison.dynamics import NAMED
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.comparison.judgement import DIFFERS, Judgement

MOST_LINES, MOST_NAME = 10, 40
ROLES = {"floor": "the training data themselves", "baseline": "baseline"}
TRAINING_DIFFERS = (
    "the training runs themselves differ from the held-out ones, so no surrogate that learned from them can be expected"
    " to agree"
)


def table(ensembles: Sequence[Ensemble]) -> str:
    """One row a figure, one column an ensemble. It describes; whether an ensemble differs is for ``verdict``."""
    reference, *others = ensembles
    if not others:
        return "nothing to compare with the reference"
    head = ["Jensen-Shannon distance", "floor", "floor 95 %", *(one.name for one in others)]
    rows = [head]
    for name, d in others[0].distances.items():
        values = (_number(one.distances[name].value) for one in others)
        rows.append([name, _number(d.floor), _number(d.floor_high), *values])
    if any(one.timescales is not None for one in ensembles):
        rows.append(["slowest timescale (ps)", _slowest(reference), "", *(_slowest(one) for one in others)])
    rows += _named_states(reference, others)
    for label, part in (("broken bonds (frames)", "bonds"), ("wrong chirality (frames)", "chirality")):
        if any(part in one.geometry for one in others):
            rows.append([label, "", "", *(str(one.geometry.get(part, {}).get("bad frames", 0)) for one in others)])
    rows.append(["frames", str(reference.frames_count), "", *(str(one.frames_count) for one in others)])
    lines = list(_columns(rows, "<" + ">" * (len(head) - 1)))
    lines.insert(1, "-" * len(lines[0]))
    lines.append("floor: what an independent all-atom sample would show; below the distances it is the reference")
    return "\n".join(lines)


def _named_states(reference: Ensemble, others: Sequence[Ensemble]) -> Iterable[list[str]]:
    """Populations of states that a user named, free energies above the first one, and rates where any is known."""
    found = [one.states.get(NAMED) for one in (reference, *others)]
    if (first := found[0]) is None:
        return
    names, pairs = first.names, list(itertools.permutations(range(len(first.names)), 2))
    wanted: list[tuple[str, str, tuple[int, ...]]] = [
        (f"P({name})", "populations", (k,)) for k, name in enumerate(names)
    ]
    wanted += [(f"{name} above {names[0]} (kJ/mol)", "free_energies", (k,)) for k, name in enumerate(names) if k]
    wanted += [(f"{names[i]} to {names[j]} (1/ns)", "rates", (i, j)) for i, j in pairs]
    for label, field, place in wanted:
        cells = ["-" if one is None else _estimate(getattr(one, field), place, one.physical) for one in found]
        if field != "rates" or set(cells) != {"-"}:
            yield [label, cells[0], "", *cells[1:]]


def _estimate(found: Estimate, place: tuple[int, ...], physical: bool) -> str:
    value, low, high = (float(numbers[place]) for numbers in (found.value, found.low, found.high))
    if not math.isfinite(value):
        return "-"
    text = f"{value:.3g}" + (f" ({low:.3g} to {high:.3g})" if math.isfinite(low) else "")
    return text if physical or len(place) == 1 else text + " not physical"


def _columns(rows: Sequence[Sequence[str]], sides: str) -> Iterable[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True))


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "?"


def _slowest(one: Ensemble) -> str:
    times = one.timescales
    if times is None or not np.isfinite(times.values[:, 0]).any():
        return "-"
    k = int(np.flatnonzero(np.isfinite(times.values[:, 0]))[-1])
    text = f"{times.values[k, 0]:.3g}"
    if np.isfinite(times.low[k, 0]):
        text += f" ({times.low[k, 0]:.3g}-{times.high[k, 0]:.3g})"
    return text if times.physical else text + " not physical"


def verdict(ensembles: Sequence[Ensemble], sentences: Sequence[str]) -> str:
    """For each surrogate the sentence to quote and what was judged; then the training runs and the baselines.

    Args:
        sentences: of the comparison; they stand where a surrogate has no judgement.
    """
    found = []
    for one in (e for e in ensembles if e.role == "surrogate"):
        if one.judgement is None:
            found += said_of(one, ensembles, sentences)
        else:
            found += [f"{one.name}: {wording.sentence(one.judgement)}", *_findings(one.judgement)]
        if one.learned is not None:
            found.append(f"  against its {one.learned.against}: {wording.sentence(one.learned)}")
    for one, judged in ((e, e.judgement) for role in ROLES for e in ensembles if e.role == role):
        if judged is None:
            continue
        found.append(f"{one.name} ({ROLES[one.role]}): {wording.sentence(judged)}")
        if one.role == "floor" and judged.mark == DIFFERS:
            found.append(f"  {TRAINING_DIFFERS}")
    return "\n".join(found)


def said_of(one: Ensemble, ensembles: Sequence[Ensemble], sentences: Sequence[str]) -> list[str]:
    """The sentences that begin with the name of an ensemble, or the one at its place among the surrogates."""
    surrogates = [e for e in ensembles if e.role == "surrogate"]
    named = [text for text in sentences if text.startswith(f"{one.name}:")]
    if named or len(sentences) != len(surrogates):
        return named
    text = sentences[next(k for k, e in enumerate(surrogates) if e is one)]
    return [] if any(text.startswith(f"{e.name}:") for e in surrogates) else [text]


def _findings(judgement: Judgement) -> list[str]:
    """A line a finding, those that differ first."""
    rows = [(mark, one.name, "; ".join(wording.parts(one))) for mark in wording.ORDER for one in judgement.of(mark)]
    return [f"  {line}".rstrip() for line in _columns(rows, "<<<")] if rows else []


def brief(ensembles: Sequence[Ensemble]) -> str:
    """A line an ensemble: its mark, how many findings have which, and the distance that is furthest from its floor."""
    reference, *others = ensembles
    lines = [f"Comparison with {reference.frames_count:,} frames"]
    for one in others[:MOST_LINES]:
        text = "not judged"
        if one.judgement is not None:
            text = f"{one.judgement.mark} ({wording.counts(one.judgement.findings)})"
        floored = {name: d for name, d in one.distances.items() if d.judged}
        if floored:
            worst = max(floored, key=lambda name: floored[name].ratio)
            text += f"; {worst[:MOST_NAME]} {floored[worst].value:.3f} is {floored[worst].ratio:.1f} times its floor"
        lines.append(f"  {one.name[:MOST_NAME]} ({one.role}, {one.frames_count:,} frames): {text}")
    more = len(others) - MOST_LINES
    return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))
