"""Train a force field or a time-stepper."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgsurrogate.core import devices, registry
from cgsurrogate.core.energy import Energy, Prior, Sum
from cgsurrogate.core.fingerprints import sketch
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, Stepper
from cgsurrogate.models import reach
from cgsurrogate.models.extrapolation import Extrapolation, fit_extrapolation
from cgsurrogate.models.model import MODEL, Model, compose
from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation, fit_residue_extrapolation
from cgsurrogate.simulation.monte_carlo.block_moves import pivot_moves
from cgsurrogate.simulation.monte_carlo.pivot import can_pivot
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove
from cgsurrogate.simulation.settings import INTEGRATOR
from cgsurrogate.training import ranks
from cgsurrogate.training.force_field import train_energy, training_part
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.training.several_molecules import train_energy_together
from cgsurrogate.training.state import CHECKPOINT, History
from cgsurrogate.training.stepper import train_stepper
from cgsurrogate.workflows import pretrained
from cgsurrogate.workflows.settings import Report, silent
from cgsurrogate.workflows.training_folder import claimed


def make_energy(
    frames: Frames,
    out: Path,
    settings: EnergySettings = EnergySettings(),
    *,
    others: Sequence[Frames] = (),
    start: Model | None = None,
    report: Report = silent,
    device: str = "cpu",
) -> Model:
    """Fit priors, train a network on top of them, and store the sum in ``out``; continues where it was stopped.

    With ``others``, frames of other molecules, all learn together; the model is that of the first, and simulates any
    molecule of the same kinds of residues. ``start`` is a force field to begin with, ``device`` where
    it is trained; the model that is given back is on the processor.

    Raises:
        ValueError: the folder holds something else, or a stopped training with other settings or on other frames.
        Busy: another process trains in it.
        Stopped: a signal came; the same call continues.
    """
    every = (frames, *others)
    if start is not None:
        pretrained.refuse_unlike(start, every)
        settings = pretrained.started(settings, start)
    rank = ranks.joined(settings, devices.chosen(device))
    with contextlib.nullcontext() if rank else claimed(out, settings, every, start):
        return _make_energy(every, out, settings, start, report, device)


def _make_energy(
    every: Sequence[Frames], out: Path, settings: EnergySettings, start: Model | None, report: Report, device: str
) -> Model:
    frames, first = every[0], ranks.joined(settings, devices.chosen(device)) == 0
    if first and (out / MODEL).exists():  # a finished one is replaced, not continued
        _forget(out, MODEL, CHECKPOINT, "likelihood/*", "round-*/*")
    torch.manual_seed(settings.seed)  # initial weights only; nothing else draws from the global generator
    recipes: list[tuple[str, str, dict[str, Any]]] = []
    for family, text in [*(("priors", p) for p in settings.priors), ("networks", settings.network)]:
        name, options = registry.parse(text)
        recipes.append((family, name, options))
    energy = compose(frames.beads, recipes)
    trained = None if start is None else start.module
    assert trained is None or isinstance(trained, Sum)
    how: dict[str, Any] = {"trained": trained, "folder": out, "report": report, "device": device}
    if len(every) > 1:
        history = train_energy_together(energy, every, settings, **how)
    else:
        history = train_energy(energy, frames, settings, sampler=lambda: _sampler(energy, frames, settings), **how)
    fitted = [row for term in energy.terms if isinstance(term, Prior) for row in term.summary()]
    info = {**_about(history, every, start), "priors": fitted, **_closest(every)}
    report(1.0, "what the training frames cover")
    extrapolation: Extrapolation | ResidueExtrapolation
    if len(every) == 1:
        extrapolation = fit_extrapolation(training_part(frames, settings), frames, settings.seed)
    else:
        extrapolation = fit_residue_extrapolation(every, settings.seed)
    model = Model(energy, frames.beads, frames.temperature, info, extrapolation)
    if first:  # the others have the same
        _forget(out, "round-*/samples.npy")  # before: a folder with a model is not looked at again
        model.save(out)
    return model


def _sampler(energy: Energy, frames: Frames, settings: EnergySettings) -> Propagator:
    """What samples an energy while it is trained: Langevin dynamics, with Monte Carlo moves where there are any."""
    name, options = registry.parse(INTEGRATOR)
    inner: Propagator = registry.build("integrators", name, frames.beads, energy, frames.temperature, **options)
    if settings.objective == "likelihood":
        return HybridSampler(inner, energy, [Attempts([IndependenceMove(frames)], 4, 2)])
    if not can_pivot(frames.beads):
        return inner
    return HybridSampler(inner, energy, [Attempts(pivot_moves(frames.beads, energy, frames.temperature, frames))])


def _forget(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def make_stepper(
    frames: Frames,
    out: Path,
    settings: StepperSettings = StepperSettings(),
    *,
    others: Sequence[Frames] = (),
    start: Model | None = None,
    report: Report = silent,
    device: str = "cpu",
) -> Model:
    """Train a time-stepper on lagged pairs and store it in ``out``; continues where it was stopped.

    With ``others``, frames of other molecules, all learn together (``--stepper graph``); the model is that of the
    first, and simulates any molecule of which it knows all residues. ``start`` is a time-stepper to begin with, whose
    weights are kept where training makes none that are better. Raises as ``make_energy``.
    """
    every = (frames, *others)
    if start is not None:
        pretrained.refuse_unlike(start, every)
        settings = pretrained.started(settings, start)
    rank = ranks.joined(settings, devices.chosen(device))
    with contextlib.nullcontext() if rank else claimed(out, settings, every, start):
        return _make_stepper(every, out, settings, start, report, device)


def _make_stepper(
    every: Sequence[Frames], out: Path, settings: StepperSettings, start: Model | None, report: Report, device: str
) -> Model:
    frames, others = every[0], every[1:]
    mixed = next((f.out_of_order for f in every if f.weights is None and not f.time_ordered), None)
    if mixed is not None:
        raise ValueError(f"{mixed} have no time order to learn from; simulate without what mixes them")
    torch.manual_seed(settings.seed)
    name, options = registry.parse(settings.stepper)
    built = registry.build("steppers", name, frames.beads, **options)
    trained = None if start is None else start.module
    assert trained is None or isinstance(trained, Stepper)
    how: dict[str, Any] = {"trained": trained, "folder": out, "report": report, "device": device}
    history = train_stepper(built, frames, settings, others=others, **how)
    physical = all(f.time_ordered for f in every)  # not so for those of a biased simulation
    info = {**_about(history, every, start), "physical_time": physical, **_closest(every)}
    extrapolation = fit_residue_extrapolation(every, settings.seed) if others else None
    model = Model(built, frames.beads, frames.temperature, info, extrapolation)
    if ranks.joined(settings, devices.chosen(device)) == 0:
        model.save(out)
    return model


def _about(history: History, every: Sequence[Frames], start: Model | None) -> dict[str, Any]:
    """What was learned from, which mapping it has, and what was begun with."""
    notes: dict[str, Any] = {"notes": list(history.notes)} if history.notes else {}
    notes["molecules"] = ["-".join(reach.sequence(f.beads)) for f in every]
    if start is not None:
        before = {name: start.info.get("training", {}).get(name) for name in ("molecules", "frames")}
        notes["start"] = {"sha256": start.digest, **{name: value for name, value in before.items() if value}}
    mappings = {f.provenance.mapping for f in every}
    mapping = mappings.pop() if len(mappings) == 1 else ""
    counts = {"frames": sum(map(len, every)), "runs": sum(len(f.lengths) for f in every)}
    known = sorted(one for f in every for one in sketch(f))
    best = {name: value for name, value in history.best.items() if name != "seconds"}  # the same on every machine
    training = {"best": best, "reason": history.reason, **counts, **notes, "fingerprints": known}
    return {"training": training, **({"mapping": mapping} if mapping else {})}


def _closest(every: Sequence[Frames]) -> dict[str, float]:
    """What a simulation is watched against, of all molecules."""
    found = [limit for frames in every for limit in _limits(frames).values()]
    return {"closest": min(found)} if found else {}


def _limits(frames: Frames) -> dict[str, float]:
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), 2000)).astype(int)
    x = np.asarray(frames.positions[chosen], np.float64)
    first, second = np.triu_indices(len(frames.beads), 1)
    bonded = set(frames.beads.bonds)
    free = np.array([pair not in bonded for pair in zip(first.tolist(), second.tolist(), strict=True)])
    if not free.any():
        return {}
    gaps = np.linalg.norm(x[:, first[free]] - x[:, second[free]], axis=-1)
    return {"closest": float(gaps.min())}
