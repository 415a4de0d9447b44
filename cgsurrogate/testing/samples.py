"""Small molecules, frames and energies on which kinds are tried."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import bead_types, registry
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads, Frames

TEMPERATURE = 300.0
# Two alanines and a cap: bonds, angles, dihedrals, branches (CB and O), and pairs far apart.
NAMES = ("N", "CA", "CB", "C", "O", "N", "CA", "CB", "C", "O", "N", "C")
RESIDUES = (0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2)
BONDS = ((0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (5, 6), (6, 7), (6, 8), (8, 9), (8, 10), (10, 11))
START = (
    (0.00, 0.00, 0.00), (0.12, 0.08, 0.02), (0.11, 0.17, 0.14), (0.24, -0.01, 0.04), (0.24, -0.13, 0.06),
    (0.36, 0.06, 0.02), (0.48, -0.02, 0.05), (0.49, -0.12, -0.06), (0.61, 0.07, 0.06), (0.61, 0.18, 0.00),
    (0.71, 0.02, 0.13), (0.84, 0.09, 0.15),
)  # fmt: skip


def peptide() -> Beads:
    """Twelve beads."""
    residue_names = tuple("ALA" if r < 2 else "NME" for r in RESIDUES)
    types = tuple(bead_types.number(r, n) for r, n in zip(residue_names, NAMES, strict=True))
    return Beads(NAMES, types, (13.0,) * len(NAMES), RESIDUES, residue_names, BONDS)


def conformations(count: int, seed: int = 0, shake: float = 0.01) -> Tensor:
    """(count, 12, 3) nm float64: one rough peptide, every bead shaken by ``shake`` nm."""
    rng = np.random.default_rng(seed)
    start = np.array(START)
    return torch.as_tensor(start + rng.normal(0, shake, (count, *start.shape)))


def frames(count: int = 300, seed: int = 1, shake: float = 0.01, **more: Any) -> Frames:
    """Frames of the peptide, one run."""
    x = conformations(count, seed, shake).numpy().astype(np.float32)
    return Frames(peptide(), x, (count,), 1.0, TEMPERATURE, **more)


def chain_beads(count: int) -> Beads:
    """A chain of ``count`` beads, each of a type of its own."""
    bonds = tuple((i, i + 1) for i in range(count - 1))
    types = tuple(range(30, 30 + count))
    return Beads(("CA",) * count, types, (13.0,) * count, tuple(range(count)), ("ALA",) * count, bonds)


def turned(x: Tensor, seed: int = 3) -> Tensor:
    """Every conformation (B, N, 3) turned and shifted by its own random rotation and vector."""
    rng = Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(len(x), 3, 3, generator=rng, dtype=x.dtype))
    turn: Tensor = q * torch.diagonal(r, dim1=1, dim2=2).sign()[:, None]
    turn[:, :, 0] *= torch.linalg.det(turn)[:, None]
    shift: Tensor = torch.randn(len(x), 1, 3, generator=rng, dtype=x.dtype)
    return shift + x @ turn.transpose(1, 2)


def generator(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


class Springs(Energy):
    """Springs along a chain, of 0.15 nm, and a soft repulsion of its ends; blind to shifts and turns."""

    def forward(self, positions: Tensor) -> Tensor:
        length = (positions[:, 1:] - positions[:, :-1]).norm(dim=-1)
        ends = torch.exp(-(positions[:, 0] - positions[:, -1]).norm(dim=-1))
        energy: Tensor = 1e4 * ((length - 0.15) ** 2).sum(1) + 5.0 * ends
        return energy


def zigzag(count: int, batch: int = 3) -> Tensor:
    """(B, N, 3) nm, a chain of springs near rest."""
    x = torch.zeros(batch, count, 3, dtype=torch.float64)
    x[..., 0] = torch.arange(count) * 0.13
    x[..., 1] = torch.arange(count) % 2 * 0.075
    return x


@functools.cache
def all_atom() -> Any:
    """An mdtraj trajectory of one frame of Ace-Ala5-NMe, 62 atoms."""
    import mdtraj

    from cgsurrogate.data import examples

    return mdtraj.load_pdb(str(examples.FOLDER / "pentalanine" / "topology.pdb"))


def shaken_atoms(count: int = 40) -> np.ndarray:
    """(count, 62, 3) nm: that peptide with every atom shaken a little."""
    peptide = all_atom()
    rng = np.random.default_rng(1)
    return np.asarray(peptide.xyz + rng.normal(0, 0.003, (count, peptide.n_atoms, 3)), np.float32)


def peptide_frames(kind: str = "backbone") -> Frames:
    """Beads of that peptide, by a kind of mapping, in two runs of 25 and 15 frames, 2 ps apart."""
    mapping = registry.build("mappings", kind, all_atom().topology)
    return Frames(mapping.beads, mapping.positions(shaken_atoms()), (25, 15), 2.0, TEMPERATURE)
