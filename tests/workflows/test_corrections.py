"""``simulate --correct`` as a user meets it: every kind, the frames it leaves, and one clear line for what is wrong."""

import shutil

import numpy as np
import pytest
import torch
from energy_contract import frames as make_frames

from cgsurrogate import workflows
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.settings import SimulationSettings


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Frames, and untrained models with fitted priors and a calibrated stepper."""
    folder = tmp_path_factory.mktemp("models")
    frames = make_frames(400)
    frames.save(folder / "frames")
    energy = Sum(*(registry.build("priors", name, frames.beads) for name in ("bonds", "angles", "impropers")))
    for term in energy.terms:
        term.fit(frames)
    torch.manual_seed(0)
    stepper = registry.build(
        "steppers", "autoregressive", frames.beads, lag=2.0, width=16, blocks=1, hidden=8, mixtures=4
    )
    stepper.calibrate(frames)
    for name, module, kelvin in (("ff", energy, 300.0), ("warm", energy, 320.0), ("stepper", stepper, 300.0)):
        Model(module, frames.beads, kelvin).save(folder / name)
    other = Frames(_renamed(frames.beads), np.asarray(frames.positions), frames.lengths, frames.dt, frames.temperature)
    other.save(folder / "other-frames")
    fitted = registry.build("priors", "bonds", other.beads)
    fitted.fit(other)
    Model(Sum(fitted), other.beads, 300.0).save(folder / "other")
    return folder


def _renamed(beads):
    import dataclasses

    return dataclasses.replace(beads, names=(*beads.names[:-1], "X"))


def simulate(folder, *arguments, out="out"):
    """Exit code, output and error of ``simulate STEPPER ...`` run in this process."""
    from click.testing import CliRunner

    from cgsurrogate.cli import group

    words = ["simulate", str(folder / "stepper"), "--start", str(folder / "frames"), "--replicas", "5", "--time", "20",
             "--every", "2", "-o", str(folder / out), "-q", *map(str, arguments)]  # fmt: skip
    return CliRunner().invoke(group, words)


@pytest.mark.parametrize("how", ["to", "time"])
def test_reweight_and_again(folder, how):
    words = {
        "to": ["--correct", f"reweight:to={folder / 'frames'}"],
        "time": ["--energy", folder / "ff", "--correct", "reweight:time=0.2", "--integrator", "baoab:timestep=0.001"],
    }[how]
    out = f"weighted-{how}"
    result = simulate(folder, *words, out=out)
    assert result.exit_code == 0, result.output
    assert "effective sample" in result.output
    frames = Frames.load(folder / out)
    assert len(frames.weights) == len(frames) and frames.provenance.correction["effective"] <= 1 + 1e-9
    assert (folder / f"{out}-force-field" / "frames.json").exists() is (how == "time")
    before = (folder / out / "weights.npy").stat().st_mtime_ns
    assert simulate(folder, *words, out=out).output == result.output
    assert (folder / out / "weights.npy").stat().st_mtime_ns == before
    # a run that ended before its weights were there gets them
    manifest = filesystem.read_json(folder / out / "frames.json")
    del manifest["arrays"]["weights"]
    filesystem.write_json(folder / out / "frames.json", manifest)
    assert simulate(folder, *words, out=out).exit_code == 0
    assert np.array_equal(Frames.load(folder / out).weights, frames.weights)


def test_a_finished_rollout_keeps_its_correction(folder):
    for words in ([], ["--correct", f"reweight:to={folder / 'frames'},states=3"]):
        shutil.rmtree(folder / "kept", ignore_errors=True)
        assert simulate(folder, *words, out="kept").exit_code == 0
        result = simulate(folder, "--correct", f"reweight:to={folder / 'frames'},states=2", out="kept")
        assert isinstance(result.exception, ValueError) and "another correction" in str(result.exception)


CASES = {
    "needs the force field that corrects: --energy": ["--correct", "reweight:time=1"],
    "needs --correct": ["--energy", "ff"],
    "other beads": ["--energy", "other", "--correct", "reweight:time=1"],
    "320 K, the stepper at 300 K": ["--energy", "warm", "--correct", "reweight:time=1"],
    "got a time-stepper": ["--energy", "stepper", "--correct", "reweight:time=1"],
    "expected --correct reweight": ["--energy", "ff", "--correct", "relax"],
    "expected a number for states": ["--correct", "reweight:to=frames,states=many"],
    "needs a sample of the target": ["--energy", "ff", "--correct", "reweight"],
    "leave --energy out": ["--energy", "ff", "--correct", "reweight:to=frames"],
    "has no option 'tries'": ["--energy", "ff", "--correct", "reweight:tries=3"],
    "has no integrator": ["--correct", "reweight:to=frames", "--integrator", "baoab"],
    "expected frames of the stepper's 12 beads": ["--correct", "reweight:to=other-frames"],
    "there is none": ["--correct", "reweight:to=nowhere"],
}


@pytest.mark.parametrize("words", CASES)
def test_what_is_wrong_is_one_clear_line_and_leaves_nothing(folder, monkeypatch, words):
    monkeypatch.chdir(folder)
    result = simulate(folder, *CASES[words], out="nothing")
    assert isinstance(result.exception, ValueError | FileNotFoundError)
    assert words in str(result.exception) and "\n" not in str(result.exception)
    assert not (folder / "nothing").exists()


def test_a_force_field_is_not_corrected(folder):
    model, frames = Model.load(folder / "ff"), Frames.load(folder / "frames")
    with pytest.raises(ValueError, match="for time-steppers"):
        workflows.make_simulation(
            model, frames, folder / "nothing", SimulationSettings(1.0, correct="reweight:time=1"), energy=model
        )


def test_a_comparison_says_which_correction_was_used(folder):
    for name, words in (("said", ["--correct", f"reweight:to={folder / 'frames'}"]), ("plain", [])):
        assert simulate(folder, *words, out=name).exit_code == 0
    rows = {name: Frames.load(folder / name) for name in ("said", "plain")}
    comparison = workflows.make_comparison(Frames.load(folder / "frames"), rows, folder / "comparison")
    (line,) = [w for w in comparison.warnings if "corrected" in w]
    assert line.startswith("said: corrected: reweighted on")
    physical = {one.name: one.timescales.physical for one in comparison.others if one.timescales}
    assert physical.get("said", False) is False
