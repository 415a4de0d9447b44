"""Angles by Boltzmann inversion: a polynomial in the cosine, with walls at the ends of the sampled range.

The volume element sin(theta) d(theta) is d(cos theta), so that in c = cos(theta) the density is exp(-U(c)/kT) without a
Jacobian, and forces stay finite at 0 and 180 degrees. U is the polynomial of maximum likelihood in u = (c - middle) /
half, u in [-1, 1] over the sampled range, which follows one hump or two; beyond it goes on as a straight line and a
harmonic wall. The fewer the samples, the more its high powers are held back: otherwise some hundred samples make an
energy with kinks, which the usual time step cannot follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Cosines
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion
from cgsurrogate.models.priors._marginal import MarginalPrior

NARROWEST = 1e-3  # half range in the cosine
SHRINKAGE = 10.0  # of the powers above a normal distribution's, in samples: few of these must not make a rough energy
LEAST_SLOPE = 0.5  # of the walls where they begin, in units of a normal distribution's slope there


def build(beads: Beads, order: int = 8) -> AnglePrior:
    """Args:
    order: degree of the polynomial, even.
    """
    return AnglePrior(beads, order)


class AnglePrior(MarginalPrior):
    """Buffers ``series`` (K, order + 1) kJ/mol of powers of u, ``centre``, ``reach`` and ``wall`` (K,)."""

    stiff = True
    redrawn = True
    what = "angles"
    kernel = 0.01  # in the cosine
    bounds = (-1.0, 1.0)

    series: Tensor
    centre: Tensor
    reach: Tensor
    wall: Tensor

    def __init__(self, beads: Beads, order: int):
        if order < 2 or order % 2:
            raise ValueError(f"the order of the angle series must be even and at least 2, got {order}")
        shapes: dict[str, tuple[int, ...]] = {"series": (order + 1,), "centre": (), "reach": (), "wall": ()}
        super().__init__(beads, Molecule.of(beads).angles, **shapes)
        self.order = order
        self.cosines = Cosines(len(beads), self.rows)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Cosines (B, M)."""
        return self.cosines(positions)

    def forward(self, positions: Tensor) -> Tensor:
        cosine = self.coordinates(positions)
        u = (cosine - self.centre[self.index]) / self.reach[self.index]
        inside = u.clamp(-1, 1)
        value, *rest = self.series.flip(1).T[:, self.index]  # powers from the highest, (M,) each
        for factor in rest:
            value = torch.addcmul(factor, value, inside)
        beyond = u - inside
        right, left = self._ends()
        line = right * beyond.clamp(min=0) + left * beyond.clamp(max=0)
        energy = (value + line + 0.5 * self.wall[self.index] * beyond.square()).sum(-1)
        return energy if self.table.empty else energy + self.table(cosine)

    def _ends(self) -> tuple[Tensor, Tensor]:
        """(M,) slopes of the walls where they begin, at the upper and the lower end of the range."""
        degree = torch.arange(1, self.order + 1, device=self.series.device, dtype=self.series.dtype)
        right = (self.series[:, 1:] * degree).sum(1)
        left = (self.series[:, 1:] * degree * (-1) ** (degree - 1)).sum(1)
        steep = LEAST_SLOPE * self.wall  # few samples at the ends can make the series fall outwards: never follow it
        return torch.maximum(right, steep)[self.index], torch.minimum(left, -steep)[self.index]

    def analytic(self) -> analytic.Analytic:
        first, second, *rest = (
            self.series.flip(1).T[:, self.index, None].contiguous()
        )  # powers from the highest, (M, 1)
        centre, scale, wall = ((v[self.index, None]) for v in (self.centre, 1 / self.reach, self.wall))
        right, left = (end[:, None] for end in self._ends())

        def curve(cosine: Tensor) -> tuple[Tensor, Tensor]:
            u = (cosine - centre) * scale
            inside = u.clamp(-1, 1)
            value, slope = torch.addcmul(second, first, inside), first
            for factor in rest:  # Horner's rule, with that of the derivative
                slope = torch.addcmul(value, slope, inside)
                value = torch.addcmul(factor, value, inside)
            beyond = u - inside
            push = torch.where(beyond > 0, right, left).addcmul_(wall, beyond, value=0.5)
            value.addcmul_(push, beyond)
            steep = push.addcmul_(wall, beyond, value=0.5)
            return value.sum(0), torch.where(beyond == 0, slope, steep).mul_(scale)

        return self.with_tables(curve)

    def fit_kind(self, kind: int, name: str, samples: np.ndarray, share: np.ndarray, kT: float) -> None:
        _, variance = _boltzmann_inversion.mean_and_variance(name, samples, share)
        low, high = _range(samples, share)
        middle, half = (low + high) / 2, max((high - low) / 2, NARROWEST)
        u = np.clip((samples - middle) / half, -1, 1)
        grid = np.linspace(-1, 1, 401)
        target = np.histogram(u, bins=np.linspace(-1.0025, 1.0025, 402), weights=share)[0]
        features = np.polynomial.chebyshev.chebvander(grid, self.order)[:, 1:]
        powers = np.arange(1, self.order + 1)
        penalty = 1e-6 * powers**2.0 + SHRINKAGE / _independent(samples, share) * (powers - 2).clip(0) ** 4.0
        a = _boltzmann_inversion.exponential_family(features, target, np.ones_like(grid), penalty)
        series = np.polynomial.chebyshev.cheb2poly(np.concatenate([[0.0], a]))
        self.series[kind] = torch.as_tensor(np.resize(series, self.order + 1) * kT)
        self.centre[kind], self.reach[kind] = middle, half
        self.wall[kind] = kT * min(half**2 / max(variance, 1e-12), 100.0)
        self.misfit[kind] = _boltzmann_inversion.misfit(u, share, grid, np.exp(-features @ a))

    def switch_off(self, kind: int) -> None:
        self.series[kind], self.wall[kind] = 0.0, 0.0

    def summary(self) -> list[dict[str, Any]]:
        rows = []
        for name, middle, half, m in zip(self.names, self.centre, self.reach, self.misfit, strict=True):
            ends = torch.stack((middle + half, middle - half)).clamp(-1, 1).acos() * (180 / torch.pi)
            low, high = (float(x) for x in ends)
            rows.append({"term": f"angles {name}", "from (degree)": low, "to (degree)": high, "misfit": float(m)})
        return rows


def _independent(samples: np.ndarray, share: np.ndarray) -> float:
    """How many samples of equal weight they are worth (Kish 1965); copies of one count as one of their joint weight."""
    _, place = np.unique(samples, return_inverse=True)
    return float(1 / np.square(np.bincount(place, share / share.sum())).sum())


def _range(samples: np.ndarray, share: np.ndarray, tail: float = 1e-4) -> tuple[float, float]:
    """Quantiles that leave out ``tail`` of the weight at each end."""
    order = np.argsort(samples)
    seen = np.cumsum(share[order])
    first, last = np.searchsorted(seen, (tail, 1 - tail)).clip(max=len(order) - 1)
    return float(samples[order[first]]), float(samples[order[last]])
