"""Independence moves between states of frames leave the distribution of the energy alone, whatever they are."""

import energy_contract as contract
import numpy as np
import pytest
import torch
from wells import Still

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.geometry.torsion_moves import Moves
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives.maximum_likelihood import SETTINGS, MaximumLikelihood

KELVIN = 300.0
KT = units.thermal_energy(KELVIN)
BEADS = contract.chain_beads(5)
BASE = torch.tensor([[0.0, 0, 0], [0.38, 0, 0], [0.5, 0.36, 0], [0.85, 0.4, 0.15], [0.95, 0.7, 0.35]])[None]


class Wells(Energy):
    """Two dihedrals of density exp(3 cos(a - b) + 4 cos(2 a)), angles of sin(angle) exp(-(angle - 1.9)^2 / 0.02)."""

    def __init__(self):
        super().__init__()
        self.moves = Moves(BEADS)

    def forward(self, positions):
        a, b, *bends = self.moves.values(positions).unbind(1)
        bent = sum((bend - 1.9).square() for bend in bends)
        return KT * (-3 * (a - b).cos() - 4 * (2 * a).cos() + bent / 0.02)


def frames(count=3000, seed=0):
    """a anywhere, b near it: not the density of the energy."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(-np.pi, np.pi, count)
    wanted = np.column_stack([a, a + rng.normal(0, 0.7, count), rng.normal(1.9, 0.15, (count, 3))])
    wanted[:, 1] = (wanted[:, 1] + np.pi) % (2 * np.pi) - np.pi
    x = Moves(BEADS).placed(BASE.repeat(count, 1, 1), torch.from_numpy(wanted).float())
    return Frames(BEADS, x.numpy(), (count,), 1.0, KELVIN)


def sampler_of(attempts=2, data=None, energy=None):
    return HybridSampler(Still(), energy or Wells(), [Attempts([IndependenceMove(data or frames())], attempts, 1)])


@pytest.fixture(scope="module")
def sampler():
    return sampler_of()


def run(sampler, steps, replicas=400, seed=0):
    """Dihedrals and angles (steps, B, 5) from replicas that all begin in one well; the last state."""
    rng = torch.Generator().manual_seed(seed)
    well = torch.tensor([[0.0, 0.0, 1.9, 1.9, 1.9]])
    state = sampler.start(Moves(BEADS).placed(BASE, well).repeat(replicas, 1, 1), rng)
    out = []
    for _ in range(steps):
        state = sampler.step(state, rng)
        out.append(Moves(BEADS).values(state.positions))
    return torch.stack(out), state


def test_a_known_density_is_reached_from_one_well(sampler):
    values, state = run(sampler, 120)
    late = values[60:]
    a, b = late[..., 0], late[..., 1]
    assert sampler.notes(state, Provenance()).monte_carlo["independence"]["acceptance"] > 0.1
    for name, seen, exact in (
        ("coupling", (a - b).cos(), 0.8100),  # I1(3) / I0(3)
        ("wells", (2 * a).cos(), 0.8635),  # I1(4) / I0(4)
        ("both wells", a.cos(), 0.0),
    ):
        error = float(seen.mean(0).std()) / len(seen[0]) ** 0.5  # replicas are independent
        assert float(seen.mean()) == pytest.approx(exact, abs=4.5 * error), name
    bends = late[..., 2:]
    grid = torch.linspace(1.2, 2.6, 2000, dtype=torch.float64)
    density = grid.sin() * (-((grid - 1.9) ** 2) / 0.02).exp()
    error = float(bends.mean((0, 2)).std()) / len(bends[0]) ** 0.5
    assert float(bends.mean()) == pytest.approx(float((grid * density).sum() / density.sum()), abs=4.5 * error)


def test_a_wrong_ratio_is_seen(monkeypatch):
    wrong = sampler_of()
    monkeypatch.setattr(wrong.moves[0], "log_ratio", lambda z: z.new_zeros(len(z), dtype=torch.float64))
    values, _ = run(wrong, 120)
    a, b = values[60:, :, 0], values[60:, :, 1]
    assert abs(float((a - b).cos().mean()) - 0.81) > 0.02


def test_bonds_and_hands_are_left_alone(sampler):
    rng = torch.Generator().manual_seed(0)
    state = sampler.start(BASE.repeat(50, 1, 1), rng)
    later = sampler.step(state, rng)
    moved = (later.positions - state.positions).abs().amax((1, 2)) > 1e-3
    assert 0.1 < float(moved.double().mean()) <= 1
    length = (later.positions[:, 1:] - later.positions[:, :-1]).norm(dim=2)
    assert torch.allclose(length, (BASE[:, 1:] - BASE[:, :-1]).norm(dim=2).expand_as(length), atol=1e-5)


def test_from_where_the_noise_never_goes_no_move_begins(sampler):
    bent = torch.tensor([[0.0, 0.0, 0.4, 1.9, 1.9]])
    state = sampler.start(Moves(BEADS).placed(BASE, bent).repeat(20, 1, 1), torch.Generator().manual_seed(0))
    later = sampler.step(state, torch.Generator().manual_seed(1))
    assert torch.equal(later.positions, state.positions)


class Tilt(Energy):
    """U = -h kT cos(a), a the first dihedral; the density of a has I1(h) / I0(h) as its mean cosine."""

    def __init__(self):
        super().__init__()
        self.strength, self.moves = torch.nn.Parameter(torch.zeros(())), Moves(BEADS)

    def forward(self, positions):
        return -KT * self.strength * self.moves.values(positions)[:, 0].cos()


def test_maximum_likelihood_with_independence_moves_finds_the_strength_behind_the_data():
    rng = np.random.default_rng(3)
    wanted = np.column_stack([rng.vonmises(0, 2.0, 4000), rng.uniform(-np.pi, np.pi, 4000), np.full((4000, 3), 1.9)])
    wanted[:, 2:] += rng.normal(0, 0.1, (4000, 3))
    x = Moves(BEADS).placed(BASE.repeat(4000, 1, 1), torch.from_numpy(wanted).float())
    data = Frames(BEADS, x.numpy(), (2000, 2000), 1.0, KELVIN)
    tilt = Tilt()
    dynamics = sampler_of(1, data, Sum(tilt))
    fit(tilt, MaximumLikelihood(dynamics, data), SETTINGS.within(None, 250, rate=0.05, average=0.95))
    assert float(tilt.strength) == pytest.approx(2.0, abs=0.25)
