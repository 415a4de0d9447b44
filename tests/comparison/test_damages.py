"""Damages of a known amount: each does what it says, by that amount, and leaves its input alone."""

import dataclasses

import numpy as np
import pytest

from cgsurrogate.comparison import damages
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.rebuilding import Rebuilder
from cgsurrogate.testing.torsion_chain import TorsionChain

CHAIN = TorsionChain(beads=7, every=5)


@pytest.fixture(scope="module")
def frames() -> Frames:
    return CHAIN.simulate(4, 500, seed=3)


def torsions(frames: Frames) -> np.ndarray:
    return Rebuilder(frames.beads).taken_apart(frames.positions)[2]


def turned(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a - b + np.pi) % (2 * np.pi) - np.pi


def test_taking_apart_and_building_gives_the_same_molecule(frames):
    tree = Rebuilder(frames.beads)
    built = tree.built(tree.taken_apart(frames.positions))
    pairs = np.array([(i, j) for i in range(7) for j in range(i)])
    one, two = (measures.distances(np.asarray(x, float), pairs) for x in (built, frames.positions))
    assert np.abs(one - two).max() < 1e-4


def test_each_damage_has_its_amount_and_leaves_its_input_alone(frames):
    rng, before = np.random.default_rng(0), frames.positions.copy()
    turn = turned(torsions(damages.blurred(frames, 5.0, rng)), torsions(frames))
    assert np.degrees(turn.std()) == pytest.approx(5.0, rel=0.05)
    tree = Rebuilder(frames.beads)
    opened = tree.taken_apart(damages.opened(frames, 2.0).positions)[1] - tree.taken_apart(frames.positions)[1]
    assert np.degrees(opened) == pytest.approx(np.full(opened.shape, 2.0), abs=0.05)
    jitter = damages.jittered(frames, 10.0, rng, np.array([0, 3])).positions - frames.positions
    assert jitter[:, [0, 3]].std() == pytest.approx(0.010, rel=0.05) and not jitter[:, [1, 2]].any()
    wide = damages.widened(frames, (1, 2), 4.0)
    spreads = [
        measures.distances(np.asarray(f.positions, float), np.array([[1, 2], [2, 3]])).std(0) for f in (wide, frames)
    ]
    assert spreads[0] / spreads[1] == pytest.approx([4.0, 1.0], rel=0.02)
    assert np.abs(turned(torsions(damages.mirrored(frames)), -torsions(frames))).max() < 1e-3
    assert np.array_equal(frames.positions, before)


def test_shuffling_breaks_correlations_of_a_share_and_keeps_every_single_distribution(frames):
    found = damages.shuffled(frames, 0.3, np.random.default_rng(0))
    changed = np.abs(turned(torsions(found), torsions(frames))).max(1) > 1e-3
    assert changed.mean() == pytest.approx(0.3, abs=0.01)
    whole = damages.shuffled(frames, 1.0, np.random.default_rng(0))
    for k in range(4):
        one, two = (np.histogram(torsions(f)[:, k], 6, (-np.pi, np.pi))[0] / len(f) for f in (whole, frames))
        assert np.abs(one - two).max() < 0.06


def test_frames_left_out_make_rates_faster_by_the_factor(frames):
    found = damages.faster(frames, 1.5)
    assert found.lengths == (333,) * 4 and found.dt == frames.dt
    assert np.array_equal(found.positions[:4], frames.positions[[0, 1, 3, 4]])


def test_a_state_is_missing_or_visited_so_many_times_as_often(frames):
    inside = torsions(frames)[:, 0] > 1.0
    gone = damages.without(frames, inside)
    assert len(gone) == (~inside).sum() and not (torsions(gone)[:, 0] > 1.0).any()
    visits = sum(int(np.diff(np.r_[0, inside[run]]).clip(0).sum()) for run in frames.runs)
    counts = []
    for seed in range(20):
        more = damages.visited(frames, inside, 2.0, np.random.default_rng(seed))
        assert len(more.lengths) == 4 and sum(more.lengths) == len(more)
        counts.append((torsions(more)[:, 0] > 1.0).sum())
    assert np.mean(counts) == pytest.approx(2 * inside.sum(), rel=6 / np.sqrt(20 * 2 * visits))


def test_weights_of_another_temperature_are_those_of_boltzmann():
    frames, truth = (dataclasses.replace(CHAIN, temperature=t).simulate(40, 400, seed=5) for t in (300.0, 450.0))
    factors = damages.temperature_factors(damages.torsion_log_density(frames), frames, 150.0)
    weights = damages.reweighted(frames, factors).probabilities
    bins, errors = np.linspace(-np.pi, np.pi, 13), []
    for k in range(4):
        found = np.histogram(torsions(frames)[:, k], bins, weights=weights)[0]
        exact, start = (np.histogram(torsions(f)[:, k], bins)[0] / len(f) for f in (truth, frames))
        errors.append((np.abs(found - exact).sum(), np.abs(start - exact).sum()))
    found, start = np.mean(errors, 0)
    assert found < 0.7 * start  # bins and their kernel blur the density a little


def test_frozen_frames_never_move(frames):
    found = damages.frozen(frames, 5, 20, np.random.default_rng(0))
    assert found.lengths == (20,) * 5 and all(np.ptp(found.positions[run], 0).max() == 0 for run in found.runs)
