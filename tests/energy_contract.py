"""The sample peptide of the contracts, and chains of one internal coordinate, for the tests of energies."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Prior
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.testing.energies import check_fast
from cgsurrogate.testing.samples import chain_beads, conformations, frames, peptide, turned

__all__ = ["chain_beads", "check_fast", "conformations", "frames", "peptide", "turned"]


def priors() -> list[Prior]:
    """All kinds, fitted to the frames of the sample peptide."""
    sample = frames()
    made: list[Prior] = [registry.build("priors", name, sample.beads) for name in registry.kinds("priors")]
    for prior in made:
        prior.fit(sample)
    return made


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


def dihedral_of(x: Tensor) -> Tensor:
    cosine, sine = Dihedrals(4, np.array([[0, 1, 2, 3]])).to(x)(x)
    return torch.atan2(sine, cosine)[:, 0]


def angle_of(x: Tensor) -> Tensor:
    return Cosines(3, np.array([[0, 1, 2]])).to(x)(x).acos()[:, 0]
