"""The head of the page of a prediction: what the models learned from, how far this molecule is from it, and where the
models disagree. Plain text in cells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from cgsurrogate.comparison import predicted
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.report import captions, model_card, numbers, verdict
from cgsurrogate.report.model_card import Block
from cgsurrogate.report.tables import Cell, Table

JUDGED = "What the models say of {name} is judged below by the reference, an all-atom simulation."
ALONE = (
    "No all-atom simulation of {name} was made, and nothing on this page is judged by one: it shows what the models "
    "say, not whether it is right."
)
FIGURES = (
    "Means over all frames; of helix, strand and the like also over the residues that have both \u03c6 and \u03c8. "
    "Timescales are known where time is physical: that of a force field is not."
)
KNOWN = "What the models know of it"
CAPTION = (
    "How far this sequence is from those that the models learned from. What they do not know they take from what is "
    "most like it; errors grow with the distance."
)
UNMEASURED = "These models came without a measured error for molecules that they never saw: take this as a first guess."


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What was predicted, and of each model by name what a reader should know, by what it is about.

    ``card`` is the text of the model card, in Markdown; empty without one.
    """

    molecule: str
    models: Mapping[str, Mapping[str, str]]
    card: str = ""


@dataclasses.dataclass(frozen=True)
class Lead:
    """What the page says first of a prediction."""

    text: str
    figures: Table
    knowledge: Table
    measured: tuple[Block, ...]
    unmeasured: str
    disagreements: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]
    card: tuple[Block, ...]


def lead(prediction: Prediction, comparison: Comparison) -> Lead:
    """Of a prediction and its simulations."""
    text = (ALONE if comparison.reference is None else JUDGED).format(name=prediction.molecule)
    card = model_card.blocks(prediction.card)
    measured = model_card.about(card, "measured")
    return Lead(
        text,
        _figures(comparison),
        _knowledge(prediction),
        measured,
        "" if measured else UNMEASURED,
        tuple(predicted.disagreements(comparison)),
        tuple(
            (state, captions.worded(f"{one.name}: {text}", comparison))
            for one in comparison.ensembles
            if one.role == "surrogate"
            for state, text in verdict.failures(one)
        ),
        card,
    )


def _figures(comparison: Comparison) -> Table:
    """What each ensemble says, in a few figures."""
    shown = [one for one in comparison.ensembles if one.role in ("reference", "surrogate")]
    found = [predicted.figures(one) for one in shown]
    rows = [
        (Cell(name), tuple(Cell(_figure(name, one.get(name, math.nan))) for one in found))
        for name in dict.fromkeys(name for one in found for name in one)
    ]
    times = (predicted.slowest(one) for one in shown)
    rows.append((Cell("slowest timescale"), tuple(Cell(*numbers.duration(*one)) for one in times)))
    return Table("In short", FIGURES, tuple((one.name, "") for one in shown), tuple(rows))


def _figure(name: str, value: float) -> str:
    return numbers.digits(value, 3) if "nm" in name else numbers.percent(value)


def _knowledge(prediction: Prediction) -> Table:
    """A row for each thing to know, a column a model."""
    rows = dict.fromkeys(about for facts in prediction.models.values() for about in facts)
    filled = tuple(
        (Cell(about), tuple(Cell(facts.get(about, numbers.DASH)) for facts in prediction.models.values()))
        for about in rows
    )
    return Table(KNOWN, CAPTION, tuple((name, "") for name in prediction.models), filled)
