"""Parts of mapped arrays behave as the array that they stand for; large arrays are files without a name."""

import numpy as np
import pytest

from cgsurrogate.core import disk_arrays
from cgsurrogate.core.disk_arrays import Parts
from cgsurrogate.core.frames import Frames
from cgsurrogate.testing.samples import peptide

PARTS = [slice(3, 10), slice(12, 13), slice(20, 40)]


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(40 * 6, dtype=np.float32).reshape(40, 2, 3))
    return np.load(tmp_path / "a.npy", mmap_mode="r")


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(5, 9),
        slice(7, 8),
        slice(9, 9),
        slice(None, None, 3),
        slice(None, None, -1),
        slice(-5, None),
        0,
        -1,
        np.int64(7),
        [0, 7, 27, 3, 3, -1],
        np.arange(28) % 3 == 0,
        np.array([], int),
        (slice(2, 12), [1, 0]),
        (slice(None), 1, slice(0, 2)),
        (np.array([27, 0]), 1),
        None,
        Ellipsis,
    ],
    ids=str,
)
def test_parts_are_indexed_as_an_array(mapped, key):
    whole = np.concatenate([mapped[part] for part in PARTS])
    found = Parts(mapped, PARTS)[key]
    assert np.array_equal(found, whole[key]) and found.shape == whole[key].shape


def test_parts_compute_as_an_array(mapped):
    parts, whole = Parts(mapped, PARTS), np.concatenate([mapped[part] for part in PARTS])
    assert np.array_equal(parts * 2 - parts.mean(0), whole * 2 - whole.mean(0))
    assert np.array_equal(np.sqrt(parts), np.sqrt(whole)) and np.array_equal(np.array(parts, float), whole)
    assert np.array_equal(np.concatenate(list(disk_arrays.pieces(parts))), whole)


def test_parts_refuse_a_row_that_there_is_not(mapped):
    with pytest.raises(IndexError, match="from 0 to 27, got 28"):
        Parts(mapped, PARTS)[[28]]


def test_parts_of_parts_are_parts_of_the_array(mapped):
    parts, whole = Parts(mapped, PARTS), np.concatenate([mapped[part] for part in PARTS])
    again = disk_arrays.taken(parts, [slice(2, 9), slice(20, 25)])
    assert isinstance(again, Parts) and again.array is mapped
    assert np.array_equal(again, np.concatenate([whole[2:9], whole[20:25]]))


def test_rows_come_in_the_order_that_is_asked_for(mapped):
    index = np.array([5, 0, 27, 5])
    for array in (mapped, np.array(mapped), Parts(mapped, PARTS)):
        assert np.array_equal(disk_arrays.rows(array, index), np.asarray(array)[index])


def test_large_arrays_are_on_the_disk_and_leave_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_arrays, "IN_MEMORY", 100)
    with disk_arrays.kept_in(tmp_path / "later"):
        made = disk_arrays.empty((10, 3))
    made[:] = 1.5
    disk_arrays.release(made)
    assert disk_arrays.on_disk(made) and made.sum() == 45 and not list(tmp_path.iterdir())
    assert not disk_arrays.on_disk(disk_arrays.empty((2, 3)))
    sums = disk_arrays.running_sums(np.broadcast_to(0.1, 50))
    assert disk_arrays.on_disk(sums) and np.array_equal(sums, np.cumsum(np.full(50, 0.1)))


def test_a_split_of_stored_frames_reads_nothing_and_equals_that_in_memory(tmp_path):
    rng, beads = np.random.default_rng(0), peptide()
    x = rng.normal(size=(50, len(beads), 3)).astype(np.float32)
    frames = Frames(beads, x, (10, 10, 10, 10, 10), 1.0, 300.0, forces=2 * x)
    stored = Frames.load(frames.save(tmp_path / "frames"))
    for own, other in zip(frames.split(0.4), stored.split(0.4), strict=True):
        assert disk_arrays.on_disk(other.positions) and disk_arrays.on_disk(other.forces)
        assert np.array_equal(own.positions, other.positions) and np.array_equal(own.forces, other.forces)
        again = Frames.load(other.save(tmp_path / "again"))
        assert np.array_equal(again.positions, own.positions) and again.lengths == own.lengths


@pytest.mark.parametrize("most", [1, 7, 40, 1000])
def test_some_pairs_are_every_nth_of_all(most):
    beads = peptide()
    frames = Frames(beads, np.zeros((60, len(beads), 3), np.float32), (9, 30, 1, 20), 1.0, 300.0)
    now, later = frames.pairs(3)
    step = -(-len(now) // most)
    some = frames.pairs(3, most)
    assert np.array_equal(some[0], now[::step]) and np.array_equal(some[1], later[::step])
