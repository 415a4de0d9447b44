"""Priors: fits that recover known distributions, and refusals that name the term."""

from __future__ import annotations

import math

import energy_contract as contract
import numpy as np
import pytest
import torch

from cgsurrogate.core import registry, units
from cgsurrogate.core.energy import Prior
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.internal_coordinates import Dihedrals
from cgsurrogate.geometry.molecule import Molecule

KINDS = registry.kinds("priors")
KT = units.thermal_energy(300.0)


def fitted(kind: str, frames: Frames, **options) -> Prior:
    prior = registry.build("priors", kind, frames.beads, **options)
    prior.fit(frames)
    return prior


def as_frames(x: torch.Tensor, weights: np.ndarray | None = None) -> Frames:
    beads = contract.chain_beads(x.shape[1])
    return Frames(beads, x.numpy().astype(np.float32), (len(x),), 1.0, 300.0, weights=weights)


@pytest.fixture(scope="module", params=KINDS)
def kind(request) -> str:
    return request.param


def test_one_frame_is_refused_by_name(kind):
    prior = registry.build("priors", kind, contract.peptide())
    with pytest.raises(ValueError, match=rf"{kind} .*\(ALA.*two or more frames"):
        prior.fit(contract.frames(1))


def test_bonds_recover_a_spring():
    rng = np.random.default_rng(0)
    width, rest = 0.01, 0.38  # sampled with the volume element b^2 by rejection
    b = rng.normal(rest, width, 40_000)
    b = b[rng.random(len(b)) < (b / (rest + 5 * width)) ** 2]
    (row,) = fitted("bonds", as_frames(contract.chain("bond", torch.from_numpy(b)))).summary()
    assert row["k (kJ/mol/nm^2)"] == pytest.approx(KT / width**2, rel=0.05)
    assert row["b0 (nm)"] == pytest.approx(rest, abs=5 * width / math.sqrt(len(b)))


def test_an_angle_of_few_samples_has_a_smooth_energy():
    """A normal distribution has U'' = kT / variance; a rough U from few samples would ask for a shorter time step."""
    for seed in range(3):
        q = np.random.default_rng(seed).normal(2.0, 0.07, 300)
        prior = fitted("angles", as_frames(contract.chain("angle", torch.from_numpy(q)))).double()
        grid = np.linspace(q.min(), q.max(), 200)
        energy = prior(contract.chain("angle", torch.from_numpy(grid))).numpy()
        curvature = np.gradient(np.gradient(energy, grid), grid)[2:-2]
        assert np.abs(curvature).max() < 4 * KT / 0.07**2


def test_angles_recover_two_humps():
    rng = np.random.default_rng(0)
    q = np.concatenate([rng.normal(1.6, 0.12, 20_000), rng.normal(2.3, 0.12, 20_000)])
    prior = fitted("angles", as_frames(contract.chain("angle", torch.from_numpy(q)))).double()
    grid = torch.linspace(0.3, 3.1, 2000, dtype=torch.float64)
    density = grid.sin() * (-prior(contract.chain("angle", grid)) / KT).exp()
    density /= density.sum()
    assert float(density[grid < 1.95].sum()) == pytest.approx(0.5, abs=0.02)
    assert float((grid * density)[grid < 1.95].sum() / density[grid < 1.95].sum()) == pytest.approx(1.6, abs=0.02)
    outside = float(density[(grid < 1.0) | (grid > 2.9)].sum())
    assert outside < 1e-3  # walls


def test_dihedrals_recover_von_mises():
    q = np.random.default_rng(0).vonmises(-1.1, 3.0, 40_000)
    prior = fitted("dihedrals", as_frames(contract.chain("dihedral", torch.from_numpy(q)))).double()
    grid = torch.linspace(-1.1 - 1.2, -1.1 + 1.2, 50, dtype=torch.float64)
    x = contract.chain("dihedral", grid)
    torch.testing.assert_close(contract.dihedral_of(x), grid)
    exact = -3.0 * (grid + 1.1).cos() * KT
    found = prior(x)
    assert float((found - found.mean() - exact + exact.mean()).abs().max()) < 0.1 * KT


def test_impropers_recover_their_spring_and_keep_the_hand():
    beads, x = contract.peptide(), contract.conformations(20_000, shake=0.004)
    rows = Molecule.of(beads).impropers
    prior = fitted("impropers", Frames(beads, x.numpy().astype(np.float32), (len(x),), 1.0, 300.0)).double()
    cosine, sine = Dihedrals(len(beads), rows).double()(x)
    seen = torch.atan2(sine, cosine)[:, 0]
    row = prior.summary()[0]
    assert row["k (kJ/mol)"] == pytest.approx(KT / float(seen.var()), rel=0.1)
    mirrored = x[:5] * torch.tensor([-1.0, 1.0, 1.0])
    assert (prior(mirrored) - prior(x[:5])).min() > 30 * KT


def test_repulsion_acts_only_below_what_was_seen():
    frames = contract.frames(200)
    prior = fitted("repulsion", frames)
    x = torch.from_numpy(frames.positions)
    assert float((prior(x) > 0).float().mean()) < 0.3  # a few lie below the quantile
    assert (prior(0.5 * x) > 10 * KT).all()


def test_every_bead_is_placed_by_three_internal_coordinates():
    beads = contract.peptide()
    count = len(Molecule.of(beads).bonds) + len(Molecule.of(beads).angles)
    count += len(Molecule.of(beads).dihedrals) + len(Molecule.of(beads).impropers)
    assert count == 3 * len(beads) - 6
