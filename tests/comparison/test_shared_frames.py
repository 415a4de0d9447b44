"""Frames that are judged by themselves are noticed: copies, parts, and what a model was trained on."""

import dataclasses

import numpy as np
import pytest
from known_chains import calphas

from cgsurrogate.comparison import shared_frames
from cgsurrogate.core.fingerprints import SKETCH, fingerprints, sketch
from cgsurrogate.core.frames import Frames


def frames(count: int, seed: int = 0) -> Frames:
    positions = np.random.default_rng(seed).random((count, 5, 3)).astype(np.float32)
    return Frames(calphas(5), positions, (count,), 1.0, 300.0)


def test_fingerprints_tell_frames_apart_and_are_spread_evenly():
    found = fingerprints(frames(20_000))
    assert len(np.unique(found)) == 20_000 and found.max() < 2**53
    assert np.mean(found / 2**53) == pytest.approx(0.5, abs=4 / np.sqrt(12 * 20_000))
    moved = frames(100)
    moved.positions[7, 3, 1] = np.nextafter(moved.positions[7, 3, 1], np.float32(2))
    changed = fingerprints(moved) != fingerprints(frames(100))
    assert np.flatnonzero(changed).tolist() == [7]
    zero = frames(1)
    zero.positions[:] = 0.0
    negative = dataclasses.replace(zero, positions=-zero.positions)
    assert fingerprints(zero) == fingerprints(negative)


def test_a_sketch_knows_the_share_that_is_shared():
    known = frames(8000)
    part = known.positions[::4]
    share = np.isin(sketch(known), fingerprints(dataclasses.replace(known, positions=part, lengths=(2000,)))).mean()
    assert share == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / SKETCH))


def test_whoever_is_judged_by_its_own_frames_is_named():
    reference, other, third = frames(400), frames(400, 1), frames(300, 2)
    assert not shared_frames.words(reference, other, {"a": third})
    copied = dataclasses.replace(third, positions=np.concatenate([third.positions[:295], reference.positions[:5]]))
    trained = third.with_provenance(trained_on=sketch(reference))
    said = shared_frames.words(reference, reference, {"a": third, "b": copied, "c": trained})
    assert said[0].startswith("400 of 400 frames of the reference are training frames")
    assert said[1].startswith("b: 5 of 400") and said[2].startswith("c: about 100% of the frames") and len(said) == 3
    assert all("cgsurrogate split" in line for line in said)
