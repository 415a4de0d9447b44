"""Networks: the contract over every kind, and what an energy of bead types must do."""

from __future__ import annotations

import copy

import energy_contract as contract
import pytest
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, forces

KINDS = registry.kinds("networks")


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


def built(kind: str) -> Energy:
    torch.manual_seed(0)
    return registry.build("networks", kind, contract.peptide())


def awake(network: Energy) -> Energy:
    """A copy with every weight moved off its start, where the output may be zero."""
    network = copy.deepcopy(network)
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return network


def test_contract(kind):
    contract.check(awake(built(kind)))


def test_training_starts_from_the_priors(kind):
    value, force = forces(built(kind), contract.conformations(4).float())
    assert not value.any() and not force.any()


def test_save_and_load(kind):
    network, other = awake(built(kind)), built(kind)
    other.load_state_dict(network.state_dict())
    x = contract.conformations(3).float()
    assert torch.equal(other(x), network(x))


def test_weights_belong_to_bead_types(kind):
    """The same weights can be bound to another molecule."""
    network = awake(built(kind))
    other = registry.build("networks", kind, contract.chain_beads(7))
    other.load_state_dict(network.state_dict())
    x = torch.cumsum(torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(0)) * 0.2, 1)
    assert torch.isfinite(other(x)).all()


def test_forces_are_continuous_through_the_cutoff(kind):
    """Two halves are pulled apart: the largest change from step to step halves with the step; a jump would stay."""
    network = awake(built(kind)).double()
    largest = []
    for count in (1001, 2001):
        x = contract.conformations(1).repeat(count, 1, 1)
        x[:, 5:, 0] += torch.linspace(0.3, 2.0, count, dtype=torch.float64)[:, None]
        _, force = forces(network, x)
        largest.append(float(force.diff(dim=0).abs().max()))
    assert largest[1] < 0.6 * largest[0]


def test_parameters_get_gradients_from_a_loss_on_forces(kind):
    network = awake(built(kind))
    _, force = forces(network, contract.conformations(4).float(), create_graph=True)
    force.square().sum().backward()
    dead = [name for name, p in network.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    assert not dead


def test_second_derivatives_are_right(kind):
    """Force matching differentiates forces: checked against differences of forces in float64."""
    network, x = awake(built(kind)).double(), contract.conformations(2)
    along = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    x.requires_grad_(True)
    _, force = forces(network, x, create_graph=True)
    (row,) = torch.autograd.grad((force * along).sum(), x)
    h = 1e-5
    with torch.no_grad():
        pushed = [forces(network, x.detach() + n * h * along)[1] for n in (-2, -1, 1, 2)]
    slope = (pushed[0] - 8 * pushed[1] + 8 * pushed[2] - pushed[3]) / (12 * h)
    assert (row - slope).abs().max() < 1e-6 * slope.abs().max()
