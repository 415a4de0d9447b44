"""Files that are whole or absent: atomic writes, hashes, and one writer a folder.

A write goes to a temporary file in the same folder, is flushed to the disk, and takes its final name in one step;
whoever reads sees the old file or the new one, never half of either, also after ``kill -9`` or on a full disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np


class Busy(RuntimeError):
    """Another process writes to this folder."""


def existing(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a file that is there.

    Raises:
        FileNotFoundError: it is not; ``what`` is "a topology", ...
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected {what} at {path}, there is none")
    return path


def first_line(error: BaseException) -> str:
    """What a parser of others says in its first line, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def renaming(path: Path, ending: str = "") -> Iterator[Path]:
    """A temporary path beside ``path``, with this ending, to write to; on success it becomes ``path``."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{ending}")
    try:
        yield temporary
        os.replace(temporary, path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file beside ``path`` for writing bytes; on success it becomes ``path``."""
    with renaming(Path(path)) as temporary, open(temporary, "wb") as handle:
        yield handle
        handle.flush()
        os.fsync(handle.fileno())


def write_text(path: str | os.PathLike[str], text: str) -> None:
    with replacing(path) as handle:
        handle.write(text.encode())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    try:
        return json.loads(existing(path, "a file").read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"expected JSON in {path}, but {error}; restore the file or make its folder again") from None


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """An array, memory-mapped.

    Raises:
        ValueError: the file is empty, cut short, or no array of plain numbers.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except (EOFError, ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{path} cannot be read as an array ({first_line(error)}); is it damaged?") from None


def write_npy(path: str | os.PathLike[str], array: np.ndarray) -> None:
    with replacing(path) as handle:
        np.save(handle, array, allow_pickle=False)


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the folder for one writer; a second one gets ``Busy`` at once. The lock ends with the process."""
    path = Path(folder) / ".lock"
    with open(path, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or path.stat().st_ino != os.fstat(handle.fileno()).st_ino:
                raise BlockingIOError  # the file was removed by its last owner between open and lock
        except BlockingIOError:
            raise Busy(f"another process is writing to {folder}; wait for it or choose another folder") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
