"""Files of strangers: no code that they hold or name is run, no address in them fetched, nothing of them sent on."""

import io
import json

import h5py
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from cgsurrogate.cli import group
from cgsurrogate.core import checked_files, filesystem, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.read import Input, read
from cgsurrogate.geometry.structure_files import bead_positions
from cgsurrogate.models.model import MODEL, Model, compose
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.state import CHECKPOINT, TrainingState

CA = registry.builder("mappings", "ca")


@pytest.fixture
def here(tmp_path, monkeypatch, peptide_pdb, atoms):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_trusted", set())
    monkeypatch.setattr(registry, "_user_modules", {})
    (tmp_path / "top.pdb").write_bytes(peptide_pdb.read_bytes())
    np.save("a.npy", atoms)
    (tmp_path / "other.py").write_text(
        "open('ran', 'w')\nfrom cgsurrogate.core import registry\nbuild = registry.builder('mappings', 'ca')\n"
    )
    return tmp_path


def called(*words):
    result = CliRunner().invoke(group, [str(word) for word in words])
    return result.exit_code, f"{result.output} {result.exception}"


SYSTEM = 'topology = "top.pdb"\ntrajectories = "a.npy"\ntemperature = 300\ndt = 1\n'


@pytest.mark.parametrize(
    "text",
    [
        f'mapping = "other.py"\n{SYSTEM}',
        f'[molecules.one]\n{SYSTEM}mapping = "./other.py"\n',
        f'{SYSTEM}[run]\nnetwork = "./other.py:width=8"\n',
        f'{SYSTEM}[run]\npriors = ["bonds", "./other.py"]\n',
        f'{SYSTEM}[run]\ncvs = ["./other.py"]\n',
    ],
)
def test_a_python_file_that_a_system_file_names_is_not_run(text, here):
    (here / "system.toml").write_text(text)
    inspected = [("inspect", "-q")] if "mapping" in text else []
    for command in (("run", "-q", "-o", "out"), *inspected):
        code, said = called(*command, "--config", "system.toml")
        assert code and "system.toml names the Python file" in said and "--trust" in said
    assert not (here / "ran").exists() and not (here / "out").exists()


@pytest.mark.parametrize("where", ["input", "settings"])
def test_a_python_file_that_an_earlier_run_names_is_not_run(where, here):
    record = {"input": {"topology": "top.pdb", "trajectories": ["a.npy"], "temperature": 300.0}, "settings": {}}
    record[where]["mapping" if where == "input" else "network"] = "./other.py"
    (here / "run.json").write_text(json.dumps(record))
    code, said = called("run", "-q", "--config", "run.json", "-o", "out")
    assert code and "run.json names the Python file ./other.py" in said
    assert not (here / "ran").exists() and not (here / "out").exists()


def test_a_python_file_of_a_system_file_is_run_where_the_user_names_it_too(here):
    (here / "system.toml").write_text(f'mapping = "other.py"\n{SYSTEM}')
    code, said = called("map", "-q", "--config", "system.toml", "--trust", "other.py", "-o", "out")
    assert code == 0, said
    assert (here / "ran").exists() and len(Frames.load("out").beads) == 5
    code, said = called("map", "-q", "--config", "system.toml", "--mapping", "ca", "-o", "plain")
    assert code == 0, said


def test_hdf5_of_any_name_is_read_without_pytables_or_refused(here, peptide, atoms):
    for name, block in (("a.lh5", 0), ("b.lh5", 512)):
        with h5py.File(name, "w", userblock_size=block) as file:
            file["coordinates"] = atoms
    frames = read(Input("top.pdb", ["a.lh5"], 300.0, dt=1.0), CA)
    np.testing.assert_array_equal(frames.positions, CA(peptide.topology).positions(atoms))
    with pytest.raises(ValueError, match=r"b\.lh5 (is not of a kind that is|cannot be) read"):
        read(Input("top.pdb", ["b.lh5"], 300.0, dt=1.0), CA)


def test_a_unit_in_a_file_is_not_repeated_at_length_and_its_file_is_named(here, atoms):
    with h5py.File("a.h5", "w") as file:
        file["coordinates"] = atoms
        file["coordinates"].attrs["units"] = "furlong" * 100
    with pytest.raises(ValueError, match=r"a.h5: expected a unit of length .*, got '(furlong)+") as caught:
        read(Input("top.pdb", ["a.h5"], 300.0, dt=1.0), CA)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/a.pdb", "none.pdb"])
def test_a_structure_is_a_file_and_no_address(path, peptide_frames):
    with pytest.raises(FileNotFoundError, match="expected a structure file at"):
        bead_positions(peptide_frames.beads, path)


def test_a_compressed_structure_is_refused(peptide_frames):
    with pytest.raises(ValueError, match="not compressed"):
        bead_positions(peptide_frames.beads, "bomb.pdb.gz")


def test_a_state_of_training_that_holds_objects_is_refused_by_name(tmp_path):
    class Runs:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    for content in ({"progress": Runs()}, {"progress": {}}):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        checked_files.write_checked(tmp_path / CHECKPOINT, buffer.getvalue())
        state = TrainingState(torch.nn.Linear(2, 2), None, TrainingSettings(steps=1), tmp_path, "training")
        with pytest.raises(ValueError, match=rf"{CHECKPOINT} is not the state of this training"):
            state.resume()
    assert not (tmp_path / "ran").exists()


def test_a_kind_that_there_is_none_of_names_the_model(peptide_frames, tmp_path):
    folder = Model(compose(peptide_frames.beads, [("networks", "residues", {})]), peptide_frames.beads, 300.0).save(
        tmp_path / "m"
    )
    content = filesystem.read_json(folder / MODEL)
    content["recipes"][0]["name"] = "evil.PY"
    filesystem.write_json(folder / MODEL, content)
    with pytest.raises(ValueError, match=r"model.json: expected one of the networks"):
        Model.load(folder)


def test_names_of_a_topology_reach_no_terminal_as_escapes(here, peptide_pdb):
    text = peptide_pdb.read_text().replace("ALA", "A\x1b[")
    (here / "top.pdb").write_text(text)
    code, said = called("map", "-q", "-s", "top.pdb", "-f", "a.npy", "-T", "300", "--dt", "1", "-o", "out")
    assert "\x1b" not in said, (code, said)
