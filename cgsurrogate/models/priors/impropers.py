"""How branches stand: U = k (1 - cos(chi - chi0)) for the improper dihedral of a bead that leaves the main chain.

CB of an amino acid stays on its side (L for ever: the other side lies about 1.5 k, hundreds of kT, above), and the
carbonyl O in its plane. Near chi0 this is harmonic with the strength k, fitted to the circular variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion
from cgsurrogate.models.priors._marginal import MarginalPrior

NARROWEST = 0.02  # radian


def build(beads: Beads) -> ImproperPrior:
    return ImproperPrior(beads)


class ImproperPrior(MarginalPrior):
    """Buffers ``strength`` k (kJ/mol) and ``rest`` chi0 (radian), (K,); ``types`` (K, 4)."""

    stiff = True
    chiral = True
    what, periodic, kernel = "impropers", True, 0.03  # radian

    strength: Tensor
    rest: Tensor

    def __init__(self, beads: Beads):
        super().__init__(beads, Molecule.of(beads).impropers, strength=(), rest=())
        self.measure = Dihedrals(len(beads), self.rows)

    def forward(self, positions: Tensor) -> Tensor:
        cosine, sine = self.measure(positions)
        rest, strength = self.rest[self.index], self.strength[self.index]
        value = (strength * (1 - cosine * rest.cos() - sine * rest.sin())).sum(-1)
        return value if self.table.empty else value + self.table(torch.atan2(sine, cosine))

    def analytic(self) -> analytic.Analytic:
        rest, strength = self.rest[self.index][:, None], self.strength[self.index][:, None]

        def curve(angle: Tensor) -> tuple[Tensor, Tensor]:
            away = angle - rest
            return (strength * (1 - away.cos())).sum(0), away.sin_().mul_(strength)

        return self.with_tables(curve)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Angles (B, M) radian."""
        cosine, sine = self.measure(positions)
        return torch.atan2(sine, cosine)

    def fit_kind(self, kind: int, name: str, samples: np.ndarray, share: np.ndarray, kT: float) -> None:
        rest = float(np.angle(share @ np.exp(1j * samples)))
        away = (samples - rest + np.pi) % (2 * np.pi) - np.pi
        _, variance = _boltzmann_inversion.mean_and_variance(name, away, share)
        rigid = variance <= NARROWEST**2
        k = 1 / NARROWEST**2 if rigid else _concentration(float(1 - share @ np.cos(away)))
        self.strength[kind], self.rest[kind], self.misfit[kind] = k * kT, rest, 0.0
        if not rigid:
            grid = np.linspace(-np.pi, np.pi, 1441)
            density = np.exp(-k * (1 - np.cos(grid)))
            self.misfit[kind] = _boltzmann_inversion.misfit(away, share, grid, density)

    def switch_off(self, kind: int) -> None:
        self.strength[kind] = 0.0

    def summary(self) -> list[dict[str, Any]]:
        return [
            {
                "term": f"impropers {name}",
                "k (kJ/mol)": float(k),
                "chi0 (degree)": float(c) * 180 / np.pi,
                "misfit": float(m),
            }
            for name, k, c, m in zip(self.names, self.strength, self.rest, self.misfit, strict=True)
        ]


def _concentration(spread: float) -> float:
    """k/kT of the von Mises density whose mean of 1 - cos is ``spread``: 1 - I1(k)/I0(k) = spread."""
    from scipy.optimize import brentq
    from scipy.special import ive

    return float(brentq(lambda k: 1 - ive(1, k) / ive(0, k) - min(spread, 1 - 1e-6), 1e-6, 1e6))
