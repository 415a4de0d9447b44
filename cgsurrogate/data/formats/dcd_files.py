"""DCD of CHARMM, NAMD and others: plain records of known length, of which only the wanted atoms are read.

A frame is a record of the cell, where there is one, and one each of x, y and z; a record stands between two numbers
that say its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cgsurrogate.data.formats import cells
from cgsurrogate.data.formats.headers import DCD, dcd_layout

MAPPED = 1 << 28  # bytes of the file that are mapped into the address space at a time
CELL = 56  # bytes of the record of a cell


def blocks(path: str, frames: range, most: int, atoms: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Pieces of at most so many bytes: (n, len(atoms), 3) nm, and cells (n, 3, 3) nm.

    Raises:
        ValueError: a record has another length than it should.
    """
    held = dcd_layout(Path(path))
    count = max(1, min(most // (12 * max(1, len(atoms))), MAPPED // (held.frame * frames.step)))
    for at in range(0, len(frames), count):
        part = frames[at : at + count]
        data = np.memmap(path, np.uint8, "r", held.begin + part[0] * held.frame, (part[-1] - part[0] + 1) * held.frame)
        _check(held, data, part)
        record = 4 * held.atoms + 8
        xyz = _view(held, data, part, "f4", CELL * held.box + 4, (3, held.atoms), (record, 4))
        chosen = xyz[:, :, _few(atoms)].swapaxes(1, 2)
        six = _view(held, data, part, "f8", 4, (6,), (8,)).astype(float) if held.box else None
        cell = None if six is None else cells.charmm(six)
        yield chosen.astype(np.float32, order="C") / 10, None if cell is None else cell / 10


def _view(
    held: DCD, data: np.ndarray, part: range, kind: str, begin: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> np.ndarray:
    """Numbers that every frame has at the same place."""
    return np.ndarray((len(part), *shape), held.order + kind, data, begin, (held.frame * part.step, *strides))


def _few(atoms: np.ndarray) -> np.ndarray | slice:
    """The indices, or a slice where they follow one another."""
    if len(atoms) and np.array_equal(atoms, np.arange(atoms[0], atoms[0] + len(atoms))):
        return slice(int(atoms[0]), int(atoms[-1]) + 1)
    return atoms


def _check(held: DCD, data: np.ndarray, part: range) -> None:
    """The lengths before and behind each record are what they should be."""
    length = 4 * held.atoms
    marks = [_view(held, data, part, "i4", CELL * held.box, (3, 2), (length + 8, length + 4)) != length]
    if held.box:
        marks.append(_view(held, data, part, "i4", 0, (1, 2), (8, CELL - 4)) != CELL - 8)
    wrong = np.concatenate(marks, 1).any((1, 2))
    if wrong.any():
        raise ValueError(f"frame {part[int(wrong.argmax())]} has a record of another length")
