"""A structure to measure frames against, and the deviation from it: for RMSD and for native contacts."""

from __future__ import annotations

import numpy as np

from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.structure_files import bead_positions

CANDIDATES = 300


def target(reference: Frames, chosen: np.ndarray, to: str | int | np.ndarray) -> tuple[np.ndarray, str]:
    """((n, 3) nm of the chosen beads, what it is in words).

    Args:
        to: "medoid" (the frame of the reference with the least mean RMSD to a few hundred others), "first", the
            number of a frame of the reference, the path of a structure file that holds these atoms, or (N, 3) nm.
    """
    if isinstance(to, str) and to == "medoid":
        return medoid(reference, chosen), "the medoid of the reference"
    if isinstance(to, str) and to != "first":
        return bead_positions(reference.beads, to, chosen), to
    if isinstance(to, np.ndarray):
        if to.shape != (len(reference.beads), 3):
            raise ValueError(f"expected a structure of shape ({len(reference.beads)}, 3) nm, got {to.shape}")
        return to[chosen], "a given structure"
    frame = 0 if to == "first" else int(to)
    if not -len(reference) <= frame < len(reference):
        raise ValueError(f"expected a frame below {len(reference)} of the reference, got {frame}")
    return np.asarray(reference.positions[frame][chosen], float), f"frame {frame} of the reference"


def covariance(x: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """((t, n, 3) and (n, 3) without their centres, (t, 3, 3) their covariance)."""
    a = x - x.mean(1, keepdims=True)
    b = target - target.mean(0)
    return a, b, np.swapaxes(a, 1, 2) @ b


def deviation(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(t, n, 3) and (n, 3) nm -> (t,) nm, least over all turns and shifts, never over mirror images.

    The best rotation makes the trace of its product with the covariance s1 + s2 + sign(det) s3, with the singular
    values of the covariance (Kabsch 1978).
    """
    a, b, product = covariance(x, target)
    s = np.linalg.svd(product, compute_uv=False)
    best = s[:, 0] + s[:, 1] + np.sign(np.linalg.det(product)) * s[:, 2]
    squared = np.einsum("tnd,tnd->t", a, a) + np.sum(b * b) - 2 * best
    return np.asarray(np.sqrt(np.maximum(squared, 0) / len(b)))


def superposed(x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(t, n, 3) nm turned and shifted onto (n, 3) nm, whose centre moves to the origin; no mirror images."""
    a, _, product = covariance(x, target)
    u, _, v = np.linalg.svd(product)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ v))[:, None]
    return np.asarray(a @ (u @ v))


def medoid(reference: Frames, chosen: np.ndarray) -> np.ndarray:
    """(n, 3) nm of the frame with the least weighted mean RMSD to the others, over evenly spaced frames."""
    index = np.unique(np.linspace(0, len(reference) - 1, CANDIDATES).astype(int))
    x = np.asarray(reference.positions[index][:, chosen], float)
    weight = reference.probabilities[index]
    if not weight.sum():
        weight = np.ones(len(index))
    spread = [weight @ deviation(x, one) if w else np.inf for one, w in zip(x, weight, strict=True)]
    return np.asarray(x[int(np.argmin(spread))])
