"""Beads in wells: energies whose densities are known, and propagators that sample them or stand still."""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.simulation.replica_exchange import ReplicaExchange

COLD = 300.0
KT = units.thermal_energy(COLD)
FREEDOM = 12  # degrees of freedom of four beads
STRENGTH = 1000.0  # kJ/mol/nm^2
ONE = Beads(("CA",), (0,), (12.0,), (0,), ("ALA",))
BEADS = Beads(("CA",) * 4, (0,) * 4, (12.0,) * 4, (0, 1, 2, 3), ("ALA",) * 4)


class Well(Energy):
    """A spring of every bead to the origin."""

    def forward(self, positions: Tensor) -> Tensor:
        return STRENGTH / 2 * (positions**2).sum((1, 2))


class Still(Propagator):
    """TorsionMoves nothing, so that what is around it is all that happens."""

    mixes_temperatures, temperature, lag = True, COLD, 1.0

    def start(self, positions: Tensor, rng: Generator) -> State:
        return State(positions, torch.ones_like(positions))

    def step(self, state: State, rng: Generator) -> State:
        return state

    def moved(self, state: State, positions: Tensor) -> State:
        return state._replace(positions=positions)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def plain(energy: Energy, temperature: float = COLD) -> Propagator:
    """BAOAB dynamics of one bead."""
    options = {"timestep": 0.02, "friction": 10.0, "centre": False}
    return registry.build("integrators", "baoab", ONE, energy, temperature, **options).double()


def exchanging(energy: Energy, temperatures, period: int = 10) -> ReplicaExchange:
    return ReplicaExchange(plain(energy, temperatures[0]), energy, temperatures, period)


def equilibrium(temperatures, ladders: int, rng: Generator) -> Tensor:
    """(L K, 4, 3) nm: replica r drawn from the harmonic density at temperature r modulo K."""
    spread = torch.tensor([units.thermal_energy(t) / STRENGTH for t in temperatures]).double().sqrt().repeat(ladders)
    return spread[:, None, None] * torch.randn(len(spread), 4, 3, generator=rng, dtype=torch.float64)


class DoubleWell(Energy):
    """height (1 - (x / 0.2)^2)^2 + tilt x / 0.2 in x, springs in y and z; the left well is the lower one."""

    def __init__(self, height: float, tilt: float = 0.0):
        super().__init__()
        self.height, self.tilt = height, tilt

    def forward(self, positions: Tensor) -> Tensor:
        x = positions[..., 0] / 0.2
        rest = 250.0 * (positions[..., 1:] ** 2).sum(-1)
        return (self.height * (1 - x**2) ** 2 + self.tilt * x + rest).sum(1)

    def right(self, temperature: float) -> float:
        """The exact population of x > 0."""
        x = np.linspace(-3, 3, 60001)
        density = np.exp(-(self.height * (1 - x**2) ** 2 + self.tilt * x) / units.thermal_energy(temperature))
        return float(density[x > 0].sum() / density.sum())
