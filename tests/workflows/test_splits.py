"""Splits in the open: what is kept and what is held out, in words and on the disk."""

import numpy as np
import pytest
from click.testing import CliRunner
from known_chains import calphas

from cgsurrogate import workflows
from cgsurrogate.cli import group
from cgsurrogate.core.frames import Frames


def frames(*lengths: int, **more) -> Frames:
    positions = np.random.default_rng(0).random((sum(lengths), 4, 3)).astype(np.float32)
    return Frames(calphas(4), positions, lengths, 10.0, 300.0, **more)


def test_contents_are_counted_in_runs_frames_and_time():
    assert workflows.contents(frames(600, 900)) == "2 runs, 1,500 frames, 15 ns"
    assert workflows.contents(frames(60, weights=np.ones(60))).endswith("weighted frames: no order in time")
    assert workflows.contents(frames(200).with_provenance(physical_time=False)) == "1 run, 200 frames"


def test_a_split_says_what_was_cut_and_how_far_it_is_from_what_was_asked():
    assert not workflows.split(frames(300, 300, 300), 0.34).notes
    (cut,) = workflows.split(frames(3000), 0.34).notes
    assert "cut in blocks with gaps" in cut and "3 blocks of 1 run" in str(workflows.split(frames(3000), 0.34))
    (far,) = workflows.split(frames(300, 300), 0.2).notes
    assert "50% of the frames, not 20%" in far


def test_the_command_writes_two_folders_that_share_no_frame(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole = frames(40, 50, 60)
    whole.save("frames")
    words = ["split", "frames", "--held-out", "0.3", "-o", "a", "b"]
    result = CliRunner().invoke(group, words)
    assert result.exit_code == 0 and "a: 2 runs" in result.output and "b: 1 run, " in result.output
    kept, held = Frames.load("a"), Frames.load("b")
    rows = {row.tobytes() for row in np.concatenate([kept.positions, held.positions])}
    assert len(rows) == len(kept) + len(held) == 150
    for bad in (["split", "frames", "-o", "a", "a"], ["split", "frames", "-o", "frames", "c"], words):
        assert CliRunner().invoke(group, bad).exit_code in (1, 2)
    with pytest.raises(ValueError, match="between 0 and 1"):
        workflows.make_split(whole, (tmp_path / "c", tmp_path / "d"), 1.5)
    assert not (tmp_path / "c").exists()
