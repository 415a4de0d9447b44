"""Corrections of a stepper: a chain of known distribution stays in it, and a small error in the ratio is seen."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State, Stepper
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.models.corrected import Metropolised, Relaxed
from cgsurrogate.simulation.run import simulate

KELVIN = 300.0
KT = units.thermal_energy(KELVIN)
BEADS = Beads(("X",) * 5, (0,) * 5, (12.0,) * 5, (0,) * 5, ("UNK",) * 5, ((0, 1), (1, 2), (2, 3), (3, 4)))
BOND, BOND_WIDTH = 0.15, 0.012  # nm; soft, so that the volume of the internal coordinates matters
ANGLE, ANGLE_WIDTH = 2.4, 0.2
LAG = 4.0
MANY = 14_000  # replicas with which a density off by a twentieth is some seven standard errors away


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


def energy_moments():
    """Exact mean and variance of the total energy in kT."""
    mean = variance = 0.0
    for kind in KINDS:
        grid, energy, volume = COORDINATES[kind]
        values, mass = energy(grid), np.exp(volume(grid) - energy(grid))
        mean += np.average(values, weights=mass)
        variance += np.average(values**2, weights=mass) - np.average(values, weights=mass) ** 2
    return mean, variance


def p_value(positions):
    """Of the worst of many tests: mean energy; histogram, mean and width of each coordinate; their correlations.

    The energy adds up what all coordinates have in common, as when a density is wrong by a factor in the exponent.
    """
    columns = torch.cat(ZMatrix(BEADS).to_internal(positions.double()), 1).numpy().T
    root, levels = math.sqrt(len(positions)), []
    mean, variance = energy_moments()
    energy = (Known()(positions.double()) / KT).mean().item()
    found, scores = [], [(energy - mean) / math.sqrt(variance) * root]
    for kind, values in zip(KINDS, columns, strict=True):
        level = np.interp(values, *cumulative(kind))  # uniform on (0, 1) if the density is right
        levels.append(level)
        found.append(stats.chisquare(np.histogram(level, 20, (0, 1))[0]).pvalue)
        scores.append((level.mean() - 0.5) * root * math.sqrt(12))
        scores.append((((level - 0.5) ** 2).mean() - 1 / 12) * root * math.sqrt(180))
    scores += list(np.corrcoef(levels)[np.triu_indices(9, 1)] * root)
    found += list(2 * stats.norm.sf(np.abs(scores)))
    return min(1.0, min(found) * len(found))


def calibrated(kind, **options):
    """A stepper with widths and means roughly those of the molecule."""
    rng = np.random.default_rng(3)
    z, count = ZMatrix(BEADS), 2000
    walk = np.cumsum(rng.normal(0, 0.5, (count, 2)), 0)
    bonds, angles = rng.normal(BOND, BOND_WIDTH, (count, 4)), rng.normal(2.3, 0.17, (count, 3))
    x = z.to_positions(*(torch.tensor(part) for part in (bonds, angles, walk))).numpy()
    frames = Frames(BEADS, x.astype(np.float32), (1000, 1000), 2.0, KELVIN)
    torch.manual_seed(0)
    built = registry.build("steppers", kind, BEADS, lag=LAG, **options)
    built.calibrate(frames)
    return built.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def stepper():
    """With random weights on top, so that every proposal depends on the present."""
    built = calibrated("autoregressive", width=16, blocks=1, hidden=16, mixtures=6)
    for parameter in built.parameters():
        parameter.add_(0.03 * torch.randn(parameter.shape))
    return built


def roll(moves, start, steps, seed=1):
    rng = torch.Generator().manual_seed(seed)
    state = moves.start(start.float(), rng)
    for _ in range(steps):
        state = moves.step(state, rng)
    return state


def acceptance(moves, state):
    return moves.notes(state, Provenance()).correction["acceptance"]


# -- Metropolis-Hastings ----------------------------------------------------------------------------------------------
def test_the_test_itself_passes_exact_samples_and_sees_that_the_proposals_are_others(stepper):
    assert p_value(exact(6000)) > 1e-3
    state = State(exact(6000).float())
    state = stepper.propose(state, torch.Generator().manual_seed(0))
    assert p_value(state.positions) < 1e-9


def test_a_known_distribution_is_left_invariant(stepper):
    moves = Metropolised(stepper, Known(), KELVIN)
    state = roll(moves, exact(MANY), 10)
    assert 0.05 < acceptance(moves, state) < 0.9
    assert p_value(state.positions) > 1e-3


def test_it_is_reached_from_elsewhere(stepper):
    moves = Metropolised(stepper, Known(), KELVIN)
    start = exact(20, 5).repeat(150, 1, 1)  # twenty structures only
    assert p_value(start) < 1e-9
    assert p_value(roll(moves, start, 160).positions) > 1e-3


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

    def remember(self, memory, now, lag):
        return self.right.remember(memory, now, lag)

    def loss(self, *arguments):
        return self.right.loss(*arguments)

    def log_density(self, now, later, lag, memory=None):
        return self.density * self.right.log_density(now, later, lag, memory)

    def log_volume(self, positions):
        return self.volume * self.right.log_volume(positions)


@pytest.mark.parametrize("wrong", [{"density": 1.05}, {"volume": 0.0}, {"volume": 0.5}], ids=str)
def test_a_density_off_by_a_twentieth_or_a_wrong_volume_is_seen(stepper, wrong):
    moves = Metropolised(Spoiled(stepper, **wrong), Known(), KELVIN)
    assert p_value(roll(moves, exact(MANY if "density" in wrong else 6000), 10).positions) < 1e-5


def test_replicas_do_not_see_each_other_and_energies_that_are_not_finite_are_refused(stepper):
    class Wall(Known):
        """Not finite on one side; a proposal there must never be accepted."""

        def forward(self, positions):
            first = self.zmatrix.to_internal(positions)[2][:, 0]
            return torch.where(first > 0, super().forward(positions), math.nan)

    start = exact(2000)
    start = start[ZMatrix(BEADS).to_internal(start)[2][:, 0] > 0]
    state = roll(Metropolised(stepper, Wall(), KELVIN), start, 5)
    assert ZMatrix(BEADS).to_internal(state.positions)[2][:, 0].min() > 0
    assert 0 < acceptance(Metropolised(stepper, Wall(), KELVIN), state) < 0.9


def test_a_rejected_replica_stays_bitwise_and_the_counts_say_so(stepper):
    moves = Metropolised(stepper, Known(), KELVIN)
    rng = torch.Generator().manual_seed(0)
    state = moves.start(exact(300).float(), rng)
    after = moves.step(state, rng)
    same = (after.positions == state.positions).flatten(1).all(1)
    assert torch.equal(after.memory[:, 0] == 0, same)
    assert 0 < same.sum() < 300 and (after.memory[:, 1] == 1).all()
    assert not state.memory.any()  # the given state is left alone


def test_the_acceptance_of_the_way_back_is_the_inverse(stepper):
    moves = Metropolised(stepper, Known(), KELVIN)
    x, y = exact(200, 1).float(), exact(200, 2).float()
    assert torch.allclose(moves.log_acceptance(x, y), -moves.log_acceptance(y, x))
    assert moves.log_acceptance(x, y).std() > 1
    assert moves.log_acceptance(x, x).abs().max() == 0


class Remembering(Spoiled):
    def start(self, positions, rng):
        return State(positions, None, positions)


def test_a_stepper_with_a_memory_is_refused(stepper):
    with pytest.raises(ValueError, match="memory"):
        Metropolised(Remembering(stepper), Known(), KELVIN).start(exact(3).float(), torch.Generator())


@pytest.mark.parametrize("kind", registry.kinds("steppers"))
def test_volume_is_the_jacobian_of_the_encoding(kind):
    """dx = A dz + T dm, with m the shifts and turns: the volume is |det (A, T)|, A any right inverse of dz / dx."""
    built = calibrated(kind).double()
    x = exact(6, 7)
    try:
        volume = built.log_volume(x)
    except ValueError as error:
        assert "does not say" in str(error)  # such a kind cannot be metropolised, and says so
        return

    def determinant(one):
        slope = torch.autograd.functional.jacobian(lambda flat: built.encode(flat.view(1, 5, 3))[0], one.flatten())
        shifts = torch.eye(3, dtype=one.dtype).repeat(5, 1)
        turns = torch.stack([torch.linalg.cross(axis.expand(5, 3), one).flatten() for axis in torch.eye(3).double()], 1)
        return torch.linalg.slogdet(torch.cat([torch.linalg.pinv(slope), shifts, turns], 1)).logabsdet

    found = torch.stack([determinant(one) for one in x])
    assert found.std() > 0.1
    assert (found - volume).std() < 1e-6


# -- relaxation -------------------------------------------------------------------------------------------------------
def relaxed(stepper, steps, friction=20.0):
    moves = registry.build("integrators", "overdamped", BEADS, Known(), KELVIN, timestep=0.002, friction=friction)
    return Relaxed(stepper, moves, steps)


def test_relaxation_pulls_jumps_to_the_force_field(stepper):
    """The mean energy above that of exact samples falls with the steps: bonds and angles settle, torsions stay."""
    energy = Known()
    start = exact(1000).float()
    right = energy(start).mean()
    above = [energy(roll(relaxed(stepper, steps), start, 2).positions).mean() - right for steps in (1, 8, 60)]
    assert above[0] > above[1] > above[2]
    assert above[2] < 0.5 * above[0]


def test_relaxation_keeps_the_lag_and_draws_velocities_anew(stepper):
    class Still(Propagator):
        """Adds its velocities once; they come from the random numbers of ``start``."""

        lag = 0.5

        def start(self, positions, rng):
            return State(positions, torch.randn(positions.shape, generator=rng), torch.ones(1))

        def step(self, state, rng):
            return state._replace(positions=state.positions + 0 * state.velocities + 1.0)

    moves = Relaxed(stepper, Still(), 3)
    rng, other = torch.Generator().manual_seed(2), torch.Generator().manual_seed(2)
    state = moves.start(exact(10).float(), rng)
    after = moves.step(state, rng)
    plain = stepper.step(stepper.start(exact(10).float(), other), other)
    assert moves.lag == LAG and after.velocities is None and after.memory is None
    assert torch.allclose(after.positions, plain.positions + 3.0, atol=1e-6)
    assert moves.notes(after, Provenance()).correction == {"kind": "relax", "steps": 3, "relaxation": 1.5}
    with pytest.raises(ValueError, match="at least 1"):
        Relaxed(stepper, Still(), 0)


def test_metropolis_with_short_runs_in_between_leaves_the_distribution_invariant_and_notes_both(stepper):
    baoab = registry.build("integrators", "baoab", BEADS, Known(), KELVIN, timestep=0.001)
    moves = Relaxed(Metropolised(stepper, Known(), KELVIN), baoab, 5)
    state = roll(moves, exact(4000), 8)
    assert p_value(state.positions) > 1e-3
    about = moves.notes(state, Provenance())
    assert about.correction["kind"] == "metropolis" and about.correction["steps"] == 5
    assert about.physical_time is False and 0 < about.correction["acceptance"] < 1


# -- simulation -------------------------------------------------------------------------------------------------------
class Killed(Propagator):
    """The same propagator, dead after some steps."""

    def __init__(self, inner, calls):
        super().__init__()
        self.inner, self.left = inner, calls

    @property
    def lag(self):
        return self.inner.lag

    def start(self, positions, rng):
        return self.inner.start(positions, rng)

    def step(self, state, rng):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.inner.step(state, rng)


@pytest.mark.parametrize("make", [lambda s: Metropolised(s, Known(), KELVIN), lambda s: relaxed(s, 2)])
def test_a_simulation_goes_on_bit_for_bit_and_notes_the_correction(stepper, tmp_path, monkeypatch, make):
    monkeypatch.setattr(
        "cgsurrogate.simulation.specification._describe", lambda propagator: {}
    )  # a killed one is another class
    start, settings = exact(6).float().numpy(), {"time": 20 * LAG, "every": LAG, "temperature": KELVIN}
    whole = simulate(make(stepper), start, BEADS, **settings)
    with pytest.raises(KeyboardInterrupt):
        simulate(Killed(make(stepper), 9), start, BEADS, folder=tmp_path, checkpoint_every=0, **settings)
    again = simulate(make(stepper), start, BEADS, folder=tmp_path, **settings)
    assert np.array_equal(again.positions, whole.positions)
    assert again.provenance.correction == whole.provenance.correction
    if again.provenance.correction["kind"] == "metropolis":
        moved = np.diff(whole.positions.reshape(6, 20, 5, 3), axis=1).any((2, 3))
        assert abs(again.provenance.correction["acceptance"] - moved.mean()) < 0.1
        assert again.provenance.physical_time is False


def test_another_force_field_or_number_of_steps_is_another_simulation(stepper, tmp_path):
    start, settings = exact(3).float().numpy(), {"time": 2 * LAG, "every": LAG, "temperature": KELVIN}
    simulate(relaxed(stepper, 2), start, BEADS, folder=tmp_path, **settings)
    for other in (relaxed(stepper, 3), relaxed(stepper, 2, friction=100.0), Metropolised(stepper, Known(), KELVIN)):
        with pytest.raises(ValueError, match="propagator"):
            simulate(other, start, BEADS, folder=tmp_path, **settings)
