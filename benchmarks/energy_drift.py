"""Newton's equations with a force field: how the total energy drifts and errs, at a time step and at halves of it.

    python benchmarks/energy_drift.py MODEL --start FRAMES
    python benchmarks/energy_drift.py MODEL --start FRAMES --priors      # without its networks

BAOAB without friction is velocity Verlet. Its energy errs by a fluctuation that falls with the square of the time step,
and drifts only where a step is near the limit of stability, forces are no gradient or rounding adds up: so
double precision is measured beside single. Replicas start from frames that the dynamics itself has equilibrated.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy, Prior, Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import State
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import pick_starts
from cgsurrogate.simulation.settings import INTEGRATOR

SETTLE = 2.0  # ps of Langevin dynamics before


@click.command(help=__doc__)
@click.argument("model", type=click.Path(exists=True, path_type=Path))
@click.option("--start", type=click.Path(exists=True, path_type=Path), required=True, help="Frames to start from.")
@click.option("--replicas", default=50, show_default=True)
@click.option("--time", default=20.0, show_default=True, help="ps.")
@click.option("--halvings", default=2, show_default=True, help="Of the usual time step.")
@click.option("--priors", is_flag=True, help="The priors alone.")
def main(model: Path, start: Path, replicas: int, time: float, halvings: int, priors: bool) -> None:
    torch.set_num_threads(1)
    loaded, frames = Model.load(model), Frames.load(start)
    energy = loaded.module.requires_grad_(False)
    assert isinstance(energy, Sum)
    if priors:
        energy = Sum(*(term for term in energy.terms if isinstance(term, Prior)))
    usual = float(registry.parse(INTEGRATOR)[1]["timestep"])
    x = torch.from_numpy(pick_starts(frames, replicas, np.random.default_rng(0)))
    click.echo("| time step, fs | digits | drift, kT/ns a degree of freedom | spread of the energy, kT | lost |")
    click.echo("|" + "---|" * 5)
    for double in (False, True):
        energy = energy.double() if double else energy.float()
        at = x.double() if double else x
        for step in [usual / 2**k for k in range(halvings + 1)]:
            slope, error, spread, lost = measured(loaded, energy, at, step, time)
            digits = "double" if double else "single"
            click.echo(f"| {1000 * step:g} | {digits} | {slope:.2g} +- {error:.1g} | {spread:.3g} | {lost} |")


def measured(model: Model, energy: Energy, x: Tensor, step: float, time: float) -> tuple[float, float, float, int]:
    """Drift in kT/ns a degree of freedom and its standard error over replicas, the mean over replicas of the standard
    deviation of the total energy about its line in kT, and how many replicas were lost."""
    options = {"timestep": step, "friction": 0.0}
    hot, moves = (
        registry.build("integrators", "baoab", model.beads, energy, model.temperature, **(options | more)).to(x)
        for more in ({"friction": 5.0}, {})
    )
    rng = Generator().manual_seed(1)
    state = hot.start(x, rng)
    for _ in range(round(SETTLE / step)):
        state = hot.step(state, rng)
    mass = torch.tensor(model.beads.masses, dtype=torch.float64)[:, None]

    def total(state: State) -> Tensor:
        assert state.velocities is not None and state.energy is not None
        return state.energy.double() + (mass * state.velocities.double().square()).sum((1, 2)) / 2

    every = max(1, round(0.02 / step))
    seen = []
    for number in range(round(time / step)):
        state = moves.step(state, rng)
        if number % every == 0:
            seen.append(total(state))
    values = torch.stack(seen) / units.thermal_energy(model.temperature)  # (S, R)
    good = torch.isfinite(values).all(0)
    values = values[:, good]
    t = torch.arange(len(values)).double() * every * step / 1000  # ns
    t = t - t.mean()
    slopes = t @ values / t.square().sum()
    spread = (values - values.mean(0) - t[:, None] * slopes).std(0).mean()
    drift = slopes / (3 * len(mass))
    return float(drift.mean()), float(drift.std() / math.sqrt(len(drift))), float(spread), int((~good).sum())


if __name__ == "__main__":
    main()
