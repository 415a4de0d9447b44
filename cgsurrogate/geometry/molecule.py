"""A molecule as its bonds make it: chain, internal coordinates, and what turns with each of them; derived once.

The angles, dihedrals and impropers listed here, with the bonds, are a complete set of internal coordinates of a
molecule without rings (as in a Z-matrix), and none of them follows from the others. The volume element is the product
of b^2 over bonds, sin(theta) over angles, and one over (improper) dihedrals, so that independent fits of each
coordinate are consistent with one another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

import numpy as np

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry import bond_graph

FAR = 1 << 20  # separation of beads that no path of bonds joins


class Molecule:
    """What follows from ``Beads``; each property is computed when it is first asked for, and read-only.

    ``Molecule.of(beads)`` gives every caller the same one.
    """

    def __init__(self, beads: Beads) -> None:
        self.beads = beads
        self.near = bond_graph.adjacency(len(beads), beads.bonds)

    @staticmethod
    def of(beads: Beads) -> Molecule:
        return _shared(beads)

    # -- the graph ----------------------------------------------------------------------------------------------------
    @cached_property
    def separations(self) -> np.ndarray:
        """(N, N) bonds on the shortest path between two beads; ``FAR`` where there is none."""
        out = np.full((len(self.beads), len(self.beads)), FAR)
        for i in range(len(out)):
            found = bond_graph.levels(bond_graph.walk(self.near, i))
            out[i, list(found)] = list(found.values())
        return _frozen(out)

    @cached_property
    def parts(self) -> np.ndarray:
        """(N,) number of the connected part that each bead belongs to."""
        out = np.zeros(len(self.beads), int)
        for number, part in enumerate(bond_graph.parts(self.near)):
            out[list(part)] = number
        return _frozen(out)

    @cached_property
    def main_chain(self) -> tuple[int, ...]:
        """The longest of all shortest paths, from its end of lower index; the first one found in each part."""
        return tuple(itertools.chain.from_iterable(self._main_chains))

    @cached_property
    def links(self) -> tuple[tuple[int, int], ...]:
        """Pairs of beads that join the connected parts to one, as if bonded: the end of each main chain to the next.

        They stand for no bond: some coordinates have to tell where a part lies. Ends are joined, since whatever hangs
        on a bead inside a chain would take the place of its neighbours in the angles around it.
        """
        return tuple((before[-1], after[0]) for before, after in itertools.pairwise(self._main_chains))

    @cached_property
    def _main_chains(self) -> tuple[tuple[int, ...], ...]:
        chains = []
        for part in bond_graph.parts(self.near):
            first = _farthest(part)
            back = bond_graph.walk(self.near, first)
            level, path = bond_graph.levels(back), [_farthest(back)]
            while path[-1] != first:
                path.append(next(j for j in self.near[path[-1]] if level[j] == level[path[-1]] - 1))
            chains.append(tuple(path if path[0] < path[-1] else path[::-1]))
        return tuple(chains)

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """The bonded beads of every bead; those on the main chain first, then by index."""
        main = set(self.main_chain)
        return [sorted(near, key=lambda j: (j not in main, j)) for near in self.near]

    def pairs(self, separation: int) -> np.ndarray:
        """(M, 2) all i < j that are at least so many bonds apart."""
        return np.argwhere(np.triu(self.separations >= separation, 1))

    # -- internal coordinates -----------------------------------------------------------------------------------------
    @cached_property
    def bonds(self) -> np.ndarray:
        """(M, 2)."""
        return _rows(self.beads.bonds, 2)

    @cached_property
    def angles(self) -> np.ndarray:
        """(M, 3) end, centre, end: every neighbour of a centre against its first neighbour."""
        return _rows(((n[0], j, k) for j, n in enumerate(self.neighbours) for k in n[1:]), 3)

    @cached_property
    def all_angles(self) -> np.ndarray:
        """(M, 3) end, centre, end: every two neighbours of a centre, also where the angle follows from others."""
        pairs = ((j, itertools.combinations(near, 2)) for j, near in enumerate(self.near))
        return _rows(((a, j, b) for j, ends in pairs for a, b in ends), 3)

    @cached_property
    def dihedrals(self) -> np.ndarray:
        """(M, 4) proper dihedrals, one for each bond that is no end: along the main chain where there is a choice."""
        near, rows = self.neighbours, []
        for b, c in self.beads.bonds:
            first, last = (next((x for x in near[p] if x != q), None) for p, q in ((b, c), (c, b)))
            if first is not None and last is not None and first != last:
                rows.append((first, b, c, last))
        return _rows(rows, 4)

    @cached_property
    def impropers(self) -> np.ndarray:
        """(M, 4) second neighbour, first neighbour, centre, branch: how a branch stands around its centre's axis."""
        return _rows(((n[1], n[0], c, s) for c, n in enumerate(self.neighbours) for s in n[2:]), 4)

    # -- what turns ---------------------------------------------------------------------------------------------------
    @cached_property
    def rotatable(self) -> tuple[np.ndarray, np.ndarray]:
        """Dihedrals that can be twisted, (M, 4), and the beads that a twist turns, (M, N) bool: the smaller side.

        A twist leaves all other bonds, angles, dihedrals and impropers of this file as they are. Bonds in rings cannot
        be twisted.
        """
        free, sides = self._beyond(self.dihedrals[:, 1:3])
        whole = self.parts[self.dihedrals[:, 1]][:, None] == self.parts
        small = sides.sum(1, keepdims=True) * 2 <= whole.sum(1, keepdims=True)
        sides = np.where(small, sides, whole & ~sides)
        return _frozen(self.dihedrals[free]), _frozen(sides[free])

    @cached_property
    def openable(self) -> tuple[np.ndarray, np.ndarray]:
        """Angles that can be opened alone, (M, 3), and the beads beyond their second arm, (M, N) bool."""
        free, sides = self._beyond(self.angles[:, 1:])
        return _frozen(self.angles[free]), _frozen(sides[free])

    def _beyond(self, bonds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of bonds (M, 2): whether they are in no ring, (M,) bool, and the beads beyond their second, (M, N) bool."""
        sides = np.zeros((len(bonds), len(self.beads)), bool)
        for side, (near, far) in zip(sides, bonds.tolist(), strict=True):
            side[list(bond_graph.walk(self.near, far, blocked=(far, near)))] = True
        return ~sides[np.arange(len(bonds)), bonds[:, 0]], sides

    # -- kinds --------------------------------------------------------------------------------------------------------
    def label(self, row: np.ndarray | tuple[int, ...], numbered: bool = False) -> str:
        """``CA-C (ALA)``, or ``C-N (ALA-GLY)`` where residues differ; ``numbered`` from 1, ``C-N (ALA 3-GLY 4)``."""
        beads = self.beads
        first = {beads.residues[i]: i for i in reversed(list(row))}
        residues = [beads.residue_names[i] + f" {r + 1}" * numbered for r, i in sorted(first.items())]
        return f"{'-'.join(beads.names[i] for i in row)} ({'-'.join(residues)})"

    def kinds(self, rows: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Rows whose beads have the same types, in order or reversed, are of one kind.

        Returns:
            (M,) the kind of each row; the label of each kind; (K, width) the bead types of each kind.
        """
        keys: dict[tuple[str, ...], int] = {}
        index, names, types = [], [], []
        for row, key in zip(rows, self.type_keys(rows), strict=True):
            if key not in keys:
                keys[key] = len(keys)
                names.append(self.label(row))
                types.append(tuple(self.beads.types[i] for i in row))
            index.append(keys[key])
        return np.asarray(index, np.int64), names, np.asarray(types, np.int64).reshape(len(types), rows.shape[1])

    def type_keys(self, rows: np.ndarray) -> list[tuple[str, ...]]:
        """What tells rows of one kind: the types of their beads, begun at the end that makes it smaller."""
        found = [tuple(self.type_key(int(i)) for i in row) for row in rows]
        return [min(key, key[::-1]) for key in found]

    def type_key(self, i: int) -> str:
        """The type of a bead as a text; of one that is in no table with its residue and its name."""
        beads = self.beads
        if beads.types[i] != bead_types.OTHER:
            return f"{beads.types[i]:05d}"
        return f"{bead_types.OTHER:05d} {beads.residue_names[i]} {beads.names[i]}"  # no table row: told apart by name


@lru_cache(maxsize=64)
def _shared(beads: Beads) -> Molecule:
    return Molecule(beads)


def _farthest(parents: dict[int, int]) -> int:
    """The node of a walk with the most bonds to its start; the lowest of several."""
    level = bond_graph.levels(parents)
    return min(level, key=lambda i: (-level[i], i))


def _rows(rows: Iterable[Sequence[int]], width: int) -> np.ndarray:
    found = np.asarray(list(rows), np.int64)
    return _frozen(found.reshape(-1, width))


def _frozen(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array
