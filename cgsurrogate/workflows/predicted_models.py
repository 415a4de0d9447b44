"""The models of a prediction: where they are, whether they fit a molecule, and how far it is from their training."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.messages import clean
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.models import pretrained, reach
from cgsurrogate.models.model import MODEL, Model
from cgsurrogate.models.reach import Reach
from cgsurrogate.workflows.inputs import mapping_builder
from cgsurrogate.workflows.simulate import of_molecule

STEPPER, FORCE_FIELD = "time-stepper", "force field"
FOLDERS = {STEPPER: "stepper", FORCE_FIELD: "force-field"}  # of a pretrained model
USUAL, MAPPING, CARD = "peptides", "backbone", "card.md"
NAMED = 4  # pairs of neighbours in a table


@dataclasses.dataclass(frozen=True)
class Sources:
    """What a prediction is made with: folders of models by ``STEPPER`` and ``FORCE_FIELD``, their card, if any, and the
    device that they simulate on."""

    folders: dict[str, Path]
    card: str = ""
    device: str = "cpu"


def chosen(
    source: str | None, stepper: Path | None = None, force_field: Path | None = None, device: str = "cpu"
) -> Sources:
    """Models by the name of a pretrained one, or by their folders.

    Args:
        source: name or folder of a pretrained model; None: ``USUAL``, unless one of the models is named.
        stepper, force_field: model folders that take the place of those of ``source``.
        device: where they simulate.

    Raises:
        FileNotFoundError: there is no such model.
    """
    named = {name: path for name, path in ((STEPPER, stepper), (FORCE_FIELD, force_field)) if path is not None}
    found, card = dict[str, Path](), ""
    if source is not None or not named:
        home = pretrained.folder(source or USUAL)
        found = {name: home / inside for name, inside in FOLDERS.items() if (home / inside / MODEL).exists()}
        if not found:
            raise FileNotFoundError(
                f"expected {home} to hold a model in {' or '.join(FOLDERS.values())}, there is none"
            )
        card = clean((home / CARD).read_text()) if (home / CARD).exists() else ""
    made = found | named
    return Sources({name: made[name] for name in FOLDERS if name in made}, card, device)


def load(folders: dict[str, Path]) -> dict[str, Model]:
    """The models by name.

    Raises:
        ValueError: a folder holds the other kind of model; they are of two temperatures or two mappings.
    """
    models = {name: Model.load(path) for name, path in folders.items()}
    for name, model in models.items():
        if model.is_stepper != (name == STEPPER):
            raise ValueError(
                f"expected a {name} in {folders[name]}, got a {FORCE_FIELD if name == STEPPER else STEPPER}"
            )
    refuse_unlike(models)
    return models


def refuse_unlike(models: dict[str, Model]) -> None:
    """Raise ``ValueError`` for models of two temperatures or two mappings."""
    for what, of in (("temperature", lambda m: m.temperature), ("mapping", mapping)):
        values = {name: of(model) for name, model in models.items()}
        if len(set(values.values())) > 1:
            said = ", ".join(f"{value} ({name})" for name, value in values.items())
            raise ValueError(f"expected models of one {what}, got {said}")


def identity(folders: dict[str, Path]) -> dict[str, str]:
    """sha256 of what each model is made of."""
    return {name: filesystem.sha256(path / MODEL) for name, path in folders.items()}


def mapping(model: Model) -> str:
    """As it was named on the command line."""
    return str(model.info.get("mapping") or MAPPING)


def mapping_of(models: dict[str, Model]) -> Callable[[Any], Any]:
    """From an mdtraj topology to the mapping that the models were trained with."""
    return mapping_builder(mapping(next(iter(models.values()))))


def bound(models: dict[str, Model], beads: Beads) -> dict[str, tuple[str, ...]]:
    """What each model takes for what it does not know of the molecule, in words.

    Raises:
        ValueError: a model belongs to one molecule, or knows nothing like a part of this one.
    """
    said = {}
    for name, model in models.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            of_molecule(model, beads)
        said[name] = tuple(dict.fromkeys(str(one.message) for one in caught))
    return said


def trained_on(model: Model) -> tuple[tuple[str, ...], ...]:
    """The sequences that a model learned from."""
    listed = model.info.get("training", {}).get("molecules")
    return tuple(tuple(str(one).split("-")) for one in listed) if listed else (reach.sequence(model.beads),)


def distance(model: Model, beads: Beads) -> Reach:
    """How far the sequence is from those of the training."""
    return Reach.of(reach.sequence(beads), trained_on(model))


def facts(model: Model, beads: Beads, instead: tuple[str, ...]) -> dict[str, str]:
    """What a reader should know of a model beside its prediction, by what it is about.

    Args:
        instead: of ``bound``.
    """
    found, frames = distance(model, beads), model.info.get("training", {}).get("frames")
    least, most = found.lengths
    count, own = len(found.trained), len(found.sequence)
    told = {
        "learned from": f"{count} molecule{'s' * (count > 1)} of {_range(least, most)} residues"
        + (f", {frames:,} frames" if frames else "")
        + f" at {model.temperature:g} K",
        "this sequence": "is among them" if found.known else "is not among them",
        "its length": f"{own} residues, {'as there' if found.as_long else 'outside of what it learned from'}",
        "its residues": f"{', '.join(found.residues)} not in training" if found.residues else "all in training",
        "its neighbours": _neighbours(found),
    }
    if isinstance(model.module, Stepper):
        told["one jump"] = f"{model.module.lag:g} ps"
    return told | ({"what it takes instead": "; ".join(instead)} if instead else {})


def _range(least: int, most: int) -> str:
    return f"{least}" if least == most else f"{least} to {most}"


def _neighbours(found: Reach) -> str:
    if not found.pairs:
        return "all beside each other in training"
    shown = ", ".join(found.pairs[:NAMED]) + (f" and {len(found.pairs) - NAMED} more" * (len(found.pairs) > NAMED))
    return f"never beside each other in training: {shown}"
