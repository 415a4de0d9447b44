"""Vectors of a periodic cell from its sides and angles."""

from __future__ import annotations

from typing import Any

import numpy as np


def vectors(sides: Any, angles: Any) -> np.ndarray | None:
    """(n, 3) lengths and (n, 3) degrees -> (n, 3, 3) rows in the unit of the lengths; None where a length is 0."""
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    if sides is None or not np.asarray(sides).all():
        return None
    both = np.asarray(sides, float).T, np.asarray(angles, float).T
    return np.stack(lengths_and_angles_to_box_vectors(*both[0], *both[1]), axis=1)


def charmm(six: np.ndarray) -> np.ndarray | None:
    """The six numbers of a box in a DCD file (n, 6) -> (n, 3, 3) in its unit; None where a length is 0.

    Three conventions are about: lengths with cosines or with degrees between them, and, of newer CHARMM, the symmetric
    matrix of the box. As cosines are below 1 and degrees positive and below 180, the numbers tell.
    """
    sides, others = six[:, [0, 2, 5]], six[:, [4, 3, 1]]  # alpha, beta, gamma
    if (np.abs(others) <= 1).all():
        return vectors(sides, 90 - np.degrees(np.arcsin(others)))
    degrees = vectors(sides, others) if ((others > 0) & (others < 180)).all() else None
    if degrees is not None and np.isfinite(degrees).all():
        return degrees
    return six[:, [[0, 1, 3], [1, 2, 4], [3, 4, 5]]] if six[:, [0, 2, 5]].all() else None
