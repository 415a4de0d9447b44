"""Angles and dihedrals of vectors, and distances, angles and dihedrals of a batch of positions; differentiable.

The formulas stand in ``angle``, ``dihedral`` and ``rotated`` once, for vectors along any dimension. Two classes repeat
them in an arrangement of their own, for speed: ``Dihedrals`` here, which gives no angle but its cosine and sine, and
``internal_forces.Geometry``, which keeps what its way back needs. ``measures`` has them in NumPy, for many frames.

Differences of positions come from one product with a matrix of +1 and -1 (exact in floating point, since all other
addends are zero): on small molecules this is several times faster than gathering and, backwards, scattering.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

TINY = 1e-12


def angle(first: Tensor, second: Tensor, dim: int = -1) -> Tensor:
    """Radian in [0, pi] between two vectors along ``dim``; exact to rounding everywhere, which arccos is not."""
    return torch.atan2(_norm(cross(first, second, dim), dim), (first * second).sum(dim))


def dihedral(first: Tensor, axis: Tensor, last: Tensor, dim: int = -1) -> Tensor:
    """Radian in (-pi, pi] of three vectors along ``dim``, each from a bead to the next; sign as in IUPAC and MDTraj."""
    one, two = cross(first, axis, dim), cross(axis, last, dim)
    return torch.atan2((first * two).sum(dim) * _norm(axis, dim), (one * two).sum(dim))


def rotated(arms: Tensor, axis: Tensor, cosine: Tensor, sine: Tensor, dim: int = -1) -> Tensor:
    """Vectors along ``dim``, rotated about unit vectors by an angle with this cosine and sine (Rodrigues' formula)."""
    along = (axis * arms).sum(dim, keepdim=True) * (1 - cosine)
    return arms * cosine + axis * along + cross((axis * sine).expand_as(arms), arms, dim)


def cross(first: Tensor, second: Tensor, dim: int = -1) -> Tensor:
    """The cross product along ``dim``."""
    product: Tensor = torch.linalg.cross(first, second, dim=dim)
    return product


def _norm(v: Tensor, dim: int) -> Tensor:
    return (v * v).sum(dim).sqrt()


class Differences(nn.Module):
    """(B, N, 3) -> (B, 3, M): x_j - x_i for M pairs (i, j)."""

    matrix: Tensor  # (N, M)

    def __init__(self, count: int, pairs: np.ndarray):
        super().__init__()
        matrix = torch.zeros(count, len(pairs))
        column = torch.arange(len(pairs))
        index = torch.tensor(np.reshape(pairs, (-1, 2)), dtype=torch.long)
        matrix[index[:, 1], column] = 1.0
        matrix[index[:, 0], column] = -1.0
        self.register_buffer("matrix", matrix, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        return positions.transpose(1, 2) @ self.matrix


class Cosines(nn.Module):
    """(B, N, 3) -> (B, M): the cosine of the angle at the middle of M triples."""

    def __init__(self, count: int, triples: np.ndarray):
        super().__init__()
        self.arms = Differences(count, np.concatenate([triples[:, [1, 0]], triples[:, [1, 2]]]))

    def forward(self, positions: Tensor) -> Tensor:
        arms: Tensor = self.arms(positions)
        a, b = arms.chunk(2, dim=-1)
        return (a * b).sum(1) * ((a * a).sum(1) * (b * b).sum(1)).rsqrt()


class Dihedrals(nn.Module):
    """(B, N, 3) -> cosine (B, M) and sine (B, M) of the dihedrals of M quadruples; sign as ``dihedral``."""

    def __init__(self, count: int, quadruples: np.ndarray):
        super().__init__()
        q = quadruples
        self.arms = Differences(count, np.concatenate([q[:, [0, 1]], q[:, [1, 2]], q[:, [2, 3]]]))

    def forward(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        arms: Tensor = self.arms(positions)
        a, b, c = arms.chunk(3, dim=-1)  # (B, 3, M)
        m, n = cross(a, b, dim=1), cross(b, c, dim=1)
        size = ((m * m).sum(1) * (n * n).sum(1) + TINY * TINY).rsqrt()
        return (m * n).sum(1) * size, (a * n).sum(1) * (b * b).sum(1).sqrt() * size


def multiples(cosine: Tensor, sine: Tensor, order: int) -> Tensor:
    """(..., M) cosine and sine of an angle -> (..., M, 2 order): cos, sin, cos 2, sin 2, ..."""
    out = [cosine, sine]
    c, s = cosine, sine
    for _ in range(order - 1):
        c, s = c * cosine - s * sine, s * cosine + c * sine
        out += [c, s]
    return torch.stack(out, -1)
