"""Simulation: laws of a rollout, of stopping and going on, and of replicas that fail."""

from __future__ import annotations

import json
import signal

import numpy as np
import pytest
import torch
from torch import Generator
from walks import BEADS, SETTINGS, Walk, asked, content, interrupted, run, starts

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.core.propagator import State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation import run as module
from cgsurrogate.simulation.run import Unstable, pick_starts, simulate

# what comes out


def test_frames_are_every_so_often_and_a_run_is_a_replica():
    """The same steps by hand: frame k of run r is replica r at (k + 1) * every."""
    frames = run()
    assert frames.lengths == (20,) * 4
    assert frames.dt == 1.0
    assert frames.provenance.quarantined == ()
    moves, rng = Walk(), Generator().manual_seed(4)
    state = moves.start(torch.tensor(starts()), rng)
    for frame in range(20):
        for _ in range(2):
            state = moves.step(state, rng)
        for replica, run_ in enumerate(frames.runs):
            assert np.array_equal(frames.positions[run_][frame], state.positions[replica].numpy())


def test_same_seed_same_frames_other_seed_others():
    assert np.array_equal(run().positions, run().positions)
    assert not np.allclose(run().positions, run(seed=5).positions)


def test_a_folder_holds_the_same_frames_and_nothing_else(tmp_path):
    frames = run(folder=tmp_path / "new" / "run", checkpoint_every=0)
    assert np.array_equal(frames.positions, run().positions)
    assert sorted(content(tmp_path / "new" / "run")) == ["frames.json", "positions.npy"]
    loaded = Frames.load(tmp_path / "new" / "run")
    assert np.array_equal(loaded.positions, frames.positions)
    assert loaded.provenance.simulation["seed"] == 4


def test_turning_blocks_into_runs_in_pieces(tmp_path, monkeypatch):
    """With memory for one run, two, or all of them, the result is the same."""
    expected = run(Walk((1, 9.0, "nan")), replicas=5).positions
    frame = 20 * 3 * 12
    for limit in (1, 2 * frame, 3 * frame, 100 * frame):
        monkeypatch.setattr("cgsurrogate.simulation.frame_store.PIECE_BYTES", limit)
        folder = tmp_path / str(limit)
        frames = run(Walk((1, 9.0, "nan")), folder, replicas=5, checkpoint_every=0)
        assert np.array_equal(frames.positions, expected)


def test_provenance_is_kept():
    assert run(known=Provenance(notes={"model": "walk"})).provenance.notes["model"] == "walk"


def test_starting_frames_are_accepted():
    frames = Frames(BEADS, starts(), (4,), 1.0, 300.0)
    assert np.array_equal(simulate(Walk(), frames, BEADS, *asked(**SETTINGS)).positions, run().positions)


def test_progress_is_told(monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_REPORTS", 0.0)
    told = []
    run(report=lambda *entry: told.append(entry))
    done = [entry[0] for entry in told]
    assert done == sorted(done)
    assert done[-1] == told[-1][1] == 20.0
    assert all(entry[2] > 0 for entry in told[:-1])
    assert 100 < told[-1][3] < 600
    run(Walk(heat=False), report=lambda *entry: told.append(entry))
    assert told[-1][3] is None


# stopping and going on


def test_the_order_in_memory_that_a_step_leaves_does_not_matter(tmp_path):
    """A step may return a view whose beads are not next to each other, and sums round by that order."""

    class Strided(Walk):
        def step(self, state: State, rng: Generator) -> State:
            assert all(part is None or part.is_contiguous() for part in state)
            new = super().step(state, rng)
            return new._replace(positions=new.positions.permute(1, 2, 0).contiguous().permute(2, 0, 1))

    expected = run(Strided(), replicas=40).positions
    interrupted(tmp_path, 9, Strided, replicas=40)
    assert np.array_equal(run(Strided(), tmp_path, replicas=40).positions, expected)


def test_many_kills_with_blocks_that_no_checkpoint_names(tmp_path):
    for _ in range(6):
        interrupted(tmp_path, 5)
        count = len(list((tmp_path / "chunks").glob("*.npy")))
        np.save(tmp_path / "chunks" / f"{count:05d}.npy", np.zeros((1, 4, 3, 3), np.float32))  # no checkpoint names it
        (tmp_path / "chunks" / f".{count:05d}.npy.1.tmp").write_bytes(b"half")
    assert np.array_equal(run(folder=tmp_path).positions, run().positions)
    assert sorted(content(tmp_path)) == ["frames.json", "positions.npy"]


def test_max_hours_stops_resumable_and_puts_signal_handlers_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(Stopped) as stopped:
        run(Walk(wait=0.002), tmp_path, max_hours=1e-6)
    assert stopped.value.signal is None
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert not (tmp_path / "frames.json").exists()
    assert np.array_equal(run(folder=tmp_path).positions, run().positions)


def test_a_finished_folder_says_so_and_does_nothing(tmp_path):
    run(folder=tmp_path)
    before, told, again = content(tmp_path), [], Walk()
    frames = run(again, tmp_path, report=lambda *entry: told.append(entry))
    assert again.calls == 0
    assert told[-1][-1] == "already complete"
    assert np.array_equal(frames.positions, run().positions)
    assert content(tmp_path) == before


def test_frames_that_no_simulation_made_are_not_touched(tmp_path):
    Frames(BEADS, starts(), (4,), 1.0, 300.0).save(tmp_path)
    before = content(tmp_path)
    with pytest.raises(ValueError, match="no simulation made"):
        run(folder=tmp_path)
    assert content(tmp_path) == before


def test_one_writer_a_folder(tmp_path):
    with filesystem.locked(tmp_path), pytest.raises(filesystem.Busy):
        run(folder=tmp_path)


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "chunks/00003.npy"])
def test_a_changed_byte_is_found(tmp_path, name):
    interrupted(tmp_path, 20)
    path = tmp_path / name
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 64
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="simulate again"):
        run(folder=tmp_path)


# replicas that fail


@pytest.mark.parametrize(("what", "words"), [("nan", "finite"), ("broken", "bond"), ("hot", "temperature")])
@pytest.mark.parametrize("window", [1, 6, 1000])
def test_a_bad_replica_is_frozen_and_the_others_do_not_notice(monkeypatch, what, words, window):
    monkeypatch.setattr(module, "STEPS_BETWEEN_CHECKS", window)
    good, frames = run(), run(Walk((2, 7.5, what)))
    assert frames.lengths == (20, 20, 7, 20)
    for replica in range(4):
        expected = good.positions[good.runs[replica]][: frames.lengths[replica]]
        assert np.array_equal(frames.positions[frames.runs[replica]], expected)
    (entry,) = frames.provenance.quarantined
    assert (entry.replica, entry.time) == (2, 8.0)
    assert words in entry.reason


def test_a_frozen_replica_is_not_evaluated_where_it_failed(monkeypatch):
    monkeypatch.setattr(module, "STEPS_BETWEEN_CHECKS", 2)
    seen = []

    class Seeing(Walk):
        def step(self, state: State, rng: Generator) -> State:
            seen.append(bool(torch.isfinite(state.positions).all()))
            clock = state.memory[:, -1].max()
            self.fail = (2, 7.5, "nan") if clock < 8.5 else None
            return super().step(state, rng)

    run(Seeing())
    assert all(seen[20:])
    assert not all(seen)


def test_quarantine_and_kill_together(tmp_path):
    expected = run(Walk((2, 7.5, "nan")))
    for calls in (9, 8, 2, 3):
        interrupted(tmp_path, calls, fail=(2, 7.5, "nan"))
    frames = run(Walk((2, 7.5, "nan")), tmp_path, checkpoint_every=0)
    assert np.array_equal(frames.positions, expected.positions)
    assert frames.lengths == expected.lengths
    assert frames.provenance.quarantined == expected.provenance.quarantined
    json.dumps(frames.provenance.to_dict(), allow_nan=False)


def test_a_replica_without_a_good_frame_has_no_run():
    frames = run(Walk((1, 0.0, "nan")))
    assert frames.lengths == (20, 20, 20)
    assert frames.provenance.replicas == (0, 2, 3)


def test_all_lost_is_an_error_that_a_second_call_repeats(tmp_path):
    for _ in range(2):
        with pytest.raises(Unstable, match=r"all 1 replicas.*finite"):
            run(Walk((0, 0.0, "nan")), tmp_path, replicas=1)


def test_healthy_replicas_are_left_alone():
    """Bonds at 0.75 and 1.5 times their reference, and a single bead at three times its mean temperature."""
    lengths = np.linalg.norm(np.diff(starts(), axis=1), axis=-1).mean(0)
    for factor in (0.75, 1.5):
        assert not run(bond_lengths=lengths / factor).provenance.quarantined
    for factor in (0.3, 3.0):
        with pytest.raises(ValueError, match="replica 0: bond"):
            run(bond_lengths=lengths / factor)
    assert not run(temperature=100.0).provenance.quarantined


def test_a_close_approach_is_told_once():
    told = []
    frames = run(closest=0.1, report=lambda *entry: told.append(entry[-1]))
    assert not frames.provenance.too_close
    frames = run(closest=0.6, report=lambda *entry: told.append(entry[-1]))
    assert frames.provenance.too_close[:2] == (0, 2)  # bonded pairs do not count
    assert sum("training has seen" in text for text in told) == 1
    assert frames.lengths == (20,) * 4


# refusals


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"every": 0.7}, "whole number of 0.5 ps"),
        ({"every": 0.2}, "whole number of 0.5 ps"),
        ({"time": 20.5}, "whole number of 1 ps"),
        ({"time": 0.0}, "above 0"),
        ({"time": float("nan")}, "above 0"),
        ({"max_hours": 1.0}, "needs a folder"),
        ({"bonds": [(0, 3)]}, "below 3"),
        ({"bond_lengths": np.ones(3)}, "2 lengths"),
    ],
)
def test_settings_that_make_no_sense_are_refused_and_create_nothing(tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        run(folder=None if "max_hours" in changes else tmp_path / "new", **changes)
    assert not (tmp_path / "new").exists()


def test_bad_starts_are_refused():
    x = starts()
    x[3, 1, 2] = np.nan
    with pytest.raises(ValueError, match="replica 3: positions are not finite"):
        simulate(Walk(), x, BEADS, *asked(**SETTINGS))
    with pytest.raises(ValueError, match=r"expected starting positions \(R, 3, 3\)"):
        simulate(Walk(), x[0], BEADS, *asked(**SETTINGS))


# where to start


def numbered(count: int, weights: np.ndarray | None = None) -> Frames:
    positions = np.zeros((count, 3, 3), np.float32) + np.arange(count)[:, None, None]
    return Frames(BEADS, positions, (count,), 1.0, 300.0, weights=weights)


def picked(frames: Frames, number: int, seed: int = 0) -> list[int]:
    return pick_starts(frames, number, np.random.default_rng(seed))[:, 0, 0].astype(int).tolist()


def test_starts_are_drawn_by_their_weights_and_in_random_order():
    first = picked(numbered(50), 50)
    assert first == picked(numbered(50), 50) != picked(numbered(50), 50, seed=1)
    assert first != sorted(first) == list(range(50))
    assert len(set(picked(numbered(50), 20))) == 20
    assert set(np.bincount(picked(numbered(7), 30))) <= {4, 5}
    weights = np.array([0.0, 1.0, 2.0, 0.5, 0.0])
    shares = np.mean([np.bincount(picked(numbered(5, weights), 5, seed), minlength=5) / 5 for seed in range(400)], 0)
    assert shares[0] == shares[4] == 0
    assert np.allclose(shares, weights / weights.sum(), atol=0.015)  # each draw is off by less than one in five
    with pytest.raises(ValueError, match="at least one"):
        picked(numbered(50), 0)
