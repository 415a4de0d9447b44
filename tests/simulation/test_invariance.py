"""Whatever moves replicas leaves a known mean energy and known marginals as they are: every pair of parts, often."""

from __future__ import annotations

import math

import pytest
import torch
from known_molecule import BEADS, KELVIN, KT, MOVES, Known, energy_moments, exact, integrator, known, mixed, p_value
from torch import Tensor
from walks import Walk
from wells import Still, generator

from cgsurrogate.core import registry
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.simulation import temperature_ladder
from cgsurrogate.simulation.integrators._baoab import BAOAB
from cgsurrogate.simulation.monte_carlo.hmm import HiddenMarkovModel
from cgsurrogate.simulation.monte_carlo.pivot import PivotMove
from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove
from cgsurrogate.simulation.replica_exchange import ReplicaExchange
from cgsurrogate.simulation.temperature_ladder import PLACE

KINDS = registry.kinds("integrators")
HEAT = 1.3
SLOW = pytest.mark.slow
REPLICAS, STEPS = 2000, 40  # enough steps for bonds and angles to forget


def check(positions: Tensor, heat: float = 1.0) -> None:
    """At ``heat`` times the temperature, all numbers within errors."""
    mean, variance = energy_moments(heat)
    found = float((Known()(positions) / KT).mean())
    assert abs(found - mean) < 4.5 * math.sqrt(variance / len(positions)), f"<U> is {found:.3f} kT, not {mean:.3f}"
    assert p_value(positions, heat) > 1e-4


def rolled(moves: Propagator, positions: Tensor, steps: int = STEPS) -> State:
    rng = generator(7)
    state = moves.start(positions, rng)
    for _ in range(round(steps * integrator_lag(moves) / moves.lag)):
        state = moves.step(state, rng)
    return state


def integrator_lag(moves: Propagator) -> float:
    inner = getattr(moves, "integrator", None)
    return moves.lag if inner is None else integrator_lag(inner)


@pytest.mark.parametrize(
    ("moves", "low", "high"),
    [("pivot", 0.9, 1), ("uniform", 0.1, 0.9), ("block", 0.05, 1), pytest.param("independence", 0.05, 1, marks=SLOW)],
)
def test_moves_alone_leave_the_density_and_reach_it(moves, low, high):
    """From one well. Bonds cannot change, so they start right; nor can angles of which no term speaks alone."""
    sampler = mixed(Still(), moves, 1, 30)
    state = rolled(sampler, exact(REPLICAS), 1)
    accepted, tried = torch.stack([torch.stack(tally) for tally in sampler.tallies(state).values()]).sum((0, 2))
    assert low < accepted / tried < high
    check(state.positions)
    bonds, angles, torsions = ZMatrix(BEADS).to_internal(exact(REPLICAS, 1))
    well = ZMatrix(BEADS).to_positions(bonds, angles if moves == "uniform" else 0 * angles + 2.2, 0 * torsions + 2.0)
    assert p_value(well) < 1e-12
    check(rolled(sampler, well, 2 if low > 0.05 else 5).positions)


@pytest.mark.parametrize(("moves", "period"), [("none", 1), *((name, 1) for name in MOVES), ("all", 5)])
@pytest.mark.parametrize("kind", KINDS)
def test_monte_carlo_moves_between_the_steps_of_an_integrator_or_none(kind, moves, period):
    sampler = integrator(kind) if moves == "none" else mixed(integrator(kind), moves, period)
    state = rolled(sampler, exact(REPLICAS))
    assert moves == "none" or all(int(tally.accepted.sum()) > 100 for tally in sampler.tallies(state).values())
    check(state.positions)


@pytest.mark.parametrize(
    ("moves", "often", "period"),
    [("none", 1, 1), ("none", 1, 5), ("pivot", 1, 1), ("all", 3, 5), pytest.param("all", 1, 5, marks=SLOW)],
)
@pytest.mark.parametrize("kind", KINDS)
def test_replica_exchange(kind, moves, often, period):
    """Alone, and with moves each so many steps, of which "all" is a chain of three kinds."""
    inner = integrator(kind) if moves == "none" else mixed(integrator(kind), moves, often)
    check_exchange(ReplicaExchange(inner, known(), (KELVIN, HEAT * KELVIN), period).double())


def check_exchange(exchange: ReplicaExchange) -> None:
    x = torch.stack((exact(REPLICAS), exact(REPLICAS, 1, HEAT)), 1).flatten(0, 1)
    state = rolled(exchange, x)
    assert temperature_ladder.notes(state.ladder.numpy(), exchange.temperatures)["acceptance"][0] > 0.3
    for place, heat in enumerate((1.0, HEAT)):
        check(state.positions[state.ladder[:, PLACE] == place], heat)


# the law sees what is wrong


class Carried(BAOAB):
    """Overdamped dynamics as it was once: the last noise is carried on, or drawn anew, whatever moves the beads."""

    def __init__(self, anew: bool):
        right = integrator("overdamped")
        super().__init__(BEADS, known(), KELVIN, right.timestep, right.friction, right.centre)
        self.anew, self.rng, self.lag = anew, generator(9), right.lag

    def moved(self, state: State, positions: Tensor) -> State:
        later = super().moved(state, positions)
        if state.memory is None:
            return later
        noise = state.velocities - self.kick * state.memory
        if self.anew:
            noise = self.thermal * torch.randn(positions.shape, generator=self.rng, dtype=positions.dtype)
        return later._replace(velocities=noise + self.kick * later.memory)


@pytest.mark.parametrize(
    ("moves", "owner", "name"),
    [("pivot", PivotMove, "log_ratio"), ("block", HiddenMarkovModel, "log_likelihood"),
     ("independence", IndependenceMove, "log_ratio")],
)  # fmt: skip
def test_a_wrong_ratio_is_seen(monkeypatch, moves, owner, name):
    monkeypatch.setattr(owner, name, lambda self, x, *_: torch.zeros(len(x), dtype=torch.float64))
    assert p_value(rolled(mixed(Still(), moves, 1, 30), exact(2 * REPLICAS), 1).positions) < 1e-12


@pytest.mark.parametrize(("heat", "low", "high"), [(1.0, 0, 4.5), (1.05, 6, math.inf)])
def test_a_temperature_that_is_five_percent_off_is_seen(heat, low, high):
    """By the change of the energy of replicas that were in equilibrium, from which all that moves leave alone drops."""
    still = Still()
    still.temperature = heat * KELVIN
    before = exact(16_000)
    change = (Known()(rolled(mixed(still, "pivot", 1, 15), before, 1).positions) - Known()(before)) / KT
    assert low <= abs(float(change.mean() / change.std())) * math.sqrt(len(change)) < high


@SLOW
def test_noise_that_does_not_follow_the_moves_is_seen():
    """Noise that is carried over as a velocity turns with the beads, so only one that is drawn anew is wrong."""
    with pytest.raises(AssertionError):
        check(rolled(mixed(Carried(True).double(), "pivot", 1, 10), exact(REPLICAS)).positions)


# refusals


def test_what_cannot_go_on_from_moved_positions_is_refused():
    class Stubborn(Still):
        moved = Propagator.moved

    with pytest.raises(ValueError, match="use an integrator such as baoab"):
        mixed(Stubborn(), "pivot", 1)
    with pytest.raises(ValueError, match="need an integrator with a temperature"):
        mixed(Walk(), "pivot", 1)
    with pytest.raises(ValueError, match="use an integrator such as baoab"):
        Walk().moved(State(exact(2)), exact(2))
