"""Pivot and block moves: what they change, the balance of proposals, known densities, and simulations with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from energy_contract import frames as contract_frames
from known_molecule import BEADS, KELVIN, KT, Known, angle_term, exact, known, p_value, torsion_term
from scipy import stats
from torch import Tensor
from walks import killed
from wells import Still, generator

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.simulation.monte_carlo import hmm
from cgsurrogate.simulation.monte_carlo.block_moves import learned, pivot_moves
from cgsurrogate.simulation.monte_carlo.pivot import GRID, PivotMove
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler, sentences
from cgsurrogate.simulation.run import simulate
from cgsurrogate.simulation.settings import RunOptions, SimulationSettings

MANY = 4000


def moves_only(energy: Energy, attempts: int = 30) -> HybridSampler:
    return HybridSampler(Still(), energy, [Attempts([PivotMove(BEADS, energy, KELVIN)], attempts, 1)]).double()


def told(sampler: HybridSampler, state: State) -> dict:
    return sampler.notes(state, Provenance()).monte_carlo["pivot"]


# what a pivot move changes


@pytest.fixture(scope="module")
def peptide() -> tuple[Beads, Tensor]:
    frames = contract_frames()
    return frames.beads, torch.tensor(np.array(frames.positions[:6]), dtype=torch.float64)


def coordinates(beads: Beads, x: Tensor) -> dict[str, Tensor]:
    out = {"bonds": (x[:, beads.bonds][:, :, 0] - x[:, beads.bonds][:, :, 1]).norm(dim=2)}
    out["angles"] = Cosines(x.shape[1], Molecule.of(beads).angles).double()(x).arccos()
    for name in ("dihedrals", "impropers"):
        rows = getattr(Molecule.of(beads), name)
        if len(rows):
            cosine, sine = Dihedrals(x.shape[1], rows).double()(x)
            out[name] = torch.atan2(sine, cosine)
    return out


def test_a_rotation_changes_its_dihedral_by_the_amount_and_nothing_else(peptide):
    beads, x = peptide
    pivot = PivotMove(beads, Sum(), KELVIN)
    assert pivot.dihedrals == len(pivot) == len(Molecule.of(beads).dihedrals)
    before = coordinates(beads, x)
    for number in range(len(pivot)):
        move = torch.full((len(x),), number)
        amount = torch.linspace(-2, 2, len(x), dtype=torch.float64)
        turned = pivot.rotate(x, move, amount)
        after = coordinates(beads, turned)
        change = {name: (after[name] - before[name] + math.pi) % (2 * math.pi) - math.pi for name in before}
        expected = torch.zeros_like(change["dihedrals"])
        expected[:, number] = amount
        for name, value in change.items():
            wanted = expected if name == "dihedrals" else torch.zeros_like(value)
            torch.testing.assert_close(value, wanted, rtol=0, atol=1e-6)
        moved = (turned - x).norm(dim=2) > 1e-12
        assert 2 * moved.sum(1).max() <= x.shape[1] and not moved[:, pivot.rows[number, 1:3]].any()


def test_an_angle_opens_by_the_amount():
    pivot, x = PivotMove(BEADS, known(), KELVIN), exact(9)
    assert len(pivot) == 5 and pivot.dihedrals == 2  # three broad angles
    for number in range(2, 5):
        move, amount = torch.full((9,), number), torch.linspace(-0.5, 0.5, 9, dtype=torch.float64)
        turned = pivot.rotate(x, move, amount)
        torch.testing.assert_close(pivot.measure(turned, move) - pivot.measure(x, move), amount)
        assert torch.equal(turned[:, pivot.rows[number, 0]], x[:, pivot.rows[number, 0]])
        bonds = ZMatrix(BEADS).to_internal(turned)[0]
        torch.testing.assert_close(bonds, ZMatrix(BEADS).to_internal(x)[0])


def test_only_terms_that_a_rotation_can_change_are_asked(peptide):
    beads, x = peptide
    frames = contract_frames()
    terms = [registry.build("priors", name, beads) for name in registry.kinds("priors")]
    for term in terms:
        term.fit(frames)
    energy = Sum(*terms, Known()).double()
    pivot = PivotMove(beads, Sum(*terms), KELVIN)
    kept = [term for term in energy.terms if pivot.changes(term)]
    left_out = [term for term in energy.terms if term not in kept]
    assert {type(term).__name__ for term in left_out} >= {"BondPrior"}
    assert {type(term).__name__ for term in kept} >= {
        "DihedralPrior",
        "RepulsionPrior",
        "Known",
    }  # of the last, nobody knows
    for _ in range(5):
        moved, _, _ = pivot.double().propose(x, generator(1))
        for term in left_out:
            torch.testing.assert_close(term(moved), term(x), rtol=1e-6, atol=1e-4)


# the balance of the proposals


def test_values_are_drawn_from_the_density_that_the_ratio_uses():
    """Brute force: the histogram of many draws is the density; so is the Boltzmann density of the coordinate."""
    pivot, count = PivotMove(BEADS, known(), KELVIN), 200_000
    for number in range(len(pivot)):
        move = torch.full((count,), number)
        u = torch.rand(2, count, generator=generator(number), dtype=torch.float64)
        values = pivot.draw(move, *u)
        cells = np.bincount(pivot._cell(move, values).numpy() - number * GRID, minlength=GRID)
        expected = pivot.log_density.reshape(-1, GRID)[number].exp().numpy()
        assert expected.sum() == pytest.approx(1)
        full = expected * count > 20
        assert stats.chisquare(cells[full], expected[full] / expected[full].sum() * cells[full].sum()).pvalue > 1e-4
        grid = pivot.low[number] + pivot.span[number] / GRID * (torch.arange(GRID, dtype=torch.float64) + 0.5)
        own = torsion_term(grid) if number < 2 else angle_term(grid) - grid.sin().log()
        boltzmann = (-own).exp() / (-own).exp().sum()
        np.testing.assert_allclose(expected, 0.98 * boltzmann + 0.02 / GRID, rtol=2e-3, atol=1e-7)


def test_the_ratio_is_that_of_the_ways_there_and_back():
    pivot, x, rng = PivotMove(BEADS, known(), KELVIN), exact(20_000), generator(3)
    moved, ratio, kind = pivot.propose(x, rng)
    drawn = kind == 0
    assert 0.45 < drawn.double().mean() < 0.55
    internal = [ZMatrix(BEADS).to_internal(y) for y in (x, moved)]
    volume = [i[1].sin().log().sum(1) for i in internal]  # of the angles; bonds are as they were
    density = [pivot.log_density.reshape(-1, GRID)] * 2
    cells = [
        torch.stack(
            [pivot._cell(torch.full((len(x),), k), pivot.measure(y, torch.full((len(x),), k))) for k in range(5)]
        )
        for y in (x, moved)
    ]
    sums = [density[0].flatten()[cell].sum(0) for cell in cells]  # those of all other coordinates cancel
    expected = volume[1] - volume[0] + torch.where(drawn, sums[0] - sums[1], 0.0)
    usual = torch.isfinite(ratio)
    assert usual.double().mean() > 0.99
    agree = ((ratio - expected).abs() < 1e-6)[usual].double().mean()
    assert agree > 0.99  # a few cross the edge of a cell by rounding


@pytest.mark.parametrize("fast", [True, False])
def test_a_known_density_is_left_and_reached(fast):
    """Pivot moves alone, with good guesses and with uniform ones; bonds cannot change, so they start right."""
    moves, rng = moves_only(known(fast)), generator(4)
    state = moves.start(exact(MANY), rng)
    state = moves.step(state, rng)
    assert p_value(state.positions) > 1e-4
    accepted = told(moves, state)["acceptance_drawn"]
    assert accepted > 0.97 if fast else 0.1 < accepted < 0.9
    start = exact(MANY, seed=1)
    bonds, angles, torsions = ZMatrix(BEADS).to_internal(start)
    state = moves.start(ZMatrix(BEADS).to_positions(bonds, 0 * angles + 2.2, 0 * torsions), rng)
    assert p_value(state.positions) < 1e-12
    for _ in range(2):
        state = moves.step(state, rng)
    if fast:
        assert p_value(state.positions) > 1e-4
    else:  # without a fast form the angles, too, are left to the dynamics
        assert torch.allclose(ZMatrix(BEADS).to_internal(state.positions)[1], 0 * angles + 2.2)
        turned = ZMatrix(BEADS).to_internal(state.positions)[2]
        assert torsion_p(turned, 1.0) > 1e-4


def torsion_p(torsions: Tensor, heat: float) -> float:
    """Of the worse Kolmogorov-Smirnov test of both torsions at ``heat`` times the temperature."""
    grid = np.linspace(-math.pi, math.pi, 4001)
    mass = np.exp(-torsion_term((grid[1:] + grid[:-1]) / 2) / heat)
    total = np.concatenate([[0], np.cumsum(mass) / mass.sum()])
    return min(stats.kstest(np.interp(column, grid, total), "uniform").pvalue for column in torsions.T.numpy())


def test_a_wrong_ratio_is_seen(monkeypatch):
    moves, rng = moves_only(known()), generator(5)
    monkeypatch.setattr(PivotMove, "log_ratio", lambda self, move, now, later, drawn: torch.zeros_like(now))
    assert p_value(moves.step(moves.start(exact(MANY), rng), rng).positions) < 1e-12


def test_each_replica_has_its_own_temperature():
    moves, rng, heat = moves_only(known()), generator(6), 2.0
    state = moves.start(exact(MANY), rng)
    kelvin = torch.where(torch.arange(MANY) % 2 == 0, KELVIN, heat * KELVIN).double()
    state = moves.step(state._replace(temperature=kelvin), rng)
    state = moves.step(state, rng)
    torsions = ZMatrix(BEADS).to_internal(state.positions)[2]
    for part, own, other in ((torsions[::2], 1.0, heat), (torsions[1::2], heat, 1.0)):
        assert torsion_p(part, own) > 1e-4 and torsion_p(part, other) < 1e-12
    assert torch.equal(state.temperature, kelvin)


def test_replicas_do_not_see_each_other_and_energies_that_are_not_finite_are_refused():
    class Broken(Energy):
        def forward(self, positions: Tensor) -> Tensor:
            return torch.where(torch.arange(len(positions)) == 3, math.nan, 0.0).to(positions)

    ends = []
    for extra in ([], [Broken()]):
        moves, rng = moves_only(Sum(*known().terms, *extra)), generator(7)
        state = moves.step(moves.start(exact(8), rng), rng)
        ends.append(state)
    others = torch.arange(8) != 3
    torch.testing.assert_close(ends[0].positions[others], ends[1].positions[others])
    assert torch.equal(ends[1].positions[3], exact(8)[3])
    assert told(moves, ends[1])["never_moved"] == 1


# block moves


@pytest.fixture(scope="module")
def coupled() -> tuple[Energy, Frames]:
    """A long chain whose neighbouring dihedrals lean on each other, and frames that say so, but wrongly."""
    beads = Beads(("X",) * 7, (0,) * 7, (12.0,) * 7, (0,) * 7, ("UNK",) * 7, tuple((i, i + 1) for i in range(6)))

    class Coupled(Energy):
        def __init__(self):
            super().__init__()
            self.zmatrix = ZMatrix(beads)

        def forward(self, positions: Tensor) -> Tensor:
            phi = self.zmatrix.to_internal(positions)[2]  # in the order of placement
            order = torch.as_tensor(np.argsort(self.zmatrix.refs[3:].mean(1)))
            phi = phi[:, order]
            return KT * (2 * (1 - (phi[:, 1:] - phi[:, :-1]).cos()).sum(1) + 1.5 * (2 * phi).cos().sum(1))

    rng = np.random.default_rng(0)
    phi = 0.5 * rng.normal(size=(3000, 1)) + rng.normal(size=(3000, 4)) + 1.5 * rng.integers(0, 2, (3000, 1))
    x = ZMatrix(beads).to_positions(torch.full((3000, 6), 0.15), torch.full((3000, 5), 2.0), torch.tensor(phi).float())
    return Coupled(), Frames(beads, x.numpy(), (3000,), 1.0, KELVIN)


def test_block_moves_leave_a_coupled_density_and_find_it(coupled):
    """Against sums on a grid: the distribution of a dihedral, and how neighbours go together.

    With frames that are so wrong block moves alone are slow; they begin where pivot moves and they have led.
    """
    energy, frames = coupled
    both = pivot_moves(frames.beads, energy, KELVIN, frames)
    assert both[1].lengths == [2, 3, 4]
    rng, state = generator(12), None
    for moves in (both, both[:1], both[:1], both[1:], both[1:]):
        sampler = HybridSampler(Still(), energy, [Attempts(moves, 40, 1)]).double()
        x = torch.tensor(np.array(frames.positions)).double() if state is None else state.positions
        state = sampler.step(sampler.start(x, rng), rng)
    tally = sampler.tallies(state)["block"]
    assert 0.05 < int(tally.accepted.sum()) / int(tally.tried.sum()) < 0.95
    phi = energy.zmatrix.to_internal(state.positions)[2]
    order = torch.as_tensor(np.argsort(energy.zmatrix.refs[3:].mean(1)))
    phi = phi[:, order]
    grid = torch.linspace(-math.pi, math.pi, 181, dtype=torch.float64)[:-1]
    pair = (-2 * (1 - (grid[:, None] - grid).cos())).exp()
    own = (-1.5 * (2 * grid).cos()).exp()
    ahead = own
    for _ in range(3):
        ahead = (ahead @ pair) * own
    two = pair * own[:, None] * own * ((pair @ (own * (pair @ own)))[None])
    two = two / two.sum()
    first = ahead / ahead.sum()
    count = len(phi)
    for value, weight, function in (
        (phi[:, -1], first, torch.cos),
        (phi[:, -1], first, lambda a: (2 * a).cos()),
        (phi[:, 0] - phi[:, 1], two, torch.cos),
    ):
        at = grid if weight.ndim == 1 else grid[:, None] - grid
        mean = (weight * function(at)).sum()
        spread = ((weight * function(at) ** 2).sum() - mean**2).sqrt()
        assert abs(function(value).mean() - mean) < 4.5 * spread / math.sqrt(count)


def test_the_density_of_a_hidden_markov_model_is_that_of_its_draws():
    """Brute force over all sequences: probabilities sum to one, and a block is drawn from the conditional density."""
    rng = np.random.default_rng(5)
    model = hmm.fit(rng.integers(0, 3, (400, 3)) * 24, np.full(400, 1 / 400), np.array([True, True, False]), 3)
    total = torch.logsumexp(model.log_likelihood(torch.cartesian_prod(*[torch.arange(hmm.CELLS)] * 3)), 0)
    assert abs(float(total)) < 1e-4
    given = torch.tensor([[7, 24, 48]]).expand(200_000, -1)
    inside = torch.tensor([[True, True, False]]).expand(len(given), -1)
    drawn = model.redrawn(given, inside, generator(6))
    assert torch.equal(drawn[:, 2], given[:, 2])
    pairs = torch.cartesian_prod(torch.arange(hmm.CELLS), torch.arange(hmm.CELLS), torch.tensor([48]))
    expected = model.log_likelihood(pairs).softmax(0).numpy() * len(drawn)
    counts = np.bincount((hmm.CELLS * drawn[:, 0] + drawn[:, 1]).numpy(), minlength=hmm.CELLS**2)
    often = expected > 10
    assert often.sum() > 20
    rest = [counts[~often].sum()], [expected[~often].sum()]
    assert stats.chisquare(np.append(counts[often], rest[0]), np.append(expected[often], rest[1])).pvalue > 1e-4


def test_a_hidden_markov_model_carries_what_goes_together():
    rng = np.random.default_rng(7)
    switch = rng.integers(0, 2, 4000)
    cells = np.stack([(20 + 30 * switch + rng.integers(-2, 3, 4000)) for _ in range(4)], 1)
    weights = np.where(switch == 1, 3.0, 1.0) / np.where(switch == 1, 3.0, 1.0).sum()
    model = hmm.fit(cells, weights, np.ones(4, bool))
    both = torch.tensor([[20] * 4, [50] * 4, [20, 50, 20, 50]])
    low, high, mixed = model.log_likelihood(both).tolist()
    assert high - low == pytest.approx(math.log(3), abs=0.3)
    assert low - mixed > 5
    again = hmm.fit(cells, weights, np.ones(4, bool))
    for name, value in model.named_buffers():
        assert torch.equal(value, dict(again.named_buffers())[name])


def test_few_frames_make_no_block_moves(coupled):
    energy, frames = coupled
    few = Frames(frames.beads, frames.positions[:50], (50,), 1.0, KELVIN)
    assert learned(PivotMove(frames.beads, energy, KELVIN), few) is None


# with dynamics


def dynamics(attempts: int = 4) -> HybridSampler:
    energy = known()
    inner = registry.build("integrators", "baoab", BEADS, energy, KELVIN, timestep=0.002, friction=20.0)
    return HybridSampler(inner, energy, [Attempts([PivotMove(BEADS, energy, KELVIN)], attempts)])


def test_moves_leave_velocities_alone_and_forces_follow():
    moves, rng = dynamics().double(), generator(8)
    state = moves.step(moves.start(exact(8), rng), rng)
    again = moves.mixed(state, rng)
    assert torch.equal(again.velocities, state.velocities) and not torch.equal(again.positions, state.positions)
    felt = moves.integrator.start(again.positions, generator(1))
    assert torch.equal(again.memory, felt.memory) and torch.equal(again.energy, felt.energy)
    assert moves.lag == pytest.approx(0.01)


def test_a_simulation_goes_on_bit_for_bit_and_says_that_it_has_no_time(tmp_path):
    start, settings = exact(6).float().numpy(), SimulationSettings(0.2, 0.01, KELVIN)
    whole = simulate(dynamics(), start, BEADS, settings)
    with pytest.raises(KeyboardInterrupt):
        simulate(killed(dynamics(), 9), start, BEADS, settings, RunOptions(tmp_path, checkpoint_every=0))
    again = simulate(dynamics(), start, BEADS, settings, RunOptions(tmp_path))
    assert np.array_equal(again.positions, whole.positions)
    about = again.provenance.monte_carlo["pivot"]
    assert about == whole.provenance.monte_carlo["pivot"] and 0.3 < about["acceptance"] < 1
    assert not again.provenance.physical_time and not again.time_ordered
    assert again.out_of_order == "frames of Monte Carlo pivot moves"
    assert "no physical time" in sentences({"pivot": about})[0]
    with pytest.raises(ValueError, match=r"pivot\(drawn=0.5\): 4 every 5 steps there"):
        simulate(dynamics(attempts=5), start, BEADS, settings, RunOptions(tmp_path))
