"""What ``--correct`` asks for: weights that give the rollout of a time-stepper the populations of something better."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgsurrogate.core import registry
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.models.model import Model

KIND = "reweight"
OPTIONS = {"to": str, "time": float, "states": int}
EXAMPLES = "reweight:to=FRAMES, or with --energy reweight:time=PS"


@dataclasses.dataclass(frozen=True)
class Correction:
    """Options of the reweighting, and the force field that is simulated for it (None: the target is given frames)."""

    options: dict[str, Any]
    energy: Model | None

    @property
    def about(self) -> dict[str, Any]:
        """For the provenance of the frames."""
        return {"kind": KIND, **self.options}


def make_correction(text: str, model: Model, energy: Model | None, integrator: str | None = None) -> Correction:
    """Read ``reweight:key=value`` and check that the stepper and the force field fit together.

    Raises:
        ValueError: what does not fit, and the remedy.
    """
    kind, options = registry.parse(text)
    if kind != KIND:
        raise ValueError(f"expected --correct {EXAMPLES}, got {text!r}")
    for key, value in options.items():
        if key not in OPTIONS:
            raise ValueError(f"--correct {kind} has no option {key!r}; its options are: {', '.join(OPTIONS)}")
        if OPTIONS[key] is not str and (isinstance(value, bool) or not isinstance(value, int | OPTIONS[key])):
            raise ValueError(f"--correct {kind}: expected a number for {key}, got {value!r}")
    if not model.is_stepper:
        raise ValueError("--correct is for time-steppers; a force field needs no correction by itself")
    if ("to" in options) == ("time" in options):
        raise ValueError(
            "--correct reweight needs a sample of the target: to=FRAMES (a simulation of the force field, or training "
            "frames), or with --energy time=PS, for which the force field is then simulated"
        )
    if "time" in options:
        _check_energy(energy, model)
        return Correction(options, energy)
    if energy is not None:
        raise ValueError("--correct reweight:to=FRAMES takes its target from the frames; leave --energy out")
    if integrator is not None:
        raise ValueError("--correct reweight:to=FRAMES has no integrator; leave --integrator out")
    _check_target(Frames.load(str(options["to"])), model)
    return Correction(options, None)


def _check_energy(energy: Model | None, model: Model) -> None:
    if energy is None:
        raise ValueError("--correct reweight:time=PS needs the force field that corrects: --energy FORCEFIELD")
    if energy.is_stepper:
        raise ValueError("expected a force field at --energy, got a time-stepper")
    if energy.beads != model.beads:
        raise ValueError(
            f"the force field at --energy has other beads ({len(energy.beads)}) than the stepper ({len(model.beads)}); "
            "train both on the same frames"
        )
    if abs(energy.temperature - model.temperature) > 0.01:
        raise ValueError(
            f"the force field at --energy was trained at {energy.temperature:g} K, the stepper at "
            f"{model.temperature:g} K: an energy learned from data holds at its own temperature only"
        )


def _check_target(target: Frames, model: Model) -> None:
    if target.beads != model.beads or abs(target.temperature - model.temperature) > 0.01:
        raise ValueError(
            f"reweight:to: expected frames of the stepper's {len(model.beads)} beads at {model.temperature:g} K, "
            f"got {len(target.beads)} beads at {target.temperature:g} K"
        )


def refuse_other_correction(out: Path, correction: Correction) -> None:
    """A finished rollout keeps the correction that it was made with; ValueError if that is another one."""
    if (out / MANIFEST).exists():
        there = Frames.load(out).provenance.correction
        if any(there.get(key) != value for key, value in correction.about.items()):
            raise ValueError(f"{out} holds a rollout with another correction, or none; choose another folder")


def add_weights(
    frames: Frames, target: Callable[[], Frames], start: Frames, out: Path, correction: Correction
) -> Frames:
    """Weights for a finished rollout in ``out``, unless it has them; ``start`` gives the coordinates of the states."""
    from cgsurrogate.analysis import reweighting

    if frames.weights is not None:
        return frames
    weighted = reweighting.reweight(frames, target(), reference=start, states=correction.options.get("states"))
    return reweighting.store(weighted, out)


def describe(frames: Frames) -> str | None:
    """One line about the correction of a rollout, for people; None where there was none."""
    about = frames.provenance.correction
    if not about:
        return None
    if about["kind"] != KIND:
        return str(about["kind"])
    lost = f", {about['missing']:.2g} of the target in states never visited" if about.get("missing") else ""
    return (
        f"reweighted on {about['states']} states of {about['coordinates']}, effective sample {about['effective']:.2g}"
        f" of the frames{lost}; its time is not physical"
    )
