"""Weights that make runs from one state a sample of the equilibrium, on chains whose equilibrium is known."""

import numpy as np
import pytest

from cgsurrogate.analysis.kinetics.connectivity import connectivity
from cgsurrogate.analysis.kinetics.equilibrium_weights import equilibrium_weights
from cgsurrogate.core.frames import Beads, Frames

BEAD = Beads(("X",), (0,), (12.0,), (0,), ("UNK",))
CHANCES = np.array([[0.97, 0.03, 0.0], [0.02, 0.94, 0.04], [0.0, 0.02, 0.98]])  # detailed balance holds
POPULATIONS = np.array([2.0, 3.0, 6.0]) / 11


def place(frames):
    return np.asarray(frames.positions[:, 0], float)


def chain(starts, length, seed=0, chances=CHANCES):
    """Runs of a chain of three states, each of which begins in the given one; positions tell the state."""
    rng, ladder = np.random.default_rng(seed), np.cumsum(chances, 1)
    states = np.empty((len(starts), length), int)
    states[:, 0] = starts
    for k in range(1, length):
        states[:, k] = (rng.random(len(starts))[:, None] > ladder[states[:, k - 1]]).sum(1)
    x = states.ravel()[:, None, None] + 0.1 * rng.normal(size=(states.size, 1, 3))
    return Frames(BEAD, x.astype(np.float32), (length,) * len(starts), 1.0, 300.0), states.ravel()


def shares(states, weights):
    return np.bincount(states, weights, 3) / np.sum(weights)


@pytest.mark.parametrize("lag", [1, 5])
def test_runs_from_one_state_get_the_populations_of_equilibrium(lag):
    frames, states = chain((0,) * 600, 40)
    found = equilibrium_weights(frames, lag, place)
    raw, weighted = shares(states, np.ones(len(states))), shares(states, found(frames))
    assert abs(raw - POPULATIONS).max() > 0.2
    assert np.allclose(weighted, POPULATIONS, atol=0.04)
    assert 0.3 < found.effective < 1 and found.kept == 1


def test_runs_at_equilibrium_keep_equal_weights():
    frames, states = chain(np.random.default_rng(1).choice(3, 300, p=POPULATIONS), 80)
    found = equilibrium_weights(frames, 2, place)
    assert found.effective > 0.99 and np.allclose(
        shares(states, found(frames)), shares(states, np.ones(len(states))), atol=0.02
    )


def test_states_that_are_never_left_weigh_nothing():
    trap = np.array([[0.97, 0.03, 0.0], [0.02, 0.94, 0.04], [0.0, 0.0, 1.0]])
    frames, states = chain((0,) * 200, 60, chances=trap)
    found = equilibrium_weights(frames, 1, place)
    assert shares(states, found(frames))[2] < 0.01 and found.kept == pytest.approx((states != 2).mean(), abs=0.02)


def test_runs_that_never_return_are_refused():
    x = np.arange(60, dtype=np.float32)[:, None, None] * np.ones((1, 1, 3), np.float32)
    with pytest.raises(ValueError, match="pass between no two states"):
        equilibrium_weights(Frames(BEAD, x, (60,), 1.0, 300.0), 1, place)


def test_starts_out_of_equilibrium_are_seen_and_those_at_equilibrium_are_not():
    def equilibrium(starts):
        frames, _ = chain(starts, 60)
        return connectivity(place(frames), frames, np.random.default_rng(0)).equilibrium

    assert not equilibrium((0,) * 60)
    assert equilibrium(np.random.default_rng(2).choice(3, 60, p=POPULATIONS))
