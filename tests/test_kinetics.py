"""Timescales of chains that are known exactly, and the Markov state model that serves as baseline."""

import numpy as np
import pytest

from cgsurrogate import kinetics, markov
from cgsurrogate.blocks import blocks
from cgsurrogate.frames import Beads, Frames

ONE = Beads(("CA",), (0,), (1.0,), (0,), ("ALA",))
CHAIN = np.array([[0.97, 0.02, 0.01], [0.04, 0.95, 0.01], [0.01, 0.01, 0.98]])


def reversible(matrix):
    """The chain whose flows are the symmetric part of those of ``matrix``."""
    values, vectors = np.linalg.eig(matrix.T)
    stationary = np.abs(vectors[:, np.argmax(values.real)].real)
    flow = (stationary / stationary.sum())[:, None] * matrix
    flow = (flow + flow.T) / 2
    return flow / flow.sum(1, keepdims=True), flow.sum(1)


def simulate(rng, matrix, stationary, runs, length):
    state = rng.choice(len(matrix), runs, p=stationary)
    ladder, path = np.cumsum(matrix, 1), np.empty((runs, length), int)
    for k in range(length):
        path[:, k] = state
        state = (ladder[state] < rng.random((runs, 1))).sum(1).clip(max=len(matrix) - 1)
    return path.ravel()


def frames_of(lengths, dt=2.0):
    return Frames(ONE, np.zeros((sum(lengths), 1, 3), np.float32), tuple(lengths), dt, 300.0)


def exact_timescales(matrix, dt=2.0):
    return np.sort(-dt / np.log(np.sort(np.linalg.eigvals(matrix).real)[:-1]))[::-1]


def test_transitions_are_counted_within_runs_and_blocks_add_up():
    frames = frames_of((4, 3))
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    counts = kinetics.transition_counts(labels, frames, 1, 2)
    assert counts.sum() == 5
    by_hand = np.zeros((2, 2))
    for a, b in ((0, 1), (1, 1), (1, 0), (1, 0), (0, 1)):
        by_hand[a, b] += 1
    assert np.array_equal(counts[0], by_hand)
    rng = np.random.default_rng(0)
    frames, labels = frames_of((500, 300)), rng.integers(0, 4, 800)
    cut = blocks(frames.lengths, 20)
    for lag in (1, 7, 299):
        table = kinetics.transition_counts(labels, frames, lag, 4, cut)
        assert len(table) == len(cut)
        assert np.array_equal(table.sum(0), kinetics.transition_counts(labels, frames, lag, 4)[0])


def test_the_largest_connected_set_is_found_by_counts():
    counts = np.zeros((5, 5))
    counts[0, 1], counts[1, 0] = 5, 5
    counts[2, 3], counts[3, 4], counts[4, 2] = 9, 9, 9
    counts[1, 2] = 1  # one way only
    assert kinetics.connected(counts).tolist() == [2, 3, 4]


def test_timescales_of_a_known_chain_lie_within_their_intervals():
    """Four lags of one chain have one truth; the 95 % interval holds it in 85 to 100 of 100 cases."""
    matrix, stationary = reversible(CHAIN)
    truth = exact_timescales(matrix)
    rng, inside = np.random.default_rng(1), []
    for _ in range(30):
        frames = frames_of((1500,) * 12)
        labels = simulate(rng, matrix, stationary, 12, 1500)
        cut = blocks(frames.lengths, 100)
        times, _ = kinetics.timescales(labels, frames, np.array([2.0, 10.0]), 3, cut, rng, processes=2)
        assert np.array_equal(times.lags, [2.0, 10.0]) and times.values.shape == (2, 2)
        assert np.allclose(times.values[:, 0], truth[0], rtol=0.5)
        inside.append((times.low < truth) & (truth < times.high))
    assert 0.85 <= np.mean(inside) <= 1.0


def test_notes_say_what_the_data_do_not_allow():
    rng = np.random.default_rng(2)
    matrix, stationary = reversible(CHAIN)
    frames = frames_of((200, 200))
    labels = simulate(rng, matrix, stationary, 2, 200)
    cut = blocks(frames.lengths, 20)
    times, notes = kinetics.timescales(labels, frames, np.array([2.0]), 3, cut, rng, physical=False)
    assert (
        not times.physical and any("not physical" in n for n in notes) and any("slowest relaxation" in n for n in notes)
    )
    none, notes = kinetics.timescales(labels, frames, np.array([1e6]), 3, cut, rng)
    assert none is None and "shorter than the shortest lag" in notes[0]
    split = np.repeat([0, 1], 200)  # two runs that never meet
    split[::7] = np.where(split[::7] == 0, 2, 3)
    _, notes = kinetics.timescales(split, frames, np.array([2.0]), 4, cut, rng)
    assert any("connected" in n for n in notes)


def test_lags_suit_the_time_between_frames_of_each_ensemble():
    reference = frames_of((5000,), dt=2.0)
    lags = kinetics.lag_grid(reference, correlation=26.0)
    assert lags[0] >= 2 and lags[-1] <= 2000 and (np.diff(lags) > 0).all() and lags[0] <= 26 <= lags[-1]
    rng = np.random.default_rng(3)
    coarse = frames_of((400,), dt=50.0)
    times, _ = kinetics.timescales(rng.integers(0, 3, 400), coarse, lags, 3, blocks((400,), 1), rng)
    assert np.allclose(times.lags % 50, 0) and times.lags[0] == 50


def test_states_are_the_nearest_centres_and_repeat_with_the_seed():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(m, 0.1, (300, 2)) for m in (0.0, 3.0, 6.0)])
    first, again = (kinetics.states(values, np.random.default_rng(5), 3) for _ in range(2))
    assert np.array_equal(first.centres, again.centres)
    labels = first(values)
    nearest = np.linalg.norm(values[:, None] - first.centres, axis=-1).argmin(1)
    assert np.array_equal(labels, nearest) and len(first) == 3


def two_state_molecule(rng, runs, length):
    """A chain of six beads that is straight or bent, jumps as a two-state chain, and shakes."""
    matrix = np.array([[0.98, 0.02], [0.04, 0.96]])
    state = simulate(rng, matrix, np.array([2, 1]) / 3, runs, length)
    straight = np.array([[0.38 * k, 0.05 * (k % 2), 0.03 * k * k] for k in range(6)])
    bent = straight.copy()
    bent[4:] = straight[3] + np.array([[0, 0.38, 0.1], [0.1, 0.7, 0.3]])
    x = np.where(state[:, None, None] == 0, straight, bent) + rng.normal(size=(runs * length, 6, 3)) * 0.01
    bonds = tuple((k, k + 1) for k in range(5))
    beads = Beads(("CA",) * 6, (12,) * 6, (12.0,) * 6, tuple(range(6)), ("ALA",) * 6, bonds)
    return Frames(beads, x.astype(np.float32), (length,) * runs, 2.0, 300.0), state


def test_the_resampled_model_has_the_populations_and_the_timescale_of_its_training_data():
    rng = np.random.default_rng(6)
    training, state = two_state_molecule(rng, 4, 4000)
    made = markov.resample(training, runs=20, length=3000, lag=4.0, states=10, seed=1)
    assert made.lengths == (3000,) * 20 and made.dt == 4.0 and "states" in made.source["made by"]
    bent = made.positions[:, 5, 1] - made.positions[:, 3, 1] > 0.3
    assert bent.mean() == pytest.approx(state.mean(), abs=0.04)
    flips = np.mean([np.mean(bent[run][1:] != bent[run][:-1]) for run in made.runs])
    eigenvalue = 0.94**2  # of the two-state chain over two frames
    assert flips == pytest.approx(2 * state.mean() * (1 - state.mean()) * (1 - eigenvalue), rel=0.15)
    # every frame is one of the training frames
    known = {x.tobytes() for x in training.positions}
    assert all(x.tobytes() in known for x in made.positions[::500])
    again = markov.resample(training, runs=20, length=3000, lag=4.0, states=10, seed=1)
    assert np.array_equal(again.positions, made.positions)


def test_baselines_of_weighted_data_are_drawn_by_weight():
    rng = np.random.default_rng(7)
    frames, state = two_state_molecule(rng, 2, 500)
    weights = np.where(state == 1, 0.0, 1.0)
    weighted = Frames(frames.beads, frames.positions, frames.lengths, 2.0, 300.0, weights=weights)
    for made in (markov.resample(weighted, runs=5, length=100), markov.shuffled(weighted)):
        assert (made.positions[:, 5, 1] - made.positions[:, 3, 1] < 0.3).all() and made.weights is None
