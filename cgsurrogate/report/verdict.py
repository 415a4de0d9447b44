"""The verdict on the page: the sentence of each surrogate, and the tables of what was judged. Plain text in cells."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from cgsurrogate.comparison import summary, wording
from cgsurrogate.comparison.comparison import Comparison, Ensemble
from cgsurrogate.comparison.judgement import DIFFERS, FAMILIES, NOT_APPLICABLE, UNKNOWN, Finding, Judgement
from cgsurrogate.report import captions, marks, numbers, tables

SMALL = ("floor", "baseline")  # roles whose columns are in small letters
FAILED = {
    "bonds": "a broken bond",
    "chirality": "a residue of the wrong chirality",
    "closest approach": "beads closer than half of the reference\u2019s least distance",
}
OLDER = "The sentence rests on distances alone. What else can be judged: cgsurrogate compare"


@dataclasses.dataclass(frozen=True)
class Answer:
    """The answer to one question about one ensemble: its mark, how that is drawn, and the sentence."""

    question: str
    state: str
    word: str
    text: str


@dataclasses.dataclass(frozen=True)
class Entry:
    """What the head of the page says of an ensemble: the first answer is large, the others small.

    ``failed`` holds the (state, text) of every check of its structure that fails.
    """

    name: str
    role: str
    answers: tuple[Answer, ...]
    failed: tuple[tuple[str, str], ...] = ()
    warning: str = ""


@dataclasses.dataclass(frozen=True)
class Judged:
    """A cell: how its mark is drawn ("" for none), the error found, and lines in small letters."""

    state: str
    text: str
    lines: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that is judged, or the head of a family, with a cell a column."""

    name: str
    under: str
    cells: tuple[Judged, ...]
    family: bool = False


@dataclasses.dataclass(frozen=True)
class Findings:
    """A table of findings; ``head`` holds (name, role, whether in small letters) of each column."""

    title: str
    summary: str
    head: tuple[tuple[str, str, bool], ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def entries(comparison: Comparison) -> list[Entry]:
    """Of every surrogate, then of the training runs; the training runs come first where they differ."""
    found = [_surrogate(one, comparison) for one in comparison.others if one.role == "surrogate"]
    for one in comparison.others:
        if one.role != "floor" or one.judgement is None:
            continue
        wrong = one.judgement.mark == DIFFERS
        asked = "Do the training runs agree with the held-out ones?"
        warning = f"{summary.TRAINING_DIFFERS[:1].upper()}{summary.TRAINING_DIFFERS[1:]}." if wrong else ""
        entry = Entry(one.name, one.role, (_answer(asked, one.judgement),), warning=warning)
        found = [entry, *found] if wrong else [*found, entry]
    return found


def _surrogate(one: Ensemble, comparison: Comparison) -> Entry:
    if one.judgement is None:
        said = " ".join(summary.said_of(one, comparison.ensembles, comparison.verdict))
        answers = [Answer(OLDER, "unknown", "not judged", said)]
    else:
        answers = [_answer(f"Does it agree with the {one.judgement.against}?", one.judgement)]
    if one.learned is not None:
        answers.append(_answer("Did it learn its training data?", one.learned))
    return Entry(one.name, one.role, tuple(answers), failures(one))


def failures(one: Ensemble) -> tuple[tuple[str, str], ...]:
    """The (state, text) of every check of its structures that fails."""
    checks = ((name, check, marks.broken(check)) for name, check in one.geometry.items())
    return tuple((state, _failed(name, check, one)) for name, check, state in checks if state)


def _answer(question: str, judgement: Judgement) -> Answer:
    return Answer(question, marks.STATES[judgement.mark], judgement.mark, judgement.head)


def _failed(name: str, check: dict[str, Any], one: Ensemble) -> str:
    count = next(check[key] for key in ("bad frames", "below half") if check.get(key))
    worst = f" (worst: {check['worst']})" if check.get("worst") else ""
    return f"{count:,} of {one.frames_count:,} frames have {FAILED.get(name, f'bad {name}')}{worst}."


def judged(comparison: Comparison) -> Findings | None:
    """What was judged against the reference: surrogates, then in small letters training runs and baselines."""
    return _findings("What was judged", comparison, ("surrogate", *SMALL), lambda one: one.judgement)


def learned(comparison: Comparison) -> Findings | None:
    """The same against the training runs."""
    title = "What was judged against the training runs"
    return _findings(title, comparison, ("surrogate",), lambda one: one.learned)


def _findings(
    title: str, comparison: Comparison, roles: Sequence[str], of: Callable[[Ensemble], Judgement | None]
) -> Findings | None:
    found = [(one, of(one)) for role in roles for one in comparison.others if one.role == role]
    drawn = [(one, own) for one, own in found if own is not None]
    rows: list[Row] = []
    for family in FAMILIES:
        names = dict.fromkeys(f.name for _, own in drawn for f in own.findings if f.family == family)
        if names:
            rows.append(Row(family, "", tuple(_together(own, family) for _, own in drawn), family=True))
        for name in names:
            given = [next((f for f in own.findings if (f.family, f.name) == (family, name)), None) for _, own in drawn]
            rows.append(Row(name, _allowed(given), tuple(map(_cell, given))))
    if not rows:
        return None
    head = tuple((one.name, tables.CALLED.get(one.role, one.role), one.role in SMALL) for one, _ in drawn)
    said = "; ".join(f"{one.name}: {wording.counts(own.findings)}" for one, own in drawn)
    return Findings(title, said, head, tuple(rows), _notes(drawn))


def _together(own: Judgement, family: str) -> Judged:
    """The p of a family as a whole; the cross where it is what makes the ensemble differ."""
    p = own.p.get(family, math.nan)
    return Judged("differs" if p <= own.level else "", wording.p_value(p))


def _allowed(given: Sequence[Finding | None]) -> str:
    """The error that is small enough, where it is the same for all."""
    limits = {wording.amount(f.tolerance, f.unit) for f in given if f is not None and math.isfinite(f.tolerance)}
    return typeset(f"small enough: {limits.pop()}") if len(limits) == 1 else ""


def _cell(finding: Finding | None) -> Judged:
    if finding is None:
        return Judged("", numbers.DASH)
    if finding.mark == NOT_APPLICABLE:
        return Judged("", numbers.DASH, (finding.text or NOT_APPLICABLE,))
    amount, first = typeset(wording.found(finding)), ""
    if finding.mark == UNKNOWN:  # the word comes first: no number is to be read as a result
        amount, first = UNKNOWN, f"found {amount}" if amount else ""
    elif finding.mark == DIFFERS:
        first = wording.p_value(finding.p)
    lines = (first, typeset(wording.would_show(finding)), finding.text, wording.need(finding))
    return Judged(marks.STATES[finding.mark], amount or finding.mark, tuple(line for line in lines if line))


def typeset(text: str) -> str:
    """An amount as a page shows it; a line is not broken within it, but before its interval."""
    for plain, drawn in (("x ", "\u00d7\u00a0"), (" degrees", "\u00b0"), (" degree", "\u00b0"), ("-", "\u2212")):
        text = text.replace(plain, drawn)
    return re.sub(r"(?<=\d) (?=K|kT|kJ|pm|sd|%|to|or)|(?<=to) ", "\u00a0", text)


def _notes(drawn: Sequence[tuple[Ensemble, Judgement]]) -> tuple[str, ...]:
    """What the judgements note; once where they all note it. Then the independent blocks that each rests on."""
    said: dict[str, list[str]] = {}
    for one, own in drawn:
        for note in own.notes:
            said.setdefault(note, []).append(one.name)
    notes = [text if len(names) == len(drawn) else f"{numbers.joined(names)}: {text}" for text, names in said.items()]
    blocks = [f"{one.name} {own.blocks[-1]} against {own.blocks[0]}" for one, own in drawn if len(own.blocks) == 2]
    if blocks:
        notes.append(f"Independent blocks that the slow figures rest on: {'; '.join(blocks)}.")
    return tuple(notes)


def made(comparison: Comparison) -> str:
    """How the verdict is made, by the level of its judgements; nothing where there is none."""
    levels = [own.level for one in comparison.others for own in (one.judgement, one.learned) if own is not None]
    return captions.VERDICT.format(level=f"{100 * levels[0]:.2g} %") if levels else ""
