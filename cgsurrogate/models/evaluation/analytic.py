"""Energies as functions of internal coordinates, with slopes written out instead of autograd's.

Here the batch is the last dimension of every array: each operation is then a long contiguous one over replicas.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Analytic, Internal

MANY = 120_000  # distances of a term (490 beads, all pairs) above which near ones are listed in every step


class Curves(Analytic):
    """A sum over coordinates of one sort, told by the width of ``rows``, each with a function of its own.

    ``curve`` takes coordinates (M, B), and parameters (M, 1), to energies (B,) and slopes (M, B).
    """

    def __init__(
        self,
        rows: np.ndarray,
        curve: Callable[..., tuple[Tensor, Tensor]],
        *parameters: Tensor,
        cutoff: float | None = None,
    ):
        self.rows, self.place, self.curve, self.parameters = rows, rows.shape[1] - 2, curve, parameters
        self.cutoff = cutoff
        setattr(self, ("distances", "angles", "dihedrals")[self.place], rows)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        if not len(at[self.place]):
            return at[self.place].sum(0)
        value, slope = self.curve(at[self.place], *self.parameters)
        slopes[self.place].add_(slope)
        return value

    def value(self, at: Internal) -> Tensor:
        if not len(at[self.place]):
            return at[self.place].sum(0)
        return self.curve(at[self.place], *self.parameters)[0]

    def chosen(self, rows: np.ndarray) -> Curves:
        index = torch.as_tensor(rows)
        return Curves(self.rows[rows], self.curve, *(p[index.to(p.device)] for p in self.parameters))


def multiples(angle: Tensor, order: int) -> Tensor:
    """(T, B) radian -> (2, order, T, B): cosine and sine of an angle and its multiples."""
    number = torch.arange(1, order + 1, device=angle.device, dtype=angle.dtype)[:, None, None]
    return torch.stack(((number * angle).cos_(), (number * angle).sin_()))


def by_angle(waves: Tensor, slopes: Tensor) -> Tensor:
    """Slopes with respect to multiples (2, order, T, B) -> the slope with respect to the angle, (T, B)."""
    number = torch.arange(1, waves.shape[1] + 1, device=waves.device, dtype=waves.dtype)[:, None, None]
    return (torch.mul(slopes[1], waves[0]).addcmul_(slopes[0], waves[1], value=-1) * number).sum(0)
