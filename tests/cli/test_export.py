"""``export`` of a force field: the folder works in the engines, and what cannot be done leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.core.frames import Frames
from cgsurrogate.models import pretrained
from cgsurrogate.models.engines import compiled
from cgsurrogate.models.engines.potential import RECORD
from cgsurrogate.models.model import Model
from cgsurrogate.testing.samples import peptide_frames
from cgsurrogate.workflows import starting_frames

ROOT = Path(__file__).parents[2]
HOME = pretrained.folder("peptides")


def export(*words: object):
    return CliRunner().invoke(group, ["export", *map(str, words)])


def run(script: Path, *lines: str) -> str:
    """The output of a script with these lines in place of those that set the same names."""
    text = script.read_text()
    for new in lines:
        old = next(line for line in text.splitlines() if line.startswith(new.partition("=")[0]))
        text = text.replace(old, new)
    script.write_text(text)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A folder of frames of the bundled force field's molecule."""
    model = Model.load(HOME / "force-field")
    x = starting_frames(model, "extended").positions
    shaken = (x + np.random.default_rng(1).normal(0, 0.003, (20, len(model.beads), 3))).astype(np.float32)
    folder = tmp_path_factory.mktemp("start") / "frames"
    Frames(model.beads, shaken, (20,), 1.0, model.temperature).save(folder)
    return folder


@pytest.fixture(scope="module")
def exported(tmp_path_factory, start):
    """For OpenMM and ASE, and the frames."""
    out = tmp_path_factory.mktemp("export") / "out"
    result = export(HOME / "force-field", "--start", start, "--format", "openmm", "--format", "ase", "-o", out)
    assert result.exit_code == 0, result.output
    assert "errors against float64, float32: energy" in result.output
    return out, Frames.load(start)


def test_the_folder_is_a_model_and_says_its_errors(exported):
    out, _ = exported
    assert Model.load(out).digest == Model.load(HOME / "force-field").digest
    off = json.loads((out / RECORD).read_text())["deviations"]["float32"]
    assert 0 < off["force"] < 1e-4 * off["force_size"]


def test_the_script_of_openmm_runs(exported):
    openmm = pytest.importorskip("openmm")
    if not hasattr(openmm, "PythonForce"):
        pytest.skip("OpenMM is too old for PythonForce")
    out, frames = exported
    assert "40 steps of 2 molecule(s)" in run(out / "run_openmm.py", "COPIES = 2", "STEPS, EVERY = 40, 10")
    import mdtraj

    with mdtraj.formats.DCDTrajectoryFile(str(out / "openmm.dcd")) as file:
        assert file.read()[0].shape == (
            len((out / "openmm.csv").read_text().splitlines()) - 1,
            2 * len(frames.beads),
            3,
        )


def test_the_script_of_ase_runs(exported):
    pytest.importorskip("ase")
    out, _ = exported
    assert "20 steps" in run(out / "run_ase.py", "STEPS, EVERY = 20, 10")


def test_an_export_is_replaced_only_with_force(exported, start):
    out, _ = exported
    again = (HOME / "force-field", "--format", "ase", "-o", out)
    refused = export(*again)
    assert refused.exit_code != 0 and "--force" in str(refused.exception)
    assert (out / "run_openmm.py").exists()
    assert export(*again, "--start", start, "--force").exit_code == 0
    assert (out / "run_ase.py").exists() and not (out / "run_openmm.py").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (("stepper", "--format", "ase"), "force field"),
        (("force-field",), "--format"),
        (("force-field", "--format", "ase", "--split-runs"), "--split-runs"),
        (("force-field", "--format", "ase", "--start", "nothing-here"), "nothing-here"),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(tmp_path, words, said):
    name, *rest = words
    result = export(HOME / name, *rest, "-o", tmp_path / "out")
    assert result.exit_code != 0 and said in result.output + str(result.exception)
    assert not list(tmp_path.iterdir())


def test_options_of_models_are_refused_for_frames(tmp_path):
    peptide_frames().save(tmp_path / "frames")
    for words in (("--format", "ase"), ("--force",), ("--start", "x.pdb")):
        result = export(tmp_path / "frames", *words, "-o", tmp_path / "a.xtc")
        assert result.exit_code == 2 and "are for models" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["frames"]


def test_a_fault_of_the_compiler_leaves_nothing_and_without_one_there_is_the_graph(tmp_path, start, monkeypatch):
    def broken(*_):
        raise RuntimeError("the compiler broke")

    monkeypatch.setattr(compiled, "trace", lambda energy, count: None)
    monkeypatch.setattr(compiled, "save", lambda program, path: path.write_bytes(b"graph"))
    monkeypatch.setattr(compiled, "package", broken)
    words = (HOME / "force-field", "--start", start, "--format", "pt2", "-o", tmp_path / "out")
    assert "compiler broke" in str(export(*words).exception)
    assert not list(tmp_path.iterdir())

    def missing(*_):
        raise compiled.NoCompiler("there is no compiler")

    monkeypatch.setattr(compiled, "package", missing)
    result = export(*words)
    assert result.exit_code == 0 and "note: there is no compiler" in result.output
    assert {"energy_forces.graph.pt2", "energy_forces.cpp"} <= {path.name for path in (tmp_path / "out").iterdir()}
