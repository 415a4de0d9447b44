"""Forces for simulations: the same numbers as by autograd, whatever the sum is made of and however it changes."""

from __future__ import annotations

import copy

import energy_contract as contract
import pytest
import torch
from torch import Tensor

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum, forces
from cgsurrogate.core.frames import Beads
from cgsurrogate.models.evaluation.evaluator import Forces

KINDS = registry.kinds("networks")


class Plain(Energy):
    """Any energy without its faster form, as a user's own file may be."""

    def __init__(self, energy: Energy):
        super().__init__()
        self.energy = energy

    def forward(self, positions: Tensor) -> Tensor:
        return self.energy(positions)


def awake(energy: Energy, seed: int = 1) -> Energy:
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in energy.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return energy


def model(kind: str) -> Sum:
    """All priors, fitted, and a network."""
    torch.manual_seed(0)
    return Sum(*contract.priors(), awake(registry.build("networks", kind, contract.peptide())))


@pytest.fixture(scope="module", params=KINDS)
def energy(request) -> Sum:
    return model(request.param)


def agree(energy: Energy, x: Tensor, evaluate: Forces, tolerance: float = 1e-5) -> None:
    value, force = forces(energy, x)
    fast_value, fast_force = evaluate(x)
    torch.testing.assert_close(fast_value, value, rtol=tolerance, atol=1e-3)
    assert (fast_force - force).abs().max() <= tolerance * force.abs().max()


def test_a_whole_model_agrees_with_autograd(energy):
    contract.check_fast(energy)


def test_terms_without_a_faster_form_are_added(energy):
    x = contract.conformations(3).float()
    for mixed in (Sum(Plain(energy.terms[0]), *energy.terms[1:]), Plain(energy), Sum(energy, Sum(Plain(energy)))):
        agree(mixed, x, Forces(mixed))


def test_it_follows_every_change_of_the_energy(energy):
    energy = copy.deepcopy(energy)
    evaluate, x = Forces(energy), contract.conformations(3).float()
    agree(energy, x, evaluate)
    before = evaluate(x)[1]
    awake(energy, 2)  # in place, as an optimizer does
    agree(energy, x, evaluate)
    assert (evaluate(x)[1] - before).abs().max() > 1e-3 * before.abs().max()
    bonds = next(term for term in energy.terms if hasattr(term, "narrowest"))
    bonds.strength = 2 * bonds.strength  # another tensor under the name
    agree(energy, x, evaluate)
    energy.double()
    agree(energy, x.double(), evaluate, 1e-8)
    energy.float()
    energy.load_state_dict(awake(copy.deepcopy(energy), 3).state_dict())
    agree(energy, x, evaluate)


def test_pieces_of_a_batch_are_the_batch(energy, monkeypatch):
    x = contract.conformations(50).float()
    whole = Forces(energy)(x)
    monkeypatch.setattr("cgsurrogate.models.evaluation.evaluator.PIECE", 1)
    for one, other in zip(whole, Forces(energy)(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-3)


def test_replicas_do_not_feel_each_other(energy):
    x = contract.conformations(4).float()
    value, force = Forces(energy)(x)
    x[2] = torch.nan
    broken_value, broken = Forces(energy)(x)
    good = [0, 1, 3]
    assert torch.equal(broken[good], force[good]) and torch.equal(broken_value[good], value[good])
    assert torch.isnan(broken[2]).any()


def test_positions_are_left_alone_and_results_are_not_reused(energy):
    x = contract.conformations(2).float()
    evaluate, before = Forces(energy), x.clone()
    first = evaluate(x)
    kept = [t.clone() for t in first]
    evaluate(1.1 * x)
    assert torch.equal(x, before)
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


def test_a_simulation_stays_on_the_trajectory_of_autograd(energy):
    x, beads = contract.conformations(4).float(), contract.peptide()
    ends = []
    for form in (energy, Plain(energy)):
        moves = registry.build("integrators", "baoab", beads, form, 300.0, timestep=0.001)
        rng = torch.Generator().manual_seed(3)
        state = moves.start(x, rng)
        for _ in range(30):
            state = moves.step(state, rng)
        ends.append(state.positions)
    assert (ends[0] - x + x.mean(1, keepdim=True)).abs().max() > 0.005
    assert (ends[0] - ends[1]).abs().max() < 1e-4


@pytest.mark.parametrize("count", [1, 2, 3, 9, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_chains_of_any_length(kind, count):
    """From a single bead, to chains long enough for every way of summing."""
    torch.manual_seed(0)
    network = awake(registry.build("networks", kind, contract.chain_beads(count))).double()
    x = torch.cumsum(torch.randn(3, count, 3, generator=torch.Generator().manual_seed(0)).double() * 0.2, 1)
    agree(network, x, Forces(network), 1e-7)


def test_one_bond_alone():
    beads = Beads(("CA",) * 2, (30, 31), (13.0,) * 2, (0, 1), ("ALA",) * 2, ((0, 1),))
    prior = registry.build("priors", "bonds", beads)
    prior.strength.fill_(100.0), prior.rest.fill_(0.3)
    _, force = Forces(prior)(torch.tensor([[[0.0, 0, 0], [0.4, 0, 0]]]))
    torch.testing.assert_close(force, torch.tensor([[[10.0, 0, 0], [-10.0, 0, 0]]]))


def test_lists_of_near_pairs_change_nothing(energy, monkeypatch):
    """Also behind walls, and with beads beyond the cutoff; a replica that is lost takes no other with it."""
    monkeypatch.setattr("cgsurrogate.models.evaluation.analytic.MANY", 1)
    contract.check_fast(energy)
    x = contract.conformations(3).float()
    x[1] = torch.nan
    value, force = Forces(energy)(x)
    assert torch.isnan(force[1]).all() and torch.isfinite(force[[0, 2]]).all() and torch.isfinite(value[[0, 2]]).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 9, 40])
def test_lists_of_near_pairs_in_chains(kind, count, monkeypatch):
    torch.manual_seed(0)
    network = awake(registry.build("networks", kind, contract.chain_beads(count))).double()
    x = torch.cumsum(torch.randn(3, count, 3, generator=torch.Generator().manual_seed(0)).double() * 0.2, 1)
    dense = Forces(network)(x)
    monkeypatch.setattr("cgsurrogate.models.evaluation.analytic.MANY", 1)
    for one, other in zip(dense, Forces(network)(x), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-7)
    agree(network, x, Forces(network), 1e-7)


def test_one_replica_is_like_many_and_stays_so(energy):
    x = contract.conformations(3).float()
    whole, evaluate = Forces(energy)(x), Forces(energy)
    for _ in range(3):
        for k in range(3):
            for one, all_ in zip(evaluate(x[k : k + 1]), whole, strict=True):
                torch.testing.assert_close(one[0], all_[k], rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("many", [1, 1 << 30])
@pytest.mark.parametrize("kind", KINDS)
def test_sites_that_only_one_direction_has(kind, many, monkeypatch):
    """Ace-Ala-NMe: an O before an N, and no N before an O."""
    names = ("CH3", "C", "O", "N", "CA", "CB", "C", "O", "N", "CH3")
    residues, bonds = (
        (0, 0, 0, 1, 1, 1, 1, 1, 2, 2),
        ((0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6), (6, 7), (6, 8), (8, 9)),
    )
    beads = Beads(
        names, tuple(range(10)), (13.0,) * 10, residues, tuple(("ACE", "ALA", "NME")[r] for r in residues), bonds
    )
    torch.manual_seed(0)
    network = awake(registry.build("networks", kind, beads)).double()
    x = torch.cumsum(torch.randn(3, 10, 3, generator=torch.Generator().manual_seed(0)).double() * 0.1, 1)
    monkeypatch.setattr("cgsurrogate.models.evaluation.analytic.MANY", many)
    agree(network, x, Forces(network), 1e-7)
