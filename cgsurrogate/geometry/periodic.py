"""Molecules that a periodic box cut apart are put together again."""

from __future__ import annotations

import numpy as np

from cgsurrogate.geometry import bond_graph, measures

CUT = 0.3  # nm; no bond between heavy atoms is longer


class Unwrap:
    """Puts atoms next to those that they are bonded to, and chains next to the chain before.

    Args:
        atoms: number of atoms.
        bonds: (B, 2) pairs of atoms.
    """

    def __init__(self, atoms: int, bonds: np.ndarray):
        self.bonds = bonds
        walks = bond_graph.parts(bond_graph.adjacency(atoms, bonds))
        self.molecules = [list(walk) for walk in walks]
        self.steps = [(parent, child) for walk in walks for child, parent in walk.items() if parent >= 0]

    def __call__(self, xyz: np.ndarray, cells: np.ndarray | None) -> np.ndarray:
        """(n, A, 3) nm and cell vectors as rows (n, 3, 3) nm -> (n, A, 3) nm.

        Frames without a cell are left as they are. A shift by whole cell vectors takes each bond to its shortest
        image; this is right as long as a bond is shorter than half of the box.
        """
        if cells is None or not len(self.bonds):
            return xyz
        gap = measures.distances(xyz, self.bonds).max(1) > CUT
        frames = np.flatnonzero(gap & (np.abs(np.linalg.det(cells)) > 1e-9))
        if len(frames):
            moved = np.array(xyz[frames], float)
            cell = np.asarray(cells[frames], float)
            inverse = np.linalg.inv(cell)
            for parent, child in self.steps:
                moved[:, child] -= _shift(moved[:, child] - moved[:, parent], cell, inverse)
            xyz = xyz.copy()
            xyz[frames] = moved
        return self._together(xyz, cells) if len(self.molecules) > 1 else xyz

    def _together(self, xyz: np.ndarray, cells: np.ndarray) -> np.ndarray:
        """Each chain to the image whose centre is nearest to the centre of all chains before it."""
        frames = np.flatnonzero(np.abs(np.linalg.det(cells)) > 1e-9)
        if not len(frames):
            return xyz
        moved, cell = np.array(xyz[frames], float), np.asarray(cells[frames], float)
        inverse, placed = np.linalg.inv(cell), list(self.molecules[0])
        for molecule in self.molecules[1:]:
            apart = moved[:, molecule].mean(1) - moved[:, placed].mean(1)
            moved[:, molecule] -= _shift(apart, cell, inverse)[:, None]
            placed += molecule
        xyz = xyz.copy()
        xyz[frames] = moved
        return xyz


def _shift(vectors: np.ndarray, cell: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """(n, 3): the sum of whole cell vectors nearest to each vector."""
    cells = np.round(np.einsum("ni,nij->nj", vectors, inverse))
    return np.asarray(np.einsum("ni,nij->nj", cells, cell))
