"""What is drawn does not depend on where the frames, and what is made of them, are kept."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import Generator

from cgsurrogate.core import disk_arrays, registry
from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.testing import samples
from cgsurrogate.training.batches import LaggedPairs
from cgsurrogate.training.force_field import energy_objective


@pytest.fixture
def both(tmp_path, monkeypatch):
    """Frames in memory, and the same on the disk; ``on_disk()`` has all that is made of frames on the disk as well."""
    whole = samples.frames(1200)
    forces = np.random.default_rng(0).normal(size=whole.positions.shape).astype(np.float32)
    frames = dataclasses.replace(whole, lengths=(300, 200, 400, 300), forces=forces)
    stored = Frames.load(frames.save(tmp_path / "frames"))
    return frames, stored, lambda: monkeypatch.setattr(disk_arrays, "IN_MEMORY", 0)


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_batches_of_a_force_field(both):
    frames, stored, on_disk = both
    priors = Sum(*(registry.build("priors", name, frames.beads) for name in ("bonds", "angles", "repulsion")))
    for term in priors.terms:
        term.fit(frames)
    made = [energy_objective("force", priors, *frames.split(0.3), 0)]
    on_disk()
    made.append(energy_objective("force", priors, *stored.split(0.3), 0))
    for seed in range(3):
        assert same(*(one.draw(Generator().manual_seed(seed)) for one in made))
    assert all(same(a, b) for a, b in zip(*(one.held_out() for one in made), strict=True))


@pytest.mark.parametrize("history", [1, 4])
@pytest.mark.parametrize("reversible", [True, False])
def test_lagged_pairs(both, history, reversible):
    frames, stored, on_disk = both
    stepper = registry.build("steppers", "autoregressive", frames.beads)
    stepper.calibrate(frames.split(0.3)[0])
    made = [LaggedPairs(stepper, frames.split(0.3)[0], (2.0, 40.0), reversible=reversible, history=history)]
    on_disk()
    made.append(LaggedPairs(stepper, stored.split(0.3)[0], (2.0, 40.0), reversible=reversible, history=history))
    assert same(*(one.draw(Generator().manual_seed(1)) for one in made))


def test_pairs_never_cross_runs_and_lie_a_lag_apart(both):
    frames = both[0]
    stepper = registry.build("steppers", "autoregressive", frames.beads)
    stepper.calibrate(frames)
    pairs = LaggedPairs(stepper, frames, (2.0, 40.0))
    pairs.codes = torch.arange(len(frames), dtype=torch.float32)[:, None]  # each frame is its own number
    now, later, lag = pairs.draw(Generator().manual_seed(0))
    run = np.repeat(np.arange(4), frames.lengths)
    assert np.array_equal(run[now.long()], run[later.long()])
    assert torch.equal((later - now).abs()[:, 0], lag / frames.dt) and (later < now).any() and (later > now).any()


def test_weighted_pairs_begin_by_weight_and_are_used_in_both_directions(both):
    frames = both[0]
    stepper = registry.build("steppers", "autoregressive", frames.beads)
    stepper.calibrate(frames)
    weights = np.zeros(len(frames))
    weights[[3, 5]] = 1.0, 3.0
    pairs = LaggedPairs(stepper, frames, (2.0, 10.0), batch=4000, weights=weights)
    pairs.codes = torch.arange(len(frames), dtype=torch.float32)[:, None]
    now, later, _ = pairs.draw(Generator().manual_seed(0))
    earlier, back = torch.minimum(now, later)[:, 0], (later < now)[:, 0]
    assert set(earlier.tolist()) == {3.0, 5.0}
    assert abs((earlier == 5).double().mean() - 0.75) < 0.03 and abs(back.double().mean() - 0.5) < 0.03
