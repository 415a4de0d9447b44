"""The training loop: keeps the best, keeps to its budget, and continues bit for bit."""

import math
import os
import signal
import time

import pytest
import torch

from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.settings import MINUTES, TrainingSettings
from cgsurrogate.training.state import overfitting


class Parabola:
    """y = |x|^2 with noise."""

    def __init__(self, count, seed):
        rng = torch.Generator().manual_seed(seed)
        self.x = torch.randn(count, 3, generator=rng)
        self.y = self.x.square().sum(1, keepdim=True) + 0.1 * torch.randn(count, 1, generator=rng)

    def chosen(self, rng):
        return torch.randint(len(self.x), (64,), generator=rng)

    def draw(self, rng):
        chosen = self.chosen(rng)
        return self.x[chosen], self.y[chosen]

    def fixed(self):
        return [(self.x, self.y)]

    def names(self, rng):
        return [f"point {k}" for k in self.chosen(rng).tolist()]

    def fixed_names(self):
        return [[f"point {k}" for k in range(len(self.x))]]


def squared_error(module, batch, rng):
    return (module(batch[0]) - batch[1]).square().mean()


def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, 32), torch.nn.SiLU(), torch.nn.Linear(32, 1))


def train(module, loss=squared_error, folder=None, **settings):
    objective = BatchObjective(loss, Parabola(500, 0), Parabola(200, 1))
    return fit(module, objective, TrainingSettings(**{"seed": 5, "every": 20, **settings}), folder=folder)


def test_training_reaches_the_noise_and_keeps_the_best():
    module = network()
    history = train(module, steps=1200, rate=5e-3)
    assert history.best["held_out"] == min(row["held_out"] for row in history.rows)
    assert history.best["held_out"] < 0.3 < history.rows[0]["held_out"]  # the noise alone gives 0.01, no fit 6
    data = Parabola(200, 1)
    now = float(squared_error(module, (data.x, data.y), None).detach())
    assert math.isclose(now, history.best["held_out"], rel_tol=1e-5)


def rows(held_out, train):
    return [
        {"step": 100 * k, "train": float(t), "held_out": float(h)}
        for k, (h, t) in enumerate(zip(held_out, train, strict=True))
    ]


@pytest.mark.parametrize(
    ("held_out", "train", "said"),
    [
        ([9, 5, 4, 6, 7], [9, 5, 3, 2, 1], True),
        ([4, 5, 6, 7, 9], [9, 5, 3, 2, 1], True),  # from the beginning
        ([9, 5, 4, 4.2, 4.4], [9, 5, 3, 2, 1], False),  # a plateau
        ([9, 7, 5, 4, 3], [9, 5, 3, 2, 1], False),
        ([9, 5, 4, 6, 7], [9, 5, 3, 6, 7], False),  # both rise: that is no overfitting
        ([9, 5, 4, math.nan, math.nan], [9, 5, 3, 2, 1], False),
        ([9], [9], False),
    ],
)
def test_overfitting_is_a_held_out_loss_that_rises_while_the_other_falls(held_out, train, said):
    table = rows(held_out, train)
    best = min((row for row in table if row["held_out"] == row["held_out"]), key=lambda row: row["held_out"])
    found = overfitting(table, best)
    assert len(found) == said and all(f"the weights of step {best['step']} are kept" in line for line in found)
    assert overfitting([{"step": 1, "train": 2.0}, {"step": 2, "train": 1.0}], {"step": 1, "train": 2.0}) == ()


def test_few_data_and_a_large_network_overfit_and_say_so():
    few, other = Parabola(12, 0), Parabola(200, 1)
    few.draw = lambda rng: (few.x, few.y)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        large = torch.nn.Sequential(torch.nn.Linear(3, 200), torch.nn.Tanh(), torch.nn.Linear(200, 1))
    objective = BatchObjective(squared_error, few, other)
    history = fit(large, objective, TrainingSettings(seed=5, every=25, steps=600, rate=3e-2, patience=100))
    assert any(line.startswith("overfitting: ") for line in history.notes), history.rows
    assert train(network(), steps=200, rate=5e-3).notes == ()


def test_a_stopped_training_continues_bit_for_bit(tmp_path):
    whole, parts = network(), network()
    unbroken = train(whole, steps=80, folder=tmp_path / "whole")

    calls = {"n": 0}

    def interrupt_once(module, batch, rng):
        calls["n"] += 1
        if calls["n"] == 37:
            os.kill(os.getpid(), signal.SIGTERM)
        return squared_error(module, batch, rng)

    with pytest.raises(Stopped, match="continues"):
        train(parts, interrupt_once, steps=80, folder=tmp_path / "p")
    parts = network()
    history = train(parts, steps=80, folder=tmp_path / "p")
    assert len(history.rows) == 4
    assert [row["train"] for row in history.rows] == [row["train"] for row in unbroken.rows]
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)
    assert (tmp_path / "p" / "metrics.csv").read_text().count("\n") == 5


def test_a_budget_of_minutes_is_kept():
    history = train(network(), minutes=2 / 60, every=5)
    assert history.rows[-1]["seconds"] > 1.9
    assert history.reason == "budget used"


def test_early_stopping_on_held_out_data():
    began = time.monotonic()
    history = train(network(), minutes=5.0, steps=100_000, patience=2, rate=1e-9, every=5)
    assert "no better" in history.reason
    assert len(history.rows) < 2000 and time.monotonic() - began < 300


def test_a_bad_batch_is_skipped_and_many_end_the_training():
    count = {"n": 0}

    def sometimes(module, batch, rng):
        count["n"] += 1
        value = squared_error(module, batch, rng)
        return value * float("nan") if count["n"] in (3, 7) else value

    module = network()
    train(module, sometimes, steps=40)
    assert all(torch.isfinite(p).all() for p in module.parameters())
    with pytest.raises(FloatingPointError, match="not finite"):
        train(network(), lambda m, b, r: squared_error(m, b, r) * float("nan"), steps=40)


def test_a_budget_is_positive_and_has_a_default():
    assert TrainingSettings().minutes == MINUTES and TrainingSettings(steps=1).minutes is None
    with pytest.raises(ValueError, match="budget"):
        TrainingSettings(steps=0)
    parts = TrainingSettings(minutes=4.0, steps=10).split(0.3)
    assert [(part.minutes, part.steps) for part in parts] == [(pytest.approx(1.2), 3), (pytest.approx(2.8), 7)]
