"""Proper dihedrals, one a central bond: a Fourier series of maximum likelihood.

    U(phi) = sum_n a_n cos(n phi) + b_n sin(n phi),   n = 1 ... order

It tells a molecule from its mirror image (left from right-handed turns). A small share of uniform samples stands for
what was never seen, so that barriers stay finite.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.internal_coordinates import Dihedrals, multiples
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion
from cgsurrogate.models.priors._boltzmann_inversion import KindPrior

UNSEEN = 1e-5  # share of uniform samples
GRID = 360


def build(beads: Beads, order: int = 5) -> DihedralPrior:
    """Args:
    order: number of multiples of the angle.
    """
    return DihedralPrior(beads, order)


class DihedralPrior(KindPrior):
    """Buffers ``series`` (K, 2 order) kJ/mol of cos, sin, cos 2, sin 2, ...; ``types`` (K, 4)."""

    chiral = True
    marginal = True

    series: Tensor

    def __init__(self, beads: Beads, order: int):
        if order < 1:
            raise ValueError(f"the order of the dihedral series must be at least 1, got {order}")
        super().__init__(beads, Molecule.of(beads).dihedrals, series=(2 * order,))
        self.order = order
        self.measure = Dihedrals(len(beads), self.rows)

    def forward(self, positions: Tensor) -> Tensor:
        cosine, sine = self.measure(positions)
        waves = multiples(cosine, sine, self.order)  # (B, M, 2 order)
        return waves.flatten(1) @ self.series[self.index].flatten()

    def analytic(self) -> analytic.Analytic:
        factors = self.series[self.index].T.unflatten(0, (-1, 2)).transpose(0, 1).unsqueeze(-1).contiguous()

        def curve(angle: Tensor) -> tuple[Tensor, Tensor]:
            waves = analytic.multiples(angle, self.order)  # (2, order, M, B), and factors (2, order, M, 1)
            return (waves * factors).sum((0, 1, 2)), analytic.by_angle(waves, factors)

        return analytic.Curves(self.rows, curve)

    def _angles(self, positions: Tensor) -> Tensor:
        cosine, sine = self.measure(positions)
        return torch.atan2(sine, cosine)

    def fit(self, frames: Frames) -> None:
        edges = np.linspace(-np.pi, np.pi, GRID + 1)
        grid = (edges[1:] + edges[:-1]) / 2
        features = np.stack([f(n * grid) for n in range(1, self.order + 1) for f in (np.cos, np.sin)], 1)
        penalty = 1e-7 * np.repeat(np.arange(1, self.order + 1) ** 4.0, 2)
        for kind, name, samples, share in self.samples(self._angles, frames, "dihedrals"):
            target = np.histogram(samples, bins=edges, weights=share)[0]
            target = (1 - UNSEEN) * target / target.sum() + UNSEEN / GRID
            a = _boltzmann_inversion.exponential_family(features, target, np.ones(GRID), penalty)
            self.series[kind] = torch.as_tensor(a * frames.kT)
            self.misfit[kind] = _boltzmann_inversion.misfit(name, samples, share, grid, np.exp(-features @ a))

    def summary(self) -> list[dict[str, Any]]:
        angle = torch.linspace(-torch.pi, torch.pi, GRID, dtype=self.series.dtype)
        waves = multiples(angle.cos(), angle.sin(), self.order)
        rows = []
        for name, series, m in zip(self.names, self.series.cpu(), self.misfit, strict=True):
            value = waves @ series
            at, span = float(angle[value.argmin()]) * 180 / np.pi, float(value.max() - value.min())
            rows.append(
                {"term": f"dihedrals {name}", "lowest at (degree)": at, "span (kJ/mol)": span, "misfit": float(m)}
            )
        return rows
