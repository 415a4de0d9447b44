"""Helix content from the CA chain alone."""

from __future__ import annotations

import numpy as np

from cgsurrogate.cv import CV, TooSmall
from cgsurrogate.cvs import _geometry as geometry
from cgsurrogate.frames import Frames

TORSION = np.deg2rad((20.0, 80.0))  # an ideal right-handed alpha helix has 50 degrees over four CA
REACH = (0.49, 0.60)  # nm from CA i to i + 2; the ideal is 0.545


def build(reference: Frames) -> Helix:
    """Share of the windows of four CA that look like a right-handed alpha helix (0 to 1)."""
    quads = [s[k : k + 4] for s in geometry.chain(reference.beads) for k in range(len(s) - 3)]
    if not quads or "CA" not in reference.beads.names:
        raise TooSmall("helix content needs at least four CA beads in a row; leave this collective variable out")
    return Helix(np.array(quads))


class Helix(CV):
    name = "helix"
    labels = ("helix",)

    def __init__(self, quads: np.ndarray) -> None:
        self.quads = quads

    def __call__(self, frames: Frames) -> np.ndarray:
        def share(x: np.ndarray) -> np.ndarray:
            turn = geometry.dihedrals(x, self.quads)
            first = geometry.distances(x, self.quads[:, [0, 2]])
            second = geometry.distances(x, self.quads[:, [1, 3]])
            right = (turn > TORSION[0]) & (turn < TORSION[1])
            for reach in (first, second):
                right &= (reach > REACH[0]) & (reach < REACH[1])
            return right.mean(1)

        return geometry.evaluate(frames, 1, share)
