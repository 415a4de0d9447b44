"""What data hold and could show, before anything is trained; and a study that knows its folder."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from known_chains import calphas

from cgsurrogate import workflows
from cgsurrogate.cli import group
from cgsurrogate.comparison import power
from cgsurrogate.comparison.judgement import AGREES, UNKNOWN, Finding, Judgement
from cgsurrogate.core.frames import Frames
from cgsurrogate.workflows import study
from cgsurrogate.workflows.settings import StudySettings
from cgsurrogate.workflows.study_folder import grow, record_of, refuse_other


def walks(*lengths: int, jump: float = 0.01, weighted: bool = False) -> Frames:
    """Chains that bend between two shapes, with a chance to change at every frame."""
    rng, parts = np.random.default_rng(0), []
    line = np.arange(6)[:, None] * np.array([0.38, 0.0, 0.0])
    bent = line.copy()
    bent[3:] = line[3] + (line[3:] - line[3]) @ np.array([[0.2, 0.98, 0], [-0.98, 0.2, 0], [0, 0, 1.0]])
    for count in lengths:
        state = (np.cumsum(rng.random(count) < jump) + rng.integers(2)) % 2
        shape = np.where(state[:, None, None] == 1, bent, line)
        parts.append(shape + 0.03 * rng.normal(size=(count, 6, 3)))
    weights = np.ones(sum(lengths)) if weighted else None
    return Frames(calphas(6), np.concatenate(parts).astype(np.float32), lengths, 10.0, 300.0, weights=weights)


def judged(*findings: Finding) -> Judgement:
    return Judgement("held-out runs", UNKNOWN, "", findings, {}, 0.05)


def test_the_power_of_a_verdict_is_told_by_what_would_have_shown():
    found = power.lines(
        judged(
            Finding("temperature", "shape", AGREES, "K", 1.0, -9.0, 9.0, 30.0, 15.0),
            Finding("slow rates", "kinetics", AGREES, "x", 1.0, 0.9, 1.1, 1.2, 1.5),
            Finding("state B", "populations", UNKNOWN, "x", 1.0, 0.4, 3.0, 2.0**1.5, 2.0),
            Finding("state C", "populations", UNKNOWN, "x", 1.0, 0.4, 3.0, 2.0**4, 2.0),
        ),
        10_000.0,
    )
    assert found[0].endswith("temperature 30 K, rates x 1.2, populations of slow states x 2.8 to x 16")
    assert "15 K in temperature: about 30 ns" in found[1]  # half the error takes four times as much
    assert "x 2 in slow states: more than 10 times as much" in found[1] and "rates" not in found[1]
    assert "4.0 times as much" in power.lines(judged(*_hot()), math.nan)[1]


def _hot() -> tuple[Finding, ...]:
    return (Finding("temperature", "shape", AGREES, "K", 1.0, -9.0, 9.0, 30.0, 15.0),)


def test_where_nothing_could_be_judged_more_data_are_asked_for():
    few = "the reference holds only 2 stretches of five correlation times"
    blocked = Finding("populations", "populations", UNKNOWN, text=few, need="about 20 ns more of the reference")
    found = power.lines(judged(blocked), 1000.0)
    assert found[0].startswith("cannot judge populations: the held-out part holds only 2")
    assert found[-1] == "hold out more (--held-out), or add about 20 ns"


@pytest.mark.slow
def test_an_inspection_counts_what_a_chain_does():
    frames = walks(3000, 3000, 3000, 3000)
    said = workflows.inspect(frames, 0.34).sections
    assert said["frames"][0] == "4 runs, 12,000 frames, 120 ns, 10 ps apart, 300 K"
    text = " ".join(said["sampling"])
    assert "2 metastable states" in text
    entered = [int(line.split("entered ")[1].split()[0]) for line in said["sampling"] if "entered" in line]
    assert all(30 < count < 90 for count in entered)  # 120 jumps are expected, half of them each way
    independent = float(text.split("about ")[1].split()[0].replace(",", ""))
    assert 60 < independent < 240  # one every 100 frames, 1 / (2 x 0.01) x 2
    assert "would show" in " ".join(said["what the verdict could tell"])
    weighted = workflows.inspect(walks(300, 300, weighted=True), 0.34).sections
    assert "carry no time" in " ".join(weighted["can be used for"])


def test_faults_of_files_are_listed_each_on_a_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(group, ["example", "alanine-dipeptide", "-o", "data"]).exit_code == 0
    whole = (tmp_path / "data/run0.xtc").read_bytes()
    (tmp_path / "cut.xtc").write_bytes(whole[:20_000])
    (tmp_path / "empty.xtc").touch()
    files = ["-f", "data/run0.xtc", "-f", "cut.xtc", "-f", "empty.xtc", "-f", "none.xtc"]
    result = run(group, ["inspect", "-s", "data/topology.pdb", *files, "-q"])
    assert result.exit_code and all(name in result.output for name in ("cut.xtc", "empty.xtc", "none.xtc", "22 atoms"))
    assert result.output.split("what is wrong")[1].count(".xtc") == 3
    for words in (["inspect"], ["inspect", "frames", "-s", "a.pdb", "-f", "b.xtc"]):
        assert run(group, words).exit_code == 2


# the folder of a study


@pytest.fixture
def folder(tmp_path):
    """A finished study of one minute, as far as its folder goes."""
    for name in ("reference", "training", "force-field", "force-field-simulation", "stepper", "comparison", "figures"):
        (tmp_path / name).mkdir()
    for name in ("report.html", "metrics.json", "stepper/training.pt", "stepper/model.json", "stepper-rollout.json"):
        (tmp_path / name).write_text(name)
    (tmp_path / "run.json").write_text(json.dumps(record_of({"a": 1}, StudySettings(minutes=1))))
    return tmp_path


def test_only_minutes_may_grow(folder):
    assert refuse_other(folder, record_of({"a": 1}, StudySettings(minutes=1))) is None
    assert refuse_other(folder, record_of({"a": 1}, StudySettings(minutes=2.5))) == 1
    for settings in (
        StudySettings(minutes=0.5),
        StudySettings(minutes=2, seed=1),
        StudySettings(minutes=1, states=("a",)),
    ):
        with pytest.raises(ValueError, match="made differently"):
            refuse_other(folder, record_of({"a": 1}, settings))
    old = json.loads((folder / "run.json").read_text())
    for name in ("states", "cvs", "published", "priors"):  # unknown to folders of before
        del old["settings"][name]
    (folder / "run.json").write_text(json.dumps(old))
    assert refuse_other(folder, record_of({"a": 1}, StudySettings(minutes=1))) is None


def test_with_more_minutes_results_are_set_aside_and_the_stepper_learns_on(folder):
    grow(folder, 1.0, 2.0)
    kept = folder / "earlier" / "1-minutes"
    assert {path.name for path in folder.iterdir()} == {
        "reference",
        "training",
        "stepper",
        "earlier",
        "run.json",
        "log.txt",
    }
    assert (kept / "report.html").exists() and (kept / "stepper" / "model.json").exists()
    assert [path.name for path in (folder / "stepper").iterdir()] == ["training.pt"]
    assert refuse_other(folder, record_of({"a": 1}, StudySettings(minutes=2))) is None


def test_a_study_says_what_is_held_out_and_refuses_unknown_states_before_it_writes(tmp_path, monkeypatch):
    frames, said = walks(300, 300, 300, weighted=True), []
    out = tmp_path / "run"
    for wrong in ({"states": ("a=nothing<1", "b=RMSD<1")}, {"priors": ("bond",)}, {"cvs": ("rmsdd",)}):
        with pytest.raises(ValueError):
            study.run(lambda report: frames, {}, out, StudySettings(**wrong))
        assert not out.exists()
    monkeypatch.setattr(study, "_train_and_simulate", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    for _ in range(2):  # the second time from the folder
        said.clear()
        with pytest.raises(KeyboardInterrupt):
            study.run(lambda report: frames, {}, out, StudySettings(), say=said.append)
        assert "carry no time" in said[0] and said[1].startswith("trains on: 2 runs, 600 frames")
    assert "judged on: 1 run" in (out / "log.txt").read_text()


def test_a_system_file_is_inspected_molecule_by_molecule(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    assert run(group, ["example", "alanine-dipeptide", "-o", "data"]).exit_code == 0
    text = 'topology = "data/topology.pdb"\ntrajectories = "data/run*.xtc"\ntemperature = 300\n'
    Path("one.toml").write_text(text)
    Path("two.toml").write_text(f"[molecules.a]\n{text}[molecules.b]\n{text}")
    one, two = (run(group, ["inspect", "--config", name, "-q"]) for name in ("one.toml", "two.toml"))
    assert one.exit_code == two.exit_code == 0
    assert two.stdout == f"a:\n{one.stdout}b:\n{one.stdout}"
    assert run(group, ["inspect", "--config", "two.toml", "--molecule", "b", "-q"]).stdout == one.stdout
    assert run(group, ["inspect", "frames", "--config", "one.toml"]).exit_code == 2
