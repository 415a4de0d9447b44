"""Replica-steps a second against the batch size, on one thread, and what share of a step is the force.

Seconds are those of the processor, so that other work on the machine counts little. Every batch size takes its turn in
every round; the figures are medians of the rounds.

    python benchmarks/simulate.py                                   # 30 beads, springs and a soft repulsion
    python benchmarks/simulate.py MODEL --start FRAMES              # a trained force field or time-stepper
    python benchmarks/simulate.py MODEL --start FRAMES --integrator baoab:timestep=0.004
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
from collections.abc import Callable
from pathlib import Path
from time import process_time

import click
import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate import workflows
from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import pick_starts, simulate
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings


class Springs(Energy):
    """Neighbours along a chain at 0.38 nm, kJ/mol."""

    stiff = True

    def forward(self, positions: Tensor) -> Tensor:
        return 1e3 * (((positions[:, 1:] - positions[:, :-1]).norm(dim=-1) - 0.38) ** 2).sum(1)


class Repulsion(Energy):
    """A soft repulsion of all pairs, kJ/mol."""

    def __init__(self, count: int):
        super().__init__()
        self.register_buffer("pairs", torch.triu_indices(count, count, 2), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        first, second = self.pairs
        return torch.exp(-5 * (positions[:, first] - positions[:, second]).norm(dim=-1)).sum(1)


def synthetic(count: int, integrator: str) -> tuple[Propagator, Beads, np.ndarray]:
    """A chain of ``count`` beads, and one starting position (1, N, 3) nm."""
    bonds = tuple((i, i + 1) for i in range(count - 1))
    beads = Beads(("CA",) * count, (0,) * count, (100.0,) * count, tuple(range(count)), ("ALA",) * count, bonds)
    name, options = registry.parse(integrator)
    energy = Sum(Springs(), Repulsion(count))
    x = np.zeros((1, count, 3), np.float32)
    x[0, :, 0], x[0, :, 1] = np.arange(count) * 0.3, np.arange(count) % 2 * 0.23
    return registry.build("integrators", name, beads, energy, 300.0, **options), beads, x


def seconds_a_call(call: Callable[[], object], seconds: float) -> float:
    begin, count = process_time(), 0
    while process_time() - begin < seconds:
        call()
        count += 1
    return (process_time() - begin) / count


def stepping(propagator: Propagator, x: Tensor) -> Callable[[], object]:
    """A call that takes one step of the batch further."""
    rng = Generator().manual_seed(0)
    state = propagator.start(x, rng)

    def step() -> None:
        nonlocal state
        state = propagator.step(state, rng)

    return step


@click.command()
@click.argument("model", type=click.Path(exists=True, path_type=Path), required=False)
@click.option("--start", type=click.Path(exists=True, path_type=Path), help="Frames to start a MODEL from.")
@click.option("--integrator", default="baoab", show_default=True, help="Kind and options, for force fields.")
@click.option("--beads", "count", default=30, show_default=True, help="Of the chain that stands in for a MODEL.")
@click.option("--batches", default="1,10,100,1000", show_default=True, help="Replicas, separated by commas.")
@click.option("--seconds", default=0.5, show_default=True, help="A measurement, for each batch in each round.")
@click.option("--rounds", default=5, show_default=True)
def main(
    model: Path | None, start: Path | None, integrator: str, count: int, batches: str, seconds: float, rounds: int
) -> None:
    """Measure the speed of a simulation: bare steps, the force alone, and with frames, checks and reports."""
    torch.set_num_threads(1)
    sizes = [int(size) for size in batches.split(",")]
    if model is None:
        propagator, beads, origin = synthetic(count, integrator)
        starts = {size: np.repeat(origin, size, 0) for size in sizes}
    else:
        if start is None:
            raise click.UsageError("a MODEL needs --start FRAMES")
        loaded, frames = Model.load(model), Frames.load(start)
        propagator = workflows.make_propagator(
            loaded, SamplerSettings(integrator=None if loaded.is_stepper else integrator)
        )
        beads = loaded.beads
        starts = {size: pick_starts(frames, size, np.random.default_rng(0)) for size in sizes}
    propagator.eval()
    energy = getattr(propagator, "energy", None)
    evaluate = None if energy is None else Forces(energy)
    times: dict[tuple[str, int], list[float]] = {}
    for _ in range(rounds):
        for size in sizes:
            x = torch.as_tensor(starts[size])
            bare = seconds_a_call(stepping(propagator, x), seconds)
            times.setdefault(("step", size), []).append(bare)
            force = float("nan") if evaluate is None else seconds_a_call(lambda x=x: evaluate(x), seconds / 2)
            times.setdefault(("force", size), []).append(force / bare)
            steps = 10 * max(1, round(seconds / bare / 10))
            settings = SimulationSettings(steps * propagator.lag, 10 * propagator.lag, 300.0)
            begin = process_time()
            simulate(propagator, starts[size], beads, settings)
            times.setdefault(("whole", size), []).append((process_time() - begin) / steps / bare)
    click.echo(f"{len(beads)} beads, {type(propagator).__name__}({propagator.extra_repr()}), one thread")
    click.echo("replicas  ms/step  replica-steps/s  ns/day of all  force share  simulate/bare")
    for size in sizes:
        step, force, whole = (statistics.median(times[name, size]) for name in ("step", "force", "whole"))
        pace = size * propagator.lag / step * 86.4
        click.echo(f"{size:8d}  {step * 1e3:7.3f}  {size / step:15,.0f}  {pace:13,.0f}  {force:11.0%}  {whole:13.2f}")


if __name__ == "__main__":
    main()
