"""Arrays that stay on the disk: parts of a memory-mapped one, and large ones that are needed for a while.

Pages of a mapped file are no memory of the process's own: the system keeps what fits, and takes it back when it must.
"""

from __future__ import annotations

import contextlib
import contextvars
import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

IN_MEMORY = 16 << 20  # bytes; smaller arrays are kept in memory
PIECE = 16 << 20  # bytes that are read at once

_folder: contextvars.ContextVar[Path | None] = contextvars.ContextVar("folder", default=None)


@contextlib.contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Within the block, large arrays that are made are kept in this folder, or in the first above it that exists."""
    before = _folder.set(folder)
    try:
        yield
    finally:
        _folder.reset(before)


def empty(shape: tuple[int, ...], dtype: Any = np.float32) -> np.ndarray:
    """An array to be filled: in memory where it is small, else in a file that goes with the array, also after a kill.

    That file has no name and lies where ``kept_in`` says, or where the system keeps temporary files (``TMPDIR``). An
    array that finds no room there is kept in memory.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape)) * kind.itemsize
    if size > IN_MEMORY:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=_place()) as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is an error here, not a crash later
            return np.memmap(file, kind, "r+", shape=shape)
    return np.empty(shape, kind)


def _place() -> Path | None:
    folder = _folder.get()
    return None if folder is None else next((at for at in (folder, *folder.absolute().parents) if at.is_dir()), None)


def joined(arrays: Sequence[Any]) -> np.ndarray:
    """Arrays of one kind one after the other, as ``empty`` keeps them."""
    made = empty((sum(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    return np.concatenate(arrays, out=made)


def running_sums(values: np.ndarray) -> np.ndarray:
    """(T,) cumulative sums in float64, as ``empty`` keeps them."""
    return np.cumsum(values, out=empty(values.shape, np.float64))


def on_disk(array: Any) -> bool:
    return isinstance(array, np.memmap | Parts)


def rows(array: Any, index: np.ndarray) -> np.ndarray:
    """``array[index]`` for numbers of rows in any order, read in the order of the disk where the array is on it."""
    if not on_disk(array):
        return np.asarray(array[index])
    order = np.argsort(index, kind="stable")
    found = np.empty((len(index), *array.shape[1:]), array.dtype)
    found[order] = array[index[order]]
    return found


def taken(array: Any, parts: Sequence[slice]) -> Any:
    """Parts of an array one after the other, without a copy where there is one only, or where the array is on the disk.

    Of one number a row a copy is made in any case.
    """
    if isinstance(array, Parts):
        return taken(array.array, [piece for part in parts for piece in array.slices(part)])
    if len(parts) == 1:
        return array[parts[0]]
    if on_disk(array) and array.ndim > 1:
        return Parts(array, parts)
    return np.concatenate([array[part] for part in parts])


def release(array: Any) -> None:
    """Let go of the pages of a mapped array; they are read again when they are next looked at."""
    mapped: Any = array.array if isinstance(array, Parts) else array
    pages = getattr(mapped, "_mmap", None)
    if pages is not None and mapped.mode in ("r", "r+") and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


def pieces(array: Any) -> Iterator[np.ndarray]:
    """All rows, a few at a time."""
    step = max(1, PIECE // max(1, array.dtype.itemsize * int(np.prod(array.shape[1:]))))
    for start in range(0, len(array), step):
        yield array[start : start + step]


class Parts(np.lib.mixins.NDArrayOperatorsMixin):
    """Parts of a mapped array one after the other, read where they are looked at.

    It is indexed as an array is, and whatever else is asked of it is asked of a copy in memory.

    >>> Parts(np.arange(10), [slice(0, 2), slice(7, 9)])[1:3]
    array([1, 7])
    """

    def __init__(self, array: np.ndarray, parts: Sequence[slice]):
        """``parts`` with a start and an end each, and no step."""
        self.array, self.parts = array, tuple(parts)
        self.begins = np.array([part.start for part in self.parts])
        self.ends = np.cumsum([part.stop - part.start for part in self.parts])  # in this array
        self.shape: tuple[int, ...] = (int(self.ends[-1]), *array.shape[1:])
        self.dtype, self.ndim = array.dtype, array.ndim

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, key: Any) -> Any:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, slice) and first.indices(len(self))[2] == 1:
            found = [np.asarray(self.array[(part, *rest)]) for part in self.slices(first)]
            return found[0] if len(found) == 1 else np.concatenate(found)
        if isinstance(first, slice):
            first = np.arange(len(self))[first]
        if isinstance(first, int | np.integer):
            return self.array[(int(self.places(np.array([first]))[0]), *rest)]
        if first is None or first is Ellipsis:
            return np.asarray(self)[key]
        index = np.asarray(first)
        return np.asarray(self.array[(self.places(np.flatnonzero(index) if index.dtype == bool else index), *rest)])

    def slices(self, wanted: slice) -> list[slice]:
        """Where a slice without a step lies in the array; one at least, which may be empty."""
        start, stop, _ = wanted.indices(len(self))
        found = []
        for begin, end, part in zip((0, *self.ends[:-1].tolist()), self.ends.tolist(), self.parts, strict=True):
            low, high = max(start, begin), min(stop, end)
            if low < high:
                found.append(slice(part.start + low - begin, part.start + high - begin))
        return found or [slice(0, 0)]

    def places(self, index: np.ndarray) -> np.ndarray:
        """Numbers of rows, from the end where negative, as numbers of rows of the array."""
        index = np.asarray(index, np.int64)
        wrong = (index < -len(self)) | (index >= len(self))
        if wrong.any():
            raise IndexError(f"expected frames from 0 to {len(self) - 1}, got {index[wrong].flat[0]}")
        index = np.where(index < 0, index + len(self), index)
        part = np.searchsorted(self.ends, index, side="right")
        starts = self.ends - [piece.stop - piece.start for piece in self.parts]
        return np.asarray(index - starts[part] + self.begins[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("parts of a mapped array cannot be one array without a copy")
        return np.asarray(self[:], dtype)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        plain = [np.asarray(one) if isinstance(one, Parts) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or "ends" not in self.__dict__:
            raise AttributeError(f"parts of a mapped array have no attribute {name!r}")
        return getattr(np.asarray(self), name)
