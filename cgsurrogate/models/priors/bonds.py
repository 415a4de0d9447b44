"""Harmonic bonds, U = k/2 (b - b0)^2, fitted to mean and variance of each kind of bond."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.internal_coordinates import Differences
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion
from cgsurrogate.models.priors._boltzmann_inversion import KindPrior


def build(beads: Beads, narrowest: float = 0.002) -> BondPrior:
    """Args:
    narrowest: nm; a bond that varies less (a rigid one, say) is given this standard deviation, for the time step's
        sake.
    """
    return BondPrior(beads, narrowest)


class BondPrior(KindPrior):
    """Buffers ``strength`` (kJ/mol/nm^2) and ``rest`` (nm), (K,), one row a kind; ``types`` (K, 2)."""

    stiff = True
    marginal = True

    strength: Tensor
    rest: Tensor

    def __init__(self, beads: Beads, narrowest: float):
        if not narrowest > 0:
            raise ValueError(f"the narrowest bond must be above 0 nm, got {narrowest}")
        super().__init__(beads, Molecule.of(beads).bonds, strength=(), rest=())
        self.narrowest = narrowest
        self.differences = Differences(len(beads), self.rows)

    def _lengths(self, positions: Tensor) -> Tensor:
        return self.differences(positions).square().sum(1).sqrt()

    def forward(self, positions: Tensor) -> Tensor:
        stretch = self._lengths(positions) - self.rest[self.index]
        return 0.5 * (self.strength[self.index] * stretch.square()).sum(-1)

    def analytic(self) -> analytic.Analytic:
        rest, strength = self.rest[self.index][:, None], self.strength[self.index][:, None]

        def curve(length: Tensor) -> tuple[Tensor, Tensor]:
            stretch = length - rest
            slope = strength * stretch
            return 0.5 * (slope * stretch).sum(0), slope

        return analytic.Curves(self.rows, curve)

    def fit(self, frames: Frames) -> None:
        """Mean and variance of each kind. The volume element b^2 moves the most probable length by 2 kT / (k b)."""
        for kind, name, samples, share in self.samples(self._lengths, frames, "bonds"):
            mean, variance = _boltzmann_inversion.mean_and_variance(name, samples, share)
            if not mean > 0:
                raise ValueError(f"{name}: its length is {mean} nm; are two beads the same atom?")
            width = max(variance**0.5, self.narrowest)
            rest = mean - 2 * width**2 / mean
            self.strength[kind], self.rest[kind] = frames.kT / width**2, rest
            grid = np.linspace(max(1e-4, mean - 6 * width), mean + 6 * width, 400)
            density = grid**2 * np.exp(-0.5 * ((grid - rest) / width) ** 2)
            self.misfit[kind] = (
                _boltzmann_inversion.misfit(name, samples, share, grid, density) if width > self.narrowest else 0.0
            )

    def summary(self) -> list[dict[str, Any]]:
        return [
            {"term": f"bonds {name}", "k (kJ/mol/nm^2)": float(k), "b0 (nm)": float(b), "misfit": float(m)}
            for name, k, b, m in zip(self.names, self.strength, self.rest, self.misfit, strict=True)
        ]
