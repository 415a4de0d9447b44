"""Integrators: what theory says about each of them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Generator, Tensor

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy, Sum, forces
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.simulation.integrators import baoab, overdamped

KINDS = registry.kinds("integrators")
TEMPERATURE = 300.0
KT = units.thermal_energy(TEMPERATURE)


def beads(*masses: float) -> Beads:
    n = len(masses)
    bonds = tuple((i, i + 1) for i in range(n - 1))
    return Beads(("CA",) * n, (0,) * n, tuple(masses), tuple(range(n)), ("ALA",) * n, bonds)


class Well(Energy):
    """A spring of every bead to the origin, kJ/mol/nm^2."""

    def __init__(self, strength: float):
        super().__init__()
        self.strength = strength

    def forward(self, positions: Tensor) -> Tensor:
        return self.strength / 2 * (positions**2).sum((1, 2))


class DoubleWell(Energy):
    """height (1 - (x / width)^2)^2 in x, a spring in y and z."""

    height, width, spring = 2 * KT, 0.2, 500.0

    def forward(self, positions: Tensor) -> Tensor:
        x, rest = positions[..., 0], positions[..., 1:]
        return (self.height * (1 - (x / self.width) ** 2) ** 2 + self.spring / 2 * (rest**2).sum(-1)).sum(1)


class Chain(Energy):
    """Springs along a chain, of 0.15 nm; blind to shifts and turns."""

    stiff = True

    def forward(self, positions: Tensor) -> Tensor:
        length = (positions[:, 1:] - positions[:, :-1]).norm(dim=-1)
        return 1e4 * ((length - 0.15) ** 2).sum(1)


class Repel(Energy):
    """A soft repulsion of the ends."""

    def forward(self, positions: Tensor) -> Tensor:
        return 5.0 * torch.exp(-(positions[:, 0] - positions[:, -1]).norm(dim=-1))


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def chain(count: int, batch: int = 3, dtype: torch.dtype = torch.float64) -> Tensor:
    """(B, N, 3) nm, a zigzag."""
    x = torch.zeros(batch, count, 3, dtype=dtype)
    x[..., 0] = torch.arange(count) * 0.13
    x[..., 1] = torch.arange(count) % 2 * 0.075
    return x


def roll(propagator: Propagator, state: State, steps: int, rng: Generator) -> State:
    for _ in range(steps):
        state = propagator.step(state, rng)
    return state


@pytest.fixture(params=KINDS)
def propagator(request) -> Propagator:
    energy = Sum(Chain(), Repel())
    return registry.build("integrators", request.param, beads(12, 14, 12, 16), energy, TEMPERATURE).double()


# laws of every kind


def test_the_centre_stays_and_the_motion_does_not_change(propagator):
    rng = generator()
    x = chain(4) + 100
    state = roll(propagator, propagator.start(x, rng), 3, rng)
    assert state.positions.mean(1).abs().max() < 1e-12
    propagator.centre = False
    rng = generator()
    free = roll(propagator, propagator.start(x, rng), 3, rng)
    assert torch.allclose(free.positions - free.positions.mean(1, keepdim=True), state.positions, atol=1e-9)
    assert (free.positions.mean(1) - x.mean(1)).abs().max() > 1e-6


@pytest.mark.parametrize(("kind", "lag"), [("baoab", 0.002), ("overdamped", 0.0002)])
def test_lag_is_the_time_of_a_step(kind, lag):
    assert registry.build("integrators", kind, beads(12), Well(1.0), TEMPERATURE).lag == lag


# known densities


def configurational(x: Tensor, strength: float) -> tuple[float, float]:
    """Temperature in K from <k x^2> of samples (S, B, ...), and its standard error over the batch."""
    each = strength * (x**2).mean((0, *range(2, x.ndim))) / units.BOLTZMANN
    return float(each.mean()), float(each.std() / math.sqrt(len(each)))


def sample(propagator: Propagator, x: Tensor, burn: int, count: int, every: int) -> tuple[Tensor, Tensor]:
    """Positions and velocities (S, B, N, 3)."""
    rng = generator(3)
    state = roll(propagator, propagator.start(x, rng), burn, rng)
    states = []
    for _ in range(count):
        state = roll(propagator, state, every, rng)
        states.append(state)
    velocities = [s.velocities for s in states if s.velocities is not None]
    return torch.stack([s.positions for s in states]), torch.stack(velocities) if velocities else torch.empty(0)


MASS, STRENGTH = 12.0, 12.0 * 50.0**2  # a frequency of 50 /ps


def test_baoab_in_a_harmonic_well():
    """Kinetic temperature T (1 - (w h)^2 / 4), here 9 % low; configurational temperature T."""
    step = 0.012
    moves = baoab.build(beads(MASS), Well(STRENGTH), TEMPERATURE, step, friction=5.0, centre=False).double()
    x0 = torch.randn(1000, 1, 3, generator=generator(9), dtype=torch.float64) * math.sqrt(KT / STRENGTH)
    x, v = sample(moves, x0, burn=200, count=150, every=10)
    value, error = configurational(x, STRENGTH)
    assert error < 1.5
    assert abs(value - TEMPERATURE) < 4 * error
    value, error = configurational(v, MASS)
    assert abs(value - TEMPERATURE * (1 - (50 * step) ** 2 / 4)) < 4 * error
    assert abs(value - TEMPERATURE) > 10 * error


def test_overdamped_in_a_harmonic_well():
    """Exact at any stable step; without the averaged noise it would read 1 / (1 - a/2) high."""
    friction, share = 100.0, 0.3
    step = share * friction * MASS / STRENGTH
    moves = overdamped.build(beads(MASS), Well(STRENGTH), TEMPERATURE, step, friction, centre=False).double()
    x, _ = sample(moves, torch.zeros(500, 1, 3, dtype=torch.float64), burn=60, count=150, every=6)
    value, error = configurational(x, STRENGTH)
    assert error < 1.5
    assert abs(value - TEMPERATURE) < 4 * error


@pytest.mark.parametrize("kind", ["baoab", "overdamped"])
def test_double_well_density(kind):
    energy, batch = DoubleWell(), 400
    if kind == "baoab":
        moves = baoab.build(beads(12.0), energy, TEMPERATURE, 0.01, friction=10.0, centre=False).double()
    else:
        moves = overdamped.build(beads(12.0), energy, TEMPERATURE, 0.006, friction=5.0, centre=False).double()
    start = torch.zeros(batch, 1, 3, dtype=torch.float64)
    start[: batch // 2, :, 0], start[batch // 2 :, :, 0] = energy.width, -energy.width
    x, _ = sample(moves, start, burn=300, count=200, every=10)
    x = x[..., 0, 0].T  # (B, S)
    edges = torch.linspace(-0.36, 0.36, 19, dtype=torch.float64)
    fine = torch.linspace(-0.6, 0.6, 24001, dtype=torch.float64)
    density = torch.exp(-energy.height * (1 - (fine / energy.width) ** 2) ** 2 / KT)
    which = torch.bucketize(fine, edges)
    exact = torch.tensor([density[which == i].sum() for i in range(1, len(edges))]) / density.sum()
    each = torch.stack([((x >= a) & (x < b)).double().mean(1) for a, b in itertools.pairwise(edges)])
    error = each.std(1) / math.sqrt(batch)
    away = (each.mean(1) - exact) / error
    assert error.max() < 0.005
    assert away.abs().max() < 4.5
    assert ((x[:, 0] > 0) != (x[:, -1] > 0)).any()  # the barrier was crossed, so the populations were tested


def test_start_has_the_velocities_of_maxwell_and_boltzmann():
    masses = (1.0, 12.0, 50.0)
    moves = baoab.build(beads(*masses), Chain(), TEMPERATURE).double()
    state = moves.start(chain(3, batch=20000), generator())
    for bead, mass in enumerate(masses):
        value, error = configurational(state.velocities[None, :, bead], mass)
        assert abs(value - TEMPERATURE) < 4 * error
        assert error < 3


# mechanics


def chain_newton(timestep: float) -> Propagator:
    energy = Sum(Chain(), Repel())
    return baoab.build(beads(12, 14, 12, 16), energy, TEMPERATURE, timestep, friction=0.0).double()


def test_without_friction_it_runs_backwards():
    moves, rng = chain_newton(0.002), generator()
    begin = moves.start(chain(4), rng)
    there = roll(moves, begin, 200, rng)
    assert (there.positions - begin.positions).abs().max() > 0.01
    back = roll(moves, there._replace(velocities=-there.velocities), 200, rng)
    assert (back.positions - (begin.positions - begin.positions.mean(1, keepdim=True))).abs().max() < 1e-10
    assert (back.velocities + begin.velocities).abs().max() < 1e-8


def test_the_energy_error_falls_fourfold_when_the_step_halves():
    def error(timestep: float) -> float:
        moves, rng, total = chain_newton(timestep), generator(1), []
        state = moves.start(chain(4, batch=20), rng)
        energy, masses = Sum(Chain(), Repel()), torch.tensor([12.0, 14, 12, 16]).double()[:, None]
        for _ in range(round(0.64 / moves.lag)):
            state = moves.step(state, rng)
            kinetic = (masses * state.velocities**2).sum((1, 2)) / 2
            total.append(energy(state.positions) + kinetic)
        return float(torch.stack(total).std(0).mean())

    assert 3.6 < error(0.002) / error(0.001) < 4.4


def test_overdamped_is_the_limit_of_high_friction():
    """Step by step the published recursion, with the noise that is in the velocities."""
    energy, h, g = Sum(Chain(), Repel()), 0.0002, 100.0
    moves, rng = overdamped.build(beads(12, 14, 12, 16), energy, TEMPERATURE, h, g, centre=False).double(), generator()
    mobility = (h / (g * torch.tensor([12.0, 14, 12, 16]).double()))[:, None]
    spread = (2 * KT * mobility).sqrt()

    def noise(state: State) -> Tensor:
        return state.velocities / moves.thermal - mobility / spread * forces(energy, state.positions)[1]

    state = roll(moves, moves.start(chain(4), rng), 3, rng)
    for _ in range(5):
        later = moves.step(state, rng)
        pushed = mobility * forces(energy, state.positions)[1] + spread * (noise(state) + noise(later)) / 2
        torch.testing.assert_close(later.positions, state.positions + pushed, rtol=0, atol=1e-7)
        state = later


# refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"timestep": 0.0}, "timestep"),
        ({"timestep": -0.001}, "timestep"),
        ({"friction": -1.0}, "friction"),
        ({"friction": math.nan}, "friction"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, words):
    arguments = {"energy": Sum(Chain(), Repel()), "temperature": TEMPERATURE} | options
    with pytest.raises(ValueError, match=words):
        baoab.build(beads(12, 12), **arguments)


def test_overdamped_needs_friction():
    with pytest.raises(ValueError, match="friction"):
        overdamped.build(beads(12), Well(1.0), TEMPERATURE, friction=0.0)
