"""A training that begins with a pretrained model: never worse than it, its own options and no others, in its folder."""

import dataclasses
import json
import warnings

import pytest
import torch
from click.testing import CliRunner
from flipping_chains import SMALL, make_frames

from cgsurrogate import workflows
from cgsurrogate.cli import group
from cgsurrogate.core import registry
from cgsurrogate.models import pretrained
from cgsurrogate.models.model import MODEL, WEIGHTS, Model
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.training.state import METRICS
from cgsurrogate.workflows.training_folder import RECORD, finished

KIND = "graph:" + ",".join(f"{key}={value}" for key, value in SMALL.items())
SHORT = StepperSettings(steps=3, every=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A pretrained model: the stepper and the force field of two chains, each in its folder."""
    out = tmp_path_factory.mktemp("pretrained")
    first, second = (
        make_frames(s, (300, 300), k).with_provenance(mapping="ca") for k, s in enumerate(("AGAVAG", "GAAGV"))
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learned = dataclasses.replace(SHORT, stepper=KIND, steps=10, every=5)
        workflows.make_stepper(first, out / "stepper", learned, others=[second])
        energy = EnergySettings(steps=10, every=5, network="residues:width=8", fine_tune=False)
        workflows.make_energy(first, out / "force-field", energy, others=[second])
    return out


@pytest.fixture
def frames():
    return make_frames("GAVAGA", (150, 150), seed=4).with_provenance(mapping="ca")


def losses(folder):
    lines = (folder / METRICS).read_text().splitlines()
    return [float(line.split(",")[3]) for line in lines[1:]]


@pytest.mark.parametrize("kind", ["stepper", "energy"])
def test_the_result_is_never_worse_than_the_start_on_the_validation_part(kind, folder, frames, tmp_path):
    """A learning rate that destroys everything leaves the weights of the start."""
    start = workflows.pretrained_model(folder, kind)
    if kind == "stepper":
        wild = dataclasses.replace(SHORT, rate=3.0)
        made = workflows.make_stepper(frames, tmp_path / "m", wild, start=start)
    else:
        wild = EnergySettings(steps=3, every=1, rate=3.0, fine_tune=False)
        made = workflows.make_energy(frames, tmp_path / "m", wild, start=start)
    found = losses(tmp_path / "m")
    assert len(found) == 4 and found[0] == min(found) < min(found[1:])
    assert made.info["training"]["best"]["step"] == 0
    assert made.info["training"]["best"]["held_out"] == pytest.approx(found[0])
    if kind == "energy":
        assert "begins with" in made.info["training"]["reason"]
        return
    bound, x = start.module.bound(frames.beads), torch.from_numpy(frames.positions[:20].copy())
    code, lag = bound.encode(x), torch.full((20,), bound.lag)
    with torch.no_grad():
        assert torch.equal(bound.log_density(code, code, lag), made.module.log_density(code, code, lag))


def test_kinds_and_options_are_those_of_the_start(folder, frames, tmp_path):
    start = workflows.pretrained_model(folder, "stepper")
    made = workflows.started(SHORT, start)
    name, options = registry.parse(made.stepper)
    assert name == "graph" and options.items() >= SMALL.items()
    assert workflows.started(made, start) == made
    assert workflows.started(dataclasses.replace(SHORT, stepper="graph:width=24"), start) == made
    for wrong in ("graph:width=25", "graph:memory=1", "autoregressive:width=8"):
        with pytest.raises(ValueError, match=r"stepper .*pretrained model has"):
            workflows.started(dataclasses.replace(SHORT, stepper=wrong), start)
    with pytest.raises(ValueError, match="pretrained model has"):
        workflows.started(SHORT, start, said=["stepper"])
    energy = workflows.pretrained_model(folder / "force-field", "energy")
    assert workflows.started(EnergySettings(), energy).network.startswith("residues:width=8")
    for wrong in ({"network": "schnet"}, {"priors": ("bonds",)}):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))} .*pretrained model has"):
            workflows.make_energy(frames, tmp_path / "m", EnergySettings(steps=1, **wrong), start=energy)
    assert not (tmp_path / "m").exists()


def test_another_temperature_mapping_or_lag_is_refused_in_words(folder, frames, tmp_path):
    start = workflows.pretrained_model(folder, "stepper")
    low, high = start.module.lags
    coarse = dataclasses.replace(frames, dt=2 * high)
    for other, settings, words in (
        (dataclasses.replace(frames, temperature=310.0), SHORT, "300 K, the frames of 310 K"),
        (frames.with_provenance(mapping="backbone"), SHORT, "mapping ca, .* backbone"),
        (frames, dataclasses.replace(SHORT, lag=2 * high), f"from {low:g} to {high:g} ps"),
        (coarse, SHORT, f"knows lags from {low:g} to {high:g} ps"),
    ):
        with pytest.raises(ValueError, match=words):
            workflows.make_stepper(other, tmp_path / "m", settings, start=start)
        assert not (tmp_path / "m" / MODEL).exists()
    made = workflows.make_stepper(frames, tmp_path / "m", dataclasses.replace(SHORT, lag=low), start=start)
    assert made.module.lag == low and made.module.lags == (low, high)


def test_the_start_is_a_setting_of_the_training(folder, frames, tmp_path):
    start = workflows.pretrained_model(folder, "stepper")
    settings = workflows.started(SHORT, start)
    made = workflows.make_stepper(frames, tmp_path / "m", SHORT, start=start)
    assert finished(tmp_path / "m", settings, [frames], start) and not finished(tmp_path / "m", settings, [frames])
    assert json.loads((tmp_path / "m" / RECORD).read_text())["start"]["sha256"] == start.digest
    assert made.info["training"]["start"]["molecules"] == start.info["training"]["molecules"]
    assert made.info["mapping"] == "ca" and made.info["training"]["molecules"] == ["GLY-ALA-VAL-ALA-GLY-ALA"]
    (tmp_path / "m" / MODEL).unlink()  # as if it had been stopped
    before = (tmp_path / "m" / WEIGHTS).read_bytes()
    with pytest.raises(ValueError, match=r"start.sha256: .* there, .* now"):
        workflows.make_stepper(frames, tmp_path / "m", SHORT, start=made)
    assert (tmp_path / "m" / WEIGHTS).read_bytes() == before
    assert start.digest == workflows.pretrained_model(folder / "stepper", "stepper").digest != made.digest


def test_the_folder_of_a_model_is_found_or_refused_in_a_line(folder, tmp_path):
    assert pretrained.model_folder(folder, "energy") == folder / "force-field"
    assert pretrained.model_folder(folder / "stepper", "stepper") == folder / "stepper"
    with pytest.raises(ValueError, match="kind stepper, expected energy"):
        pretrained.model_folder(folder / "stepper", "energy")
    for nothing in (tmp_path, tmp_path / "no", "peptide"):
        with pytest.raises(FileNotFoundError):
            pretrained.model_folder(nothing, "stepper")


def test_on_the_command_line(folder, frames, tmp_path):
    frames.save(tmp_path / "frames")

    def call(*more):
        words = ["train", "stepper", str(tmp_path / "frames"), "--from", str(folder), "--steps", "2", "-q", *more]
        return CliRunner().invoke(group, [*words, "-o", str(tmp_path / "m")])

    refused = call("--stepper", "autoregressive")  # the default, but asked for
    assert isinstance(refused.exception, ValueError) and "pretrained model has" in str(refused.exception)
    assert not (tmp_path / "m").exists()
    assert call().exit_code == 0 and "already done" in call().output
    assert Model.load(tmp_path / "m").beads == frames.beads
