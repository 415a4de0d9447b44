"""Helix and strand content of each residue: in which region of the (phi, psi) plane its backbone is.

The regions are those of studies of short peptides, where hydrogen bonds and so DSSP say little (Graf et al., J. Am.
Chem. Soc. 129, 1179 (2007); Best, Buchete and Hummer, Biophys. J. 95, L07 (2008)); in degrees:

    helix           -160 < phi < -20, -120 < psi < 50
    strand          -180 < phi < -90, 50 < psi < 240, or 160 < phi < 180, 110 < psi < 180
    polyproline II  -90 < phi < -20, 50 < psi < 240
    left-handed     0 < phi < 160
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from cgsurrogate.analysis import events
from cgsurrogate.analysis.free_energy import populations
from cgsurrogate.analysis.results import BackboneRegions, Estimate
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import Blocks
from cgsurrogate.geometry import measures

REGIONS = ("helix", "strand", "polyproline II", "left-handed")


@dataclasses.dataclass(frozen=True, eq=False)
class Residues:
    """The residues of a molecule that have both phi and psi; ``names`` as "ALA 2", ``quads`` (R, 2, 4) beads."""

    names: tuple[str, ...]
    quads: np.ndarray

    @classmethod
    def of(cls, beads: Beads) -> Residues:
        found = measures.backbone_torsions(beads)
        named = dict(zip(beads.residues, beads.residue_names, strict=True))
        both = [r for kind, r in found if kind == "phi" and ("psi", r) in found]
        quads = np.array([[found["phi", r], found["psi", r]] for r in both], int).reshape(-1, 2, 4)
        return cls(tuple(f"{named[r]} {r + 1}" for r in both), quads)


def region(phi: np.ndarray, psi: np.ndarray) -> np.ndarray:
    """Number in ``REGIONS`` of angles in radians, -1 for none of them.

    >>> region(np.radians([-60, -120, -65, 60]), np.radians([-45, 130, 145, 40])).tolist()
    [0, 1, 2, 3]
    """
    phi, psi = np.degrees(phi), np.degrees(psi)
    upper = np.mod(psi, 360)  # from 0, so that 50 to 240 is in one piece
    extended = (upper > 50) & (upper < 240)
    helix = (phi > -160) & (phi < -20) & (psi > -120) & (psi < 50)
    strand = ((phi < -90) & extended) | ((phi > 160) & (psi > 110))
    proline = (phi >= -90) & (phi < -20) & extended
    return np.select([helix, strand, proline, (phi > 0) & (phi < 160)], [0, 1, 2, 3], -1)


def measure(frames: Frames, cut: Blocks, rng: np.random.Generator) -> BackboneRegions | None:
    """Share of the frames that each residue spends in each region; None where the beads have no phi and psi."""
    residues = Residues.of(frames.beads)
    if not residues.names:
        return None
    rows = []
    for quads in residues.quads:
        angles = measures.evaluate(frames, 2, functools.partial(measures.dihedrals, quads=quads))
        labels = region(angles[:, 0], angles[:, 1])
        visited = events.visits(labels, len(REGIONS), frames) if frames.time_ordered else None
        histogram = populations.state_histogram(labels, len(REGIONS), frames, cut)
        rows.append(populations.populations(histogram, rng, visited)[0])
    shares = (np.stack([getattr(row, field) for row in rows]) for field in ("value", "low", "high"))
    return BackboneRegions(residues.names, REGIONS, Estimate(*shares))
