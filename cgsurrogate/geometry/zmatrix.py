"""Internal coordinates of a bead graph: bond lengths, angles and dihedrals that place every bead of a molecule.

A molecule built from them cannot break a bond that was drawn within its range, and cannot turn into its mirror image:
the sign of every dihedral is kept, and branches are placed by an improper dihedral relative to their sibling.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.bond_graph import Graph, adjacency, walk
from cgsurrogate.geometry.internal_coordinates import angle, cross, dihedral
from cgsurrogate.geometry.molecule import Molecule


class ZMatrix(nn.Module):
    """A tree over the bonds, rooted in the middle of the longest chain, so that it is as shallow as can be.

    Bead i is placed by the bond i-p, the angle i-p-q and the dihedral i-p-q-r, where p is its parent in the tree. The
    first child of p (the one with the longest branch) takes r further up the chain, which makes a torsion such as phi;
    every other child takes r = that first child, which makes an improper, and that is stiff. The root b and its first
    two children a and c need fewer: bonds b-a and b-c and the angle c-b-a. Bonds that close a ring are not used.

    With ``from_start`` the root is the first bead with two bonds, and a its child with the shorter branch. Then every
    residue is placed in the same direction, so that the coordinates of one mean the same as those of the next, from the
    first on; but there are twice as many levels.

    Attributes:
        refs: (N, 4) rows (i, p, q, r) in the order of placement, first b, a, c; -1 where there is none.
        torsion: (N - 3,) whether the dihedral of ``refs[3 + k]`` is a torsion of the chain, else an improper.
    """

    _bonds: Tensor
    _angles: Tensor
    _dihedrals: Tensor
    _back: Tensor

    def __init__(self, beads: Beads, from_start: bool = False):
        super().__init__()
        molecule = Molecule.of(beads)
        near = adjacency(len(beads), (*beads.bonds, *molecule.links))
        self.refs, self.torsion = _rows(near, from_start)
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
        """(B, N, 3) nm -> bonds (B, N-1) nm, angles (B, N-2) in (0, pi) and dihedrals (B, N-3) in (-pi, pi], radian."""
        x = positions.permute(1, 2, 0).contiguous()  # (N, 3, B): replicas innermost, which vectorises
        i, p = x[self._bonds]
        bonds = (i - p).square().sum(1).sqrt()
        i, p, q = x[self._angles]
        angles = angle(i - p, q - p, dim=1)
        i, p, q, r = x[self._dihedrals]
        return bonds.T, angles.T, dihedral(p - i, q - p, r - q, dim=1).T

    def to_positions(self, bonds: Tensor, angles: Tensor, dihedrals: Tensor, like: Tensor | None = None) -> Tensor:
        """The inverse: (B, N, 3) nm. Beads that do not lean on one another are placed together (cf. Parsons 2005).

        Without ``like``, bead b lies in the origin, a on the z axis and c in the half plane x > 0, y = 0. With ``like``
        (B, N, 3) the molecule has the centre of ``like`` and the directions of its beads b, a, c, so it turns with it.
        """
        theta = angles[:, 0]
        zero = torch.zeros_like(theta)
        first = torch.stack([zero, zero, zero])
        second = torch.stack([zero, zero, bonds[:, 0]])
        third = torch.stack([bonds[:, 1] * theta.sin(), zero, bonds[:, 1] * theta.cos()])
        placed = torch.stack([first, second, third])  # (placed, 3, B)
        if like is not None:
            placed = torch.einsum("nkb,bkl->nlb", placed, self._axes(like))
        length, bend, turn = bonds[:, 2:].T, angles[:, 1:].T, dihedrals.T
        out = length * bend.sin()
        local = torch.stack([-length * bend.cos(), out * turn.cos(), -out * turn.sin()], 1)  # (N - 3, 3, B)
        for begin, end, p, q, r in self._levels:
            placed = torch.cat([placed, _extend(placed[p], placed[q], placed[r], local[begin:end])])
        positions = placed[self._back].permute(2, 0, 1)
        if like is None:
            return positions.contiguous()
        return positions + (like.mean(1, keepdim=True) - positions.mean(1, keepdim=True))

    def _axes(self, positions: Tensor) -> Tensor:
        """(B, 3, 3) rows x, y, z of the frame in which b is the origin, a on z and c at x > 0, y = 0."""
        b, a, c = (positions[:, int(k)] for k in self.refs[:3, 0])
        z = nn.functional.normalize(a - b, dim=-1)
        y = nn.functional.normalize(torch.linalg.cross(z, c - b), dim=-1)
        return torch.stack([torch.linalg.cross(y, z), y, z], 1)


def wrap(angle: Tensor) -> Tensor:
    """Radians into [-pi, pi]."""
    return angle - 2 * math.pi * torch.round(angle / (2 * math.pi))


def _unit(v: Tensor) -> Tensor:
    """(K, 3, B) of length one along dimension 1."""
    return v * (v * v).sum(1, keepdim=True).clamp_min(1e-24).rsqrt()


def _extend(p: Tensor, q: Tensor, r: Tensor, local: Tensor) -> Tensor:
    """(K, 3, B) at ``local``, seen from p: along q->p, in the plane towards r's side, and out of it."""
    along = _unit(p - q)
    normal = _unit(cross(r - q, along, dim=1))
    across = cross(along, normal, dim=1)
    a, b, c = local[:, :1], local[:, 1:2], local[:, 2:]
    return p.addcmul(a, along).addcmul(b, across).addcmul(c, normal)


def _rows(near: Graph, from_start: bool) -> tuple[np.ndarray, np.ndarray]:
    """Rows (i, p, q, r) in the order of placement, sorted by level; and which of the dihedrals are torsions."""
    count = len(near)
    if count < 4:
        raise ValueError(f"internal coordinates need at least four beads, got {count}; choose a finer mapping")
    reached = list(walk(near, 0))
    if from_start:
        b = next(i for i in range(count) if len(near[i]) > 1)
        parents = walk(near, b)
    else:
        b, parents = _middle(near, reached[-1])
    height = dict.fromkeys(parents, 0)
    for i in reversed(list(parents)):
        if parents[i] >= 0:
            height[parents[i]] = max(height[parents[i]], height[i] + 1)
    children = {i: sorted((j for j in near[i] if parents[j] == i), key=lambda j: (-height[j], j)) for i in parents}
    a, c = reversed(children[b][:2]) if from_start else children[b][:2]
    rows: dict[int, tuple[int, ...]] = {b: (b, -1, -1, -1), a: (a, b, -1, -1), c: (c, b, a, -1)}
    torsion: dict[int, bool] = {}
    other = dict.fromkeys(near[b], a) | {a: c}  # across the root
    for i in parents:
        if i in rows:
            continue
        p = parents[i]
        torsion[i] = p != b and i == children[p][0]
        q = a if p == b else parents[p]
        further = parents[q] if q != b else other[p]
        sibling = c if p == b else children[p][0]
        rows[i] = (i, p, q, further if torsion[i] else sibling)
    level = {b: 0, a: 0, c: 0}
    for i in torsion:
        _set_level(i, rows, level)
    rest = sorted(torsion, key=lambda i: (level[i], i))
    return np.array([rows[i] for i in (b, a, c, *rest)]), np.array([torsion[i] for i in rest], bool)


def _middle(near: Graph, far: int) -> tuple[int, dict[int, int]]:
    """The bead in the middle of the longest chain, and the tree that is rooted there; ``far`` is one of its ends."""
    parents = walk(near, far)
    chain = [list(parents)[-1]]
    while parents[chain[-1]] >= 0:
        chain.append(parents[chain[-1]])
    root = chain[(len(chain) - 1) // 2]
    return root, walk(near, root)


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
