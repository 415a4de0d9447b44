"""Integrators: what theory says about each of them."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from wells import COLD, KT, STRENGTH, DoubleWell, Well, generator

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Energy, Sum, forces
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.testing import samples
from cgsurrogate.testing.propagators import roll
from cgsurrogate.testing.samples import Springs, zigzag

KINDS = registry.kinds("integrators")
CHAIN = (12, 14, 12, 16)  # amu


def built(kind: str, masses, energy, **options) -> Propagator:
    n = len(masses)
    beads = Beads(("CA",) * n, (0,) * n, tuple(map(float, masses)), tuple(range(n)), ("ALA",) * n)
    return registry.build("integrators", kind, beads, energy, COLD, **options).double()


# laws of every kind


@pytest.mark.parametrize("kind", KINDS)
def test_the_centre_stays_and_the_motion_does_not_change(kind):
    x, ends = zigzag(4) + 100, []
    for centre in (True, False):
        rng, propagator = generator(), built(kind, CHAIN, Springs(), centre=centre)
        ends.append(roll(propagator, propagator.start(x, rng), 3, rng).positions)
    held, free = ends
    assert held.mean(1).abs().max() < 1e-12
    assert torch.allclose(free - free.mean(1, keepdim=True), held, atol=1e-9)
    assert (free.mean(1) - x.mean(1)).abs().max() > 1e-6


@pytest.mark.parametrize(("kind", "lag"), [("baoab", 0.002), ("overdamped", 0.0002)])
def test_lag_is_the_time_of_a_step(kind, lag):
    assert built(kind, [12], Well()).lag == lag


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
    return torch.stack([s.positions for s in states]), torch.stack([s.velocities for s in states])


MASS = STRENGTH / 50.0**2  # a frequency of 50 /ps


def test_baoab_in_a_harmonic_well():
    """Kinetic temperature T (1 - (w h)^2 / 4), here 9 % low; configurational temperature T."""
    step = 0.012
    moves = built("baoab", [MASS], Well(), timestep=step, friction=5.0, centre=False)
    x0 = torch.randn(1000, 1, 3, generator=generator(9), dtype=torch.float64) * math.sqrt(KT / STRENGTH)
    x, v = sample(moves, x0, burn=200, count=150, every=10)
    value, error = configurational(x, STRENGTH)
    assert error < 1.5
    assert abs(value - COLD) < 4 * error
    value, error = configurational(v, MASS)
    assert abs(value - COLD * (1 - (50 * step) ** 2 / 4)) < 4 * error
    assert abs(value - COLD) > 10 * error


def test_overdamped_in_a_harmonic_well():
    """Exact at any stable step; without the averaged noise it would read 1 / (1 - a/2) high."""
    friction, share = 100.0, 0.3
    step = share * friction * MASS / STRENGTH
    moves = built("overdamped", [MASS], Well(), timestep=step, friction=friction, centre=False)
    x, _ = sample(moves, torch.zeros(500, 1, 3, dtype=torch.float64), burn=60, count=150, every=6)
    value, error = configurational(x, STRENGTH)
    assert error < 1.5
    assert abs(value - COLD) < 4 * error


@pytest.mark.parametrize(("kind", "options"), [
    ("baoab", {"timestep": 0.01, "friction": 10.0}), ("overdamped", {"timestep": 0.006, "friction": 5.0})
])  # fmt: skip
def test_double_well_density(kind, options):
    energy, batch = DoubleWell(2 * KT), 400
    moves = built(kind, [12], energy, centre=False, **options)
    start = torch.zeros(batch, 1, 3, dtype=torch.float64)
    start[: batch // 2, :, 0], start[batch // 2 :, :, 0] = 0.2, -0.2
    x, _ = sample(moves, start, burn=300, count=200, every=10)
    x = x[..., 0, 0].T  # (B, S)
    edges = torch.linspace(-0.36, 0.36, 19, dtype=torch.float64)
    fine = torch.linspace(-0.6, 0.6, 24001, dtype=torch.float64)
    density = torch.exp(-energy.height * (1 - (fine / 0.2) ** 2) ** 2 / KT)
    which = torch.bucketize(fine, edges)
    exact = torch.tensor([density[which == i].sum() for i in range(1, len(edges))]) / density.sum()
    each = torch.stack([((x >= a) & (x < b)).double().mean(1) for a, b in itertools.pairwise(edges)])
    error = each.std(1) / math.sqrt(batch)
    assert error.max() < 0.005
    assert ((each.mean(1) - exact) / error).abs().max() < 4.5
    assert ((x[:, 0] > 0) != (x[:, -1] > 0)).any()  # the barrier was crossed, so the populations were tested


def test_start_has_the_velocities_of_maxwell_and_boltzmann():
    masses = (1.0, 12.0, 50.0)
    moves = built("baoab", masses, Springs())
    state = moves.start(zigzag(3, batch=20000), generator())
    for bead, mass in enumerate(masses):
        value, error = configurational(state.velocities[None, :, bead], mass)
        assert abs(value - COLD) < 4 * error
        assert error < 3


# mechanics


def chain_newton(timestep: float) -> Propagator:
    return built("baoab", CHAIN, Springs(), timestep=timestep, friction=0.0)


def test_without_friction_it_runs_backwards():
    moves, rng = chain_newton(0.002), generator()
    begin = moves.start(zigzag(4), rng)
    there = roll(moves, begin, 200, rng)
    assert (there.positions - begin.positions).abs().max() > 0.01
    back = roll(moves, there._replace(velocities=-there.velocities), 200, rng)
    assert (back.positions - (begin.positions - begin.positions.mean(1, keepdim=True))).abs().max() < 1e-10
    assert (back.velocities + begin.velocities).abs().max() < 1e-8


def total_energies(moves: Propagator, energy: Energy, masses, x: Tensor, time: float) -> Tensor:
    """(S, B) kJ/mol after every step of Newton's equations."""
    rng, mass, total = generator(1), torch.tensor(masses).double()[:, None], []
    state = moves.start(x, rng)
    for _ in range(round(time / moves.lag)):
        state = moves.step(state, rng)
        total.append(energy(state.positions).detach() + (mass * state.velocities**2).sum((1, 2)) / 2)
    return torch.stack(total)


def test_the_energy_error_falls_fourfold_when_the_step_halves():
    def error(timestep: float) -> float:
        moves = chain_newton(timestep)
        return float(total_energies(moves, Springs(), CHAIN, zigzag(4, batch=20), 0.64).std(0).mean())

    assert 3.6 < error(0.002) / error(0.001) < 4.4


@pytest.mark.parametrize("network", [None, "residues", "schnet"])
def test_newton_with_priors_and_networks_keeps_the_energy(network):
    """Its error falls with the square of the step, and it does not drift: forces are the slope of the energy."""
    frames = samples.frames()
    beads, x = frames.beads, torch.from_numpy(frames.positions[:8]).double()
    terms = [registry.build("priors", kind, beads) for kind in registry.kinds("priors")]
    for prior in terms:
        prior.fit(frames)
    if network is not None:
        torch.manual_seed(0)
        terms.append(registry.build("networks", network, beads))
        with torch.no_grad():
            for weight in terms[-1].parameters():
                weight.add_(0.05 * torch.randn(weight.shape))
    energy = Sum(*terms).double().requires_grad_(False)

    def went(timestep: float) -> Tensor:
        moves = registry.build("integrators", "baoab", beads, energy, COLD, timestep=timestep, friction=0.0).double()
        return total_energies(moves, energy, beads.masses, x, 0.12)

    long, short = went(0.001), went(0.0005)
    assert 3.5 < float((long.std(0) / short.std(0)).median()) < 4.5
    middle = len(short) // 2
    drift = (short[middle:].mean(0) - short[:middle].mean(0)).abs().mean() / (KT * 3 * len(beads))
    assert drift < 1e-3  # kT a degree of freedom


def test_overdamped_is_the_limit_of_high_friction():
    """Step by step the published recursion, with the noise that is in the velocities."""
    energy, h, g = Springs(), 0.0002, 100.0
    moves, rng = built("overdamped", CHAIN, energy, timestep=h, friction=g, centre=False), generator()
    mobility = (h / (g * torch.tensor(CHAIN).double()))[:, None]
    spread = (2 * KT * mobility).sqrt()

    def noise(state: State) -> Tensor:
        return state.velocities / moves.thermal - mobility / spread * forces(energy, state.positions)[1]

    state = roll(moves, moves.start(zigzag(4), rng), 3, rng)
    for _ in range(5):
        later = moves.step(state, rng)
        pushed = mobility * forces(energy, state.positions)[1] + spread * (noise(state) + noise(later)) / 2
        torch.testing.assert_close(later.positions, state.positions + pushed, rtol=0, atol=1e-7)
        state = later


# refusals


@pytest.mark.parametrize(
    ("kind", "option", "value"),
    [("baoab", "timestep", 0.0), ("baoab", "timestep", -0.001), ("baoab", "friction", -1.0),
     ("baoab", "friction", math.nan), ("overdamped", "friction", 0.0)],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(kind, option, value):
    with pytest.raises(ValueError, match=option):
        built(kind, CHAIN, Springs(), **{option: value})
