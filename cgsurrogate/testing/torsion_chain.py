"""A chain whose torsions move in a potential that is known: unlimited data with known answers, for tests of verdicts.

Bonds and angles are independent normal numbers. The torsions follow overdamped Langevin dynamics (Euler-Maruyama) in

    U / kT0 = - sum_i ln sum_k w_k exp(kappa (cos(phi_i - mu_k) - 1)) - J sum_i cos(phi_i - phi_{i+1})

with three wells k, of which the last is rare. At another temperature U / kT = (T0 / T) U / kT0.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.zmatrix import ZMatrix

KELVIN = 300.0
CENTRES = (-1.2, 2.2, 0.9)  # radian
BOND, ANGLE = (0.38, 0.004), (1.9, 0.09)  # nm and radian: mean and standard deviation


@dataclasses.dataclass(frozen=True)
class TorsionChain:
    """The potential and how it is simulated.

    Attributes:
        beads: number of beads; three fewer torsions.
        wells: weights of the three wells.
        sharpness: kappa, of every well.
        coupling: J, of neighbouring torsions.
        temperature: K.
        speed: factor on all rates.
        every: steps between frames; a step moves a torsion by about 0.14 radian.
    """

    beads: int = 8
    wells: tuple[float, float, float] = (0.63, 0.36, 0.02)
    sharpness: float = 4.0
    coupling: float = 0.4
    temperature: float = KELVIN
    speed: float = 1.0
    every: int = 25

    def force(self, phi: np.ndarray) -> np.ndarray:
        """(..., torsions) -> - dU / dphi in kT of its own temperature."""
        away = phi[..., None] - np.array(CENTRES)
        heights = np.array(self.wells) * np.exp(self.sharpness * (np.cos(away) - 1))
        wells = -(heights * self.sharpness * np.sin(away)).sum(-1) / heights.sum(-1)
        step = self.coupling * np.sin(np.diff(phi, axis=-1))
        pair = np.zeros_like(phi)
        pair[..., :-1] += step
        pair[..., 1:] -= step
        return np.asarray((wells + pair) * KELVIN / self.temperature)

    def torsions(self, runs: int, length: int, rng: np.random.Generator) -> np.ndarray:
        """(runs, length, torsions) radian, after a start that is long enough to forget."""
        count = self.beads - 3
        phi = np.array(CENTRES)[rng.choice(3, (runs, count), p=np.array(self.wells) / sum(self.wells))]
        move = 0.01 * self.speed  # D dt, radian^2
        out = np.empty((runs, length, count))
        for frame in range(-length // 10, length):
            for _ in range(self.every):
                phi = phi + move * self.force(phi) + np.sqrt(2 * move) * rng.normal(size=phi.shape)
            if frame >= 0:
                out[:, frame] = phi
        return (out + np.pi) % (2 * np.pi) - np.pi

    def simulate(self, runs: int, length: int, seed: int = 0, dt: float = 1.0) -> Frames:
        """Independent runs of ``length`` frames, ``dt`` ps apart."""
        rng = np.random.default_rng(seed)
        phi = self.torsions(runs, length, rng).reshape(runs * length, -1)
        names = ("CA",) * self.beads
        bonds = tuple((k, k + 1) for k in range(self.beads - 1))
        beads = Beads(
            names, (12,) * self.beads, (12.0,) * self.beads, tuple(range(self.beads)), ("ALA",) * self.beads, bonds
        )
        tree = ZMatrix(beads, from_start=True)
        lengths = rng.normal(*BOND, (len(phi), self.beads - 1))
        angles = rng.normal(*ANGLE, (len(phi), self.beads - 2))
        parts = (torch.as_tensor(part.astype(np.float32)) for part in (lengths, angles, phi))
        positions = np.asarray(tree.to_positions(*parts))
        return Frames(beads, positions, (length,) * runs, dt, self.temperature)
