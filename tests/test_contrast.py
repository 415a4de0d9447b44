"""Noise contrast: the noise has a known density and the bonds of data; telling it apart finds what couples angles."""

import energy_contract as contract
import numpy as np
import pytest
import torch

from cgsurrogate import choose
from cgsurrogate.energy import Energy, Sum
from cgsurrogate.frames import Frames
from cgsurrogate.training import contrast
from cgsurrogate.training.energy import Sampled
from cgsurrogate.training.loop import fit
from cgsurrogate.training.moves import Moves

COUPLING = 1.5  # kT


def coupled_frames(count: int, seed: int, coupling: float = COUPLING) -> Frames:
    """Chains of five beads; two dihedrals have the density exp(coupling cos(a - b)), angles are independent."""
    rng = np.random.default_rng(seed)
    beads = contract.chain_beads(5)
    base = torch.tensor([[0.0, 0, 0], [0.38, 0, 0], [0.5, 0.36, 0], [0.85, 0.4, 0.15], [0.95, 0.7, 0.35]])[None]
    first = rng.uniform(-np.pi, np.pi, count)
    second = first + rng.vonmises(0, coupling, count)
    wanted = np.column_stack([first, second, rng.normal(1.9, 0.1, (count, 3))])
    return Frames(beads, turned(Moves(beads), base.repeat(count, 1, 1), wanted).numpy(), (count,), 1.0, 300.0)


def turned(moves: Moves, x: torch.Tensor, wanted: np.ndarray) -> torch.Tensor:
    """The chains (B, N, 3) turned to dihedrals and angles (B, 5)."""
    return moves.placed(x, torch.from_numpy(wanted).float())


def fitted_priors(frames: Frames) -> Sum:
    priors = Sum(*(choose.build("priors", name, frames.beads) for name in ("angles", "dihedrals")))
    for prior in priors.terms:
        prior.fit(frames)
    return priors


def test_the_noise_has_the_values_that_were_drawn_and_the_bonds_of_frames(peptide_frames):
    moves = Moves(peptide_frames.beads)
    values = moves.values(torch.from_numpy(peptide_frames.positions))
    drawn = values[torch.randint(len(values), (30, len(moves)), generator=torch.Generator().manual_seed(0)).T[0]]

    class Fixed:
        @staticmethod
        def draw(count, rng):
            return drawn

    noise = contrast.made(moves, peptide_frames, Fixed(), 30, torch.Generator().manual_seed(0))
    away = torch.remainder(moves.values(noise) - drawn + np.pi, 2 * np.pi) - np.pi
    assert float(away.abs().max()) < 1e-3
    bonds = np.array(peptide_frames.beads.bonds)
    lengths = [np.linalg.norm(x[:, bonds[:, 1]] - x[:, bonds[:, 0]], axis=2)
               for x in (noise.numpy(), peptide_frames.positions)]  # fmt: skip
    assert np.abs(lengths[0][:, None] - lengths[1][None]).max(2).min(1).max() < 1e-5


def test_the_priors_alone_are_normalised_and_right_for_data_that_they_describe():
    """Chains whose coordinates are independent: priors and noise have one density, so nothing is left to learn."""
    frames = coupled_frames(3000, 1, coupling=0.0)
    priors = fitted_priors(frames)
    loss = contrast.Contrast(Moves(frames.beads), priors, frames, torch.Generator().manual_seed(0), pool=3000)
    assert float(loss.noise_known.exp().mean()) == pytest.approx(1, abs=1e-4)
    known = loss.known(torch.from_numpy(frames.positions))
    assert abs(float(known.mean())) < 0.05
    assert float(known.std()) < 0.25


def test_priors_of_what_data_and_noise_share_take_no_part(peptide_frames):
    moves = Moves(peptide_frames.beads)
    built = {name: choose.build("priors", name, peptide_frames.beads) for name in choose.kinds("priors")}
    taken = {name for name, prior in built.items() if contrast._turned(prior, moves)}
    assert taken == {"angles", "dihedrals", "repulsion"}


@pytest.mark.parametrize("kind", choose.kinds("networks"))
def test_contrast_finds_the_coupling(kind):
    frames, held = coupled_frames(6000, 3), coupled_frames(1000, 4)
    torch.manual_seed(0)
    network = Sum(choose.build("networks", kind, frames.beads, width=16))
    priors = fitted_priors(frames)
    moves = Moves(frames.beads)
    loss = contrast.Contrast(moves, priors, frames, torch.Generator().manual_seed(0), pool=6000)
    batches = [Sampled([torch.from_numpy(f.positions)], f.probabilities) for f in (frames, held)]
    fit(contrast.Levelled(network), loss, *batches, steps=400, rate=5e-3, every=100)
    wanted = np.column_stack([np.random.default_rng(0).uniform(-np.pi, np.pi, (1000, 2)), np.full((1000, 3), 1.9)])
    learned = (network(x := turned(moves, torch.from_numpy(frames.positions[:1000]), wanted)) + priors(x)).detach()
    truth = torch.from_numpy(-COUPLING * frames.kT * np.cos(wanted[:, 0] - wanted[:, 1])).float()
    assert float(torch.corrcoef(torch.stack((truth, learned)))[0, 1]) > 0.9
    assert float(learned.std() / truth.std()) == pytest.approx(1, abs=0.25)


class Trap(Energy):
    """A deep well where the two dihedrals of a chain are opposite, which no data ask for."""

    def __init__(self, moves: Moves, depth: float):
        super().__init__()
        self.moves, self.depth = moves, depth

    def forward(self, positions):
        values = self.moves.values(positions)
        return -self.depth * (-4 * (1 + (values[:, 0] - values[:, 1]).cos())).exp()


def test_renewed_noise_goes_where_the_energy_is_low_and_its_density_is_known():
    frames = coupled_frames(3000, 5)
    moves = Moves(frames.beads)
    loss = contrast.Contrast(moves, fitted_priors(frames), frames, torch.Generator().manual_seed(0), pool=6000)

    def trapped() -> float:
        angles = moves.values(loss.noise)
        return float(((angles[:, 0] - angles[:, 1]).cos() < -0.8).double().mean())

    before, density = trapped(), loss.density
    loss.renewed(contrast.Levelled(Trap(moves, 6 * frames.kT)), torch.Generator().manual_seed(1))
    assert trapped() > 1.5 * before
    ratio = (density.log_density(moves.values(loss.noise)) - loss.density.log_density(moves.values(loss.noise))).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / 6000**0.5 + 0.02)


def test_weights_are_flattened_no_more_than_it_takes():
    even = torch.zeros(1000, dtype=torch.float64)
    assert torch.allclose(contrast._flattened(even, 300), even + 1e-3)
    uneven = torch.linspace(0, 200, 1000, dtype=torch.float64)
    weights = contrast._flattened(uneven, 300)
    assert 299 < float(1 / weights.square().sum()) < 330
    assert (weights.diff() >= 0).all()
