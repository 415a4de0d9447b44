"""Energies as functions of internal coordinates, with slopes written out instead of autograd's.

Here the batch is the last dimension of every array: each operation is then a long contiguous one over replicas.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TINY = 1e-24  # under roots, so that beads on one point give finite numbers
FLAT = 1e-20  # nm^4; below it three beads are on one line and their plane has no direction
DENSE = 1 << 16  # entries of the matrix of differences above which beads are gathered by index instead


class Internal(NamedTuple):
    """Internal coordinates of a batch, or the slopes of an energy with respect to them."""

    distances: Tensor  # (D, B) nm
    cosines: Tensor  # (A, B) of angles
    dihedrals: Tensor  # (2, T, B) cosine and sine; as a slope (T, B) per radian


class Analytic(abc.ABC):
    """An energy as a function of internal coordinates that knows its slopes: what a simulation evaluates.

    ``fast.Forces`` measures the coordinates of all terms at once and pulls all slopes back to the beads at once.
    Constants are those of the moment when it was made. ``floats`` is the size of its largest arrays, per replica.
    """

    distances: np.ndarray = np.zeros((0, 2), int)  # (D, 2) the beads of each coordinate
    angles: np.ndarray = np.zeros((0, 3), int)  # (A, 3)
    dihedrals: np.ndarray = np.zeros((0, 4), int)  # (T, 4)
    floats: int = 1

    @abc.abstractmethod
    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        """Energies (B,) kJ/mol; adds its dU/dq to ``slopes``."""


class Curves(Analytic):
    """A sum over coordinates of one sort, told by the width of ``rows``, each with a function of its own.

    ``curve`` takes coordinates (M, B), or (2, M, B) for dihedrals, to energies (B,) and slopes (M, B).
    """

    def __init__(self, rows: np.ndarray, curve: Callable[[Tensor], tuple[Tensor, Tensor]]):
        self.place, self.curve = rows.shape[1] - 2, curve
        setattr(self, ("distances", "angles", "dihedrals")[self.place], rows)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        value, slope = self.curve(at[self.place])
        slopes[self.place].add_(slope)
        return value


def multiples(turn: Tensor, order: int) -> Tensor:
    """Cosine and sine (2, T, B) of an angle -> (order, 2, T, B), those of its multiples."""
    out = turn.new_empty(order, *turn.shape)
    out[0] = turn
    cosine, sine = turn
    for last, new in zip(out[:-1], out[1:], strict=True):
        torch.mul(last, cosine, out=new)
        new[0].addcmul_(last[1], sine, value=-1)
        new[1].addcmul_(last[0], sine)
    return out


def by_angle(waves: Tensor, slopes: Tensor) -> Tensor:
    """Slopes with respect to multiples (order, 2, T, B) -> the slope with respect to the angle, (T, B)."""
    number = torch.arange(1, len(waves) + 1, device=waves.device, dtype=waves.dtype)[:, None, None]
    return (torch.mul(slopes[:, 1], waves[:, 0]).addcmul_(slopes[:, 0], waves[:, 1], value=-1) * number).sum(0)


class Geometry:
    """Distances, cosines of angles, and dihedrals of (3, N, B) positions; and back from slopes to forces."""

    def __init__(self, like: Tensor, distances: np.ndarray, angles: np.ndarray, dihedrals: np.ndarray):
        a, q, self.count = angles, dihedrals, like.shape[1]
        pairs = np.concatenate(
            [distances, a[:, [1, 0]], a[:, [1, 2]], q[:, [0, 1]], q[:, [1, 2]], q[:, [2, 3]]]  # vectors i -> j
        )
        self.sizes = [len(distances), len(a), len(a), len(q), len(q), len(q)]
        self.floats = max(3 * len(pairs), 1)
        first, second = torch.as_tensor(pairs.T.copy(), dtype=torch.long, device=like.device)
        self.ends, self.matrix = (first, second), None
        if self.count * len(pairs) <= DENSE:
            matrix = torch.zeros(len(pairs), self.count, dtype=like.dtype, device=like.device)
            row = torch.arange(len(pairs), device=like.device)
            matrix[row, second] = 1.0
            matrix[row, first] = -1.0
            self.matrix, self.back = matrix, -matrix.T.contiguous()

    def measure(self, x: Tensor) -> tuple[Internal, Tensor]:
        """The coordinates at (3, N, B), and the vectors (3, M, B) between the beads of each."""
        if self.matrix is not None:
            v = torch.matmul(self.matrix, x)
        else:
            v = x.index_select(1, self.ends[1]).sub_(x.index_select(1, self.ends[0]))
        r, p, q, a, b, c = v.split(self.sizes, 1)
        distances = _dot(r, r).add_(TINY).sqrt_()
        cosines = _dot(p, q) * (_dot(p, p) * _dot(q, q)).add_(TINY * TINY).rsqrt_() if p.shape[1] else p[0]
        if not a.shape[1]:
            return Internal(distances, cosines, a[:2]), v
        m, n = _cross(a, b), _cross(b, c)
        size = (_dot(m, m) * _dot(n, n)).add_(TINY).rsqrt_()
        turn = torch.stack((_dot(m, n) * size, _dot(a, n).mul_(_dot(b, b).sqrt_()).mul_(size)))
        return Internal(distances, cosines, turn), v

    def pull(self, v: Tensor, at: Internal, slopes: Internal) -> Tensor:
        """Forces (3, N, B) from slopes; the vectors are written over with the slopes along them."""
        r, p, q, a, b, c = v.split(self.sizes, 1)
        r.mul_(slopes.distances / at.distances)
        if p.shape[1]:
            pp, qq = _dot(p, p).add_(TINY), _dot(q, q).add_(TINY)
            cross, along = slopes.cosines * (pp * qq).rsqrt_(), slopes.cosines * at.cosines
            one = cross * q - (along / pp) * p
            q.copy_(cross * p - (along / qq) * q)
            p.copy_(one)
        if a.shape[1]:
            m, n = _cross(a, b), _cross(b, c)
            bb = _dot(b, b).add_(TINY)
            twist = slopes.dihedrals * bb.sqrt()
            ab, cb = _dot(a, b).div_(bb), _dot(c, b).div_(bb)
            torch.mul(m, twist / _dot(m, m).clamp_(min=FLAT), out=a)
            torch.mul(n, twist / _dot(n, n).clamp_(min=FLAT), out=c)
            torch.mul(a, ab, out=b).addcmul_(c, cb).neg_()
        if self.matrix is not None:
            return torch.matmul(self.back, v)
        out = v.new_zeros(3, self.count, v.shape[2])
        return out.index_add_(1, self.ends[0], v).index_add_(1, self.ends[1], v, alpha=-1)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(0)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    out = torch.empty_like(a, memory_format=torch.contiguous_format)
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        torch.mul(a[i], b[j], out=out[k]).addcmul_(a[j], b[i], value=-1)
    return out
