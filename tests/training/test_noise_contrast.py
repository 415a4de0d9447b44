"""Noise contrast: the noise keeps every coordinate's own distribution, and telling it apart finds what couples them."""

import energy_contract as contract
import numpy as np
import pytest
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.training.batches import WeightedFrames
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives import noise_contrast
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.objectives.noise_contrast import best_log_partition, contrast_loss
from cgsurrogate.training.settings import TrainingSettings

COUPLING = 1.5  # kT


def coupled_frames(count: int, seed: int) -> Frames:
    """Chains of five beads whose two dihedrals a, b have the density exp(COUPLING cos(a - b)); all else is fixed."""
    rng = np.random.default_rng(seed)
    beads = contract.chain_beads(5)
    base = torch.tensor([[0.0, 0, 0], [0.38, 0, 0], [0.5, 0.36, 0], [0.85, 0.4, 0.15], [0.95, 0.7, 0.35]])[None]
    moves = TorsionMoves(beads)
    first = rng.uniform(-np.pi, np.pi, count)
    second = first + rng.vonmises(0, COUPLING, count)
    wanted = torch.from_numpy(np.stack([first, second], 1)).float()
    now = moves.values(base)
    amounts = torch.zeros(count, len(moves))
    amounts[:, : moves.turns] = wanted - now[:, : moves.turns]
    x = moves.turn(base.repeat(count, 1, 1), moves.signs * amounts)
    return Frames(beads, x.numpy(), (count,), 1.0, 300.0)


def dihedrals(moves: TorsionMoves, x: torch.Tensor) -> torch.Tensor:
    return moves.values(x)[:, : moves.turns]


def test_the_noise_takes_every_coordinate_from_some_frame(peptide_frames):
    moves = TorsionMoves(peptide_frames.beads)
    noise = noise_contrast.noise_frames(moves, peptide_frames, 50, torch.Generator().manual_seed(0))
    made = moves.values(noise)
    there = moves.values(torch.from_numpy(peptide_frames.positions))
    gap = torch.remainder(made[:, None] - there[None] + np.pi, 2 * np.pi) - np.pi
    assert float(gap.abs().amin(1).max()) < 1e-3


def test_the_noise_has_the_marginals_but_not_the_coupling():
    frames = coupled_frames(4000, 1)
    moves = TorsionMoves(frames.beads)
    data = dihedrals(moves, torch.from_numpy(frames.positions))
    noise = dihedrals(moves, noise_contrast.noise_frames(moves, frames, 4000, torch.Generator().manual_seed(0)))
    bessel = 0.5967  # I1(1.5) / I0(1.5)
    assert float((data[:, 0] - data[:, 1]).cos().mean()) == pytest.approx(bessel, abs=0.05)
    assert abs(float((noise[:, 0] - noise[:, 1]).cos().mean())) < 0.06


def test_weights_are_respected():
    frames = coupled_frames(2000, 2)
    moves = TorsionMoves(frames.beads)
    first = dihedrals(moves, torch.from_numpy(frames.positions))[:, 0]
    weighted = Frames(frames.beads, frames.positions, frames.lengths, 1.0, 300.0, weights=(first > 0).double().numpy())
    noise = dihedrals(moves, noise_contrast.noise_frames(moves, weighted, 500, torch.Generator().manual_seed(0)))
    assert float(noise[:, 0].min()) > -1e-3


@pytest.mark.parametrize("kind", registry.kinds("networks"))
def test_contrast_finds_the_coupling(kind):
    frames, held = coupled_frames(6000, 3), coupled_frames(1000, 4)
    torch.manual_seed(0)
    network = Sum(registry.build("networks", kind, frames.beads, width=16))
    moves = TorsionMoves(frames.beads)
    loss = noise_contrast.NoiseContrast(moves, Sum(), frames, torch.Generator().manual_seed(0), pool=6000)
    batches = [WeightedFrames([torch.from_numpy(f.positions)], f.probabilities) for f in (frames, held)]
    settings = TrainingSettings(steps=400, rate=5e-3, every=100)
    fit(noise_contrast.WithLogPartition(network), BatchObjective(loss, *batches), settings)
    x = noise_contrast.noise_frames(moves, frames, 1000, torch.Generator().manual_seed(1))
    angles = dihedrals(moves, x)
    truth = -COUPLING * (angles[:, 0] - angles[:, 1]).cos()
    learned = network(x).detach() / frames.kT
    assert float(torch.corrcoef(torch.stack((truth, learned)))[0, 1]) > 0.9
    assert float(learned.std() / truth.std()) == pytest.approx(1, abs=0.25)


def test_noise_that_judges_is_never_learned_from():
    frames, seen = coupled_frames(200, 5), []

    class Looks(Energy):
        def forward(self, positions):
            seen.append({tuple(x.flatten().tolist()) for x in positions})
            return positions.sum((1, 2))

    loss = noise_contrast.NoiseContrast(
        TorsionMoves(frames.beads), Sum(), frames, torch.Generator().manual_seed(0), pool=50
    )
    module, rng, batch = (
        noise_contrast.WithLogPartition(Looks()),
        torch.Generator().manual_seed(1),
        torch.from_numpy(frames.positions),
    )
    for training in (True, False):
        loss(module.train(training), (batch,), rng)
    data = {tuple(x.flatten().tolist()) for x in batch}
    learned, judged = (part - data for part in seen)
    assert len(learned) > len(judged) > 0 and not learned & judged


def test_there_is_more_noise_where_it_costs_little():
    small, large = coupled_frames(100, 6), coupled_frames(30_000, 6)
    assert noise_contrast.pool_size(small) < noise_contrast.pool_size(large) <= noise_contrast.POOL
    assert noise_contrast.pool_size(large) > 2 * len(large)


def test_the_best_partition_is_where_the_slope_is_zero():
    rng = torch.Generator().manual_seed(0)
    real, made = 40 + torch.randn(500, generator=rng), 38 + torch.randn(800, generator=rng)
    loss, at = best_log_partition(real, made)
    for other in (-0.1, 0.1):
        assert contrast_loss(real - at - other, made - at - other) > loss
