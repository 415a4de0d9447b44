"""What was stored before the rooms still loads: models give the same numbers, frames and finished runs are known.

``data/stored.zip`` was written by the commit 87f2c14, small: force fields and steppers of a few seconds of training
(weights rounded, so that they pack well), frames, and a finished run whose comparison is thinned and rounded.
"""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.core.energy import forces
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.extrapolation_scores import add_extrapolation
from cgsurrogate.models.model import Model
from cgsurrogate.simulation import identity
from cgsurrogate.workflows import study
from cgsurrogate.workflows.settings import StudySettings

ARCHIVE = Path(__file__).parent / "data" / "stored.zip"


@pytest.fixture
def stored(tmp_path):
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


@pytest.fixture
def expected(stored):
    return np.load(stored / "expected.npz")


@pytest.mark.parametrize("name", ["force-field", "force-field-schnet"])
def test_a_force_field_gives_the_same_energies_and_forces(name, stored, expected):
    model = Model.load(stored / name)
    value, force = forces(model.module, torch.as_tensor(expected["positions"]))
    np.testing.assert_allclose(value.numpy(), expected[f"{name} energy"], rtol=1e-5)
    np.testing.assert_allclose(force.numpy(), expected[f"{name} forces"], rtol=1e-4, atol=0.02)


@pytest.mark.parametrize("name", ["stepper", "stepper-graph"])
def test_a_stepper_gives_the_same_densities(name, stored, expected):
    stepper = Model.load(stored / name).module
    code = stepper.encode(torch.as_tensor(expected[f"{name} positions"]))
    np.testing.assert_allclose(code.numpy(), expected[f"{name} code"], atol=1e-4)
    with torch.no_grad():
        value = stepper.log_density(code, code.roll(1, 0), torch.full((len(code),), stepper.lag))
    np.testing.assert_allclose(value.numpy(), expected[f"{name} log density"], rtol=1e-5, atol=1e-3)


def test_a_model_scores_frames_as_it_did(stored, expected):
    simulation = stored / "monte-carlo"
    assert Frames.load(simulation).extrapolation is not None and Frames.load(simulation).provenance.extrapolation
    (simulation / "uncertainty.npy").unlink()
    manifest = json.loads((simulation / "frames.json").read_text())
    del manifest["arrays"]["uncertainty"]
    (simulation / "frames.json").write_text(json.dumps(manifest))
    scored = add_extrapolation(simulation, Model.load(stored / "force-field").extrapolation)
    np.testing.assert_allclose(np.asarray(scored.extrapolation), expected["extrapolation"], rtol=2e-3)


def test_frames_know_their_weights_and_their_order(stored):
    weighted = Frames.load(stored / "weighted-frames")
    assert len(weighted) == 6 and weighted.forces is not None and weighted.weights[-1] == pytest.approx(1.5)
    for name, ordered in (("monte-carlo", False), ("tempering", False), ("rollout", True)):
        frames = Frames.load(stored / name)
        assert frames.time_ordered == ordered and bool(frames.out_of_order) != ordered, name
    mixed = Frames.load(stored / "tempering" / "all-temperatures")
    assert mixed.weights is not None


def test_a_finished_run_is_known_and_can_be_drawn_again(stored):
    out = stored / "run"
    record = json.loads((out / "run.json").read_text())
    settings = StudySettings(minutes=2, replicas=10)
    told = []
    comparison = study.run(pytest.fail, record["input"], out, settings, report=lambda *words: told.append(words))
    assert told == [("run", 1.0, "already done")] and len(comparison.others) == 2
    with pytest.raises(ValueError, match=r"pivot: 10:5 there, 0 now"):
        study.run(pytest.fail, record["input"], out, StudySettings(minutes=2, replicas=10, pivot="0"))
    assert Comparison.load(out / "comparison").verdict
    study.draw(out)
    assert (out / "report.html").stat().st_size > 100_000 and (out / "figures").is_dir()


def test_a_rollout_is_known_as_that_of_its_stepper_though_it_was_stored_by_module(stored):
    known = Frames.load(stored / "rollout").provenance.simulation
    now = {**known, "propagator": identity.describe(Model.load(stored / "stepper").module)}
    identity.refuse_other(stored / "rollout", known, now)
    now["propagator"]["options"] = {**now["propagator"]["options"], "width": 17}
    with pytest.raises(ValueError, match="width: 16 there, 17 now"):
        identity.refuse_other(stored / "rollout", known, now)
