"""Corrections of a stepper: a chain of known distribution stays in it, and a small error in the ratio is seen."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cgsurrogate import choose, units
from cgsurrogate.corrected import Metropolised, Relaxed
from cgsurrogate.energy import Energy
from cgsurrogate.frames import Beads, Frames
from cgsurrogate.propagator import Propagator, State, Stepper
from cgsurrogate.simulate import simulate
from cgsurrogate.zmatrix import ZMatrix

KELVIN = 300.0
KT = units.thermal_energy(KELVIN)
BEADS = Beads(("X",) * 5, (0,) * 5, (12.0,) * 5, (0,) * 5, ("UNK",) * 5, ((0, 1), (1, 2), (2, 3), (3, 4)))
BOND, BOND_WIDTH = 0.15, 0.012  # nm; soft, so that the volume of the internal coordinates matters
ANGLE, ANGLE_WIDTH = 2.4, 0.2
LAG = 4.0


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


def cumulative(kind):
    """Grid and cumulative probability of one coordinate."""
    grid, energy, volume = COORDINATES[kind]
    middle = (grid[1:] + grid[:-1]) / 2
    mass = np.exp(volume(middle) - energy(middle))
    return grid, np.concatenate([[0], np.cumsum(mass) / mass.sum()])


def exact(count, seed=0):
    """(count, 5, 3) nm: independent draws of the Boltzmann distribution, every coordinate by inversion."""
    rng = np.random.default_rng(seed)
    columns = [np.interp(rng.random(count), *reversed(cumulative(kind))) for kind in KINDS]
    internal = torch.tensor(np.stack(columns, 1))
    return ZMatrix(BEADS).to_positions(internal[:, :4], internal[:, 4:7], internal[:, 7:])


def p_value(positions):
    """Of the worst of many tests: histogram, mean and width of the nine coordinates, and their correlations."""
    columns = torch.cat(ZMatrix(BEADS).to_internal(positions.double()), 1).numpy().T
    root, found, levels = math.sqrt(len(positions)), [], []
    for kind, values in zip(KINDS, columns, strict=True):
        level = np.interp(values, *cumulative(kind))  # uniform on (0, 1) if the density is right
        levels.append(level)
        found.append(stats.chisquare(np.histogram(level, 20, (0, 1))[0]).pvalue)
        scores = [
            (level.mean() - 0.5) * root * math.sqrt(12),
            (((level - 0.5) ** 2).mean() - 1 / 12) * root * math.sqrt(180),
        ]
        found += list(2 * stats.norm.sf(np.abs(scores)))
    found += list(2 * stats.norm.sf(np.abs(np.corrcoef(levels)[np.triu_indices(9, 1)] * root)))
    return min(1.0, min(found) * len(found))


@pytest.fixture(scope="module")
def stepper():
    """Widths and means roughly those of the molecule, and random weights: every proposal depends on the present."""
    rng = np.random.default_rng(3)
    z, count = ZMatrix(BEADS), 2000
    walk = np.cumsum(rng.normal(0, 0.5, (count, 2)), 0)
    bonds, angles = rng.normal(BOND, BOND_WIDTH, (count, 4)), rng.normal(2.3, 0.17, (count, 3))
    x = z.to_positions(*(torch.tensor(part) for part in (bonds, angles, walk))).numpy()
    frames = Frames(BEADS, x.astype(np.float32), (1000, 1000), 2.0, KELVIN)
    torch.manual_seed(0)
    built = choose.build("steppers", "autoregressive", BEADS, lag=LAG, width=16, blocks=1, hidden=16, mixtures=6)
    built.calibrate(frames)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return built.eval().requires_grad_(False)


def roll(moves, start, steps, seed=1):
    rng = torch.Generator().manual_seed(seed)
    state = moves.start(start.float(), rng)
    for _ in range(steps):
        state = moves.step(state, rng)
    return state


def acceptance(moves, state):
    return moves.notes(state)["correction"]["acceptance"]


# -- Metropolis-Hastings ----------------------------------------------------------------------------------------------
def test_the_test_itself_passes_exact_samples_and_sees_that_the_proposals_are_others(stepper):
    assert p_value(exact(12_000)) > 1e-3
    state = State(exact(12_000).float())
    state = stepper.propose(state, torch.Generator().manual_seed(0))
    assert p_value(state.positions) < 1e-9


def test_a_known_distribution_is_left_invariant(stepper):
    moves = Metropolised(stepper, Known(), KELVIN)
    state = roll(moves, exact(12_000), 15)
    assert 0.05 < acceptance(moves, state) < 0.9
    assert p_value(state.positions) > 1e-3


def test_it_is_reached_from_elsewhere(stepper):
    moves = Metropolised(stepper, Known(), KELVIN)
    start = exact(20, 5).repeat(200, 1, 1)  # twenty structures only
    assert p_value(start) < 1e-9
    assert p_value(roll(moves, start, 60).positions) > 1e-3


class Spoiled(Stepper):
    """The proposals of a stepper, with its log density and its log volume multiplied."""

    def __init__(self, right, density=1.0, volume=1.0):
        super().__init__()
        self.right, self.density, self.volume, self.lag = right, density, volume, right.lag

    def calibrate(self, frames):
        self.right.calibrate(frames)

    def start(self, positions, rng):
        return self.right.start(positions, rng)

    def step(self, state, rng):
        return self.right.step(state, rng)

    def propose(self, state, rng):
        return self.right.propose(state, rng)

    def encode(self, positions):
        return self.right.encode(positions)

    def log_density(self, now, later, lag):
        return self.density * self.right.log_density(now, later, lag)

    def log_volume(self, positions):
        return self.volume * self.right.log_volume(positions)


@pytest.mark.parametrize("wrong", [{"density": 1.05}, {"volume": 0.0}, {"volume": 0.5}], ids=str)
def test_a_density_off_by_a_twentieth_or_a_wrong_volume_is_seen(stepper, wrong):
    moves = Metropolised(Spoiled(stepper, **wrong), Known(), KELVIN)
    assert p_value(roll(moves, exact(12_000), 15).positions) < 1e-5
