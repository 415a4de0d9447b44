"""Proper dihedrals, one a central bond: a Fourier series of maximum likelihood.

    U(phi) = sum_n a_n cos(n phi) + b_n sin(n phi),   n = 1 ... order

It tells a molecule from its mirror image (left from right-handed turns). A small share of uniform samples stands for
what was never seen, so that barriers stay finite. Where several molecules are fitted, each kind also has a share of the
samples of the same atoms in other residues: a kind that is in one molecule knows what a short run of it showed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Dihedrals, multiples
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors import _boltzmann_inversion
from cgsurrogate.models.priors._grouping import circular_moments
from cgsurrogate.models.priors._marginal import MarginalPrior
from cgsurrogate.models.priors._pooled import Pool

UNSEEN = 1e-5  # share of uniform samples
ODD = ("GLY", "PRO")  # residues whose dihedrals are like no other's
GRID = 360


def build(beads: Beads, order: int = 5) -> DihedralPrior:
    """Args:
    order: number of multiples of the angle.
    """
    return DihedralPrior(beads, order)


class DihedralPrior(MarginalPrior):
    """Buffers ``series`` (K, 2 order) kJ/mol of cos, sin, cos 2, sin 2, ...; ``types`` (K, 4)."""

    chiral = True
    redrawn = True
    what, periodic, kernel = "dihedrals", True, 0.03  # radian
    parted, ends = False, False  # where a torsion stands in few frames is chance, and no chemistry

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
        value = waves.flatten(1) @ self.series[self.index].flatten()
        return value if self.table.empty else value + self.table(torch.atan2(sine, cosine))

    def analytic(self) -> analytic.Analytic:
        factors = self.series[self.index].T.unflatten(0, (-1, 2)).transpose(0, 1).unsqueeze(-1).contiguous()

        def curve(angle: Tensor) -> tuple[Tensor, Tensor]:
            waves = analytic.multiples(angle, self.order)  # (2, order, M, B), and factors (2, order, M, 1)
            return (waves * factors).sum((0, 1, 2)), analytic.by_angle(waves, factors)

        return self.with_tables(curve)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Angles (B, M) radian."""
        cosine, sine = self.measure(positions)
        return torch.atan2(sine, cosine)

    def fit_kind(self, kind: int, name: str, samples: np.ndarray, share: np.ndarray, kT: float) -> None:
        from scipy.ndimage import gaussian_filter1d

        edges = np.linspace(-np.pi, np.pi, GRID + 1)
        grid = (edges[1:] + edges[:-1]) / 2
        features = np.stack([f(n * grid) for n in range(1, self.order + 1) for f in (np.cos, np.sin)], 1)
        penalty = 1e-7 * np.repeat(np.arange(1, self.order + 1) ** 4.0, 2)
        target = np.histogram(samples, bins=edges, weights=share)[0]
        rigid = circular_moments(samples[:, None], share)[1][0] < self.kernel**2
        if rigid:  # resolved no further, for the time step's sake
            target = gaussian_filter1d(target, self.kernel / (edges[1] - edges[0]), mode="wrap")
        target = (1 - UNSEEN) * target / target.sum() + UNSEEN / GRID
        a = _boltzmann_inversion.exponential_family(features, target, np.ones(GRID), penalty)
        self.series[kind] = torch.as_tensor(a * kT)
        density = np.exp((features @ a).min() - features @ a)
        self.misfit[kind] = 0.0 if rigid else _boltzmann_inversion.misfit(samples, share, grid, density)

    def alike(self, pool: Pool) -> np.ndarray:
        """Those of the same atoms, whatever the residue."""
        keys = [key.atoms for b in pool.blocks for key in self._keys(b.molecule.beads, b.rows)]
        like = [tuple((residue if residue in ODD else "", atom) for residue, atom in atoms) for atoms in keys]
        number = {one: k for k, one in enumerate(dict.fromkeys(like))}
        return np.array([number[one] for one in like])

    def switch_off(self, kind: int) -> None:
        self.series[kind] = 0.0

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
