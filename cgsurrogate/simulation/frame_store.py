"""Blocks of frames in the order in which they were simulated become runs, a replica each, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cgsurrogate.core import filesystem

PIECE_BYTES = 256 << 20  # memory for turning blocks into runs

Part = tuple[list[np.ndarray], list[tuple[int, int]]]
"""Blocks (n, R, ...) of one simulation, and (replica, frames) of each of its runs."""


def turn(parts: Sequence[Part], path: Path) -> None:
    """Write blocks (n, R, N, 3) as one array of runs (T, N, 3), those of one part after those of the other."""
    beads = next(blocks[0].shape[2] for blocks, _ in parts if blocks)
    shape = (sum(count for _, runs in parts for _, count in runs), beads, 3)
    with filesystem.replacing(path) as handle:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for part in parts:
            _write(handle, *part)


def _write(handle: IO[bytes], blocks: list[np.ndarray], runs: list[tuple[int, int]]) -> None:
    """The runs one after the other, a few replicas at a time (``PIECE_BYTES``)."""
    together = max(1, PIECE_BYTES // max(1, sum(block[:, 0].nbytes for block in blocks)))
    for begin in range(0, len(runs), together):
        group = runs[begin : begin + together]
        if together == 1:  # one run alone may exceed the limit
            for piece in _pieces(blocks, group[0][1]):
                handle.write(np.ascontiguousarray(piece[:, group[0][0]]).tobytes())
            continue
        chosen = [replica for replica, _ in group]
        buffer = np.concatenate([block[:, chosen] for block in blocks])
        for column, (_, count) in enumerate(group):
            handle.write(buffer[:count, column].tobytes())


def turn_labels(parts: Sequence[Part]) -> np.ndarray:
    """Labels (n, R, L) of blocks as (T, L), in the order of the runs."""
    found = []
    for blocks, runs in parts:
        whole = np.concatenate(blocks)
        found += [whole[:count, replica] for replica, count in runs]
    return np.concatenate(found)


def _pieces(blocks: list[np.ndarray], count: int) -> Iterator[np.ndarray]:
    """The first ``count`` frames, block by block."""
    for block in blocks:
        if count > 0:
            yield block[:count]
        count -= len(block)
