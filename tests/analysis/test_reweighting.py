"""Weights on macrostates: right populations, honest sample sizes, and the limits of much and of no data."""

import numpy as np
import pytest
from known_chains import calphas, simulate

from cgsurrogate.analysis import reweighting as module
from cgsurrogate.analysis.reweighting import reweight, store
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import kish

BEADS = calphas(4)
CENTRES = np.array([-2.0, 0.3, 2.0])  # of the one torsion, rad


def walk(populations, count, seed, stay=0.8, runs=4, **options):
    """Frames that hop between three wells of the torsion with the given populations, and their wells."""
    rng = np.random.default_rng(seed)
    state = simulate(rng, stay * np.eye(3) + (1 - stay) * populations, populations, runs, count // runs)
    turn = CENTRES[state] + rng.normal(0, 0.15, count)
    zero, one = np.zeros(count), np.ones(count)
    rows = ((zero, one, zero), (zero, zero, zero), (zero, zero, one), (-np.sin(turn), np.cos(turn), one))
    x = 0.38 * np.stack([np.stack(row, 1) for row in rows], 1)
    x = (x + rng.normal(0, 0.002, x.shape)).astype(np.float32)
    return Frames(BEADS, x, (count // runs,) * runs, 1.0, 300.0, **options), state


def shares(frames, state):
    return np.bincount(state, frames.probabilities, 3)


P, Q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])


def test_populations_become_those_of_the_target():
    target, wells = walk(P, 8_000, 0)
    frames, state = walk(Q, 8_000, 1)
    weighted = reweight(frames, target)
    assert np.abs(shares(frames, state) - shares(target, wells)).max() > 0.2
    assert np.abs(shares(weighted, state) - shares(target, wells)).max() < 0.04
    assert weighted.positions is frames.positions and frames.weights is None


def test_the_effective_sample_size_is_that_of_the_ratio():
    target, wells = walk(P, 8_000, 0)
    frames, state = walk(Q, 8_000, 1)
    about = reweight(frames, target).provenance.correction
    p, q = shares(target, wells), shares(frames, state)
    assert about["effective"] == pytest.approx(1 / (p**2 / q).sum(), abs=0.05)
    assert about["missing"] == 0.0
    assert kish(np.ones(7)) == 7 and kish(np.array([1.0, 0, 0])) == 1


def test_weights_that_are_there_count():
    """A target that is itself weighted, and frames that already have weights."""
    target, wells = walk(Q, 8_000, 0)
    target, wells = walk(Q, 8_000, 0, weights=(P / Q)[wells])
    frames, state = walk(Q, 8_000, 1)
    assert np.abs(shares(reweight(frames, target), state) - P).max() < 0.05
    frames, state = walk(Q, 8_000, 1, weights=(P / Q)[state])
    weighted = reweight(frames, target)
    assert np.abs(shares(weighted, state) - P).max() < 0.05
    assert weighted.provenance.correction["largest_weight"] < 2 * (P / Q).max()


def test_little_data_change_little():
    """With few frames of the target the weights stay near one; with none in a state they stay finite."""
    frames, _ = walk(Q, 4000, 1)
    spread = [
        reweight(frames, walk(P, count, 0, runs=1)[0], states=10, reference=frames).weights.std()
        for count in (12, 5000)
    ]
    assert spread[0] < 0.6 * spread[1]
    target, _ = walk(np.array([0.6, 0.4, 0.0]), 4000, 2)
    weights = reweight(frames, target, reference=frames, states=10).weights
    assert np.isfinite(weights).all() and weights.min() > 0


def test_states_that_the_frames_never_visit_are_told():
    target, _ = walk(P, 8000, 0)
    frames, _ = walk(np.array([0.4, 0.6, 0.0]), 8000, 1)
    assert reweight(frames, target, states=12).provenance.correction["missing"] == pytest.approx(0.2, abs=0.05)
    assert reweight(target, frames, states=12).provenance.correction["missing"] == 0.0


def test_weighted_frames_have_no_physical_time():
    weighted = reweight(walk(Q, 2000, 1)[0], walk(P, 2000, 0)[0])
    assert weighted.provenance.physical_time is False and "no order in time" in weighted.provenance.why_not_physical


def test_what_does_not_fit_is_refused():
    frames, _ = walk(Q, 400, 1)
    warm = Frames(BEADS, frames.positions, frames.lengths, 1.0, 310.0)
    with pytest.raises(ValueError, match="310 K, the frames at 300 K"):
        reweight(frames, warm)
    small = Frames(calphas(5), np.zeros((4, 5, 3)), (4,), 1.0, 300.0)
    with pytest.raises(ValueError, match=r"other beads \(5\)"):
        reweight(frames, small)


def test_weights_are_added_to_the_folder(tmp_path, monkeypatch):
    frames, _ = walk(Q, 2000, 1)
    frames.save(tmp_path)
    weighted = reweight(Frames.load(tmp_path), walk(P, 2000, 0)[0])
    with monkeypatch.context() as patch:  # killed before the manifest: still the frames without weights
        patch.setattr(module.filesystem, "write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store(weighted, tmp_path)
    assert Frames.load(tmp_path).weights is None
    again = store(weighted, tmp_path)
    assert np.array_equal(again.weights, weighted.weights) and again.provenance == weighted.provenance
    assert np.array_equal(Frames.load(tmp_path).positions, frames.positions)
