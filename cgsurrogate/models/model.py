"""A model in a folder: ``model.json`` says what to build, ``weights.safetensors`` fills it. No pickle."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from cgsurrogate.core import devices, filesystem, registry
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.models import residue_extrapolation
from cgsurrogate.models.extrapolation import Extrapolation
from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation

MODEL, WEIGHTS, FORMAT = "model.json", "weights.safetensors", 2
EXTRAPOLATION = "extrapolation.safetensors"
FAMILIES = ("priors", "networks", "steppers")


@dataclasses.dataclass(frozen=True, eq=False)
class Model:
    """An energy or a stepper, bound to one molecule at one temperature (K).

    ``info`` is for people and for watching a simulation: training figures, held-out runs, closest approach.
    ``extrapolation`` scores how far frames are from what the model was trained on; None where that was not made.
    """

    module: Energy | Stepper
    beads: Beads
    temperature: float
    info: dict[str, Any] = dataclasses.field(default_factory=dict)
    extrapolation: Extrapolation | ResidueExtrapolation | None = None

    @property
    def is_stepper(self) -> bool:
        return isinstance(self.module, Stepper)

    @property
    def training_notes(self) -> tuple[str, ...]:
        """What its training warned of, in words."""
        return tuple(self.info.get("training", {}).get("notes", ()))

    @property
    def trained_on(self) -> tuple[int, ...]:
        """Fingerprints of some of the frames that it was trained on; none where it does not know."""
        return tuple(self.info.get("training", {}).get("fingerprints", ()))

    @property
    def digest(self) -> str:
        """sha256 of its recipes and weights: the same for the same energy or stepper, wherever it is stored."""
        made = hashlib.sha256(json.dumps(self._recipes()).encode())
        for name, value in sorted(self.module.state_dict().items()):
            made.update(name.encode())
            made.update(value.detach().cpu().contiguous().numpy().tobytes())
        return made.hexdigest()

    def _recipes(self) -> list[dict[str, Any]]:
        terms: Iterable[Any] = self.module.terms if isinstance(self.module, Sum) else [self.module]
        return [dataclasses.asdict(term.spec) for term in terms]

    def _repr_html_(self) -> str:
        kind = "time-stepper" if self.is_stepper else "force field"
        count = sum(p.numel() for p in self.module.parameters())
        return f"<b>Model</b>: {kind} of {len(self.beads)} beads at {self.temperature:g} K, {count:,} weights"

    def save(self, folder: str | Path) -> Path:
        """Write all that ``load`` needs to give the same numbers."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {
            "format": FORMAT,
            "kind": "stepper" if self.is_stepper else "energy",
            "recipes": self._recipes(),
            "temperature": self.temperature,
            "beads": dataclasses.asdict(self.beads),
            "weights": _store(folder / WEIGHTS, self.module.state_dict()),
            "info": self.info,
        }
        if self.extrapolation is not None:
            stored = _store(folder / EXTRAPOLATION, self.extrapolation.tensors())
            content["extrapolation"] = {**stored, "about": self.extrapolation.about}
        if isinstance(self.module, Stepper):
            content["lag"], content["lags"] = self.module.lag, list(self.module.lags)
        filesystem.write_json(folder / MODEL, content)
        return folder

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Model:
        """Read a model, to be computed on a device; its weights are checked against the recorded sha256.

        Raises:
            FileNotFoundError: there is no model at this place.
            ValueError: the weights changed since they were written, or do not fit what is built; a kind in a Python
                file that the user has not named (``registry.trust``); a device that is not there.
        """
        folder, place = Path(folder), devices.chosen(device)
        if not (folder / MODEL).exists():
            raise FileNotFoundError(f"{folder} holds no {MODEL}; make a model with: cgsurrogate train energy|stepper")
        content = filesystem.read_json(folder / MODEL)
        try:
            if content["format"] != FORMAT:
                raise ValueError(f"expected a model of format {FORMAT}, got {content['format']}; train it again")
            beads = Beads.from_dict(content["beads"])
            built = [_built(recipe, beads, folder / MODEL) for recipe in content["recipes"]]
            module = Sum(*built) if content["kind"] == "energy" else built[0]
            _fill(module, _restore(folder, content["weights"]))
            found = content.get("extrapolation", content.get("novelty"))  # its name of before
            known = None if found is None else _extrapolation(beads, folder, found)
        except (KeyError, TypeError, json.JSONDecodeError, safetensors.SafetensorError, RuntimeError) as error:
            raise ValueError(f"{folder} is not a model that this version can read: {error}") from None
        if isinstance(module, Stepper):
            module.lags, module.lag = tuple(content["lags"]), content["lag"]
        module.eval().to(place)
        return cls(module, beads, float(content["temperature"]), content.get("info", {}), known)


def compose(beads: Beads, recipes: list[tuple[str, str, dict[str, Any]]]) -> Sum:
    """The sum of energies built from (family, name, options)."""
    return Sum(*(registry.build(family, name, beads, **options) for family, name, options in recipes))


def _built(recipe: dict[str, Any], beads: Beads, origin: Path) -> Any:
    """A term of a stored model. No Python file is run that the user has not named."""
    if recipe["family"] not in FAMILIES:
        raise ValueError(f"{origin} names {recipe['family']!r}; expected one of {', '.join(FAMILIES)}")
    name = registry.stored(recipe["name"], origin)
    try:
        return registry.build(recipe["family"], name, beads, **recipe["options"])
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None


def _extrapolation(beads: Beads, folder: Path, entry: dict[str, Any]) -> Extrapolation | ResidueExtrapolation:
    of_residues = entry["about"].get("kind") == residue_extrapolation.KIND
    kind = ResidueExtrapolation if of_residues else Extrapolation
    return kind.build(beads, _restore(folder, entry), entry["about"])


def _store(path: Path, tensors: dict[str, Any]) -> dict[str, str]:
    """Write tensors; the name and sha256 of the file."""
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with filesystem.replacing(path) as handle:
        handle.write(safetensors.torch.save(plain))
    return {"file": path.name, "sha256": filesystem.sha256(path)}


def _restore(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a file, checked against its sha256."""
    path = folder / Path(entry["file"]).name
    filesystem.verify(path, entry["sha256"], "restore it or train again")
    return safetensors.torch.load_file(path)


def _fill(module: Energy | Stepper, tensors: dict[str, Any]) -> None:
    """Load a state dict whose buffers may have got their size by fitting."""
    for name, value in tensors.items():
        path, _, last = name.rpartition(".")
        owner = module.get_submodule(path)
        present = getattr(owner, last, None)
        if present is not None and present.shape != value.shape and last in owner._buffers:
            setattr(owner, last, value.clone())
    module.load_state_dict(tensors)
