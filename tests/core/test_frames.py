"""Frames, their folder, and the files under it."""

import dataclasses
import itertools
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cgsurrogate.core import bead_types, filesystem, units
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.testing import samples

FEW = settings(max_examples=25, deadline=None)
SHARE = st.floats(0.01, 0.99)


def frames(lengths=(4, 6, 5), **changes) -> Frames:
    total = sum(lengths)
    positions = np.random.default_rng(0).normal(size=(total, 3, 3)).astype(np.float32)
    positions[:, 0, 0] = np.arange(total)  # so that each frame can be recognised
    return dataclasses.replace(Frames(samples.chain_beads(3), positions, tuple(lengths), 2.0, 300.0), **changes)


def labels(part: Frames) -> list[int]:
    return [int(x) for x in part.positions[:, 0, 0]]


# beads and frames check themselves


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"names": ()}, "at least one bead"),
        ({"masses": (1.0, 1.0)}, "3 masses"),
        ({"masses": (1.0, 0.0, 1.0)}, "positive"),
        ({"residues": (0, 2, 1)}, "ordered"),
        ({"bonds": ((1, 0),)}, "i < j"),
        ({"bonds": ((0, 3),)}, "below 3"),
    ],
)
def test_wrong_beads_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(samples.chain_beads(3), **changes)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"lengths": (4, 6)}, "sum to 15"),
        ({"lengths": (15, 0)}, "positive"),
        ({"dt": 0.0}, "positive"),
        ({"temperature": -1.0}, "positive"),
        ({"positions": np.zeros((15, 4, 3))}, "expected positions"),
        ({"forces": np.zeros((14, 3, 3))}, "forces of shape"),
        ({"weights": np.ones(14)}, "weights of shape"),
        ({"weights": np.zeros(15)}, "not all zero"),
        ({"weights": np.full(15, -1.0)}, "not negative"),
    ],
)
def test_wrong_frames_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(frames(), **changes)


def test_a_nan_is_named_by_frame_and_bead():
    positions = frames().positions.copy()
    positions[7, 2, 1] = np.nan
    with pytest.raises(ValueError, match="frame 7, bead 2"):
        frames(positions=positions)


# runs


@pytest.mark.parametrize("lag", [1, 2, 4])
def test_pairs_never_cross_runs_and_miss_none(lag):
    data = frames()
    run_of = np.repeat([0, 1, 2], data.lengths)
    now, later = data.pairs(lag)
    assert np.all(later - now == lag) and np.all(run_of[now] == run_of[later])
    possible = [t for t in range(len(data) - lag) if run_of[t] == run_of[t + lag]]
    assert sorted(now.tolist()) == possible


def test_frames_say_what_took_their_order_in_time():
    assert frames().time_ordered
    mixed = frames(provenance=Provenance(mixed_by="exchanging replicas"))
    assert mixed.out_of_order == "frames of exchanging replicas" and not mixed.time_ordered


def test_a_lag_longer_than_every_run_is_an_error():
    with pytest.raises(ValueError, match="shorter lag"):
        frames().pairs(6)
    with pytest.raises(ValueError, match="at least one"):
        frames().pairs(0)


def test_taken_runs_keep_all_that_belongs_to_a_frame():
    data = frames()
    data = dataclasses.replace(data, forces=2 * data.positions, weights=data.positions[:, 0, 0] + 1.0)
    part = data.take_runs([2, 0])
    assert labels(part) == [10, 11, 12, 13, 14, 0, 1, 2, 3] and part.lengths == (5, 4)
    np.testing.assert_array_equal(part.forces, 2 * part.positions)
    np.testing.assert_array_equal(part.weights, part.positions[:, 0, 0] + 1.0)
    with pytest.raises(ValueError, match="at least one run"):
        data.take_runs([])


@FEW
@given(lengths=st.lists(st.integers(1, 9), min_size=2, max_size=12), fraction=SHARE, seed=st.integers(0, 9))
def test_a_split_is_a_partition_by_whole_runs(lengths, fraction, seed):
    data = frames(lengths, provenance=Provenance(replicas=tuple(range(len(lengths)))))
    kept, held = data.split(fraction, seed)
    assert sorted(labels(kept) + labels(held)) == list(range(sum(lengths))) and kept.lengths and held.lengths
    for part in (kept, held):
        for run, replica in zip(part.runs, part.provenance.replicas, strict=True):
            whole = data.runs[replica]
            assert labels(part)[run] == list(range(whole.start, whole.stop))
    assert labels(data.split(fraction, seed)[1]) == labels(held)


def test_a_short_single_run_is_split_in_time_with_a_gap():
    kept, held = frames((100,)).split(0.2)
    assert max(labels(kept)) + 2 < min(labels(held)) and len(held) == 20
    assert kept.independent_runs == held.independent_runs == 1 and len(frames((2,)).split(0.5)[0]) == 1
    with pytest.raises(ValueError, match="between 0 and 1"):
        frames().split(1.0)
    with pytest.raises(ValueError, match="cannot be cut"):
        frames((1,)).split(0.5)


@pytest.mark.parametrize("fraction", [0.1, 0.34, 0.5, 0.8])
def test_a_long_single_run_is_cut_in_blocks_with_gaps_that_know_that_they_are_of_one_run(fraction):
    kept, held = frames((3000,)).split(fraction)
    inside = [set(labels(part)) for part in (kept, held)]
    assert not inside[0] & inside[1] and len(held) == pytest.approx(3000 * fraction, rel=0.01)
    assert len(kept) + len(held) >= 0.94 * 3000
    assert len(held.lengths) == len(kept.lengths) == 3
    edges = sorted(
        [(labels(part)[run.start], labels(part)[run.stop - 1]) for part in (kept, held) for run in part.runs]
    )
    assert all(after[0] - before[1] > 10 for before, after in itertools.pairwise(edges))
    assert held.independent_runs == 1 and held.provenance.blocks_of == (0, 0, 0)
    again, checked = kept.split(0.1)  # blocks of one run are not taken for runs
    assert len(checked) == pytest.approx(0.1 * len(kept), rel=0.05) and again.independent_runs == 1
    assert not set(labels(again)) & set(labels(checked))


@pytest.mark.parametrize("seed", range(4))
def test_of_a_long_and_a_short_run_the_short_one_is_held_out(seed):
    kept, held = frames((800, 500)).split(0.34, seed)
    assert (kept.lengths, held.lengths) == ((800,), (500,))


def test_of_very_unequal_runs_the_long_one_is_cut_as_well():
    kept, held = frames((5000, 200)).split(0.34)
    assert len(held) == pytest.approx(0.34 * 5200, rel=0.01) and not set(labels(kept)) & set(labels(held))
    assert set(range(5000, 5200)) <= set(labels(held)) and held.independent_runs == 2
    assert set(kept.provenance.blocks_of) == {0}


def test_probabilities_sum_to_one():
    assert frames().probabilities == pytest.approx(1 / 15)
    weighted = frames(weights=np.arange(15.0))
    assert weighted.probabilities.sum() == pytest.approx(1)
    assert weighted.probabilities[10] == pytest.approx(2 * weighted.probabilities[5])


# the folder


@FEW
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    extras=st.sets(st.sampled_from(["forces", "weights", "extrapolation"])),
    dt=st.floats(1e-3, 1e3),
)
def test_a_folder_gives_back_what_was_saved(tmp_path_factory, lengths, extras, dt):
    data = frames(lengths, dt=dt, provenance=Provenance(mapping="ca", notes={"from": "here"}))
    made = {
        "forces": -data.positions,
        "weights": np.arange(1.0, len(data) + 1),
        "extrapolation": np.ones((len(data), 3), np.float16),
    }
    data = dataclasses.replace(data, **{name: made[name] for name in extras})
    back = Frames.load(data.save(tmp_path_factory.mktemp("deep") / "new" / "frames"))
    for name in ("positions", *extras):
        np.testing.assert_array_equal(getattr(back, name), getattr(data, name))
    assert isinstance(back.positions, np.memmap) and all(getattr(back, n) is None for n in made.keys() - extras)
    for name in ("beads", "lengths", "dt", "temperature", "provenance"):
        assert getattr(back, name) == getattr(data, name)


def test_saving_again_leaves_no_array_that_is_no_longer_there(tmp_path):
    frames(weights=np.ones(15)).save(tmp_path)
    frames((5,)).save(tmp_path)
    back = Frames.load(tmp_path)
    assert back.weights is None and len(back) == 5


def test_a_changed_block_is_noticed(tmp_path):
    frames().save(tmp_path)
    path = tmp_path / "positions.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="changed"):
        Frames.load(tmp_path)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("15,", "14,", "has shape"),
        ('"format": 1', '"format": 99', "got 99"),
        ("beads", "bead", "KeyError"),
        ("{", "", "JSON"),
    ],
)
def test_a_wrong_manifest_is_one_line(tmp_path, old, new, message):
    manifest = frames().save(tmp_path) / MANIFEST
    lines = [line for line in manifest.read_text().splitlines(keepends=True) if "checksum" not in line]
    manifest.write_text("".join(lines).replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        Frames.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_missing_or_unfinished_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        Frames.load(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match=MANIFEST):
        Frames.load(tmp_path)


# files


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "x.txt"
    filesystem.write_text(path, "old")
    with pytest.raises(RuntimeError), filesystem.replacing(path) as handle:
        handle.write(b"half of the n")
        raise RuntimeError
    assert path.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["x.txt"]
    with pytest.raises(ValueError):
        filesystem.write_json(path, {"x": float("nan")})
    assert path.read_text() == "old"


def test_a_reader_sees_old_or_new_while_a_writer_is_killed(tmp_path):
    """``kill -9`` in the middle of writing: the file is one of the two versions, whole."""
    path = tmp_path / "x.npy"
    filesystem.write_npy(path, np.zeros(200_000))
    code = (
        "import sys, numpy as np\nfrom cgsurrogate.core import filesystem as files\nprint('go', flush=True)\n"
        "for i in range(1, 10**6): files.write_npy(sys.argv[1], np.full(200_000, float(i)))\n"
    )
    for wait in (0.02, 0.05, 0.11):
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)
        writer.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            writer.wait(wait)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = np.load(path)
        assert len(found) == 200_000 and np.all(found == found[0])


def test_a_folder_has_one_writer(tmp_path):
    with filesystem.locked(tmp_path):
        with pytest.raises(filesystem.Busy, match="another"), filesystem.locked(tmp_path):
            pass
    with filesystem.locked(tmp_path):
        pass


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert filesystem.sha256(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# units and types


def test_there_is_no_thermal_energy_at_zero():
    with pytest.raises(ValueError, match="above 0 K"):
        units.thermal_energy(0)


def test_bead_types_are_one_number_a_row_and_shared_by_synonyms():
    assert sorted(bead_types.TABLE.values()) == list(range(bead_types.COUNT - 1))
    for a, b in (("HIE", "HIS"), ("CYX", "CYS"), ("NALA", "ALA"), ("CLEU", "LEU"), ("MSE", "MET")):
        assert bead_types.number(a, "CA") == bead_types.number(b, "CA") != bead_types.OTHER
    assert bead_types.number("NME", "CH3") == bead_types.number("NME", "C") != bead_types.number("ALA", "C")
    assert bead_types.number("XYZ", "CA") == bead_types.number("ALA", "SC") == bead_types.OTHER


def test_the_numbers_of_bead_types_never_change():
    """Models on people's disks rely on them; new rows go to the end."""
    known = {("ACE", "CH3"): 0, ("ALA", "CA"): 6, ("GLY", "CA"): 62, ("TYR", "CA"): 154}
    assert {row: bead_types.TABLE[row] for row in known} == known
