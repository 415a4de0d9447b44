"""Weights from a folder of short runs to another folder, and what is said of them."""

import numpy as np
import pytest
import torch

from cgsurrogate import workflows
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.zmatrix import ZMatrix

BEADS = Beads(("CA",) * 4, (0,) * 4, (71.0,) * 4, (0, 1, 2, 3), ("ALA",) * 4, ((0, 1), (1, 2), (2, 3)))


def two_wells(runs, length, out, back, seed=0):
    """Runs of four CA that all begin in one well of their torsion; its shares of the other well in equilibrium are
    out / (out + back)."""
    rng, states = np.random.default_rng(seed), np.zeros((runs, length), int)
    for k in range(1, length):
        leaves = rng.random(runs) < np.where(states[:, k - 1] == 0, out, back)
        states[:, k] = np.where(leaves, 1 - states[:, k - 1], states[:, k - 1])
    torsion = np.array([-1.2, 2.0])[states.ravel()] + rng.normal(0, 0.2, states.size)
    parts = np.full((states.size, 3), 0.38), np.full((states.size, 2), 1.8), torsion[:, None]
    x = ZMatrix(BEADS).to_positions(*(torch.tensor(part) for part in parts)).numpy()
    return Frames(BEADS, x.astype(np.float32), (length,) * runs, 2.0, 300.0), states.ravel()


def test_short_runs_from_one_well_get_the_weights_of_equilibrium(tmp_path):
    frames, states = two_wells(800, 40, 0.02, 0.02)
    made, words = workflows.make_reweighted(frames, tmp_path / "out")
    weights = Frames.load(tmp_path / "out").weights
    assert states.mean() < 0.36 and np.array_equal(weights, made.weights)
    assert np.average(states, weights=weights) == pytest.approx(0.5, abs=0.08)
    assert made.provenance.correction["slowest"] == pytest.approx(50.0, rel=0.3)  # ps, -2 / ln(1 - 0.04)
    assert not made.time_ordered and not any("do not tell" in line for line in words)


def test_runs_that_hardly_return_are_said_not_to_tell(tmp_path):
    frames, _ = two_wells(60, 40, 0.01, 0.004)
    _, words = workflows.make_reweighted(frames, tmp_path / "out")
    assert any("do not tell" in line for line in words)


def test_other_frames_give_their_populations(tmp_path):
    frames, states = two_wells(200, 40, 0.02, 0.02)
    target, wanted = two_wells(20, 2000, 0.02, 0.01, seed=1)
    made, _ = workflows.make_reweighted(frames, tmp_path / "out", to=target)
    assert np.average(states, weights=made.weights) == pytest.approx(wanted.mean(), abs=0.08)


def test_weighted_frames_need_a_target(tmp_path):
    frames, _ = two_wells(20, 40, 0.02, 0.02)
    made, _ = workflows.make_reweighted(frames, tmp_path / "out")
    with pytest.raises(ValueError, match="give --to"):
        workflows.make_reweighted(made, tmp_path / "again")
    assert not (tmp_path / "again").exists()
