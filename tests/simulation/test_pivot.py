"""Pivot and block moves: what they change, the balance of proposals, known densities, and simulations with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from energy_contract import frames as contract_frames
from known_molecule import BEADS, KELVIN, Known, angle_term, exact, integrator, known, mixed, torsion_term
from scipy import stats
from torch import Tensor
from wells import Still, generator

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.simulation.monte_carlo import hmm
from cgsurrogate.simulation.monte_carlo.block_moves import learned
from cgsurrogate.simulation.monte_carlo.pivot import GRID, PivotMove
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler

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
        turned, turn = pivot.rotate(x, move, amount)
        after = coordinates(beads, turned)
        change = {name: (after[name] - before[name] + math.pi) % (2 * math.pi) - math.pi for name in before}
        expected = torch.zeros_like(change["dihedrals"])
        expected[:, number] = amount
        for name, value in change.items():
            wanted = expected if name == "dihedrals" else torch.zeros_like(value)
            torch.testing.assert_close(value, wanted, rtol=0, atol=1e-6)
        moved = (turned - x).norm(dim=2) > 1e-12
        assert 2 * moved.sum(1).max() <= x.shape[1] and not moved[:, pivot.rows[number, 1:3]].any()
        v = torch.randn(x.shape, generator=generator(number), dtype=x.dtype)
        torch.testing.assert_close(turn(v).norm(dim=2), v.norm(dim=2))  # the kinetic energy stays
        side = pivot.sides[number]
        arms = [(part[:, None] - part[:, :, None])[:, side][:, :, side] for part in (x, turned)]
        as_vectors = torch.zeros_like(x)
        as_vectors[:, side] = arms[0][:, 0]
        torch.testing.assert_close(turn(as_vectors)[:, side], arms[1][:, 0])  # velocities turn as the beads do


def test_an_angle_opens_by_the_amount():
    pivot, x = PivotMove(BEADS, known(), KELVIN), exact(9)
    assert len(pivot) == 5 and pivot.dihedrals == 2  # three broad angles
    for number in range(2, 5):
        move, amount = torch.full((9,), number), torch.linspace(-0.5, 0.5, 9, dtype=torch.float64)
        turned, _ = pivot.rotate(x, move, amount)
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
    assert {type(term).__name__ for term in kept} >= {"DihedralPrior", "RepulsionPrior", "Known"}
    for _ in range(5):
        moved, *_ = pivot.double().propose(x, generator(1))
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
    moved, ratio, kind, _ = pivot.propose(x, rng)
    drawn = kind == 0
    assert 0.45 < drawn.double().mean() < 0.55
    density, every = pivot.log_density.reshape(-1, GRID), torch.arange(5)
    values = [pivot.measure_all(y, every) for y in (x, moved)]
    volume = [value[:, 2:].sin().log().sum(1) for value in values]  # of the angles; bonds are as they were
    cells = [pivot._cell(every.repeat(len(x)), value.flatten()).view(-1, 5) for value in values]
    sums = [density.flatten()[cell].sum(1) for cell in cells]  # those of all other coordinates cancel
    expected = volume[1] - volume[0] + torch.where(drawn, sums[0] - sums[1], 0.0)
    usual = torch.isfinite(ratio)
    assert usual.double().mean() > 0.99
    agree = ((ratio - expected).abs() < 1e-6)[usual].double().mean()
    assert agree > 0.99  # a few cross the edge of a cell by rounding


def test_replicas_do_not_see_each_other_and_energies_that_are_not_finite_are_refused():
    class Broken(Energy):
        def forward(self, positions: Tensor) -> Tensor:
            return torch.where(torch.arange(len(positions)) == 3, math.nan, 0.0).to(positions)

    ends = []
    for extra in ([], [Broken()]):
        energy, rng = Sum(*known().terms, *extra), generator(7)
        moves = HybridSampler(Still(), energy, [Attempts([PivotMove(BEADS, energy, KELVIN)], 30, 1)]).double()
        state = moves.step(moves.start(exact(8), rng), rng)
        ends.append(state)
    others = torch.arange(8) != 3
    torch.testing.assert_close(ends[0].positions[others], ends[1].positions[others])
    assert torch.equal(ends[1].positions[3], exact(8)[3])
    assert moves.notes(ends[1], Provenance()).monte_carlo["pivot"]["never_moved"] == 1


# block moves


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


def test_few_frames_make_no_block_moves():
    few = Frames(BEADS, exact(50).float().numpy(), (50,), 1.0, KELVIN)
    assert learned(PivotMove(BEADS, known(), KELVIN), few) is None


# with dynamics


def test_moves_keep_the_kinetic_energy_and_forces_follow():
    moves, rng = mixed(integrator("baoab"), "pivot", 5), generator(8)
    state = moves.step(moves.start(exact(8), rng), rng)
    again = moves.mixed(state, rng)
    assert not torch.equal(again.velocities, state.velocities) and not torch.equal(again.positions, state.positions)
    torch.testing.assert_close(again.velocities.norm(dim=2), state.velocities.norm(dim=2))
    felt = moves.integrator.start(again.positions, generator(1))
    assert torch.equal(again.memory, felt.memory) and torch.equal(again.energy, felt.energy)
    assert moves.lag == pytest.approx(0.015)
