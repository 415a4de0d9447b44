"""A soft wall between beads that come closer than they were ever seen: U = k/2 (r0 - r)^2 for r < r0, else nothing.

r0 is the closest approach of each kind of pair in the frames (a low quantile), at most ``largest``. At a depth of a
fifth of r0 the wall costs ``hardness`` kT. It does not act on what was seen, and keeps a network out of where it
learned nothing. Of several molecules the kinds are of atoms, whatever their residues: two beads of one molecule that
merely never met would be a wall where they do in another.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.internal_coordinates import Differences
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation import analytic
from cgsurrogate.models.priors._kinds import KindPrior

QUANTILE = 1e-4
MOST_FRAMES = 10_000


def build(beads: Beads, separation: int = 4, hardness: float = 20.0, largest: float = 0.6) -> RepulsionPrior:
    """Args:
    separation: least number of bonds between the beads of a pair.
    hardness: kT at a depth of a fifth of the closest approach.
    largest: nm, the largest r0; beads that merely never met are not kept apart beyond it.
    """
    return RepulsionPrior(beads, separation, hardness, largest)


class RepulsionPrior(KindPrior):
    """Buffers ``closest`` r0 (nm) and ``strength`` k (kJ/mol/nm^2), (K,); ``types`` (K, 2)."""

    what, ends, residues = "repulsion", False, "none"  # how near two beads came that merely never met is chance

    closest: Tensor
    strength: Tensor

    def __init__(self, beads: Beads, separation: int, hardness: float, largest: float):
        if separation < 3 or not hardness > 0 or not largest > 0:
            raise ValueError(
                "repulsion needs a separation of at least 3 bonds, and a hardness and a largest distance above 0"
            )
        super().__init__(beads, Molecule.of(beads).pairs(separation), closest=(), strength=())
        self.hardness, self.largest = hardness, largest
        self.differences = Differences(len(beads), self.rows)

    def coordinates(self, positions: Tensor) -> Tensor:
        """Lengths (B, M) nm."""
        return self.differences(positions).square().sum(1).sqrt()

    def forward(self, positions: Tensor) -> Tensor:
        depth = (self.closest[self.index] - self.coordinates(positions)).clamp(min=0)
        return 0.5 * (depth.square() @ self.strength[self.index])

    def analytic(self) -> analytic.Analytic:
        order = np.lexsort((self.rows[:, 0], self.rows[:, 1] - self.rows[:, 0]))  # as others list all pairs
        kind = self.index[torch.from_numpy(order)]
        closest, strength = self.closest[kind][:, None], self.strength[kind][:, None]

        def curve(length: Tensor, closest: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
            depth = (closest - length).clamp_(min=0)
            slope = strength * depth
            return 0.5 * (slope * depth).sum(0), slope.neg_()

        reach = float(closest.max()) if len(order) else None
        return analytic.Curves(self.rows[order], curve, closest, strength, cutoff=reach)

    def fit(self, frames: Frames, *others: Frames) -> None:
        pool = self.pool(frames, *others, most=MOST_FRAMES)
        for kind, label in enumerate(self.names):
            samples, share = pool.samples(kind)
            order = np.argsort(samples)
            low = float(samples[order[np.searchsorted(np.cumsum(share[order]), QUANTILE)]])
            if not low > 0:
                raise ValueError(f"repulsion {label}: the closest approach is {low} nm; do two beads lie on one point?")
            closest = min(low, self.largest)
            self.closest[kind] = closest
            self.misfit[kind] = 0.0
            self.strength[kind] = 2 * self.hardness * frames.kT / (0.2 * closest) ** 2

    def summary(self) -> list[dict[str, Any]]:
        return [
            {"term": f"repulsion {name}", "r0 (nm)": float(r), "k (kJ/mol/nm^2)": float(k)}
            for name, r, k in zip(self.names, self.closest, self.strength, strict=True)
        ]
