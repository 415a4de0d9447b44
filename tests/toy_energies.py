"""Molecules with a known energy, and what learns it: for the tests of training."""

from __future__ import annotations

import dataclasses
import math

import energy_contract as contract
import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State

KT = units.thermal_energy(300.0)
KAPPA, CENTRE = 2.5, -1.1  # of the dihedral in the toys: U = -KAPPA kT cos(phi - CENTRE)


class Torsion(Energy):
    """The known energy of the toys."""

    chiral = True

    def forward(self, positions: Tensor) -> Tensor:
        return -KAPPA * KT * (contract.dihedral_of(positions) - CENTRE).cos()


def toy(count: int = 4000) -> Frames:
    """A chain of four beads, its dihedral drawn from the known energy."""
    q = torch.from_numpy(np.random.default_rng(0).vonmises(CENTRE, KAPPA, count))
    x = contract.chain("dihedral", q).numpy().astype(np.float32)
    return Frames(contract.chain_beads(4), x, (count // 2, count - count // 2), 1.0, 300.0)


def network(beads: Beads) -> Sum:
    torch.manual_seed(0)
    return Sum(registry.build("networks", "schnet", beads, width=8, layers=1))


def error_of(learned: Energy) -> float:
    """Root mean square over the density of learned minus known energy of the dihedral, kT, up to a constant."""
    grid = torch.linspace(-math.pi, math.pi, 200)
    x = contract.chain("dihedral", grid)
    with torch.no_grad():
        known = Torsion()(x)
        share = (-known / KT).softmax(0)
        away = (learned(x) - known) / KT
        return float((share * (away - share @ away) ** 2).sum().sqrt())


class Exact(Propagator):
    """Draws the dihedral of the toy from the density of the energy as it is now."""

    lag = 1.0

    def __init__(self, energy: Energy):
        super().__init__()
        self.energy = energy

    def start(self, positions: Tensor, rng: Generator) -> State:
        return self.step(State(positions), rng)

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        x = contract.chain("dihedral", torch.linspace(-math.pi, math.pi, 181)[:-1])
        density = (-self.energy(x) / KT).softmax(0)
        return State(x[torch.multinomial(density, len(state.positions), replacement=True, generator=rng)])


def whole(beads: Beads) -> Sum:
    torch.manual_seed(0)
    kinds = ("bonds", "angles", "dihedrals", "impropers", "repulsion")
    return Sum(*(registry.build("priors", k, beads) for k in kinds), *network(beads).terms)


def with_forces(count: int = 60) -> Frames:
    noise = np.random.default_rng(0).normal(0, 50, (count, 12, 3)).astype(np.float32)
    return dataclasses.replace(contract.frames(count), forces=noise, lengths=(count // 3,) * 3)
