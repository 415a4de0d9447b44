"""System files and the records of earlier runs, as the commands take them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.core.frames import Frames
from cgsurrogate.data import system_file
from cgsurrogate.data.read import Input

ONE = 'topology = "top.pdb"\ntrajectories = "run*.npy"\ntemperature = 310\ndt = 2\nmapping = "ca"\n'
TYPED = "-s top.pdb -f run2.npy -f run10.npy -T 310 --dt 2 --mapping ca --minutes 3"
RUN = '[run]\nminutes = 3\nstates = ["folded=RMSD<0.2"]\nobjective = "likelihood"\n'


@pytest.fixture
def here(tmp_path, monkeypatch, peptide_pdb, atoms):
    """A folder with a topology and two runs, and another folder to work in."""
    (tmp_path / "data").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "data" / "top.pdb").write_bytes(peptide_pdb.read_bytes())
    for run in (2, 10):
        np.save(tmp_path / "data" / f"run{run}.npy", atoms + run)
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "data"


def called(*words):
    return CliRunner().invoke(group, [str(word) for word in words])


def written(folder, text):
    (folder / "system.toml").write_text(text)
    return folder / "system.toml"


def test_one_molecule_is_mapped_from_anywhere_and_options_win(here):
    path = written(here, ONE + RUN)
    result = called("map", "-q", "--config", path, "-o", "out", "--stride", "2")
    assert result.exit_code == 0, result.output
    frames = Frames.load("out")
    assert frames.provenance.trajectories == ("run2.npy", "run10.npy")
    assert (frames.dt, frames.temperature, frames.lengths, len(frames.beads)) == (4, 310, (20, 20), 5)


def test_several_molecules_become_a_set_with_a_manifest(here):
    common, own = 'temperature = 300\ndt = 1\nmapping = "ca"\n', 'topology = "top.pdb"\ntrajectories = "run2.npy"\n'
    path = written(here, f"{common}[molecules.first]\n{own}[molecules.second]\n{own}stride = 2\n")
    result = called("map", "-q", "--config", path, "-o", "out")
    assert result.exit_code == 0, result.output
    found = FrameSet.load("out")
    assert [len(frames) for frames in found.values()] == [40, 20] and list(found) == ["first", "second"]
    refused = called("run", "--config", path, "-o", "RUN")
    assert refused.exit_code == 2 and "--molecule NAME" in refused.output and "train stepper FRAMES" in refused.output
    found["first"].save("out/second")
    with pytest.raises(ValueError, match=r"is not the one that molecules\.json was written for"):
        FrameSet.load("out")


def test_a_fault_of_one_of_several_molecules_leaves_nothing(here):
    own = 'topology = "top.pdb"\ntemperature = 300\ndt = 1\nmapping = "ca"\n'
    np.save(here / "other.npy", np.zeros((9, 5, 3), np.float32))
    each = [f'[molecules.{name}]\n{own}trajectories = "{name}.npy"\n' for name in ("run2", "other")]
    path = written(here, "".join(each))
    result = called("map", "-q", "--config", path, "-o", "out")
    assert result.exit_code == 1 and "other.npy" in str(result.exception)
    assert not (here.parent / "work" / "out").exists()


@pytest.mark.parametrize(
    "text, message",
    [
        (ONE.replace("trajectories", "trajectory"), "unknown key 'trajectory'; did you mean 'trajectories'?"),
        (ONE.replace("310", '"310 K"'), "expected a number for temperature, got '310 K'"),
        (ONE.replace("run*", "walk*"), "no file matches"),
        (ONE.replace("top.pdb", "no.pdb"), "expected topology at"),
        (ONE.replace("temperature = 310", ""), "temperature is missing"),
        (ONE + "[[groups]]\n", "trajectories stand beside [[groups]]"),
        (ONE + "[molecules.a]\n", "trajectories stands outside of [molecules.NAME]"),
        (ONE + "[run]\nminute = 3\n", "unknown key 'minute'; did you mean 'minutes'?"),
        (ONE + "[run]\nminutes = true\n", "expected a number for minutes, got True"),
        (ONE + "[run", "is no TOML"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file_and_leaves_nothing(here, text, message):
    result = called("run", "--config", written(here, text), "-o", "RUN")
    line = str(result.exception)
    assert result.exit_code == 1 and message in line and str(here) in line
    assert not (here.parent / "work" / "RUN").exists()


def test_the_schema_knows_every_field_of_an_input():
    assert set(system_file.GROUP) == set(Input.__dataclass_fields__)


@pytest.fixture
def studied(monkeypatch):
    """What ``study.run`` was called with, in place of hours."""
    calls = []

    def run(load, identity, out, settings, **more):
        calls.append(SimpleNamespace(frames=load(lambda *_: None), identity=identity, settings=settings, **more))
        return SimpleNamespace(table=str, summary=str, warnings=())

    monkeypatch.setattr("cgsurrogate.workflows.study.run", run)
    return calls


def recorded(call, folder, directory):
    from cgsurrogate.core import filesystem
    from cgsurrogate.workflows.study_folder import record_of

    hashes = {str(path): filesystem.sha256(path) for path in call.sources}
    record = {**record_of(call.identity, call.settings), "sha256": hashes, "directory": str(directory)}
    (folder / "run.json").write_text(json.dumps(record))
    return folder / "run.json"


def test_settings_stand_in_the_file_and_options_win_over_them(here, studied):
    result = called("run", "--config", written(here, ONE + RUN), "-o", "RUN", "--minutes", "5")
    assert result.exit_code == 0, result.output
    (call,) = studied
    assert (call.settings.minutes, call.settings.objective) == (5, "likelihood")
    assert call.settings.states == ("folded=RMSD<0.2",) and call.frames.lengths == (40, 40)
    assert {path.name for path in call.sources} == {"top.pdb", "run2.npy", "run10.npy"}


@pytest.mark.parametrize("by", ["file", "options", "example"])
def test_the_record_of_a_run_repeats_it_from_another_folder(here, studied, monkeypatch, by):
    monkeypatch.chdir(here)
    words = {
        "file": ("--config", written(here, ONE + RUN)),
        "options": tuple(TYPED.split()),
        "example": ("--mapping", "ca", "--seed", "3"),
    }[by]
    assert called("run", *words, "-o", "RUN").exit_code == 0
    path = recorded(studied[0], here, here)
    monkeypatch.chdir(here.parent / "work")
    if by != "example":
        np.save(here / "run10.npy", np.load(here / "run10.npy") + 1)
    result = called("run", "--config", path, "-o", "AGAIN", "--held-out", "0.5")
    assert result.exit_code == 0, result.output
    first, again = studied
    assert again.settings == first.settings.__class__(**{**vars(first.settings), "held_out": 0.5})
    assert again.frames.lengths == first.frames.lengths and again.frames.dt == first.frames.dt
    assert again.frames.beads == first.frames.beads and again.frames.temperature == first.frames.temperature
    assert ("run10.npy has changed since" in result.output) == (by != "example")
