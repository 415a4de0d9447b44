"""Parallel tempering: the exchange alone, the distributions at every temperature, weights, and what goes wrong."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import betainc
from wells import FREEDOM, KT, STRENGTH, Still, Well, equilibrium, generator

from cgsurrogate.core import temperatures, units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.propagator import State
from cgsurrogate.simulation import temperature_ladder
from cgsurrogate.simulation.replica_exchange import ReplicaExchange
from cgsurrogate.simulation.temperature_ladder import COUNTS, EXCHANGES, PLACE, TRIPS


def still(temperatures=(300.0, 360.0, 432.0), energy: Energy | None = None) -> ReplicaExchange:
    return ReplicaExchange(Still(), energy or Well(), temperatures, 1).double()


def exact_acceptance(cold: float, hot: float, freedom: int) -> float:
    return float(2 * betainc(freedom / 2, freedom / 2, cold / (cold + hot)))  # b_hot / (b_hot + b_cold)


# the exchange alone


def test_acceptance_is_the_exact_one_of_harmonic_systems():
    """One attempt a pair from independent equilibrium; a 5 % error of the exponent is eight errors away."""
    rungs, ladders = (300.0, 360.0, 460.0), 200_000
    moves, rng = still(rungs), generator(1)
    for first in range(2):
        state = moves.start(equilibrium(rungs, ladders, rng), rng)
        state.ladder[:, EXCHANGES] = first
        done = temperature_ladder.notes(moves.step(state, rng).ladder.numpy(), rungs)
        assert done["attempts"] == [ladders * (pair == first) for pair in range(2)]
        exact = exact_acceptance(rungs[first], rungs[first + 1], FREEDOM)
        error = math.sqrt(exact * (1 - exact) / ladders)
        assert abs(done["acceptance"][first] - exact) < 4 * error
        wrong = [  # what the same draws would give with another exponent
            float(np.minimum(1, np.exp(scale * _exponent(state, rungs, first))).mean()) for scale in (0.95, 1.05)
        ]
        assert min(abs(w - exact) for w in wrong) > 8 * error


def _exponent(state: State, rungs, first: int) -> np.ndarray:
    cold, hot = state.energy.reshape(-1, len(rungs))[:, first : first + 2].numpy().T
    return (1 / units.thermal_energy(rungs[first]) - 1 / units.thermal_energy(rungs[first + 1])) * (cold - hot)


def test_exchanges_alone_leave_the_density_at_every_temperature():
    """Energies of harmonic systems over kT are half a chi-square, before and after many exchanges."""
    rungs = temperatures.geometric(300, 600, 5)
    moves, rng = still(rungs), generator(2)
    state = moves.start(equilibrium(rungs, 8000, rng), rng)
    for _ in range(6):
        state = moves.step(state, rng)
    moved = (state.ladder[:, PLACE] != torch.arange(len(state.ladder)) % 5).double().mean()
    assert moved > 0.5
    for place, kelvin in enumerate(rungs):
        reduced = state.energy[state.ladder[:, PLACE] == place].numpy() / units.thermal_energy(kelvin)
        assert len(reduced) == 8000
        assert stats.kstest(2 * reduced, stats.chi2(FREEDOM).cdf).pvalue > 1e-4


def test_detailed_balance_of_one_pair():
    """Two fixed energies: the ratio of the chances to swap and to swap back is the ratio of the two probabilities."""
    rungs, count = (300.0, 400.0), 40_000
    high = 3.0 * KT
    x = torch.zeros(2 * count, 4, 3, dtype=torch.float64)
    chances = []
    for hot in (0, 1):  # the replica that holds the higher energy is the cold or the hot one
        x[:] = 0
        x[hot::2, 0, 0] = math.sqrt(2 * high / STRENGTH)
        rng = generator(3 + hot)
        moves = still(rungs)
        chances.append(
            temperature_ladder.notes(moves.step(moves.start(x, rng), rng).ladder.numpy(), rungs)["acceptance"][0]
        )
    ratio = math.exp(high * (1 / units.thermal_energy(300) - 1 / units.thermal_energy(400)))
    error = math.sqrt((1 - chances[1]) / chances[1] / count)
    assert chances[0] == 1.0  # downhill is always taken
    assert abs(chances[0] / chances[1] / ratio - 1) < 4 * error
    assert 0.2 < chances[1] < 0.8


def test_places_are_a_permutation_and_velocities_follow():
    rungs = temperatures.geometric(300, 500, 4)
    moves, rng = still(rungs), generator(4)
    state = moves.start(equilibrium(rungs, 50, rng), rng)
    assert torch.allclose(state.velocities[1], torch.tensor(rungs[1] / 300.0).sqrt().double())
    for _ in range(20):
        before, state = state, moves.step(state, rng)
        assert torch.equal(state.ladder[:, PLACE].reshape(50, 4).sort(1).values, torch.arange(4).expand(50, 4))
        assert torch.equal(state.temperature, torch.tensor(rungs, dtype=torch.float64)[state.ladder[:, PLACE]])
        assert torch.allclose(state.velocities[:, 0, 0] ** 2, state.temperature / 300.0)
        assert torch.equal(state.positions, before.positions)
    assert torch.equal(before.ladder[:, EXCHANGES], torch.full((200,), 19))


@pytest.mark.parametrize("count", [2, 3])
def test_round_trips_and_counts_are_those_of_the_path(count):
    """Followed by hand: bottom, then top, then bottom again is a round trip. Two temperatures try every time."""
    rungs = temperatures.geometric(300, 400, count)
    moves, rng = still(rungs), generator(5)
    state = moves.start(equilibrium(rungs, 30, rng), rng)
    path = [state.ladder[:, PLACE].numpy()]
    for _ in range(60):
        state = moves.step(state, rng)
        path.append(state.ladder[:, PLACE].numpy())
    path = np.array(path)
    trips = 0
    for replica in path.T:
        ends = [int(p) for p in replica if p in (0, count - 1)]
        visits = [key for key, _ in itertools.groupby(ends)]
        trips += max(0, visits.count(0) - 1)
    found = temperature_ladder.notes(state.ladder.numpy(), rungs)
    assert trips > 10
    assert found["round_trips"] == trips == int(state.ladder[:, TRIPS].sum())
    swaps = [int(((path[:-1] == pair) & (path[1:] == pair + 1)).sum()) for pair in range(count - 1)]
    assert found["attempts"] == {2: [30 * 60], 3: [30 * 30] * 2}[count]
    assert [round(a * n) for a, n in zip(found["acceptance"], found["attempts"], strict=True)] == swaps


def test_who_was_taken_out_takes_no_part():
    """Its place stays, neighbours exchange across it, and other ladders do not notice."""
    rungs = temperatures.geometric(300, 400, 4)
    moves = still(rungs)
    ends = []
    for out in (False, True):
        rng = generator(7)
        state = moves.start(equilibrium(rungs, 10, rng), rng)
        if out:
            state.ladder[1, PLACE] = -1
            state.energy[1] = -1e6  # a wrong energy that everyone would exchange with
        for _ in range(40):
            state = moves.step(state, rng)
        ends.append(state.ladder)
    assert torch.equal(ends[0][4:], ends[1][4:])
    assert int(ends[1][1, PLACE]) == -1
    assert sorted(ends[1][[0, 2, 3], PLACE].tolist()) == [0, 2, 3]
    assert ends[1][[0, 2, 3], COUNTS + 5].sum() > 0  # the pair above the gap counts
    assert ends[1][[0, 2, 3], COUNTS : COUNTS + 2].sum() == 0  # what crosses the gap does not
    assert ends[1][[0, 2, 3], PLACE].tolist() != [0, 2, 3]


def test_an_energy_that_is_not_a_number_is_not_exchanged():
    rungs = (300.0, 360.0, 430.0)
    moves, rng = still(rungs), generator(8)
    state = moves.start(equilibrium(rungs, 20, rng), rng)
    state.energy[1::3] = float("nan")
    for _ in range(6):
        state = moves.step(state, rng)
    assert torch.equal(state.ladder[:, PLACE], torch.arange(60) % 3)
