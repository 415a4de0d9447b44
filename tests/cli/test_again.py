"""The same command again, signals, and folders of other things: what is said, and what is left."""

import os
import signal
import subprocess
import sys
import time

import mdtraj
import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames


@pytest.fixture
def files(peptide, atoms, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    peptide[0].save("top.pdb")
    for name, part in (("a.xtc", atoms[:20]), ("b.xtc", atoms[20:])):
        mdtraj.Trajectory(part, peptide.topology).save(name)
    return ["map", "-s", "top.pdb", "-f", "a.xtc", "--dt", "1", "-T", "300", "-q", "-o", "out"]


def call(words):
    result = CliRunner().invoke(group, words)
    return result.exit_code, f"{result.output} {result.exception}"


def test_map_again_is_done_and_with_other_input_refused(files, tmp_path):
    assert call(files)[0] == 0
    made = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    code, said = call(files)
    assert code == 0 and "already done: out" in said
    for other, difference in ((["-f", "b.xtc"], "trajectories"), (["--mapping", "ca"], "mapping")):
        code, said = call([*files, *other])
        assert code and difference in said and "there," in said
    assert made == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    mdtraj.load("b.xtc", top="top.pdb").save("a.xtc")
    code, said = call(files)
    assert code and "files.a.xtc" in said
    assert call([*files, "--force"])[0] == 0 and call(files)[0] == 0


def test_map_into_the_folder_of_a_model_touches_nothing(files, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.json").write_text("{}")
    for more in ([], ["--force"]):
        code, said = call([*files, *more])
        assert code and "holds a model" in said
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.json"]


def test_a_map_that_fails_leaves_nothing(files, tmp_path, monkeypatch):
    monkeypatch.setattr(Frames, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    assert call(files)[0] == 1
    assert not (tmp_path / "out").exists()


def test_a_split_or_an_example_that_fails_leaves_nothing(peptide_frames, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    peptide_frames.save("frames")
    saved, written = Frames.save, filesystem.replacing

    def full(of, *rest):
        if "b" in str(rest[:1]) or "run" in str(of):
            raise OSError(28, "No space left on device")
        return saved(of, *rest) if rest else written(of)

    monkeypatch.setattr(Frames, "save", full)
    assert call(["split", "frames", "-o", "a", "b"])[0] == 1
    monkeypatch.setattr(filesystem, "replacing", full)
    assert call(["example", "alanine-dipeptide", "-o", "c"])[0] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


@pytest.mark.parametrize(
    "number, otherwise",
    [
        (signal.SIGTERM, "finally: pass"),
        (signal.SIGINT, "finally: pass"),
        (signal.SIGTERM, "finally: raise ValueError('while it clears up')"),
        (signal.SIGINT, "except BaseException: time.sleep(60)"),
    ],
)
def test_a_signal_ends_with_a_line_and_its_code(number, otherwise, files, tmp_path):
    """Also where what it meets raises something else, or catches it."""
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\ndef build(topology):\n    pathlib.Path('begun').touch()\n"
        f"    try: time.sleep(60)\n    {otherwise}\n"
    )
    words = [sys.executable, "-m", "cgsurrogate", *files, "--mapping", "./slow.py"]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=os.environ)
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.strip().splitlines()[-1].startswith(f"Stopped: stopped by {number.name}")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        "report comparison",
        "report comparison -o out",
        "compare frames frames -o out",
        "export frames -o out/a.xtc",
        "map",
        "split frames -o other out",
        "split frames -o out other",
        "example alanine-dipeptide -o out",
    ],
)
def test_where_another_process_writes_nothing_is_touched(words, files, peptide_frames, tmp_path):
    peptide_frames.save("frames")
    folder = tmp_path / ("out" if "out" in words or words == "map" else "comparison")
    folder.mkdir()
    with filesystem.locked(folder, "a" if "export" in words else ""):
        before = {path.name for path in folder.iterdir()}
        code, said = call(files if words == "map" else words.split())
        assert code and "another process is writing to" in said
        assert before == {path.name for path in folder.iterdir()}
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("option", ["--dt", "-T"])
def test_a_number_that_is_none_is_refused_before_anything_is_written(option, files, tmp_path):
    code, said = call([*files, option, "nan"])
    assert code and "finite number" in said and not (tmp_path / "out").exists()
