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
