"""A pretrained model as the start of a training: what it decides about the settings, and which frames suit it."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, TypeVar

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.registry import Spec
from cgsurrogate.models import pretrained
from cgsurrogate.models.model import Model
from cgsurrogate.training.settings import EnergySettings, StepperSettings

TEMPERATURE = 0.01  # K
Settings = TypeVar("Settings", EnergySettings, StepperSettings)
KINDS = {StepperSettings: ("stepper",), EnergySettings: ("network", "priors")}  # settings that name what is built


def pretrained_model(name: str | Path, kind: str) -> Model:
    """A bundled model by its name, or one of the user's own: a folder with both kinds, or that of one of them.

    Args:
        kind: "stepper" or "energy".

    Raises:
        FileNotFoundError: there is none.
        ValueError: the folder holds a model of the other kind.
    """
    return Model.load(pretrained.model_folder(name, kind))


def started(settings: Settings, start: Model, said: Collection[str] = ()) -> Settings:
    """The settings with the kinds and options of the model.

    Args:
        said: the names of settings that count as asked for although they are the defaults.

    Raises:
        ValueError: the settings ask for other kinds.
    """
    usual = type(settings)()
    implied: dict[str, Any] = {}
    for field in KINDS[type(settings)]:
        specs = [term.spec for term in _terms(start) if term.spec.family.startswith(field.rstrip("s"))]
        wanted = getattr(settings, field)
        if (field in said or wanted != getattr(usual, field)) and not _agree(wanted, specs):
            shown = wanted if isinstance(wanted, str) else ", ".join(wanted)
            raise ValueError(
                f"{field} {shown} is not what the pretrained model has ({', '.join(map(_text, specs))}); leave it out, "
                "or train without --from"
            )
        texts = tuple(map(_text, specs))
        implied[field] = texts if isinstance(wanted, tuple) else texts[0]
    return dataclasses.replace(settings, **implied)


def refuse_unlike(start: Model, every: Sequence[Frames]) -> None:
    """Frames of another temperature or mapping than those that the model was trained on, in one line."""
    frames = every[0]
    if abs(frames.temperature - start.temperature) > TEMPERATURE:
        raise ValueError(
            f"the pretrained model is of {start.temperature:g} K, the frames of {frames.temperature:g} K; it can only "
            "start a training at its own temperature"
        )
    known, own = start.info.get("mapping", ""), {f.provenance.mapping for f in every if f.provenance.mapping}
    if known and own - {known}:
        raise ValueError(
            f"the pretrained model is of the mapping {known}, the frames of {', '.join(sorted(own))}; map them with "
            f"--mapping {known}"
        )
    transfers = all(getattr(term, "transfers", False) for term in _terms(start))
    if not transfers and (len(every) > 1 or frames.beads != start.beads):
        raise ValueError("the pretrained model belongs to one molecule, and the frames are of another; start from none")


def _terms(model: Model) -> list[Any]:
    return list(model.module.terms) if isinstance(model.module, Sum) else [model.module]


def _agree(wanted: str | tuple[str, ...], specs: Sequence[Spec]) -> bool:
    """Whether all kinds, and the options that are given with them, are those of the specs."""
    texts = (wanted,) if isinstance(wanted, str) else wanted
    asked = [registry.parse(text) for text in texts]
    return len(asked) == len(specs) and all(
        name == spec.name and options.items() <= dict(spec.options).items()
        for (name, options), spec in zip(asked, specs, strict=True)
    )


def _text(spec: Spec) -> str:
    """``name:key=value,...``, which builds the same again."""
    options = ",".join(f"{key}={value}" for key, value in spec.options.items() if value is not None)
    return f"{spec.name}:{options}" if options else spec.name
