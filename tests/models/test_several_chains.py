"""A molecule of two chains, which no bond joins: priors, force field and time-stepper take it."""

import numpy as np
import pytest
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.testing import samples

COUNT = 400


@pytest.fixture(scope="module")
def two_chains() -> Frames:
    """Two rough peptides, the second about 0.9 nm away and turning about all axes."""
    one = samples.peptide()
    n = len(one)
    beads = Beads(
        one.names * 2,
        one.types * 2,
        one.masses * 2,
        (*one.residues, *(r + 3 for r in one.residues)),
        one.residue_names * 2,
        (*one.bonds, *((i + n, j + n) for i, j in one.bonds)),
    )
    rng = np.random.default_rng(0)
    first = samples.conformations(COUNT, 1, 0.01)
    second = samples.turned(samples.conformations(COUNT, 2, 0.01)).numpy()
    second += np.array([0.9, 0, 0]) + rng.normal(0, 0.05, (COUNT, 1, 3)) - second.mean(1, keepdims=True)
    positions = np.concatenate([first.numpy() - first.numpy().mean(1, keepdims=True), second], 1)
    return Frames(beads, positions.astype(np.float32), (COUNT // 2,) * 2, 1.0, samples.TEMPERATURE)


@pytest.mark.parametrize("kind", ["autoregressive", "graph"])
def test_a_stepper_keeps_all_bonds_of_two_chains(two_chains, kind):
    torch.manual_seed(0)
    stepper = registry.build("steppers", kind, two_chains.beads, lag=1.0)
    stepper.calibrate(two_chains)
    state = stepper.start(torch.as_tensor(two_chains.positions[:20]), samples.generator())
    rows = Molecule.of(two_chains.beads).bonds
    for _ in range(5):
        state = stepper.step(state, samples.generator(1))
    length = (state.positions[:, rows[:, 0]] - state.positions[:, rows[:, 1]]).norm(dim=2)
    seen = np.linalg.norm(two_chains.positions[:, rows[:, 0]] - two_chains.positions[:, rows[:, 1]], axis=-1)
    assert torch.isfinite(state.positions).all()
    assert (abs(length - torch.as_tensor(seen.mean(0))) < 0.08).all()


@pytest.mark.parametrize("kind", ["autoregressive", "graph"])
def test_a_stepper_encodes_two_chains_without_loss(two_chains, kind):
    stepper = registry.build("steppers", kind, two_chains.beads, lag=1.0)
    stepper.calibrate(two_chains)
    x = torch.as_tensor(two_chains.positions[:50])
    again = stepper.decode(stepper.encode(x), x)
    distances = torch.cdist(x, x), torch.cdist(again, again)
    assert (distances[0] - distances[1]).abs().max() < 1e-3
    code = stepper.encode(torch.as_tensor(two_chains.positions))
    loss = stepper.loss(code[:64], code[1:65], torch.ones(64), samples.generator())
    assert torch.isfinite(loss)
