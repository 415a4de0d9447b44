"""A graph of bonds, of beads or of atoms, and the one way in which the package walks over it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

REACH = 3  # bonds: CA, C, N, CA
Graph = list[list[int]]  # the bonded neighbours of each node, rising


def adjacency(count: int, bonds: Iterable[Iterable[int]]) -> Graph:
    """The neighbours of ``count`` nodes, from pairs of them."""
    near: Graph = [[] for _ in range(count)]
    for i, j in bonds:
        near[i].append(int(j))
        near[j].append(int(i))
    return [sorted(own) for own in near]


def walk(near: Graph, start: int, blocked: tuple[int, int] | None = None) -> dict[int, int]:
    """Breadth first: each node reached and its parent (-1 for the start), in the order reached.

    The bond ``blocked`` is not crossed in the direction that is given.
    """
    parents = {start: -1}
    queue = deque([start])
    while queue:
        i = queue.popleft()
        for j in near[i]:
            if j not in parents and (i, j) != blocked:
                parents[j] = i
                queue.append(j)
    return parents


def levels(parents: dict[int, int]) -> dict[int, int]:
    """Of each node of a walk: bonds from its start."""
    found = {-1: -1}
    for node, parent in parents.items():
        found[node] = found[parent] + 1
    del found[-1]
    return found


def parts(near: Graph) -> list[dict[int, int]]:
    """A walk over each connected part, from its lowest node."""
    found: list[dict[int, int]] = []
    seen: set[int] = set()
    for start in range(len(near)):
        if start not in seen:
            found.append(walk(near, start))
            seen.update(found[-1])
    return found


def contract(groups: list[tuple[int, ...]], bonded: Graph) -> tuple[tuple[int, int], ...]:
    """Bonds of beads: the graph of the atoms with everything unmapped taken out.

    Beads are bonded if a path of at most ``REACH`` bonds joins them through unmapped atoms alone, so neighbouring CA
    are and the two ends of a disulfide bridge are not. Parts of one molecule that stay apart are joined by the shortest
    longer paths, so that no bead is lost.
    """
    bead_of = {atom: bead for bead, atoms in enumerate(groups) for atom in atoms}
    distances: dict[tuple[int, int], int] = {}
    for bead, atoms in enumerate(groups):
        front, seen, distance = list(atoms), set(atoms), 0
        while front:
            distance += 1
            reached = [n for atom in front for n in bonded[atom] if n not in seen]
            seen.update(reached)
            front = []
            for atom in dict.fromkeys(reached):
                other = bead_of.get(atom)
                if other is None:
                    front.append(atom)
                elif other != bead:
                    pair = (min(bead, other), max(bead, other))
                    distances[pair] = min(distance, distances.get(pair, distance))
    pairs = sorted(distances, key=lambda pair: (distances[pair], pair))
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    ranked = sparse.coo_array((np.arange(1, len(pairs) + 1), (rows, columns)), shape=(len(groups), len(groups)))
    tree = {pairs[rank - 1] for rank in csgraph.minimum_spanning_tree(ranked).data.astype(int)}
    return tuple(sorted(pair for pair in pairs if distances[pair] <= REACH or pair in tree))
