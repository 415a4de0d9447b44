"""Simulate with a force field or a time-stepper."""

from __future__ import annotations

import dataclasses
import math
import time as clock
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.frames import MANIFEST, Beads, Frames
from cgsurrogate.core.propagator import Propagator, Stepper, divisor_near
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.models.extrapolation_scores import add_uncertainty
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.monte_carlo.sampler import PERIOD, Turning
from cgsurrogate.simulation.temperature_ladder import ALL
from cgsurrogate.workflows.corrections import Correction, add_weights, make_correction
from cgsurrogate.workflows.samplers import Turns, fitted, jumping, parse_turns, tempered
from cgsurrogate.workflows.train import INTEGRATOR, Report, silent

REPLICAS = 100
FRAMES = 500  # of a replica, where nothing else is asked for


def make_propagator(
    model: Model,
    *,
    lag: float | None = None,
    integrator: str | None = None,
    temperature: float | None = None,
    turns: Turns | None = None,
    frames: Frames | None = None,
) -> Propagator:
    """What moves the replicas of a model: the stepper itself, or an integrator around the energy.

    Args:
        turns: Monte Carlo turns of a force field (``parse_turns``).
        frames: from which such turns learn what goes together; they change how fast it samples, not what.

    Raises:
        ValueError: an option that this kind of model does not have.
    """
    if isinstance(model.module, Propagator):
        if integrator is not None or (temperature is not None and temperature != model.temperature):
            raise ValueError("a time-stepper has no integrator and keeps the temperature of its training data")
        if lag is not None:
            model.module.lag = lag
        return model.module
    if lag is not None:
        raise ValueError("--lag is for time-steppers; the time step of a force field is --integrator baoab:timestep=PS")
    name, options = registry.parse(integrator or INTEGRATOR)
    moves = registry.build("integrators", name, model.beads, model.module, temperature or model.temperature, **options)
    if turns is None:
        return moves
    return Turning(moves, model.module, model.beads, turns[0], turns[1] or PERIOD, frames)


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
    *,
    replicas: int | None = None,
    time: float,
    every: float | None = None,
    lag: float | None = None,
    integrator: str | None = None,
    temperature: float | None = None,
    ladder: Sequence[float] | None = None,
    exchange: float | None = None,
    turns: str | None = None,
    jumps: Frames | None = None,
    seed: int = 0,
    energy: Model | None = None,
    correct: str | None = None,
    processes: int | str | None = None,
    max_hours: float | None = None,
    report: Report = silent,
) -> Frames:
    """Simulate ``replicas`` copies for ``time`` ps from frames drawn from ``start``; continues where it was stopped.

    ``correct`` gives a time-stepper's frames the weights of a force field: ``reweight:time=PS`` simulates ``energy`` in
    the folder ``OUT-force-field``; ``reweight:to=FRAMES`` takes the target from a folder instead.

    Args:
        replicas: ``REPLICAS`` by default, or the next number above that fills whole ladders.
        ladder: rising temperatures in K for parallel tempering; the frames are then those at the lowest, and those of
            all temperatures with their weights are in the folder ``all-temperatures`` inside ``out``.
        exchange: ps between attempts to exchange; by default near 25 steps, so that it divides ``every``.
        turns: Monte Carlo turns for a force field: how many attempts after every few steps, ``N`` or ``N:STEPS``.
        jumps: frames between whose states a force field jumps (``jumping.py``).
        processes: over which the replicas are spread, or "auto" for one a core; by default one, or the number that
            ``out`` was begun with (``parts.py``, also on what several need of a script).
    """
    from cgsurrogate.simulation.parallel import simulate_parts
    from cgsurrogate.simulation.run import pick_starts

    if start.beads != model.beads:
        model = _of_molecule(model, start.beads)
    correction = None if correct is None else make_correction(correct, model, energy, integrator)
    if energy is not None and correction is None:
        raise ValueError("--energy corrects a time-stepper and needs --correct reweight:time=PS")
    if ladder is None and exchange is not None:
        raise ValueError("--exchange is the time between exchanges of temperatures; give those with --tempering")
    if ladder is not None:
        if isinstance(model.module, Propagator):
            raise ValueError("a time-stepper keeps the temperature of its training data; leave out --tempering")
        if temperature is not None and not math.isclose(temperature, ladder[0]):
            raise ValueError(f"the lowest temperature of the ladder is {ladder[0]:g} K, not {temperature:g}; give one")
        temperature = ladder[0]
    own = integrator if correction is None else None
    propagator = make_propagator(model, lag=lag, integrator=own, temperature=temperature)
    if correction is not None:
        _refuse_other_correction(out, correction)
    rounds = parse_turns(turns, model)
    if every is None:
        stride = 1 if rounds is None and jumps is None else PERIOD
        unit = propagator.lag * (stride if rounds is None else rounds[1] or stride)
        total = max(1, round(time / unit))
        every = unit * divisor_near(total, total / FRAMES)
    if rounds is not None:
        rounds = fitted(rounds, every, propagator.lag)
        propagator = make_propagator(model, integrator=integrator, temperature=temperature, turns=rounds, frames=start)
    if jumps is not None:
        propagator = jumping(propagator, model, jumps, every)
    if ladder is not None:
        propagator = tempered(propagator, model, ladder, every, exchange)
    if replicas is None:
        replicas = REPLICAS if ladder is None else -(-REPLICAS // len(ladder)) * len(ladder)
    known = Provenance(
        propagator="time-stepper" if model.is_stepper else "force field",
        physical_time=bool(model.is_stepper and model.info.get("physical_time", True)),
        lag=propagator.lag,
        correction={} if correction is None else correction.about,
    )
    frames = simulate_parts(
        propagator,
        pick_starts(start, replicas, np.random.default_rng(seed)),
        model.beads,
        time=time,
        every=every,
        temperature=temperature or model.temperature,
        seed=seed,
        folder=out,
        processes=processes,
        known=known,
        closest=model.info.get("closest"),
        max_hours=max_hours,
        report=lambda done, total, speed, kelvin, note: report(
            done / total,
            ", ".join(part for part in (speed and f"{speed:.3g} ns/day", kelvin and f"{kelvin:.0f} K", note) if part),
        ),
    )
    if model.novelty is not None:
        for folder in (out / ALL, out) if ladder is not None else (out,):
            frames = add_uncertainty(folder, model.novelty, lambda fraction: report(fraction, "scoring frames"))
    if correction is None or correction.kind != "reweight":
        return frames
    options = correction.options

    def target() -> Frames:
        if "to" in options:
            return Frames.load(options["to"])
        return make_simulation(
            correction.energy,
            start,
            out.with_name(f"{out.name}-force-field"),
            replicas=replicas,
            time=options["time"],
            integrator=integrator,
            seed=seed,
            processes=processes,
            max_hours=max_hours,
            report=report,
        )

    return add_weights(frames, target, start, out, correction)


def _of_molecule(model: Model, beads: Beads) -> Model:
    """The model of another molecule, if its weights do not belong to one."""
    if not isinstance(model.module, Stepper) or not model.module.transfers:
        raise ValueError(
            f"the starting frames have other beads ({len(beads)}) than the model ({len(model.beads)}); "
            "map them with the mapping that the model was trained with"
        )
    return dataclasses.replace(model, module=model.module.bound(beads), beads=beads)


def _refuse_other_correction(out: Path, correction: Correction) -> None:
    """A finished rollout keeps the correction that it was made with."""
    if (out / MANIFEST).exists():
        there = Frames.load(out).provenance.correction
        if any(there.get(key) != value for key, value in correction.about.items()):
            raise ValueError(f"{out} holds a rollout with another correction, or none; choose another folder")


def steps_per_second(propagator: Propagator, start: Frames, replicas: int, seconds: float = 3.0) -> float:
    """Steps of the whole batch per second of wall time, measured over about ``seconds``."""
    from cgsurrogate.simulation.run import pick_starts

    rng = torch.Generator().manual_seed(0)
    propagator.requires_grad_(False)
    state = propagator.start(torch.as_tensor(pick_starts(start, replicas, np.random.default_rng(0))), rng)
    state = propagator.step(state, rng)
    began, count = clock.monotonic(), 0
    while clock.monotonic() - began < seconds:
        state = propagator.step(state, rng)
        count += 1
    return count / (clock.monotonic() - began)
