"""Many frames taken apart into bonds, angles and dihedrals, changed, and built again; arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.zmatrix import ZMatrix

CHUNK = 20_000  # frames at a time
Internal = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Bonds (T, N - 1) nm, angles (T, N - 2) and dihedrals (T, N - 3) in radian, float32."""


class Rebuilder:
    """The Z-matrix of a molecule for numpy arrays.

    Attributes:
        bonds: (N - 1, 2) the beads of each bond.
        torsion: (N - 3,) whether a dihedral is a torsion of the chain, else an improper.
    """

    def __init__(self, beads: Beads) -> None:
        self._tree = ZMatrix(beads)
        self.bonds = np.sort(self._tree.refs[1:, :2], 1)
        self.torsion = np.asarray(self._tree.torsion, bool)

    def taken_apart(self, positions: np.ndarray) -> Internal:
        """(T, N, 3) nm -> bonds, angles and dihedrals."""
        parts = self._tree.to_internal(torch.as_tensor(np.array(positions, np.float32)))
        bonds, angles, dihedrals = (np.array(part) for part in parts)
        return bonds, angles, dihedrals

    def built(self, internal: Internal) -> np.ndarray:
        """The inverse, (T, N, 3) nm; where a molecule lies and how it is turned is lost."""
        parts = (torch.as_tensor(np.asarray(part, np.float32)) for part in internal)
        return np.asarray(self._tree.to_positions(*parts))

    def changed(self, positions: np.ndarray, change: Callable[[Internal], Internal]) -> np.ndarray:
        """(T, N, 3) nm with changed internal coordinates."""
        found = np.empty(positions.shape, np.float32)
        for start in range(0, len(positions), CHUNK):
            found[start : start + CHUNK] = self.built(change(self.taken_apart(positions[start : start + CHUNK])))
        return found
