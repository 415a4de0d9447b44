"""Harmonic bonds, U = k/2 (b - b0)^2, fitted to mean and variance of each kind of bond."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Differences
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion
from cgsurrogate.models.priors._marginal import MarginalPrior


def build(beads: Beads, narrowest: float = 0.002) -> BondPrior:
    """Args:
    narrowest: nm; a bond that varies less (a rigid one, say) is given this standard deviation, for the time step's
        sake.
    """
    return BondPrior(beads, narrowest)


class BondPrior(MarginalPrior):
    """Buffers ``strength`` (kJ/mol/nm^2) and ``rest`` (nm), (K,), one row a kind; ``types`` (K, 2)."""

    stiff = True
    what = "bonds"
    bounds, power = (1e-4, math.inf), 2

    strength: Tensor
    rest: Tensor

    def __init__(self, beads: Beads, narrowest: float):
        if not narrowest > 0:
            raise ValueError(f"the narrowest bond must be above 0 nm, got {narrowest}")
        super().__init__(beads, Molecule.of(beads).bonds, strength=(), rest=())
        self.narrowest = self.kernel = narrowest
        self.differences = Differences(len(beads), self.rows)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Lengths (B, M) nm."""
        return self.differences(positions).square().sum(1).sqrt()

    def forward(self, positions: Tensor) -> Tensor:
        length = self.coordinates(positions)
        value = 0.5 * (self.strength[self.index] * (length - self.rest[self.index]).square()).sum(-1)
        return value if self.table.empty else value + self.table(length)

    def analytic(self) -> analytic.Analytic:
        rest, strength = self.rest[self.index][:, None], self.strength[self.index][:, None]

        def curve(length: Tensor) -> tuple[Tensor, Tensor]:
            stretch = length - rest
            slope = strength * stretch
            return 0.5 * (slope * stretch).sum(0), slope

        return self.with_tables(curve)

    def fit_kind(self, kind: int, name: str, samples: np.ndarray, share: np.ndarray, kT: float) -> None:
        """From mean and variance. The volume element b^2 moves the most probable length by 2 kT / (k b)."""
        mean, variance = _boltzmann_inversion.mean_and_variance(name, samples, share)
        if not mean > 0:
            raise ValueError(f"{name}: its length is {mean} nm; are two beads the same atom?")
        width = max(variance**0.5, self.narrowest)
        rest = mean - 2 * width**2 / mean
        self.strength[kind], self.rest[kind], self.misfit[kind] = kT / width**2, rest, 0.0
        if width > self.narrowest:
            grid = np.linspace(max(1e-4, mean - 6 * width), mean + 6 * width, 400)
            density = grid**2 * np.exp(-0.5 * ((grid - rest) / width) ** 2)
            self.misfit[kind] = _boltzmann_inversion.misfit(samples, share, grid, density)

    def switch_off(self, kind: int) -> None:
        self.strength[kind] = 0.0

    def summary(self) -> list[dict[str, Any]]:
        return [
            {"term": f"bonds {name}", "k (kJ/mol/nm^2)": float(k), "b0 (nm)": float(b), "misfit": float(m)}
            for name, k, b, m in zip(self.names, self.strength, self.rest, self.misfit, strict=True)
        ]
