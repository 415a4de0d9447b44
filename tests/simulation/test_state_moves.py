"""Independence moves between states of frames: what they leave alone, and training with them."""

import numpy as np
import pytest
import torch
from known_molecule import BEADS, KELVIN, KT, exact, known
from wells import Still, generator

from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives.maximum_likelihood import SETTINGS, MaximumLikelihood


def of_values(wanted: np.ndarray) -> Frames:
    """With these dihedrals and angles (T, 5) radian, in two runs."""
    x = TorsionMoves(BEADS).placed(exact(1).float().repeat(len(wanted), 1, 1), torch.from_numpy(wanted).float())
    return Frames(BEADS, x.numpy(), (len(x) // 2,) * 2, 1.0, KELVIN)


def sampler_of(energy: Energy, attempts: int, data: Frames | None = None) -> HybridSampler:
    data = data or Frames(BEADS, exact(1000).float().numpy(), (500, 500), 1.0, KELVIN)
    return HybridSampler(Still(), energy, [Attempts([IndependenceMove(data)], attempts, 1)])


def test_bonds_are_left_alone():
    sampler, rng = sampler_of(known(), 2).double(), generator()
    state = sampler.start(exact(50), rng)
    later = sampler.step(state, rng)
    moved = (later.positions - state.positions).abs().amax((1, 2)) > 1e-3
    assert 0.1 < float(moved.double().mean()) <= 1
    lengths = [(x[:, 1:] - x[:, :-1]).norm(dim=2) for x in (state.positions, later.positions)]
    torch.testing.assert_close(*lengths, atol=1e-5, rtol=0)


def test_from_where_the_noise_never_goes_no_move_begins():
    bent = of_values(np.tile([0.0, 0.0, 0.4, 1.9, 1.9], (20, 1)))
    sampler = sampler_of(known(), 2).double()
    state = sampler.start(torch.from_numpy(bent.positions).double(), generator())
    assert torch.equal(sampler.step(state, generator(1)).positions, state.positions)


class Tilt(Energy):
    """U = -h kT cos(a), a the first dihedral; the density of a has I1(h) / I0(h) as its mean cosine."""

    def __init__(self):
        super().__init__()
        self.strength, self.moves = torch.nn.Parameter(torch.zeros(())), TorsionMoves(BEADS)

    def forward(self, positions):
        return -KT * self.strength * self.moves.values(positions)[:, 0].cos()


def test_maximum_likelihood_with_independence_moves_finds_the_strength_behind_the_data():
    rng = np.random.default_rng(3)
    wanted = np.column_stack([rng.vonmises(0, 2.0, 4000), rng.uniform(-np.pi, np.pi, 4000), np.full((4000, 3), 1.9)])
    wanted[:, 2:] += rng.normal(0, 0.1, (4000, 3))
    data, tilt = of_values(wanted), Tilt()
    dynamics = sampler_of(Sum(tilt), 1, data)
    fit(tilt, MaximumLikelihood(dynamics, data), SETTINGS.within(None, 250, rate=0.05, average=0.95))
    assert float(tilt.strength) == pytest.approx(2.0, abs=0.25)
