"""A graph of bonds, of beads or of atoms, and the one way in which the package walks over it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

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
