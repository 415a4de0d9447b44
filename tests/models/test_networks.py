"""Networks: what an energy of bead types must do."""

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


def test_training_starts_from_the_priors(kind):
    value, force = forces(built(kind), contract.conformations(4).float())
    assert not value.any() and not force.any()


def test_weights_belong_to_bead_types(kind):
    """The same weights can be bound to another molecule."""
    network = awake(built(kind))
    other = registry.build("networks", kind, contract.chain_beads(7))
    other.load_state_dict(network.state_dict())
    x = torch.cumsum(torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(0)) * 0.2, 1)
    assert torch.isfinite(other(x)).all()
