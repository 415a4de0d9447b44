"""Helix content from the CA chain alone."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures

TORSION = np.deg2rad((20.0, 80.0))  # an ideal right-handed alpha helix has 50 degrees over four CA
REACH = (0.49, 0.60)  # nm from CA i to i + 2; the ideal is 0.545


def build(reference: Frames, row: int = 1) -> OfPositions:
    """Share of the windows of four CA that look like a right-handed alpha helix (0 to 1).

    Args:
        row: count only windows with so many in a row. One counts every turn as well; DSSP calls helix (H) what has two
            hydrogen-bonded turns one after the other, which is about three.
    """
    if row < 1:
        raise ValueError(f"expected at least one window in a row, got {row}")
    windows = [s[k : k + 4] for s in measures.chain(reference.beads) for k in range(len(s) - 3)]
    if not windows or "CA" not in reference.beads.names:
        raise TooSmall("helix content needs at least four CA beads in a row; leave this collective variable out")
    if row > len(windows):
        raise TooSmall(f"{row} helical windows in a row need at least {row + 3} CA beads; ask for fewer")
    quads = np.array(windows)
    joined = (quads[1:, :3] == quads[:-1, 1:]).all(1)  # whether a window follows on the one before

    def share(x: np.ndarray) -> np.ndarray:
        turn = measures.dihedrals(x, quads)
        right = (turn > TORSION[0]) & (turn < TORSION[1])
        for ends in ([0, 2], [1, 3]):
            reach = measures.distances(x, quads[:, ends])
            right &= (reach > REACH[0]) & (reach < REACH[1])
        return _in_a_row(right, joined, row).mean(1)

    return OfPositions("helix", ("helix",), share)


def _in_a_row(right: np.ndarray, joined: np.ndarray, row: int) -> np.ndarray:
    """(t, W) windows -> those that lie in a stretch of ``row`` or more."""
    first = right.copy()  # whether a stretch of k windows starts here
    for k in range(1, row):
        follows = np.zeros_like(first)
        follows[:, :-k] = right[:, k:]
        follows[:, : len(joined) - k + 1] &= joined[k - 1 :]
        first &= follows
    kept = first.copy()
    for k in range(1, row):
        kept[:, k:] |= first[:, :-k]
    return kept
