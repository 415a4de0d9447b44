"""A molecule that was never simulated: from its sequence to a page without a reference, and on again after a kill."""

import csv
import dataclasses
import shutil
import warnings

import numpy as np
import pytest
import torch

from cgsurrogate import workflows
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.data import bead_structures
from cgsurrogate.data.generation.sequences import Peptide
from cgsurrogate.data.mapping import builder
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows import predict as module
from cgsurrogate.workflows import predicted_models, predictions
from cgsurrogate.workflows.predict import predict
from cgsurrogate.workflows.settings import PredictionSettings

pytest.importorskip("PeptideBuilder")
TINY = PredictionSettings(jumps=12, time=0.4, replicas=6, seed=1)
CARD = "# tiny\n\n## Measured\n\n| what | error |\n|---|---|\n| all | 0.123 |\n\n## Data\n\nNone.\n"
GAV = Peptide("GAV")


def swinging(sequence, seed=0, count=300):
    """Two runs of a peptide whose torsions swing about the extended chain."""
    beads, x = bead_structures.of_sequence(Peptide(sequence), builder("backbone"))
    tree, rng = ZMatrix(beads).double(), torch.Generator().manual_seed(seed)
    widths = [torch.tensor(0.002), torch.tensor(0.03), torch.where(torch.from_numpy(tree.torsion), 0.4, 0.03)]
    rest = tree.to_internal(torch.from_numpy(x[None]).double())
    parts = [
        part + width * torch.randn(count, part.shape[1], generator=rng, dtype=torch.float64)
        for part, width in zip(rest, widths, strict=True)
    ]
    positions = tree.to_positions(*parts).numpy().astype(np.float32)
    return Frames(beads, positions, (count // 2, count // 2), 2.0, 300.0)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with a stepper, a force field and a card; trained for a few steps on AVG and VAG."""
    out = tmp_path_factory.mktemp("models")
    first, second = swinging("AVG"), swinging("VAG", seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stepper = StepperSettings(stepper="graph:width=8,layers=1,hidden=8,mixtures=2,tail=8", lag=2.0, steps=3)
        workflows.make_stepper(first, out / "stepper", stepper, others=[second])
        energy = EnergySettings(network="residues:width=8", steps=3)
        workflows.make_energy(first, out / "force-field", energy, others=[second])
    (out / "card.md").write_text(CARD)
    return out


@pytest.fixture
def here(monkeypatch):
    """Both branches one after the other in this process; gives the names of those that ran."""
    ran = []

    def run_tasks(tasks, board, hear, watch, what):
        for name, task in tasks.items():
            task(lambda *told, name=name: hear(name, told))
            ran.append(name)

    monkeypatch.setattr(module, "run_tasks", run_tasks)
    return ran


@pytest.fixture
def undrawn(monkeypatch):
    """No page and no figures, which take longest."""
    monkeypatch.setattr(module, "draw", lambda out, *_: (out / "report.html").touch())


@pytest.fixture(scope="module")
def made(models, tmp_path_factory):
    """A finished prediction of GAV."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_tasks", lambda tasks, *_: [task(lambda *_: None) for task in tasks.values()])
        out = tmp_path_factory.mktemp("run") / "GAV"
        lines = []
        predict(GAV, out, predicted_models.chosen(str(models)), TINY, say=lines.append)
    return out, lines


def test_the_page_shows_both_models_and_judges_neither(made):
    out, _ = made
    comparison, text = Comparison.load(out / "comparison"), (out / "report.html").read_text()
    assert comparison.reference is None and comparison.verdict == ()
    assert [one.name for one in comparison.ensembles] == ["time-stepper", "force field"]
    assert all(one.judgement is None for one in comparison.ensembles) and comparison.others[0].distances
    assert "No all-atom simulation of GAV was made" in text and 'id="verdict"' not in text
    assert "0.123" in text and "2 molecules of 3 residues" in text  # what was measured, and what they learned from
    shown = text[text.index("<main>") : text.index('id="provenance"')]
    assert "the reference" not in shown.replace("judged by one", "")
    shares = comparison.basis.regions.shares.value
    assert comparison.basis.regions.residues == ("ALA 2",) and shares.sum(1) <= 1 + 1e-6


def test_what_a_model_does_not_know_is_said(made):
    _, lines = made
    assert any("force field" in line or "time-stepper" in line for line in lines)
    told = filesystem.read_json(made[0] / "predict.json")["models"]
    assert told["time-stepper"]["its neighbours"] == "never beside each other in training: GLY-ALA"
    assert told["time-stepper"]["this sequence"] == "is not among them"


def test_again_it_is_done_and_other_settings_are_refused(made, models, here):
    out, _ = made
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    sources = predicted_models.chosen(str(models))
    predict(GAV, out, sources, TINY)
    for molecule, settings in ((GAV, dataclasses.replace(TINY, seed=2)), (Peptide("GVA"), TINY)):
        with pytest.raises(ValueError, match="was made differently"):
            predict(molecule, out, sources, settings)
    assert here == [] and before == {path: path.stat().st_mtime_ns for path in out.rglob("*")}


@pytest.mark.parametrize("last", ["start", "stepper-rollout", "comparison"])
def test_killed_after_a_step_it_goes_on_to_the_same_figures(last, made, models, here, undrawn, tmp_path):
    """A kill leaves every folder up to ``last``."""
    order = ["start", "stepper-rollout", "force-field-simulation", "comparison"]
    out = tmp_path / "RUN"
    out.mkdir()
    shutil.copyfile(made[0] / "predict.json", out / "predict.json")
    for name in order[: order.index(last) + 1]:
        shutil.copytree(made[0] / name, out / name)
    predict(GAV, out, predicted_models.chosen(str(models)), TINY)
    assert here == ["time-stepper", "force field"][min(order.index(last), 2) :]
    for name in ("stepper-rollout", "force-field-simulation"):
        first, again = (np.load(where / name / "positions.npy") for where in (made[0], out))
        np.testing.assert_array_equal(first, again)
    first, again = (Comparison.load(where / "comparison") for where in (made[0], out))
    assert first.others[0].distances == again.others[0].distances


def test_a_reference_judges_it(models, here, undrawn, tmp_path):
    frames, sources = swinging("GAV", seed=5), predicted_models.chosen(str(models))
    comparison = predict(GAV, tmp_path / "RUN", sources, TINY, reference=frames)
    assert comparison.reference is not None
    assert [one.name for one in comparison.others if one.judgement] == ["time-stepper", "force field"]


def test_several_have_a_folder_each_and_one_table(models, here, undrawn, tmp_path):
    told = predictions.predict_all(
        [GAV, Peptide("AVGA")],
        tmp_path / "RUN",
        predicted_models.chosen(None, stepper=models / "stepper"),
        TINY,
        report=lambda *_: None,
        say=lambda _: None,
    )
    rows = list(csv.DictReader((tmp_path / "RUN" / predictions.TABLE).open()))
    assert [(row["molecule"], row["ensemble"]) for row in rows] == [("GAV", "time-stepper"), ("AVGA", "time-stepper")]
    assert all(0 < float(row["radius of gyration (nm)"]) < 1 for row in rows)
    assert here == ["time-stepper"] * 2 and "RUN/GAV/report.html" in told


def test_a_structure_file_takes_the_place_of_a_sequence(models, peptide_pdb):
    found = predicted_models.load(predicted_models.chosen(None, force_field=models / "force-field").folders)
    frames = module.starting_structure(peptide_pdb, found)
    assert len(frames) == 1 and frames.beads.residue_names[0] == "ACE" and frames.provenance.mapping == "backbone"


def test_models_that_do_not_belong_together_are_refused(models, tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder"):
        predicted_models.chosen(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="to hold a model"):
        predicted_models.chosen(str(tmp_path))
    with pytest.raises(ValueError, match="expected a time-stepper"):
        predicted_models.load({"time-stepper": models / "force-field"})
    found = predicted_models.load(predicted_models.chosen(str(models)).folders)
    with pytest.raises(ValueError, match="one mapping"):
        changed = dict(found)
        changed["force field"] = dataclasses.replace(found["force field"], info={"mapping": "ca"})
        predicted_models.refuse_unlike(changed)


def test_nothing_is_left_of_what_is_refused(models, tmp_path):
    sources = predicted_models.chosen(str(models))
    with pytest.raises(ValueError, match="NME"):
        predict(Peptide("GAV", "ace-nme"), tmp_path / "RUN", sources, TINY)
    assert not (tmp_path / "RUN").exists()
    with pytest.raises(ValueError, match="in the reference"):
        predict(GAV, tmp_path / "RUN", sources, TINY, reference=swinging("GVA"))
    assert not (tmp_path / "RUN").exists()
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "mine.txt").touch()
    with pytest.raises(ValueError, match="is no prediction"):
        predict(GAV, tmp_path / "else", sources, TINY)
