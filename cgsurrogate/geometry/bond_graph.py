"""What the bonds of a molecule say: its chain, its angles and dihedrals, and what turns when a bond is twisted.

The angles, dihedrals and impropers listed here, with the bonds, are a complete set of internal coordinates of a
molecule without rings (as in a Z-matrix), and none of them follows from the others. The volume element is the product
of b^2 over bonds, sin(theta) over angles, and one over (improper) dihedrals, so that independent fits of each
coordinate are consistent with one another.
"""

from __future__ import annotations

import itertools
from collections import deque

import numpy as np

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads

FAR = 1 << 20  # separation of beads that no path of bonds joins


def neighbours(beads: Beads) -> list[list[int]]:
    """The bonded beads of every bead; those on the main chain first, then by index."""
    main = set(main_chain(beads))
    return [sorted(near, key=lambda j: (j not in main, j)) for near in _adjacency(beads)]


def _adjacency(beads: Beads) -> list[list[int]]:
    near: list[list[int]] = [[] for _ in range(len(beads))]
    for i, j in beads.bonds:
        near[i].append(j)
        near[j].append(i)
    return near


def _distances(near: list[list[int]], start: int, blocked: tuple[int, int] | None = None) -> np.ndarray:
    """(N,) bonds from ``start`` to every bead, not crossing the ``blocked`` bond."""
    steps = np.full(len(near), FAR)
    steps[start] = 0
    queue = deque([start])
    while queue:
        i = queue.popleft()
        for j in near[i]:
            if steps[j] == FAR and (i, j) != blocked and (j, i) != blocked:
                steps[j] = steps[i] + 1
                queue.append(j)
    return steps


def separations(beads: Beads) -> np.ndarray:
    """(N, N) bonds on the shortest path between two beads; ``FAR`` where there is none."""
    near = _adjacency(beads)
    return np.stack([_distances(near, i) for i in range(len(beads))])


def main_chain(beads: Beads) -> list[int]:
    """The longest of all shortest paths, from its end of lower index; the first one found in each molecule part."""
    near, chain = _adjacency(beads), []
    seen: set[int] = set()
    for start in range(len(beads)):
        if start in seen:
            continue
        reach = _distances(near, start)
        part = np.flatnonzero(reach < FAR)
        seen.update(part.tolist())
        first = int(part[np.argmax(reach[part])])
        back = _distances(near, first)
        last = int(part[np.argmax(back[part])])
        path = [last]
        while path[-1] != first:
            path.append(next(j for j in near[path[-1]] if back[j] == back[path[-1]] - 1))
        chain.extend(path if path[0] < path[-1] else path[::-1])
    return chain


def _rows(rows: list[tuple[int, ...]], width: int) -> np.ndarray:
    return np.asarray(rows, dtype=np.int64).reshape(len(rows), width)


def bonds(beads: Beads) -> np.ndarray:
    """(M, 2)."""
    return _rows(list(beads.bonds), 2)


def angles(beads: Beads) -> np.ndarray:
    """(M, 3) end, centre, end: every neighbour of a centre against its first neighbour."""
    near = neighbours(beads)
    return _rows([(n[0], j, k) for j, n in enumerate(near) for k in n[1:]], 3)


def dihedrals(beads: Beads) -> np.ndarray:
    """(M, 4) proper dihedrals, one for each bond that is no end: along the main chain where there is a choice."""
    near = neighbours(beads)
    rows = []
    for b, c in beads.bonds:
        ends = [next((x for x in near[p] if x != q), None) for p, q in ((b, c), (c, b))]
        if None not in ends and ends[0] != ends[1]:
            rows.append((ends[0], b, c, ends[1]))
    return _rows(rows, 4)


def impropers(beads: Beads) -> np.ndarray:
    """(M, 4) second neighbour, first neighbour, centre, branch: how a branch stands around the axis of its centre."""
    near = neighbours(beads)
    return _rows([(n[1], n[0], c, s) for c, n in enumerate(near) for s in n[2:]], 4)


def turned(beads: Beads, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which dihedrals (M, 4) can be twisted, (M,) bool, and the beads that a twist turns, (M, N) bool.

    A twist leaves all other bonds, angles, dihedrals and impropers of this file as they are. Bonds in rings cannot be
    twisted. The smaller side of a bond is turned.
    """
    near = _adjacency(beads)
    free, sides = [], []
    for _, b, c, _ in rows:
        side = _distances(near, int(c), (int(b), int(c))) < FAR
        free.append(not side[b])
        whole = _distances(near, int(b)) < FAR
        sides.append(side if side.sum() * 2 <= whole.sum() else whole & ~side)
    return np.array(free, bool).reshape(-1), np.array(sides, bool).reshape(len(rows), len(beads))


def label(beads: Beads, row: np.ndarray | tuple[int, ...]) -> str:
    """``CA-C (ALA)``, or ``C-N (ALA-GLY)`` where residues differ."""
    residues = [beads.residue_names[i] for _, i in sorted({beads.residues[i]: i for i in reversed(list(row))}.items())]
    return f"{'-'.join(beads.names[i] for i in row)} ({'-'.join(residues)})"


def kinds(beads: Beads, rows: np.ndarray) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Rows whose beads have the same types, in order or reversed, are of one kind.

    Returns:
        (M,) the kind of each row; the label of each kind; (K, width) the bead types of each kind.
    """
    keys: dict[tuple[str, ...], int] = {}
    index, names, types = [], [], []
    for row in rows:
        key = tuple(_type_key(beads, int(i)) for i in row)
        key = min(key, key[::-1])
        if key not in keys:
            keys[key] = len(keys)
            names.append(label(beads, row))
            types.append(tuple(beads.types[i] for i in row))
        index.append(keys[key])
    return np.asarray(index, np.int64), names, _rows(types, rows.shape[1])


def _type_key(beads: Beads, i: int) -> str:
    if beads.types[i] != bead_types.OTHER:
        return f"{beads.types[i]:05d}"
    return f"{bead_types.OTHER:05d} {beads.residue_names[i]} {beads.names[i]}"  # no table row: told apart by name


def pairs(beads: Beads, separation: int) -> np.ndarray:
    """(M, 2) all i < j that are at least so many bonds apart."""
    apart = separations(beads)
    rows = [(i, j) for i, j in itertools.combinations(range(len(beads)), 2) if apart[i, j] >= separation]
    return _rows(rows, 2)


def swung(beads: Beads, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which angles (M, 3) can be opened alone, (M,) bool, and the beads beyond their second arm, (M, N) bool."""
    near = _adjacency(beads)
    free, sides = [], []
    for _, centre, end in rows:
        side = _distances(near, int(end), (int(centre), int(end))) < FAR
        free.append(not side[centre])
        sides.append(side)
    return np.array(free, bool).reshape(-1), np.array(sides, bool).reshape(len(rows), len(beads))
