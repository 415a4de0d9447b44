"""A stored model gives the same numbers again, and a changed one is refused."""

import json

import pytest
import torch

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import MODEL, WEIGHTS, Model, compose


@pytest.fixture
def energy_model(peptide_frames: Frames):
    energy = compose(
        peptide_frames.beads,
        [("priors", "bonds", {}), ("priors", "dihedrals", {}), ("networks", "schnet", {"width": 8})],
    )
    for term in list(energy.terms)[:2]:
        term.fit(peptide_frames)
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter.add_(0.1)
    return Model(energy, peptide_frames.beads, 300.0, {"note": "x"})


def test_an_energy_survives(energy_model, peptide_frames, tmp_path):
    energy_model.save(tmp_path / "m")
    again = Model.load(tmp_path / "m")
    x = torch.tensor(peptide_frames.positions[:5])
    assert torch.equal(energy_model.module(x), again.module(x))
    assert again.beads == energy_model.beads and again.info == {"note": "x"} and not again.is_stepper


def test_a_flipped_bit_is_refused(energy_model, tmp_path):
    energy_model.save(tmp_path / "m")
    path = tmp_path / "m" / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="changed since"):
        Model.load(tmp_path / "m")


def test_a_folder_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="train"):
        Model.load(tmp_path)


def test_a_later_default_does_not_change_a_stored_model(peptide_frames, tmp_path):
    energy = compose(peptide_frames.beads, [("networks", "residues", {})])
    folder = Model(energy, peptide_frames.beads, 300.0).save(tmp_path)
    options = json.loads((folder / MODEL).read_text())["recipes"][0]["options"]
    assert options == energy.terms[0].spec.options and {"width", "layers", "radial", "cutoff"} <= set(options)


@pytest.mark.parametrize("name", ["{}/evil.py", "./evil.py", "{}/m/evil.py"])
def test_a_python_file_that_a_stored_model_names_is_not_run(name, energy_model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = energy_model.save(tmp_path / "m")
    for place in (tmp_path, folder):
        (place / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef build(beads): return 1 / 0\n")
    content = filesystem.read_json(folder / MODEL)
    content["recipes"][0]["name"] = name.format(tmp_path)
    filesystem.write_json(folder / MODEL, content)
    with pytest.raises(ValueError, match=r"names the Python file .*evil.py, which is not run .*--trust"):
        Model.load(folder)
    content["recipes"][0]["family"] = "mappings"
    filesystem.write_json(folder / MODEL, content)
    with pytest.raises(ValueError, match="names 'mappings'; expected one of"):
        Model.load(folder)
    assert not (tmp_path / "ran").exists()
