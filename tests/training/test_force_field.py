"""Training an energy: each objective finds a known energy, frames are drawn by weight, and the whole runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator
from toy_energies import KT, Torsion, contract, error_of, network, toy, whole, with_forces

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Sum, forces
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.training.batches import WeightedFrames
from cgsurrogate.training.force_field import train_energy
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.objectives.denoising import Denoising
from cgsurrogate.training.objectives.force_matching import ForceMatching
from cgsurrogate.training.settings import EnergySettings, TrainingSettings


@pytest.mark.parametrize("objective", ["force", "denoise"])
def test_slopes_are_learned_from_noisy_forces_or_from_noise(objective):
    frames = toy()
    x, moves = torch.from_numpy(frames.positions), TorsionMoves(frames.beads)
    noisy = forces(Torsion(), x)[1] + torch.randn(x.shape, generator=Generator().manual_seed(1)) * 30
    # noise of a tenth of a radian flattens the well by 1 / (1 + 2.5 * 0.01), two percent and a half
    loss, arrays, steps = (
        (ForceMatching(moves, x, noisy), [x, noisy], 200)
        if objective == "force"
        else (Denoising(moves, Sum(), x, KT), [x], 300)
    )
    learned = network(frames.beads)
    before, data = error_of(learned), WeightedFrames(arrays, frames.probabilities, size=64)
    fit(learned, BatchObjective(loss, data, data), TrainingSettings(steps=steps, rate=1e-2, every=100))
    assert error_of(learned) < (0.25 if objective == "force" else 0.3) * before


@pytest.mark.parametrize("objective", ["force", "denoise"])
def test_training_fits_priors_and_moves_weights(objective):
    frames, energy = with_forces(), whole(contract.peptide())
    history = train_energy(energy, frames, EnergySettings(objective=objective, steps=12, fine_tune=False))
    assert history.rows and math.isfinite(history.best["held_out"])
    value = energy(torch.from_numpy(frames.positions))
    assert torch.isfinite(value).all()
    assert energy.terms[-1](torch.from_numpy(frames.positions)).abs().max() > 0


def test_the_same_seed_gives_the_same_weights():
    states = []
    for _ in range(2):
        energy = whole(contract.peptide())
        train_energy(energy, with_forces(), EnergySettings(steps=6, seed=3, fine_tune=False))
        states.append(energy.state_dict())
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("objective", ["auto", "likelihood"])
def test_what_the_model_samples_is_learned_from(objective):
    frames, energy = with_forces(), whole(contract.peptide())
    dynamics = registry.build("integrators", "baoab", frames.beads, energy, 300.0, timestep=0.001)
    history = train_energy(energy, frames, EnergySettings(objective=objective, steps=6), sampler=lambda: dynamics)
    assert ("maximum likelihood" if objective == "likelihood" else "its own samples") in history.reason
    assert torch.isfinite(energy(torch.from_numpy(frames.positions))).all()


def test_what_does_not_suit_is_refused():
    energy, frames = whole(contract.peptide()), contract.frames(60)
    with pytest.raises(ValueError, match="forces"):
        train_energy(energy, frames, EnergySettings(objective="force", steps=1))
    with pytest.raises(ValueError, match="objective"):
        EnergySettings(objective="magic")
    with pytest.raises(ValueError, match="ten or more"):
        train_energy(energy, contract.frames(5), EnergySettings(steps=1))
    with pytest.raises(ValueError, match="needs a sampler"):
        train_energy(energy, frames, EnergySettings(steps=1))


def test_frames_are_drawn_by_their_weight():
    weights = np.array([0.0, 1.0, 3.0, 0.0])
    data = WeightedFrames([torch.arange(4.0)[:, None]], weights / weights.sum(), size=4000)
    (drawn,) = data.draw(Generator().manual_seed(0))
    share = torch.bincount(drawn[:, 0].long(), minlength=4) / 4000
    torch.testing.assert_close(share, torch.tensor([0.0, 0.25, 0.75, 0.0]), atol=0.03, rtol=0)
    assert data.check.tolist() == [1, 2, 2, 2]
