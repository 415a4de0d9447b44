"""Internal coordinates of a bead graph: bond lengths, angles and dihedrals that place every bead of a molecule.

A molecule built from them cannot break a bond that was drawn within its range, and cannot turn into its mirror image:
the sign of every dihedral is kept, and branches are placed by an improper dihedral relative to their sibling.
"""

from __future__ import annotations

import collections
import math

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.frames import Beads


class ZMatrix(nn.Module):
    """A tree over the bonds, rooted in the middle of the longest chain, so that it is as shallow as can be.

    Bead i is placed by the bond i-p, the angle i-p-q and the dihedral i-p-q-r, where p is its parent in the tree. The
    first child of p (the one with the longest branch) takes r further up the chain, which makes a torsion such as phi;
    every other child takes r = that first child, which makes an improper, and that is stiff. The root b and its first
    two children a and c need fewer: bonds b-a and b-c and the angle c-b-a. Bonds that close a ring are not used.

    Attributes:
        refs: (N, 4) rows (i, p, q, r) in the order of placement, first b, a, c; -1 where there is none.
        torsion: (N - 3,) whether the dihedral of ``refs[3 + k]`` is a torsion of the chain, else an improper.
    """

    def __init__(self, beads: Beads):
        super().__init__()
        self.refs, self.torsion = _rows(len(beads), beads.bonds)
        for name, rows in (
            ("_bonds", self.refs[1:, :2]),
            ("_angles", self.refs[2:, :3]),
            ("_dihedrals", self.refs[3:]),
            ("_back", np.argsort(self.refs[:, 0])),
        ):
            self.register_buffer(name, torch.as_tensor(rows.T.copy()), persistent=False)
        self._levels = _levels(self.refs)

    @property
    def size(self) -> int:
        """Number of internal coordinates, 3 N - 6."""
        return 3 * len(self.refs) - 6

    def to_internal(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, N, 3) nm -> bonds (B, N-1) nm, angles (B, N-2) in (0, pi) and dihedrals (B, N-3) in (-pi, pi], radians.

        Both kinds of angle are taken by atan2, which is exact to rounding everywhere (arccos is not).
        """
        i, p = positions[:, self._bonds].unbind(1)
        bonds = (i - p).norm(dim=-1)
        i, p, q = positions[:, self._angles].unbind(1)
        u, v = i - p, q - p
        angles = torch.atan2(torch.linalg.cross(u, v).norm(dim=-1), (u * v).sum(-1))
        i, p, q, r = positions[:, self._dihedrals].unbind(1)
        u, v, w = p - i, q - p, r - q
        first, second = torch.linalg.cross(u, v), torch.linalg.cross(v, w)
        sine = (u * second).sum(-1) * v.norm(dim=-1)
        return bonds, angles, torch.atan2(sine, (first * second).sum(-1))

    def to_positions(self, bonds: Tensor, angles: Tensor, dihedrals: Tensor, like: Tensor | None = None) -> Tensor:
        """The inverse: (B, N, 3) nm. Beads that do not lean on one another are placed together (cf. Parsons 2005).

        Without ``like``, bead b lies in the origin, a on the z axis and c in the half plane x > 0, y = 0. With ``like``
        (B, N, 3) the molecule has the centre of ``like`` and the directions of its beads b, a, c, so it turns with it.
        """
        zero = torch.zeros_like(bonds[:, 0])
        theta = angles[:, 0]
        first = torch.stack([zero, zero, zero], -1)
        second = torch.stack([zero, zero, bonds[:, 0]], -1)
        third = bonds[:, 1, None] * torch.stack([theta.sin(), zero, theta.cos()], -1)
        placed = torch.stack([first, second, third], 1)
        if like is not None:
            placed = placed @ self._axes(like)
        sine = angles[:, 1:].sin()
        local = torch.stack([-angles[:, 1:].cos(), sine * dihedrals.cos(), -sine * dihedrals.sin()], -1)
        local = bonds[:, 2:, None] * local
        for begin, end, p, q, r in self._levels:
            new = _extend(placed[:, p], placed[:, q], placed[:, r], local[:, begin:end])
            placed = torch.cat([placed, new], 1)
        placed = placed[:, self._back]
        if like is None:
            return placed
        return placed + (like.mean(1, keepdim=True) - placed.mean(1, keepdim=True))

    def _axes(self, positions: Tensor) -> Tensor:
        """(B, 3, 3) rows x, y, z of the frame in which b is the origin, a on z and c at x > 0, y = 0."""
        b, a, c = (positions[:, int(k)] for k in self.refs[:3, 0])
        z = _unit(a - b)
        y = _unit(torch.linalg.cross(z, c - b))
        return torch.stack([torch.linalg.cross(y, z), y, z], 1)

    def log_volume(self, bonds: Tensor, angles: Tensor) -> Tensor:
        """(B,) log |d positions / d (internal coordinates, shift, turn)| = sum 2 log bond + sum log sin angle.

        ``log p(positions) = log p(internal) - log_volume``, up to the constant volume of the turns (8 pi^2).
        """
        return 2 * bonds.log().sum(1) + angles.sin().log().sum(1)


def wrap(angle: Tensor) -> Tensor:
    """Radians into [-pi, pi]."""
    return angle - 2 * math.pi * torch.round(angle / (2 * math.pi))


def _unit(v: Tensor) -> Tensor:
    return v / v.norm(dim=-1, keepdim=True).clamp_min(1e-12)


def _extend(p: Tensor, q: Tensor, r: Tensor, local: Tensor) -> Tensor:
    """(B, K, 3) at ``local``, seen from p: along q->p, in the plane towards r's side, and out of it."""
    along = _unit(p - q)
    normal = _unit(torch.linalg.cross(r - q, along))
    across = torch.linalg.cross(along, normal)
    return p + local[..., :1] * along + local[..., 1:2] * across + local[..., 2:] * normal


def _rows(count: int, bonds: tuple[tuple[int, int], ...]) -> tuple[np.ndarray, np.ndarray]:
    """Rows (i, p, q, r) in the order of placement, sorted by level; and which of the dihedrals are torsions."""
    if count < 4:
        raise ValueError(f"internal coordinates need at least four beads, got {count}; choose a finer mapping")
    near: list[list[int]] = [[] for _ in range(count)]
    for i, j in bonds:
        near[i].append(j)
        near[j].append(i)
    reached = list(_walk(near, 0))
    if len(reached) < count:
        lost = sorted(set(range(count)) - set(reached))
        raise ValueError(
            "internal coordinates need one connected molecule, but no bonds lead from bead 0 to beads "
            f"{', '.join(map(str, lost[:5]))}{', ...' if len(lost) > 5 else ''}; map one molecule, or bond its parts"
        )
    b, parents = _middle(near, reached[-1])
    height = dict.fromkeys(parents, 0)
    for i in reversed(list(parents)):
        if parents[i] >= 0:
            height[parents[i]] = max(height[parents[i]], height[i] + 1)
    children = {i: sorted((j for j in near[i] if parents[j] == i), key=lambda j: (-height[j], j)) for i in parents}
    a, c = children[b][:2]
    rows = {b: (b, -1, -1, -1), a: (a, b, -1, -1), c: (c, b, a, -1)}
    torsion: dict[int, bool] = {}
    for i in parents:
        if i in rows:
            continue
        p = parents[i]
        torsion[i] = p != b and i == children[p][0]
        q = a if p == b else parents[p]
        if not torsion[i]:
            r = c if p == b else children[p][0]
        else:
            r = parents[q] if q != b else (a if p != a else c)
        rows[i] = (i, p, q, r)
    level = {b: 0, a: 0, c: 0}
    for i in torsion:
        _set_level(i, rows, level)
    rest = sorted(torsion, key=lambda i: (level[i], i))
    return np.array([rows[i] for i in (b, a, c, *rest)]), np.array([torsion[i] for i in rest], bool)


def _middle(near: list[list[int]], far: int) -> tuple[int, dict[int, int]]:
    """The bead in the middle of the longest chain, and the tree that is rooted there; ``far`` is one of its ends."""
    parents = _walk(near, far)
    chain = [list(parents)[-1]]
    while parents[chain[-1]] >= 0:
        chain.append(parents[chain[-1]])
    root = chain[(len(chain) - 1) // 2]
    return root, _walk(near, root)


def _walk(near: list[list[int]], start: int) -> dict[int, int]:
    """Breadth first from ``start``: each bead reached and its parent (-1 for the start), in the order reached."""
    parents = {start: -1}
    queue = collections.deque([start])
    while queue:
        i = queue.popleft()
        for j in sorted(near[i]):
            if j not in parents:
                parents[j] = i
                queue.append(j)
    return parents


def _set_level(bead: int, rows: dict[int, tuple[int, ...]], level: dict[int, int]) -> None:
    """One more than the highest level of the beads that this one leans on; a stack, since chains may be long."""
    stack = [bead]
    while stack:
        missing = [k for k in rows[stack[-1]][1:] if k not in level]
        if missing:
            stack.extend(missing)
        else:
            top = stack.pop()
            level.setdefault(top, 1 + max(level[k] for k in rows[top][1:]))


def _levels(refs: np.ndarray) -> list[tuple[int, int, Tensor, Tensor, Tensor]]:
    """(begin, end, p, q, r): rows begin:end of ``refs[3:]`` placed together, and where p, q, r stand in the order."""
    place = {int(i): k for k, i in enumerate(refs[:, 0])}
    columns = np.array([[place[int(j)] for j in row[1:]] for row in refs[3:]])
    out, begin = [], 0
    while begin < len(columns):
        end = begin + 1
        while end < len(columns) and columns[end].max() < begin + 3:
            end += 1
        out.append((begin, end, *torch.as_tensor(columns[begin:end].T.copy())))
        begin = end
    return out
