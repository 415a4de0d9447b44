"""The 3-D player's data: rigid motions only, the molecule it was given, small."""

from __future__ import annotations

import base64
import dataclasses
import json
import re

import numpy as np
import pytest
from comparison_example import HOSTILE, comparison

from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.superposition import superposed
from cgsurrogate.report import player


def test_alignment_moves_rigidly_and_onto_the_target():
    rng = np.random.default_rng(3)
    target = rng.normal(size=(7, 3))
    target -= target.mean(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn[:, 0] *= np.sign(np.linalg.det(turn))
    both = superposed(np.stack([target @ turn + 5.0, target * [1, 1, -1]]), target)
    np.testing.assert_allclose(both[0], target, atol=1e-9)
    assert np.abs(both[1] - target).max() > 0.1  # a mirror image is not turned into its original
    moved = player.upright(target)
    distances = [np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (moved, target)]
    np.testing.assert_allclose(*distances, atol=1e-9)
    chirality = [np.linalg.det(x[1:4] - x[0]) for x in (moved, target)]
    assert chirality[0] == pytest.approx(chirality[1])


def test_the_player_carries_the_molecule_it_was_given(example):
    packed = player.payload(example)
    assert packed["chain"]["bonds"] == [list(b) for b in example.reference.sample.beads.bonds]
    assert packed["chain"]["thick"]
    entry, sample = packed["ensembles"][0], example.reference.sample
    values = np.frombuffer(base64.b64decode(entry["positions"]), "<i2") * entry["scale"] / 10
    values = values.reshape(sample.positions.shape)
    for x, y in zip(values, sample.positions, strict=True):
        got, expected = (np.linalg.norm(a[:, None] - a[None], axis=-1) for a in (x, y))
        np.testing.assert_allclose(got, expected, atol=2e-4)  # nm
    np.testing.assert_allclose(entry["track"], example.reference.track, atol=1e-4)


def test_a_large_molecule_brings_fewer_frames(example):
    assert player.budget(10, 3) == player.MOST_FRAMES
    assert player.budget(5000, 5) * 5000 * 5 * 8 <= player.MOST_BYTES


def test_the_player_alone(example, tmp_path):
    frames = example.reference.sample
    long = Frames(frames.beads, np.tile(frames.positions, (20, 1, 1)), (700, 100), 2.0, 300.0)
    path = player.write_player(long, tmp_path / "view.html", title=HOSTILE)
    text = path.read_text()
    assert path.stat().st_size < 3_000_000
    assert "Content-Security-Policy" in text
    assert "<script>window" not in text
    data = json.loads(re.search(r'id="player-data">(.*?)</script>', text, flags=re.S).group(1))
    (entry,) = data["ensembles"]
    assert entry["frames"] == len(entry["track"]) <= player.MOST_FRAMES
    assert entry["dt"] == 2.0 * 3


def test_radius_of_gyration_weighs_by_mass():
    frames = comparison().reference.sample
    beads = dataclasses.replace(frames.beads, masses=(1e9, 1.0, 1.0, 1e9))
    heavy = dataclasses.replace(frames, beads=beads)
    ends = np.linalg.norm(frames.positions[:, 3] - frames.positions[:, 0], axis=-1)
    np.testing.assert_allclose(player.extent(heavy), np.stack([ends, ends / 2], 1), rtol=1e-5)
