"""Batches that are not finite are skipped, and the frames at fault are named: for every objective of both trainings."""

from __future__ import annotations

import dataclasses
import math
import re

import numpy as np
import pytest
import torch
from torch import nn
from toy_energies import Exact, network, toy, whole, with_forces

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Prior, Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.testing import samples
from cgsurrogate.training import lightning_task
from cgsurrogate.training.batches import LaggedPairs, SeveralMolecules
from cgsurrogate.training.force_field import energy_objective
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives import self_contrast
from cgsurrogate.training.objectives._base import BatchObjective, Objective
from cgsurrogate.training.objectives.maximum_likelihood import MaximumLikelihood
from cgsurrogate.training.objectives.noise_contrast import WithLogPartition
from cgsurrogate.training.settings import TrainingSettings
from cgsurrogate.training.stepper import molecule_loss, pair_loss

BAD = 7  # the frame of the training part


def local(objective: str) -> tuple[nn.Module, Objective, Frames]:
    frames = dataclasses.replace(with_forces(1200), lengths=(300, 500, 400))
    kept, held = frames.split(0.25, 0)
    energy = whole(frames.beads)
    priors = [term for term in energy.terms if isinstance(term, Prior)]
    for prior in priors:
        prior.fit(kept)
    made = energy_objective(objective, Sum(*priors), kept, held, 0)
    made.train.arrays = tuple(np.array(array) for array in made.train.arrays)
    made.train.arrays[-1][BAD] = np.nan  # where there are forces, what is left of them, which only some steps see
    return WithLogPartition(Sum(energy.terms[-1])), made, kept


def contrast() -> tuple[nn.Module, Objective, Frames]:
    frames = dataclasses.replace(toy(1200), lengths=(300, 500, 400))
    kept, held = frames.split(0.25, 0)
    learned = network(frames.beads)
    x = torch.from_numpy(np.array(kept.positions[:400])).view(8, 50, 4, 3)
    parts = [self_contrast._batches(learned, part) for part in (kept, held)]
    parts[0].arrays[1][BAD] = np.nan
    return WithLogPartition(learned), BatchObjective(self_contrast.SelfContrast(learned, x, kept.kT), *parts), kept


def likelihood() -> tuple[nn.Module, Objective, Frames]:
    frames = dataclasses.replace(toy(3000), lengths=(1000, 2000))
    kept = frames.take_runs([1])
    learned = network(frames.beads)
    made = MaximumLikelihood(Exact(learned), kept)
    kept.positions[BAD, 0] = np.nan
    return learned, made, kept


def jumps(several: bool) -> tuple[nn.Module, Objective, Frames]:
    frames = dataclasses.replace(samples.frames(4000), lengths=(2000, 2000), dt=2.0)
    torch.manual_seed(0)
    kind = "graph" if several else "autoregressive"
    stepper = registry.build("steppers", kind, frames.beads, lag=4.0)
    kept, held = frames.split(0.3, 0)
    stepper.calibrate(kept)
    train, check = (LaggedPairs(stepper, part, batch=40, batches=2) for part in (kept, held))
    train.codes = train.codes.clone()
    train.codes[BAD] = torch.nan
    if not several:
        return stepper, BatchObjective(pair_loss, train, check), kept
    return (
        nn.ModuleList([stepper]),
        BatchObjective(molecule_loss, *(SeveralMolecules([p]) for p in (train, check))),
        kept,
    )


TRAININGS = {
    "force": lambda: local("force"),
    "denoise": lambda: local("denoise"),
    "contrast": contrast,
    "likelihood": likelihood,
    "stepper": lambda: jumps(False),
    "several": lambda: jumps(True),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_frame_that_is_not_finite_is_named_by_its_run_and_skipped(name):
    """By its numbers in the frames of which the training part was taken."""
    module, objective, kept = TRAININGS[name]()
    (run, first), *_ = kept.origins
    told: list[str] = []
    steps = 150 if name == "force" else 40
    settings = TrainingSettings(steps=steps, every=50, seed=1)
    history = fit(module, objective, settings, report=lambda _, text: told.append(text))
    assert all(torch.isfinite(weight).all() for weight in module.parameters())
    assert history.best["step"] > 0 and all(math.isfinite(row["train"]) for row in history.rows)
    (note,) = [words for words in history.notes if "skipped" in words]
    named = f"frame {first + BAD} of run {run}"
    assert named in note and "counted from 0" in note
    skipped = [text for text in told if text.startswith("skipped")]
    assert skipped and all(named in text for text in skipped)
    if name not in ("stepper", "several"):  # there it is one of a pair
        assert note.count("frame") == 1


class Ramp:
    """Numbers, of which those of ``bad`` frames are not finite."""

    def __init__(self, bad: tuple[int, ...] = (), count: int = 40):
        self.x, self.batch = torch.linspace(0, 1, count)[:, None], 10
        self.x[list(bad)] = torch.nan

    def index(self, rng):
        return torch.randint(len(self.x), (self.batch,), generator=rng)

    def draw(self, rng):
        return (self.x[self.index(rng)],)

    def fixed(self):
        return [(part,) for part in self.x.split(self.batch)]

    def names(self, rng):
        return [f"frame {k}" for k in self.index(rng).tolist()]

    def fixed_names(self):
        return [[f"frame {k}" for k in part.tolist()] for part in torch.arange(len(self.x)).split(self.batch)]


def line(module, batch, rng):
    return (module(batch[0]) - batch[0]).square().mean()


def ramp(train: Ramp, check: Ramp | None = None, loss=line, **settings):
    module = nn.Linear(1, 1)
    return fit(module, BatchObjective(loss, train, check or Ramp()), TrainingSettings(**{"steps": 50, **settings}))


def test_a_large_share_ends_the_training_in_one_line():
    with pytest.raises(
        FloatingPointError, match=r"in 11 of \d+ batches, because of frame \d+, .*; leave these out"
    ) as e:
        ramp(Ramp((3, 30)))
    words = str(e.value)
    assert "\n" not in words and set(re.findall(r"frame (\d+)", words)) == {"3", "30"}
    with pytest.raises(FloatingPointError, match="in 11 of 11 batches; lower the learning rate"):
        ramp(Ramp(), loss=lambda module, batch, rng: line(module, batch, rng) * torch.nan)


def test_a_small_share_does_not_however_long_it_takes():
    history = ramp(Ramp((3,), count=2000), steps=600)
    (note,) = history.notes
    assert int(note.split()[0]) > 0 and "because of frame 3 (counted from 0)" in note


def test_slopes_that_are_not_finite_change_nothing(monkeypatch):
    """The loss is finite there: neither weights nor the state of the optimizer move, and it is no step."""

    def steep(module, batch, rng):
        loss = line(module, batch, rng)
        return loss + (0 * module.weight.sum()).sqrt() if (batch[0] == 0).any() else loss  # 0 x infinity

    seen = []
    whole = lightning_task.Task.on_train_batch_end

    def look(self, *arguments):
        weights = [weight.detach().clone() for weight in self.module.parameters()]
        moments = [entry["exp_avg"].clone() for entry in self.trainer.optimizers[0].state.values()]
        seen.append((self.skipped, self.state.progress.step, weights, moments))
        return whole(self, *arguments)

    monkeypatch.setattr(lightning_task.Task, "on_train_batch_end", look)
    history = ramp(Ramp(count=200), loss=steep, steps=60, seed=3)
    assert "frame 0 (counted from 0)" in history.notes[-1]
    skipped = [k for k, entry in enumerate(seen) if entry[0] and k]
    assert skipped
    for k in skipped:
        for before, after in zip(seen[k - 1][2] + seen[k - 1][3], seen[k][2] + seen[k][3], strict=True):
            assert torch.equal(before, after)
    assert len(seen) == 60 + sum(entry[0] for entry in seen)


def test_a_held_out_frame_that_is_not_finite_is_named_at_the_first_validation():
    with pytest.raises(FloatingPointError, match=r"validation loss is not finite, because of frame 12 \(counted"):
        ramp(Ramp(), Ramp((12,)), steps=10_000, every=5)
