"""The stepper's benchmarks: the table of a run with its baselines, and that drift is found where there is one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.models.model import Model
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import train_stepper

FOLDER = Path(__file__).parents[2] / "benchmarks"
BEADS = Beads(
    names=("X",) * 5,
    types=(0,) * 5,
    masses=(12.0,) * 5,
    residues=tuple(range(5)),
    residue_names=("UNK",) * 5,
    bonds=((0, 1), (1, 2), (2, 3), (3, 4)),
)


def benchmark(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def flipping(runs=6, length=1000, seed=0, shift=0.0):
    """Two torsions; one flips between two wells, P(flip) = 0.02 and 0.01 a frame. ``shift`` moves it over a run."""
    rng, count, state, states = np.random.default_rng(seed), runs * length, 0, []
    for chance in rng.random(count):
        state = 1 - state if chance < (0.02, 0.01)[state] else state
        states.append(state)
    torsion = np.array([-1.2, 2.0])[states] + rng.normal(0, 0.3, count)
    torsion += shift * np.tile(np.linspace(0, 1, length), runs)
    dihedrals = np.stack([torsion, rng.normal(1.0, 0.3, count)], 1)
    bond, angle = rng.normal(0.35, 0.005, (count, 4)), rng.normal(1.9, 0.05, (count, 3))
    positions = ZMatrix(BEADS).to_positions(*(torch.tensor(part) for part in (bond, angle, dihedrals))).numpy()
    return Frames(BEADS, positions.astype(np.float32), (length,) * runs, dt=2.0, temperature=300.0)


@pytest.fixture(scope="module")
def mean():
    frames = flipping()
    stepper = registry.build("steppers", str(FOLDER / "mean_stepper.py"), frames.beads, width=32, blocks=1, memory=8)
    train_stepper(stepper, frames, StepperSettings(lag=20.0, steps=200, seed=1))
    return stepper, frames


def test_the_mean_comes_to_a_stop(mean):
    """Whatever the seed, a rollout ends in a fixed point near where it began; the frames move between two wells."""
    stepper, frames = mean
    ends = []
    for seed in (0, 1):
        rng = torch.Generator().manual_seed(seed)
        state = stepper.start(torch.as_tensor(frames.positions[::60].copy()), rng)
        for _ in range(100):
            state = stepper.step(state, rng)
        ends += [state.positions, stepper.step(state, rng).positions]
    assert torch.equal(ends[0], ends[2])
    last, after = (ZMatrix(BEADS).to_internal(x)[2] for x in ends[:2])
    assert (after - last).abs().max() < 1e-3


def test_one_step_of_the_mean_is_better_than_none(mean):
    """It is no straw man: it predicts better than the mean of all frames does."""
    stepper, frames = mean
    code = stepper.encode(torch.as_tensor(frames.positions.copy()))
    now, later = code[:900], code[10:910]
    lag = torch.full((len(now),), 20.0)
    with torch.no_grad():
        found = stepper.draw(now, lag, torch.Generator(), stepper.remember(None, now, lag))[:, : stepper.count]
    error = 1 - (found - later[:, : stepper.count]).cos().mean()
    angles = code[:, : stepper.count]
    fixed = torch.atan2(angles.sin().mean(0), angles.cos().mean(0))
    assert error < 1 - (fixed - later[:, : stepper.count]).cos().mean()


def test_the_mean_has_no_density(mean):
    stepper, frames = mean
    code = stepper.encode(torch.as_tensor(frames.positions[:2].copy()))
    with pytest.raises(ValueError, match="no density"):
        stepper.log_density(code, code, torch.full((2,), 20.0))


@pytest.mark.slow
def test_the_table_has_a_row_for_every_lag_and_baseline(tmp_path, monkeypatch, capsys):
    training, held_out = flipping(5, 400, seed=1), flipping(4, 400, seed=2)
    training.save(tmp_path / "run" / "training")
    held_out.save(tmp_path / "run" / "held-out")
    stepper = registry.build("steppers", "autoregressive", BEADS, width=32, blocks=1, hidden=16, mixtures=4)
    train_stepper(stepper, training, StepperSettings(lag=20.0, steps=30, seed=1))
    Model(stepper, BEADS, 300.0).save(tmp_path / "run" / "stepper")
    words = f"x {tmp_path / 'run'} --mean-minutes 0 --replicas 10 --jumps 60 --lags 20 --macrostates 2"
    words += f" -o {tmp_path / 'out'}"
    monkeypatch.setattr("sys.argv", words.split())
    benchmark("stepper_table").main()
    text = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    assert rows[2:] == ["held-out runs", "stepper, 0.02 ns", "floor: training runs", "Markov model", "draws"]
    assert "Metastable states: A" in text and len(Frames.load(tmp_path / "out" / "stepper-0.02-ns")) == 600


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_drift_is_found_where_there_is_one(shift, capsys):
    drift, frames = benchmark("stepper_drift"), flipping(30, 400, shift=shift)
    drift.averages(drift.part(frames, 0, 0.1), drift.part(frames, 0.9, 1), frames)
    words = capsys.readouterr().out.split()
    largest, bound = float(words[words.index("|t|") + 1].strip(",")), float(words[words.index("bound") + 1].strip(";"))
    assert (largest > bound) == (shift > 0)
