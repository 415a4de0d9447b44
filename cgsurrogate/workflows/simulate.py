"""Simulate with a force field or a time-stepper."""

from __future__ import annotations

import dataclasses
import time as clock
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgsurrogate.core import devices, filesystem, limits
from cgsurrogate.core.frames import MANIFEST, Beads, Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.core.provenance import DRAWS, Provenance
from cgsurrogate.models.extrapolation_scores import add_extrapolation
from cgsurrogate.models.model import Model
from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation
from cgsurrogate.simulation.checkpoint import SETTINGS
from cgsurrogate.simulation.settings import (
    REPLICAS,
    RunOptions,
    SamplerSettings,
    SimulationSettings,
    Spread,
    StepReport,
)
from cgsurrogate.simulation.temperature_ladder import ALL
from cgsurrogate.workflows.corrections import add_weights, make_correction, refuse_other_correction
from cgsurrogate.workflows.samplers import completed, make_propagator
from cgsurrogate.workflows.settings import Report, silent

ONE_PROCESS = Spread()
BEAD_BYTES = 500  # of memory for a bead of a replica, at the least
FRAME_BYTES = 24  # on the disk for a bead of a frame, while blocks become runs


def starting_frames(model: Model, start: str) -> Frames:
    """What ``--start`` says: a folder of frames, ``extended``, or a structure file with the beads among its atoms."""
    from cgsurrogate.simulation import initial_structures

    if start != "extended" and (Path(start).is_dir() or not Path(start).exists()):
        return Frames.load(start)
    if start != "extended":
        x = initial_structures.from_structure(model.beads, Path(start))
    elif isinstance(model.module, Propagator):
        raise ValueError("a time-stepper has no geometry to stretch; give --start FRAMES or a structure file")
    else:
        x = initial_structures.extended(model.beads, model.module)
    return Frames(model.beads, x[None], (1,), 1.0, model.temperature)


def make_simulation(
    model: Model,
    start: Frames,
    out: Path,
    settings: SimulationSettings,
    *,
    energy: Model | None = None,
    spread: Spread = ONE_PROCESS,
    max_hours: float | None = None,
    report: Report = silent,
) -> Frames:
    """Simulate replicas of a model from frames drawn from ``start``; continues where it was stopped.

    Args:
        energy: the force field that is simulated to correct a time-stepper (``settings.correct``), in the folder
            ``OUT-force-field``.
        spread, max_hours: as in ``RunOptions``; see ``parallel`` for what several processes need of a script.
    """
    filesystem.refuse_foreign(out, MANIFEST, SETTINGS)
    model = of_molecule(model, start.beads)
    running: dict[str, Any] = {"spread": spread, "max_hours": max_hours}
    options = RunOptions(out, _told(report), **running)
    if settings.correct is None:
        if energy is not None:
            raise ValueError("--energy corrects a time-stepper and needs --correct reweight:time=PS")
        return _simulated(model, start, settings, options, Provenance(), report)
    integrator = settings.sampler.integrator
    if spread.share is not None:
        raise ValueError("--part is for one simulation, --correct may need two; simulate first, and weight it without")
    correction = make_correction(settings.correct, model, energy, integrator)
    refuse_other_correction(out, correction)
    own = dataclasses.replace(settings, sampler=dataclasses.replace(settings.sampler, integrator=None))
    frames = _simulated(model, start, own, options, Provenance(correction=correction.about), report)

    def target() -> Frames:
        if correction.energy is None:
            return Frames.load(correction.options["to"])
        sampler = SamplerSettings(integrator=integrator)
        theirs = dataclasses.replace(
            settings, time=correction.options["time"], every=None, sampler=sampler, correct=None
        )
        folder = out.with_name(f"{out.name}-force-field")
        return make_simulation(correction.energy, start, folder, theirs, report=report, **running)

    return add_weights(frames, target, start, out, correction)


def _simulated(
    model: Model, start: Frames, settings: SimulationSettings, options: RunOptions, known: Provenance, report: Report
) -> Frames:
    """The frames in the folder of ``options``, with their extrapolation scores."""
    from cgsurrogate.simulation.parallel import simulate_parts
    from cgsurrogate.simulation.run import pick_starts

    own = completed(model, settings)
    _affordable(own, model, options)
    propagator = make_propagator(model, own.sampler, temperature=own.temperature, every=own.every, frames=start)
    timed = bool(model.info.get("physical_time", True))
    known = dataclasses.replace(
        known,
        mixed_by=DRAWS if model.is_stepper and not timed else known.mixed_by,
        propagator="time-stepper" if model.is_stepper else "force field",
        physical_time=model.is_stepper and timed,
        lag=propagator.lag,
        training_notes=model.training_notes,
        trained_on=model.trained_on,
    )
    first = pick_starts(start, own.replicas or REPLICAS, np.random.default_rng(own.seed))
    frames = simulate_parts(propagator, first, model.beads, own, options, known)
    if model.extrapolation is not None:
        out = Path(str(options.folder))
        for folder in (out,) if own.sampler.temperatures is None else (out / ALL, out):
            frames = add_extrapolation(folder, model.extrapolation, lambda fraction: report(fraction, "scoring frames"))
    return frames


def refuse_replicas(replicas: int, beads: Beads) -> None:
    """Raise ``ValueError`` for more replicas than fit in memory."""
    limits.memory(BEAD_BYTES * replicas * len(beads), f"{replicas:,} replicas")


def _affordable(settings: SimulationSettings, model: Model, options: RunOptions) -> None:
    """Refuse more replicas than fit in memory, and more frames than fit on the disk."""
    assert settings.replicas is not None and settings.every is not None
    frames = settings.replicas * settings.time / settings.every
    folder = None if options.folder is None else Path(options.folder)
    refuse_replicas(settings.replicas, model.beads)
    limits.disk(FRAME_BYTES * frames * len(model.beads), f"{frames:.3g} frames", folder)


def _told(report: Report) -> StepReport:
    """A report of a simulation in the words of a workflow."""

    def told(done: float, total: float, speed: float, kelvin: float | None, note: str) -> None:
        words = speed and f"{speed:.3g} ns/day", kelvin and f"{kelvin:.0f} K", note
        report(done / total, ", ".join(str(part) for part in words if part))

    return told


def of_molecule(model: Model, beads: Beads) -> Model:
    """The model of another molecule, if its weights do not belong to one; the same where it is of these beads."""
    if model.beads == beads:
        return model
    module: Any = model.module
    if not all(term.transfers for term in getattr(module, "terms", [module])):
        raise ValueError(
            f"the starting frames have other beads ({len(beads)}) than the model ({len(model.beads)}); "
            "map them with the mapping that the model was trained with"
        )
    known = model.extrapolation.bound(beads) if isinstance(model.extrapolation, ResidueExtrapolation) else None
    return dataclasses.replace(model, module=module.bound(beads), beads=beads, extrapolation=known)


def steps_per_second(propagator: Propagator, start: Frames, replicas: int, seconds: float = 3.0) -> float:
    """Steps of the whole batch per second of wall time, measured over about ``seconds``."""
    from cgsurrogate.simulation.run import pick_starts

    device = devices.of(propagator)
    rng = torch.Generator(device).manual_seed(0)
    propagator.requires_grad_(False)
    first = torch.as_tensor(pick_starts(start, replicas, np.random.default_rng(0)), device=device)
    state = propagator.step(propagator.start(first, rng), rng)
    devices.wait(device)
    began, count = clock.monotonic(), 0
    while clock.monotonic() - began < seconds:
        state = propagator.step(state, rng)
        count += 1
    devices.wait(device)
    return count / (clock.monotonic() - began)
