"""A run begins with a pretrained stepper where held-out jumps are likelier with it, and never without being told so."""

import dataclasses

import pytest
import torch
from flipping_chains import SMALL, make_frames, make_stepper

from cgsurrogate.models import pretrained
from cgsurrogate.models.model import Model
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.workflows import pretrained_run
from cgsurrogate.workflows.pretrained_run import log_likelihood, refuse_start, start_of_run

KIND = "graph:" + ",".join(f"{key}={value}" for key, value in SMALL.items())
SETTINGS = StepperSettings(steps=5, stepper=KIND)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Two pretrained models: one that is calibrated on the same kind of chains, and one of noise."""
    every, folders = [make_frames("AGAVAG"), make_frames("GAAGV", seed=1)], []
    for name, rough in (("good", 0.0), ("noise", 1.0)):
        folders.append(tmp_path_factory.mktemp(name))
        Model(make_stepper(*every, rough=rough), every[0].beads, 300.0, {"mapping": "ca"}).save(folders[-1] / "stepper")
    return folders


@pytest.fixture
def frames():
    return make_frames("GAVAGA", (60, 60), seed=4).with_provenance(mapping="ca")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(pretrained_run, "PROBE", 2)


def test_held_out_jumps_decide(stored, frames):
    good, noise = stored
    start, words = start_of_run(str(good), SETTINGS, frames)
    assert start is not None and words.endswith("it is used")
    start, words = start_of_run(str(noise), SETTINGS, frames)
    assert start is None and words.endswith("it is not used")


def test_the_bundled_one_is_tried_where_it_suits_and_the_frames_are_never_refused(stored, frames, monkeypatch):
    monkeypatch.setattr(pretrained, "names", lambda: ())
    assert start_of_run(None, SETTINGS, frames) == (None, "")
    monkeypatch.setattr(pretrained, "names", lambda: ("peptides",))
    monkeypatch.setattr(pretrained, "folder", lambda name: stored[0])
    assert start_of_run(None, SETTINGS, frames)[0] is not None
    for other in (dataclasses.replace(frames, temperature=310.0), frames.with_provenance(mapping="heavy")):
        start, words = start_of_run(None, SETTINGS, other)
        assert start is None and "is not used: the pretrained model is of" in words
    for settings, name in ((SETTINGS, "none"), (StepperSettings(steps=5), None)):
        assert start_of_run(name, settings, frames) == (None, "")
    assert "is not used" in start_of_run(None, dataclasses.replace(SETTINGS, stepper="graph:width=8"), frames)[1]


def test_what_was_named_and_does_not_suit_is_refused_before_anything_is_trained(stored, frames):
    refuse_start(None, "autoregressive")
    refuse_start("none", "autoregressive")
    with pytest.raises(ValueError, match="--stepper graph"):
        refuse_start(str(stored[0]), "autoregressive")
    with pytest.raises(ValueError, match="pretrained model has"):
        refuse_start(str(stored[0]), "graph:width=8")
    with pytest.raises(FileNotFoundError):
        refuse_start("nowhere", "graph")
    with pytest.raises(ValueError, match="310 K"):
        start_of_run(str(stored[0]), SETTINGS, dataclasses.replace(frames, temperature=310.0))


def test_a_likelihood_does_not_depend_on_the_units_of_a_stepper(frames):
    """Stiff coordinates in half their standard deviations, and weights to match: the same density in nm and radian."""
    stepper = make_stepper(frames)
    before = log_likelihood(stepper, frames, stepper.lag)
    with torch.no_grad():
        stepper.kind_scale.mul_(2)
        stepper.tail.log_diagonal.add_(torch.tensor(2.0).log())
        stepper.tail.lower.mul_(2)
    stepper._bind()
    assert log_likelihood(stepper, frames, stepper.lag) == pytest.approx(before, abs=1e-2)
