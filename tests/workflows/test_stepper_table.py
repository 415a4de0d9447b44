"""The stepper's benchmarks: the table of a run with its baselines, and that drift is found where there is one."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from known_molecule import BEADS

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.models.model import Model
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import train_stepper

FOLDER = Path(__file__).parents[2] / "benchmarks"


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


@pytest.mark.slow
def test_the_table_has_a_row_for_every_lag_and_baseline(tmp_path, monkeypatch, capsys):
    training, held_out = flipping(5, 400, seed=1), flipping(4, 400, seed=2)
    training.save(tmp_path / "run" / "training")
    held_out.save(tmp_path / "run" / "held-out")
    stepper = registry.build("steppers", "autoregressive", BEADS, width=32, blocks=1, hidden=16, mixtures=4)
    train_stepper(stepper, training, StepperSettings(lag=20.0, steps=30, seed=1))
    Model(stepper, BEADS, 300.0).save(tmp_path / "run" / "stepper")
    words = f"x {tmp_path / 'run'} --mean-minutes 0.02 --replicas 10 --jumps 60 --lags 20 --macrostates 2"
    words += f" -o {tmp_path / 'out'}"
    monkeypatch.setattr("sys.argv", words.split())
    benchmark("stepper_table").main()
    text = capsys.readouterr().out
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|")]
    wanted = ["held-out runs", "stepper, 0.02 ns", "floor: training runs", "mean, 0.02 ns", "Markov model", "draws"]
    assert rows[2:] == wanted
    assert "Metastable states: A" in text and len(Frames.load(tmp_path / "out" / "stepper-0.02-ns")) == 600


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_drift_is_found_where_there_is_one(shift, capsys):
    drift, frames = benchmark("stepper_drift"), flipping(30, 400, shift=shift)
    drift.averages(drift.part(frames, 0, 0.1), drift.part(frames, 0.9, 1), frames)
    words = capsys.readouterr().out.split()
    largest, bound = float(words[words.index("|t|") + 1].strip(",")), float(words[words.index("bound") + 1].strip(";"))
    assert (largest > bound) == (shift > 0)
