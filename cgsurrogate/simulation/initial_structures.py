"""Structures to start a simulation from that are no frames of the data: the extended chain, or a structure file."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.structure_files import bead_positions
from cgsurrogate.geometry.zmatrix import ZMatrix

BEND = 2.0  # radian, first guess of every angle
STRAIGHT = 500.0  # kJ/mol that hold a dihedral at 180 degrees
LONG, SHORT = 0.38, 0.15  # nm, first guess of a bond between CA beads, and of another


def extended(beads: Beads, energy: Energy) -> np.ndarray:
    """(N, 3) nm: the stretched molecule with the bonds, angles and chirality of ``energy``.

    Every dihedral that can be turned is held at 180 degrees while the stiff terms of the energy (bonds, angles,
    impropers) are minimised; the other terms have no say.
    """
    stiff = (
        copy.deepcopy(energy.part(stiff=True) if isinstance(energy, Sum) else Sum())
        .cpu()
        .double()
        .requires_grad_(False)
    )
    measure = Dihedrals(len(beads), Molecule.of(beads).rotatable[0]).double()
    x = _guess(beads).requires_grad_(True)
    search = torch.optim.LBFGS([x], max_iter=1000, tolerance_grad=1e-4, line_search_fn="strong_wolfe")

    def value() -> Tensor:
        search.zero_grad()
        total = stiff(x[None]).sum() + STRAIGHT * (1 + measure(x[None])[0]).sum()
        total.backward()
        return total

    search.step(value)
    found = x.detach()
    if not torch.isfinite(found).all():
        raise ValueError("no extended chain was found for this energy; start from frames instead")
    return (found - found.mean(0)).numpy().astype(np.float32)


def _guess(beads: Beads) -> Tensor:
    """(N, 3) nm float64: usual bonds and angles, dihedrals near 180 degrees, branches to the side."""
    tree = ZMatrix(beads)
    long = [beads.names[i] == beads.names[p] == "CA" for i, p in tree.refs[1:, :2]]
    bonds = torch.where(torch.tensor(long), LONG, SHORT).double()[None]
    angles = torch.full((1, len(beads) - 2), BEND, dtype=torch.float64)
    torsion = torch.from_numpy(tree.torsion)
    turns = torch.where(torsion, math.pi - 0.02, 2 * math.pi / 3).double()[None]  # not on the ridge of symmetry
    return tree.double().to_positions(bonds, angles, turns)[0]


def from_structure(beads: Beads, path: Path) -> np.ndarray:
    """(N, 3) nm: the beads of a structure file, about their centre.

    Raises:
        ValueError: the file cannot be read, or lacks one of the beads.
    """
    x = bead_positions(beads, path)
    return (x - x.mean(0)).astype(np.float32)
