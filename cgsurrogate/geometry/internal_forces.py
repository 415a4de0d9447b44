"""Internal coordinates measured, and slopes with respect to them pulled back to forces on the beads; without autograd.

Here the batch is the last dimension of every array: each operation is then a long contiguous one over replicas.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Internal

TINY = 1e-24  # under roots, so that beads on one point give finite numbers
FLAT = 1e-20  # nm^4; below it three beads are on one line and their plane has no direction
DENSE = 1 << 16  # entries of the matrix of differences above which beads are gathered by index instead


class Geometry:
    """Distances, cosines of angles, and dihedrals of (3, N, B) positions; and back from slopes to forces."""

    def __init__(self, like: Tensor, distances: np.ndarray, angles: np.ndarray, dihedrals: np.ndarray):
        a, q, self.count = angles, dihedrals, like.shape[1]
        self.sizes = len(distances), len(a), len(q)
        pairs = np.concatenate([distances, a[:, [1, 0]], a[:, [1, 2]], q[:, [0, 1]], q[:, [1, 2]], q[:, [2, 3]]])
        self.floats = 3 * max(len(pairs), 1)
        first, second = torch.as_tensor(pairs.T.copy(), dtype=torch.long, device=like.device)
        self.ends, self.matrix = (first, second), None
        if self.count * len(pairs) <= DENSE:
            row = torch.arange(len(pairs), device=like.device)
            self.matrix = torch.zeros(len(pairs), self.count, dtype=like.dtype, device=like.device)
            self.matrix[row, second] = 1.0
            self.matrix[row, first] = -1.0
            self.back = -self.matrix.T.contiguous()

    def measure(self, x: Tensor) -> tuple[Internal, tuple[Tensor, ...]]:
        """The coordinates at (3, N, B), and what ``pull`` needs: vectors (3, M, B) and what came of them."""
        if self.matrix is not None:
            v = torch.matmul(self.matrix, x)
        else:
            v = x.index_select(1, self.ends[1]).sub_(x.index_select(1, self.ends[0]))
        d, a, t = self.sizes
        square = _dot(v, v).add_(TINY)
        distances, cosines = square[:d].sqrt(), square[d : d + a]
        if a:
            inverse = (square[d : d + a] * square[d + a : d + 2 * a]).rsqrt_()
            cosines = _dot(v[:, d : d + a], v[:, d + a : d + 2 * a]).mul_(inverse)
        if not t:
            return Internal(distances, cosines, square[:0]), (v, square)
        turns = v[:, d + 2 * a :]
        planes = _cross(turns[:, : 2 * t], turns[:, t:])  # (3, 2 T, B) normal to arms 1 and 2, and to arms 2 and 3
        axis = square[d + 2 * a + t : d + 2 * a + 2 * t].sqrt()
        sine = _dot(turns[:, :t], planes[:, t:]).mul_(axis)
        angle = torch.atan2(sine, _dot(planes[:, :t], planes[:, t:]))
        return Internal(distances, cosines, angle), (v, square, planes, axis)

    def pull(self, at: Internal, kept: tuple[Tensor, ...], slopes: Internal) -> Tensor:
        """Forces (3, N, B) from slopes; the vectors are written over with the slopes along them."""
        (v, square, *rest), (d, a, t) = kept, self.sizes
        v[:, :d].mul_(slopes.distances / at.distances)
        if a:
            arms, squares = v[:, d : d + 2 * a].view(3, 2, a, -1), square[d : d + 2 * a].view(2, a, -1)
            cross = slopes.cosines * (squares[0] * squares[1]).rsqrt_()
            along = slopes.cosines * at.cosines / squares
            one = (cross * arms[:, 1]).addcmul_(along[0], arms[:, 0], value=-1)
            arms[:, 1].mul_(along[1]).neg_().addcmul_(cross, arms[:, 0])
            arms[:, 0] = one
        if t:
            planes, axis = rest
            turns = v[:, d + 2 * a :].view(3, 3, t, -1)
            planes = planes.view(3, 2, t, -1)
            planes *= (slopes.dihedrals * axis) / _dot(planes, planes).clamp_(min=FLAT)
            lean = _dot(turns[:, ::2], turns[:, 1:2]).div_(axis.square())  # (2, T, B) of the outer arms along the axis
            turns[:, ::2] = planes
            turns[:, 1] = (planes * lean).sum(1).neg_()
        if self.matrix is not None:
            return torch.matmul(self.back, v)
        out = v.new_zeros(3, self.count, v.shape[2])
        return out.index_add_(1, self.ends[0], v).index_add_(1, self.ends[1], v, alpha=-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(0)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    out = a[[1, 2, 0]].mul_(b[[2, 0, 1]])
    return out.addcmul_(a[[2, 0, 1]], b[[1, 2, 0]], value=-1)
