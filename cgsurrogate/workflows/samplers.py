"""From settings to what moves the replicas of a model: an integrator or time-stepper, and what is put around it."""

from __future__ import annotations

import dataclasses
import math

from cgsurrogate.core import devices, limits, registry
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, divisor_near
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.monte_carlo.block_moves import pivot_moves
from cgsurrogate.simulation.monte_carlo.sampler import ATTEMPTS, PERIOD, Attempts, HybridSampler
from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove
from cgsurrogate.simulation.replica_exchange import USUAL_PERIOD, ReplicaExchange
from cgsurrogate.simulation.settings import FRAMES, INTEGRATOR, REPLICAS, SamplerSettings, SimulationSettings

USUAL = SamplerSettings()
FORCE_FIELD_ONLY = {  # fields of the settings -> what is wrong with them for a time-stepper
    "temperatures": "a time-stepper keeps the temperature of its training data; leave out --tempering",
    "pivot": "pivot moves need the energy of a force field; a time-stepper has none, leave out --pivot",
    "independence": "independence moves need the energy of a force field, not a time-stepper; leave out --independence",
}


def make_propagator(
    model: Model,
    sampler: SamplerSettings = USUAL,
    *,
    temperature: float | None = None,
    every: float | None = None,
    frames: Frames | None = None,
) -> Propagator:
    """What moves the replicas of a model: the stepper itself, or an integrator with Monte Carlo moves and exchanges.

    Args:
        temperature: K; that of the model if None.
        every: ps between frames, a whole number of rounds of moves and of exchanges; anything if None.
        frames: from which pivot moves learn what goes together; they change how fast it samples, not what.

    Raises:
        ValueError: an option that this kind of model does not have, or times that do not fit together.
    """
    if sampler.temperatures is None and sampler.exchange is not None:
        raise ValueError("--exchange is the time between exchanges of temperatures; give those with --tempering")
    if isinstance(model.module, Propagator):
        return _stepper(model, sampler, temperature)
    if sampler.lag is not None:
        raise ValueError("--lag is for time-steppers; the time step of a force field is --integrator baoab:timestep=PS")
    rungs, kelvin = sampler.temperatures, temperature or model.temperature
    if rungs is not None:
        if temperature is not None and not math.isclose(temperature, rungs[0]):
            raise ValueError(f"the lowest temperature of the ladder is {rungs[0]:g} K, not {temperature:g}; give one")
        kelvin = rungs[0]
    name, options = registry.parse(sampler.integrator or INTEGRATOR)
    energy = model.module
    moves: Propagator = registry.build("integrators", name, model.beads, energy, kelvin, **options)
    if moves.lag < limits.SHORTEST_STEP:
        raise ValueError(f"a time step must be at least {limits.SHORTEST_STEP:g} ps, got {moves.lag:g}")
    if schedule := _schedule(energy, moves, sampler, every, frames, model.beads):
        moves = HybridSampler(moves, energy, schedule)
    whole = moves if rungs is None else _exchanging(moves, energy, sampler, every)
    return whole.to(devices.of(energy))


def _stepper(model: Model, sampler: SamplerSettings, temperature: float | None) -> Propagator:
    for name, refusal in FORCE_FIELD_ONLY.items():
        if getattr(sampler, name) is not None:
            raise ValueError(refusal)
    if sampler.integrator is not None or (temperature is not None and temperature != model.temperature):
        raise ValueError("a time-stepper has no integrator and keeps the temperature of its training data")
    if sampler.lag is not None:
        model.module.lag = sampler.lag
    return model.module  # type: ignore[return-value]


def parse_pivot(text: str | None) -> tuple[int, int | None] | None:
    """``N`` or ``N:STEPS`` -> attempts, and the steps before them, None for the usual; None for none, as is "0"."""
    if text is None or text.strip() == "0":
        return None
    parts = text.split(":")
    if len(parts) > 2 or not all(part.strip().isdigit() and int(part) for part in parts):
        raise ValueError(f"expected --pivot N or N:STEPS, whole numbers of at least 1, or 0 for none, got {text!r}")
    if max(map(int, parts)) > limits.MOST_MOVES:
        raise ValueError(f"expected --pivot N:STEPS of at most {limits.MOST_MOVES:,} each, got {text}")
    return int(parts[0]), int(parts[1]) if len(parts) == 2 else None


def _schedule(
    energy: Energy,
    integrator: Propagator,
    sampler: SamplerSettings,
    every: float | None,
    frames: Frames | None,
    beads: Beads,
) -> list[Attempts]:
    """Monte Carlo moves, with whole rounds of them in the steps between frames that are ``every`` ps apart."""
    schedule, pivot, period, step = [], parse_pivot(sampler.pivot), 1, integrator.lag
    steps = None if every is None else max(1, round(every / step))
    if pivot is not None:
        period = pivot[1] or (PERIOD if steps is None else divisor_near(steps, PERIOD))
        if steps is not None and steps % period:
            raise ValueError(
                f"the time between frames ({steps * step:g} ps) must be a whole number of {period} steps, which are "
                f"{period * step:g} ps; the nearest is {max(1, round(steps / period)) * period * step:g} ps"
            )
        schedule.append(Attempts(pivot_moves(beads, energy, integrator.temperature, frames), pivot[0], period))
    if sampler.independence is not None:
        if sampler.independence.beads != beads:
            raise ValueError(
                "the frames of --independence hold other beads than the model; map them as its training data were"
            )
        rounds = max(1, PERIOD // period)
        period *= rounds if steps is None else divisor_near(max(1, steps // period), rounds)
        schedule.append(Attempts([IndependenceMove(sampler.independence)], ATTEMPTS, period))
    return schedule


def _exchanging(moves: Propagator, energy: Energy, sampler: SamplerSettings, every: float | None) -> ReplicaExchange:
    """Replica exchange around an integrator, with a whole number of exchanges between frames."""
    assert sampler.temperatures is not None
    wanted = sampler.exchange if sampler.exchange is not None else every
    if wanted is None:
        return ReplicaExchange(moves, energy, sampler.temperatures)
    steps = max(1, round(wanted / moves.lag))
    if sampler.exchange is not None and abs(steps * moves.lag - wanted) > 1e-6 * moves.lag:
        raise ValueError(
            f"the time between exchanges ({wanted:g} ps) must be a whole number of steps of {moves.lag:g} ps; "
            f"the nearest is {steps * moves.lag:g} ps"
        )
    period = divisor_near(steps, USUAL_PERIOD) if sampler.exchange is None else steps
    return ReplicaExchange(moves, energy, sampler.temperatures, period)


def completed(model: Model, settings: SimulationSettings) -> SimulationSettings:
    """The settings with what was left out: the temperature, how many replicas, and how often a frame."""
    sampler = settings.sampler
    rungs = sampler.temperatures or (settings.temperature or model.temperature,)
    every, temperature = settings.every, settings.temperature or rungs[0]
    if every is None:
        pivot = parse_pivot(sampler.pivot)
        alone = dataclasses.replace(sampler, pivot=None, independence=None, temperatures=None, exchange=None)
        usual = 1 if pivot is None and sampler.independence is None else PERIOD
        unit = make_propagator(model, alone, temperature=temperature).lag * ((pivot and pivot[1]) or usual)
        total = max(1, round(settings.time / unit))
        every = unit * divisor_near(total, total / FRAMES)
    replicas = settings.replicas or -(-REPLICAS // len(rungs)) * len(rungs)
    limits = settings.limits
    if limits.closest is None:
        limits = dataclasses.replace(limits, closest=model.info.get("closest"))
    return dataclasses.replace(settings, every=every, temperature=temperature, replicas=replicas, limits=limits)
