"""A chain of five beads whose Boltzmann distribution is known exactly; samplers of it, and a test of samples."""

import functools
import math

import numpy as np
import torch
from scipy import stats

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.models.evaluation.analytic import Curves
from cgsurrogate.simulation.monte_carlo.block_moves import pivot_moves
from cgsurrogate.simulation.monte_carlo.move import Move
from cgsurrogate.simulation.monte_carlo.pivot import PivotMove
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove

KELVIN = 300.0
KT = units.thermal_energy(KELVIN)
BEADS = Beads(("X",) * 5, (0,) * 5, (12.0,) * 5, (0,) * 5, ("UNK",) * 5, ((0, 1), (1, 2), (2, 3), (3, 4)))
MOLECULE = Molecule.of(BEADS)
BOND, BOND_WIDTH = 0.15, 0.012  # nm; soft, so that the volume of the internal coordinates matters
ANGLE, ANGLE_WIDTH = 2.4, 0.2


class Known(Energy):
    """Harmonic bonds and angles, and two torsions with wells of different depth: every coordinate independent."""

    def __init__(self):
        super().__init__()
        self.zmatrix = ZMatrix(BEADS)

    def forward(self, positions):
        bonds, angles, dihedrals = self.zmatrix.to_internal(positions)
        return KT * sum(part.sum(1) for part in (bond_term(bonds), angle_term(angles), torsion_term(dihedrals)))


def bond_term(x):
    return 0.5 * ((x - BOND) / BOND_WIDTH) ** 2


def angle_term(x):
    return 0.5 * ((x - ANGLE) / ANGLE_WIDTH) ** 2


def torsion_term(x):
    cosine = torch.cos if isinstance(x, torch.Tensor) else np.cos
    return 1.5 * (1 + cosine(2 * x - 1.0)) + 0.7 * cosine(x + 0.5)


# (grid, reduced energy, log of the volume element): the density of a coordinate is volume x exp(-energy)
COORDINATES = {
    "bond": (np.linspace(0.08, 0.25, 4001), bond_term, lambda x: 2 * np.log(x)),
    "angle": (np.linspace(1.2, math.pi - 1e-6, 4001), angle_term, lambda x: np.log(np.sin(x))),
    "torsion": (np.linspace(-math.pi, math.pi, 4001), torsion_term, lambda x: 0 * x),
}
KINDS = ("bond",) * 4 + ("angle",) * 3 + ("torsion",) * 2


def cumulative(kind, heat=1.0):
    """Grid and cumulative probability of one coordinate at ``heat`` times the temperature."""
    grid, energy, volume = COORDINATES[kind]
    middle = (grid[1:] + grid[:-1]) / 2
    mass = np.exp(volume(middle) - energy(middle) / heat)
    return grid, np.concatenate([[0], np.cumsum(mass) / mass.sum()])


def exact(count, seed=0, heat=1.0):
    """(count, 5, 3) nm: independent draws of the Boltzmann distribution, every coordinate by inversion."""
    rng = np.random.default_rng(seed)
    columns = [np.interp(rng.random(count), *reversed(cumulative(kind, heat))) for kind in KINDS]
    internal = torch.tensor(np.stack(columns, 1))
    return ZMatrix(BEADS).to_positions(internal[:, :4], internal[:, 4:7], internal[:, 7:])


def energy_moments(heat=1.0):
    """Exact mean and variance of the total energy in kT."""
    mean = variance = 0.0
    for kind in KINDS:
        grid, energy, volume = COORDINATES[kind]
        values, mass = energy(grid), np.exp(volume(grid) - energy(grid) / heat)
        mean += np.average(values, weights=mass)
        variance += np.average(values**2, weights=mass) - np.average(values, weights=mass) ** 2
    return mean, variance


def p_value(positions, heat=1.0):
    """Of the worst of many tests: mean energy; histogram, mean and width of each coordinate; their correlations.

    The energy adds up what all coordinates have in common, as when a density is wrong by a factor in the exponent.
    """
    columns = torch.cat(ZMatrix(BEADS).to_internal(positions.double()), 1).numpy().T
    root, levels = math.sqrt(len(positions)), []
    mean, variance = energy_moments(heat)
    energy = (Known()(positions.double()) / KT).mean().item()
    found, scores = [], [(energy - mean) / math.sqrt(variance) * root]
    for kind, values in zip(KINDS, columns, strict=True):
        level = np.interp(values, *cumulative(kind, heat))  # uniform on (0, 1) if the density is right
        levels.append(level)
        found.append(stats.chisquare(np.histogram(level, 20, (0, 1))[0]).pvalue)
        scores.append((level.mean() - 0.5) * root * math.sqrt(12))
        scores.append((((level - 0.5) ** 2).mean() - 1 / 12) * root * math.sqrt(180))
    scores += list(np.corrcoef(levels)[np.triu_indices(9, 1)] * root)
    found += list(2 * stats.norm.sf(np.abs(scores)))
    return min(1.0, min(found) * len(found))


class Part(Energy):
    """The bonds, the angles or the torsions of ``known_molecule.Known``, with a fast form where asked for."""

    def __init__(self, place: int, fast: bool = True):
        super().__init__()
        self.zmatrix, self.place, self.fast = ZMatrix(BEADS), place, fast

    def forward(self, positions):
        values = self.zmatrix.to_internal(positions)[self.place]
        return KT * (bond_term, angle_term, torsion_term)[self.place](values).sum(1)

    def analytic(self):
        rows = (MOLECULE.bonds, MOLECULE.angles, MOLECULE.dihedrals)[self.place]
        return Curves(rows, self.curve) if self.fast else None

    def curve(self, at):
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            values = (lambda x: x, torch.arccos, lambda x: x)[self.place](at)
            energy = KT * (bond_term, angle_term, torsion_term)[self.place](values)
            (slope,) = torch.autograd.grad(energy.sum(), at)
        return energy.sum(0).detach(), slope


def known(fast=True):
    """The energy of ``Known`` in three terms, as a simulation has it."""
    return Sum(Part(0), Part(1, fast), Part(2, fast))


OPTIONS = {"baoab": {"timestep": 0.003, "friction": 20.0}, "overdamped": {"timestep": 0.0012, "friction": 100.0}}
MOVES = ("pivot", "block", "independence")


def integrator(kind: str) -> Propagator:
    return registry.build("integrators", kind, BEADS, known(), KELVIN, **OPTIONS[kind]).double()


@functools.cache
def moves_of(name: str) -> list[Move]:
    """Learned from frames that are wrong: rough, and of torsions that lean on each other. "uniform" guesses nothing."""
    bonds, angles, torsions = ZMatrix(BEADS).to_internal(exact(1000, seed=5))
    torsions[::2, 1] = torsions[::2, 0]
    rough = ZMatrix(BEADS).to_positions(bonds, angles, torsions)
    rough += 0.01 * torch.randn(1000, 5, 3, generator=torch.Generator().manual_seed(6))
    frames = Frames(BEADS, rough.float().numpy(), (500, 500), 1.0, KELVIN)
    pivot, block = pivot_moves(BEADS, known(), KELVIN, frames)
    uniform = PivotMove(BEADS, known(fast=False), KELVIN)
    return {"pivot": [pivot], "block": [block], "independence": [IndependenceMove(frames)], "uniform": [uniform]}[name]


def mixed(inner: Propagator, moves: str, period: int, number: int = 1) -> HybridSampler:
    """Few attempts, so that what the dynamics does wrong is not put right by them."""
    names = MOVES if moves == "all" else (moves,)
    return HybridSampler(inner, known(), [Attempts(moves_of(name), number, period) for name in names]).double()
