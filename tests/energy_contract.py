"""The contract of every energy: shape, batches, invariance, slope. Shared by the tests of priors and networks."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Energy, forces
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.models.evaluation.evaluator import Forces

# Two ALA-like residues and a cap: bonds, angles, dihedrals, branches (CB and O), and pairs far apart.
NAMES = ("N", "CA", "CB", "C", "O", "N", "CA", "CB", "C", "O", "N", "C")
RESIDUES = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2)
BONDS = ((0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (5, 6), (6, 7), (6, 8), (8, 9), (8, 10), (10, 11))


def peptide() -> Beads:
    from cgsurrogate.core import bead_types

    residue_names = tuple("ALA" if r < 2 else "NME" for r in RESIDUES)
    types = tuple(bead_types.number(r, n) for r, n in zip(residue_names, NAMES, strict=True))
    return Beads(NAMES, types, (13.0,) * len(NAMES), RESIDUES, residue_names, BONDS)


def conformations(count: int, seed: int = 0, shake: float = 0.01) -> Tensor:
    """(count, 12, 3) nm float64: one rough peptide, every bead shaken."""
    rng = np.random.default_rng(seed)
    start = np.array(
        [
            [0.00, 0.00, 0.00], [0.12, 0.08, 0.02], [0.11, 0.17, 0.14], [0.24, -0.01, 0.04], [0.24, -0.13, 0.06],
            [0.36, 0.06, 0.02], [0.48, -0.02, 0.05], [0.49, -0.12, -0.06], [0.61, 0.07, 0.06], [0.61, 0.18, 0.00],
            [0.71, 0.02, 0.13], [0.84, 0.09, 0.15],
        ]
    )  # fmt: skip
    return torch.from_numpy(start + rng.normal(0, shake, (count, *start.shape)))


def frames(count: int = 300, seed: int = 1, **more) -> Frames:
    x = conformations(count, seed).numpy().astype(np.float32)
    return Frames(peptide(), x, (count,), 1.0, 300.0, **more)


def turned(x: Tensor, seed: int = 3) -> Tensor:
    """Every conformation turned and shifted by its own random rotation and vector."""
    rng = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(len(x), 3, 3, generator=rng, dtype=x.dtype))
    q = q * torch.diagonal(r, dim1=1, dim2=2).sign()[:, None]
    q[:, :, 0] *= torch.linalg.det(q)[:, None]
    return x @ q.transpose(1, 2) + torch.randn(len(x), 1, 3, generator=rng, dtype=x.dtype)


def check(energy: Energy) -> None:
    """Every law of the contract, in float64."""
    energy = copy.deepcopy(energy).double()
    x = conformations(6)
    value, force = forces(energy, x)
    assert value.shape == (6,) and force.shape == x.shape
    assert torch.isfinite(value).all() and value.std() > 0, "an energy that does not depend on positions"
    for row in range(6):  # batch independence
        torch.testing.assert_close(energy(x[row : row + 1])[0], value[row], rtol=1e-12, atol=1e-12)
    scale = value.abs().max()
    assert (energy(turned(x)) - value).abs().max() < 1e-12 * max(scale, 1.0)
    size = force.norm(dim=2).max()
    assert force.sum(1).abs().max() < 1e-10 * size
    assert torch.linalg.cross(x, force).sum(1).abs().max() < 1e-10 * size
    mirrored = (energy(x * torch.tensor([-1.0, 1.0, 1.0])) - value).abs().max()
    if energy.handed:
        assert mirrored > 1e-3 * value.std()
    else:
        assert mirrored < 1e-12 * max(scale, 1.0)
    _check_slope(energy, x, force)
    check_fast(energy)


def rare() -> Tensor:
    """(16, 12, 3) nm: usual conformations, and ones behind walls: shaken hard, pressed together, pulled apart."""
    usual = conformations(4)
    return torch.cat((usual, conformations(4, shake=0.08), 0.4 * conformations(4, shake=0.03), 3 * usual))


def check_fast(energy: Energy) -> None:
    """What a simulation evaluates is the same energy: to rounding in float64, to 1e-4 of a frame's force in float32."""
    energy, x = copy.deepcopy(energy).double(), rare()
    value, force = forces(energy, x)
    size, span = force.norm(dim=2).amax(1).clamp(min=1e-3), value.abs().clamp(min=1.0)
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-4)):
        fast, pull = Forces(copy.deepcopy(energy).to(dtype))(x.to(dtype))
        assert pull.shape == x.shape and pull.dtype == fast.dtype == dtype
        assert ((pull - force).norm(dim=2).amax(1) / size).max() < tolerance
        assert ((fast - value).abs() / span).max() < tolerance


def _check_slope(energy: Energy, x: Tensor, force: Tensor, h: float = 1e-5) -> None:
    rng = torch.Generator().manual_seed(5)
    for _ in range(4):
        along = torch.randn(x.shape, generator=rng, dtype=x.dtype)
        with torch.no_grad():
            e = [energy(x + n * h * along) for n in (-2, -1, 1, 2)]
        slope = (e[0] - 8 * e[1] + 8 * e[2] - e[3]) / (12 * h)
        analytic = -(force * along).sum((1, 2))
        assert (slope - analytic).abs().max() < 1e-6 * analytic.abs().max()


def chain(kind: str, q: Tensor) -> Tensor:
    """A chain of four beads whose dihedral, of three whose angle, or of two whose bond is ``q`` (T,)."""
    zero, one = torch.zeros_like(q), torch.ones_like(q)
    if kind == "bond":
        return torch.stack((torch.stack((zero, zero, zero), 1), torch.stack((q, zero, zero), 1)), 1)
    if kind == "angle":
        rows = ((one, zero, zero), (zero, zero, zero), (q.cos(), q.sin(), zero))
    else:
        rows = ((zero, one, zero), (zero, zero, zero), (zero, zero, one), (-q.sin(), q.cos(), one))
    return 0.15 * torch.stack([torch.stack(row, 1) for row in rows], 1)


def chain_beads(count: int) -> Beads:
    return Beads(("CA",) * count, tuple(range(30, 30 + count)), (13.0,) * count, tuple(range(count)), ("ALA",) * count,
                 tuple((i, i + 1) for i in range(count - 1)))  # fmt: skip


def dihedral_of(x: Tensor) -> Tensor:
    cosine, sine = Dihedrals(4, np.array([[0, 1, 2, 3]])).to(x)(x)
    return torch.atan2(sine, cosine)[:, 0]


def angle_of(x: Tensor) -> Tensor:
    return Cosines(3, np.array([[0, 1, 2]])).to(x)(x).acos()[:, 0]
