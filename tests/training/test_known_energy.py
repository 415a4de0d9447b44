"""Training on samples of a known coarse-grained energy recovers it: free energies within the errors of the samples."""

from __future__ import annotations

import math

import known_molecule
import numpy as np
import pytest
import torch
from torch import Tensor

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import kish
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.models.model import compose
from cgsurrogate.simulation.monte_carlo.block_moves import pivot_moves
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.training.force_field import train_energy
from cgsurrogate.training.settings import EnergySettings

KT, BINS, COUNT, STEPS = known_molecule.KT, 6, 2000, 800
PRIORS = [("priors", kind, {}) for kind in ("bonds", "angles", "dihedrals", "impropers", "repulsion")]


class Coupled(Energy):
    """That of ``known_molecule``, and two torsions that lean on each other, which no sum of single terms can give."""

    def __init__(self) -> None:
        super().__init__()
        self.alone = known_molecule.Known()

    def forward(self, positions: Tensor) -> Tensor:
        return self.alone(positions) + KT * coupling(torsions(positions))


def torsions(positions: Tensor) -> Tensor:
    return ZMatrix(known_molecule.BEADS).to_internal(positions)[2]


def coupling(angles: Tensor) -> Tensor:
    """(B, 2) radian -> (B,) kT, between 0 and 3."""
    return 1.5 * (1 + torch.cos(angles[:, 0] - 2 * angles[:, 1] + 0.4))


def exact(count: int, seed: int) -> Tensor:
    """(count, 5, 3) nm: independent draws of the Boltzmann distribution, by rejection."""
    many = known_molecule.exact(6 * count, seed)
    kept = torch.rand(len(many), generator=torch.Generator().manual_seed(seed)) < torch.exp(-coupling(torsions(many)))
    assert int(kept.sum()) > count
    return many[kept][:count]


def populations(positions: Tensor, weights: np.ndarray | None = None) -> np.ndarray:
    """(BINS^2,) of the two torsions, by quantiles that hold about as much each."""
    angles = torsions(positions.double()).numpy()
    edges = [np.interp(np.linspace(0, 1, BINS + 1), *reversed(known_molecule.cumulative("torsion")))] * 2
    found = np.histogram2d(*angles.T, bins=edges, weights=weights)[0].ravel()
    return np.asarray(found / found.sum())


def scores(energy: Energy, positions: Tensor, expected: np.ndarray) -> tuple[np.ndarray, float]:
    """z of each bin's free energy by the noise that ``COUNT`` frames have, and the share of effective samples.

    Exact samples are reweighted from the known energy to the learned one, so no simulation is needed.
    """
    with torch.no_grad():
        x = positions.float()
        away = (energy(x) - Coupled()(x)).double().numpy() / KT
    weights = np.exp(-(away - away.min()))
    found = populations(positions, weights)
    return np.log(found / expected) * np.sqrt(COUNT * expected), kish(weights) / len(weights)


@pytest.mark.slow
def test_a_known_energy_is_recovered_within_the_errors_of_its_samples():
    """By the default training, which ends with learning from the model's own samples."""
    torch.manual_seed(0)
    frames = Frames(known_molecule.BEADS, exact(COUNT, 1).float().numpy(), (COUNT // 4,) * 4, 1.0, 300.0)
    energy = compose(frames.beads, [*PRIORS, ("networks", "residues", {"width": 32})])

    def sampler() -> HybridSampler:
        inner = registry.build("integrators", "baoab", frames.beads, energy, 300.0)
        return HybridSampler(inner, energy, [Attempts(pivot_moves(frames.beads, energy, 300.0, frames))])

    train_energy(energy, frames, EnergySettings(steps=STEPS), sampler=sampler)
    judge, expected = exact(40_000, 2), populations(exact(200_000, 3))
    z, effective = scores(energy, judge, expected)
    alone, _ = scores(Sum(*energy.terms[:-1]), judge, expected)  # the priors, which know no coupling
    assert math.sqrt((z**2).mean()) < 1.5  # the samples themselves have 1
    assert abs(z).max() < 4
    assert effective > 0.8  # of all coordinates, bonds and angles included
    assert math.sqrt((alone**2).mean()) > 3
