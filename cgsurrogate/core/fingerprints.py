"""Frames that two ensembles share: a number for each frame, equal where all coordinates are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from cgsurrogate.core import disk_arrays
from cgsurrogate.core.frames import Frames

PIECE = 20_000  # frames at a time
MOST_BEADS = 16  # that a fingerprint looks at
SKETCH = 256
BITS = 53  # what every reader of JSON keeps of an integer


def fingerprints(frames: Frames) -> np.ndarray:
    """(T,) uint64 below 2^53, spread evenly; two frames that differ have the same one with a chance of 1e-16."""
    found = np.empty(len(frames), np.uint64)
    for at, piece in _pieces(frames):
        found[at : at + PIECE] = piece
    return found


def _pieces(frames: Frames) -> Iterator[tuple[int, np.ndarray]]:
    """The first frame of each piece, and the fingerprints of its frames."""
    beads = np.unique(np.linspace(0, len(frames.beads) - 1, MOST_BEADS).round().astype(int))
    factors = np.random.default_rng(0).integers(1, 2**63, 3 * len(beads), dtype=np.uint64) | np.uint64(1)
    for at in range(0, len(frames), PIECE):
        piece = np.ascontiguousarray(frames.positions[at : at + PIECE][:, beads], np.float32) + np.float32(0)  # no -0
        words = piece.reshape(len(piece), -1).view(np.uint32)
        total = np.zeros(len(piece), np.uint64)
        for column, factor in zip(words.T, factors, strict=True):
            total += column.astype(np.uint64) * factor
        for shift, factor in ((31, 0x9E3779B97F4A7C15), (29, 0xBF58476D1CE4E5B9), (32, 0x94D049BB133111EB)):
            total = (total ^ (total >> np.uint64(shift))) * np.uint64(factor)
        yield at, (total ^ (total >> np.uint64(31))) >> np.uint64(64 - BITS)
        frames.release()


def digest(frames: Frames) -> str:
    """Hexadecimal sha256 of the beads, of all numbers of the frames, and of where runs begin."""
    made = hashlib.sha256(repr((frames.beads, tuple(frames.lengths), frames.dt, frames.temperature)).encode())
    for array in (frames.positions, frames.forces, frames.weights):
        made.update(str(None if array is None else array.shape).encode())
        for piece in () if array is None else disk_arrays.pieces(array):
            made.update(np.ascontiguousarray(piece).data)
    frames.release()
    return made.hexdigest()


def sketch(frames: Frames) -> tuple[int, ...]:
    """The smallest fingerprints, which are a random sample of the frames: the share of them that other frames hold is
    about the share of these frames that they hold (bottom-k sketch: Cohen and Kaplan, VLDB 2008)."""
    smallest = np.empty(0, np.uint64)
    for _, piece in _pieces(frames):
        smallest = np.unique(np.concatenate([smallest, piece]))[:SKETCH]
    return tuple(int(one) for one in smallest)
