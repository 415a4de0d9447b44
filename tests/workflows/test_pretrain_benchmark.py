"""The benchmark that makes a pretrained model: its figures are those measured, and what it bundles is whole."""

import importlib.util
import math
from pathlib import Path

import pytest
from flipping_chains import make_frames, make_stepper

from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.models import pretrained
from cgsurrogate.models.model import Model, compose

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def pretrain(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location("pretrain", FOLDER / "pretrain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made():
    """Frames of two chains and both models, with the notes that a training leaves."""
    first, second = make_frames("AGAVAG", (60, 60)), make_frames("GAAGV", (60, 60), seed=1)
    energy = compose(first.beads, [("priors", "bonds", {}), ("networks", "residues", {"width": 4})])
    energy.terms[0].fit(first, second)
    training = {"best": {"step": 7, "held_out": 0.25}, "reason": "budget used", "molecules": ["ALA-GLY", "VAL"]}
    info = {"training": {**training, "fingerprints": [1, 2]}, "mapping": "ca", "priors": [{"term": "bonds"}]}
    modules = {"stepper": make_stepper(first, second), "force field": energy}
    return FrameSet({"one": first, "two": second}), {k: Model(m, first.beads, 300.0, info) for k, m in modules.items()}


def test_the_figures_of_the_card_are_those_of_the_rows(pretrain, made):
    frames, models = made
    rows = [
        {"molecule": "KLM", "residue": "LEU", "stepper": 0.1, "force field": 0.5, "pooled": 0.2, "halves": 0.08},
        {"molecule": "KLM", "residue": "MET", "stepper": 0.3, "pooled": None, "halves": 0.12},
    ]
    text = pretrain.card(frames, FrameSet({"KLM": frames["one"]}), models, rows)
    assert "| KLM LEU | 0.100 | 0.500 | 0.200 |  |  | 0.080 |" in text
    assert "| KLM MET | 0.300 |  |  |  |  | 0.120 |" in text
    assert "stepper 0.175, force field 0.475" in text  # above a quarter of the mean of the halves
    assert "the stepper is no closer to it than that surface" in text  # both are 0.2 on average
    assert "best at step 7, validation loss 0.25" in text and "0.5 ns" in text and "nan" not in text
    assert math.isnan(pretrain.mean(rows, "nearest"))


def test_what_is_bundled_is_found_by_its_name_and_gives_the_same_numbers(pretrain, made, tmp_path, monkeypatch):
    _, models = made
    for name, part in (("stepper", "stepper"), ("force field", "force-field")):
        models[name].save(tmp_path / "made" / part)
    (tmp_path / "made" / "card.md").write_text("# A card")
    monkeypatch.setattr(pretrained, "HERE", tmp_path / "package")
    (tmp_path / "package").mkdir()
    pretrain.bundle(tmp_path / "made", "ours")
    assert pretrained.names() == ("ours",) and pretrained.folder("ours") == tmp_path / "package" / "ours"
    for name, kind in (("stepper", "stepper"), ("force field", "energy")):
        bundled = Model.load(pretrained.model_folder("ours", kind))
        assert bundled.digest == models[name].digest and bundled.info["mapping"] == "ca"
        assert "fingerprints" not in bundled.info["training"] and "priors" not in bundled.info
    monkeypatch.setattr(pretrain, "LARGEST", 10)
    with pytest.raises(SystemExit, match="larger"):
        pretrain.bundle(tmp_path / "made", "ours")
