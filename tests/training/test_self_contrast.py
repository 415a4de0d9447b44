"""Telling data from the model's own equilibrium: it finds what is missing, stops where nothing is, and continues."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from toy_energies import Exact, contract, error_of, network, toy, whole, with_forces

from cgsurrogate import workflows
from cgsurrogate.core import interrupts, registry
from cgsurrogate.simulation.monte_carlo.pivot import PivotMove
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.training.force_field import train_energy
from cgsurrogate.training.objectives import self_contrast
from cgsurrogate.training.objectives.noise_contrast import WithLogPartition
from cgsurrogate.training.objectives.self_contrast import SETTINGS, SelfContrast, drawn, energies, fine_tune, sample
from cgsurrogate.training.settings import EnergySettings, TrainingSettings

EQUAL = 2 * math.log(2)  # the loss where nothing tells data from samples


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_samples_come_to_look_like_the_data():
    frames = toy()
    kept, held = frames.split(0.25, 0) if len(frames.lengths) > 1 else (frames, frames)
    learned = network(frames.beads)
    before = error_of(learned)
    rounds = fine_tune(learned, Exact(learned), kept, held, SETTINGS.within(None, 300, rate=1e-2), rounds=3)
    assert error_of(learned) < 0.3 * before
    assert rounds[0].best["held_out"] < 0.97 * EQUAL
    assert abs(rounds[-1].best["held_out"] - EQUAL) < 0.03


def test_weights_of_a_round_turn_old_samples_into_new_ones():
    """Drawn anew by weight, samples of a flat energy follow the new energy as its own samples do."""
    learned, flat = network(toy(200).beads), network(toy(200).beads)
    x = sample(Exact(flat), drawn(toy(200), 500, generator()), generator(1), TrainingSettings(steps=40))
    loss = SelfContrast(flat, x, toy(200).kT)
    x = x.flatten(0, 1)
    with torch.no_grad():
        for p in learned.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator(2)))
    new = loss.resampled(learned, 4000, generator(3))
    own = sample(Exact(learned), x[:4000], generator(4), TrainingSettings(steps=1)).flatten(0, 1)
    mean, spread = energies(learned, own).mean(), energies(learned, own).std()
    assert abs(energies(learned, new).mean() - mean) < 5 * spread / math.sqrt(4000) * 2
    assert abs(energies(learned, x).mean() - mean) > 20 * spread / math.sqrt(4000)


def test_samples_that_were_set_aside_judge():
    learned, frames = network(toy(200).beads), toy(200)
    x = sample(Exact(learned), drawn(frames, 50, generator()), generator(1), TrainingSettings(steps=10))
    loss, module = SelfContrast(learned, x, frames.kT), WithLogPartition(learned)
    assert len(loss.pools[1]) * 4 == len(loss.pools[0])
    loss.pools[1][:], batch = math.nan, (drawn(frames, 8, generator()), torch.zeros(8))
    assert torch.isfinite(loss(module.train(), batch, generator()))
    assert torch.isnan(loss(module.eval(), batch, generator()))


def test_nothing_is_asked_of_an_energy_that_is_lost():
    class Lost(Exact):
        def step(self, state, rng):
            return super().step(state, rng)._replace(positions=torch.full_like(state.positions, math.nan))

    learned = network(toy(200).beads)
    with pytest.raises(FloatingPointError, match="left the physical range"):
        sample(Lost(learned), drawn(toy(200), 8, generator()), generator(), TrainingSettings(steps=4))
    assert fine_tune(learned, Lost(learned), toy(200), toy(200), TrainingSettings(steps=8)) == []


def test_what_is_no_better_is_not_taken():
    """Trained on frames that the held-out ones contradict, the weights stay as they were, and no round follows."""
    frames, learned = toy(), network(toy(200).beads)
    kept = dataclasses.replace(frames, positions=frames.positions[:200].repeat(2, 0), lengths=(400,))
    held = dataclasses.replace(frames, positions=frames.positions * (1, 1, -1), lengths=(len(frames),))
    before = {name: value.clone() for name, value in learned.state_dict().items()}
    rounds = fine_tune(learned, Exact(learned), kept, held, SETTINGS.within(None, 100, rate=3e-2))
    assert len(rounds) == 1 and rounds[0].best["held_out"] >= EQUAL
    for name, value in learned.state_dict().items():
        assert torch.equal(value, before[name]), name


def tune(folder=None, stop_after: int | None = None) -> dict[str, torch.Tensor]:
    """A whole training; ``stop_after`` so many rounds of sampling a signal comes."""
    frames, energy = with_forces(), whole(contract.peptide())

    def dynamics():
        inner = registry.build("integrators", "baoab", frames.beads, energy, 300.0, timestep=0.001)
        moves = HybridSampler(inner, energy, [Attempts([PivotMove(frames.beads, energy, 300.0)], 2, 1)])
        if stop_after is not None:
            step, calls = moves.step, []

            def counted(state, rng):
                calls.append(1)
                if len(calls) == stop_after:
                    interrupts.signal.raise_signal(interrupts.signal.SIGTERM)
                return step(state, rng)

            moves.step = counted
        return moves

    train_energy(energy, frames, EnergySettings(steps=12, seed=3), sampler=dynamics, folder=folder)
    return energy.state_dict()


@pytest.mark.parametrize("when", [2, 5])
def test_a_fine_tuning_that_was_stopped_goes_on_bit_for_bit(tmp_path, monkeypatch, when):
    monkeypatch.setattr(self_contrast, "REPLICAS", 12)
    monkeypatch.setattr(self_contrast, "EQUAL", math.inf)  # every round is taken, so that there are several
    unbroken = tune()
    with pytest.raises(interrupts.Stopped):
        tune(tmp_path, stop_after=when)
    again = tune(tmp_path)
    for name, value in unbroken.items():
        assert torch.equal(value, again[name]), name


def test_a_finished_force_field_is_replaced_and_not_continued(tmp_path, monkeypatch):
    monkeypatch.setattr(self_contrast, "REPLICAS", 12)
    frames, told = with_forces(), []
    for seed in (1, 2):
        model = workflows.make_energy(frames, tmp_path, EnergySettings(minutes=0.02, seed=seed))
        told.append(model.module.state_dict()["terms.5.output.weight"])
    assert "told from its own samples" in model.info["training"]["reason"]
    assert not torch.equal(*told)
    assert (tmp_path / "round-1" / "metrics.csv").exists() and not list(tmp_path.glob("*/samples.npy"))
