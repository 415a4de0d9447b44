"""Files that are whole or absent: atomic writes, hashes, and one writer a folder.

A write goes to a temporary file in the same folder, is flushed to the disk, and takes its final name in one step;
whoever reads sees the old file or the new one, never half of either, also after ``kill -9`` or on a full disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from cgsurrogate.core import messages

LOCK = ".lock"
CHECKSUM = "checksum"  # key of a JSON object: the sha256 of all others
_verified: set[tuple[Any, ...]] = set()


class Busy(RuntimeError):
    """Another process writes to this folder."""


def existing(path: str | os.PathLike[str], what: str) -> Path:
    """The path of a file that is there.

    Raises:
        FileNotFoundError: it is not; ``what`` is "a topology", ... ``PermissionError``: it may not be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected {what} at {path}, there is none")
    if not os.access(path, os.R_OK):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))
    return path


def natural(text: object) -> list[tuple[int, int | str]]:
    """Sorts ``run2`` before ``run10``."""
    pieces = re.split(r"(\d+)", str(text))
    return [(0, int(piece)) if piece.isdigit() else (1, piece) for piece in pieces]


def matching(text: str) -> list[str]:
    """A path that is there or no pattern, as it is; the files that match a pattern, in the order of their numbers."""
    if Path(text).exists() or not glob.has_magic(text):
        return [text]
    return sorted(glob.glob(text), key=natural)


def first_line(error: BaseException) -> str:
    """What a parser of others says in its first line, at most 200 characters."""
    said = messages.of_system(error) if isinstance(error, OSError) else str(error)
    return (said.strip().splitlines() or [type(error).__name__])[0][:200]


@contextlib.contextmanager
def renaming(path: Path, ending: str = "") -> Iterator[Path]:
    """A temporary path beside ``path``, with this ending, to write to; on success it becomes ``path``.

    What a writer of ``path`` that was killed has left is removed.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp*"):
        if not _alive(left.name.removeprefix(f".{path.name}.").partition(".")[0]):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp{ending}")
    try:
        temporary.touch()  # the writers of others do not say why they cannot
        yield temporary
        os.replace(temporary, path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno is not None and error.filename in (None, str(temporary)):  # none where a write fails
            error.filename = str(path)
        raise
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except OSError:  # of another user
        return True
    return True


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
    """Write JSON; an object begins with the checksum of what it holds, so that a damaged number is noticed."""
    if isinstance(value, dict):
        value = {CHECKSUM: _checksum(json.loads(json.dumps(value, allow_nan=False))), **value}
    write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def _checksum(value: dict[str, Any]) -> str:
    """Of what JSON gives back, whatever spaces and line breaks it was written with."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


OWNERS = {  # what tells whose folder it is
    "frames.json": "frames",
    "simulation.json": "a simulation",
    "model.json": "a model",
    "training.json": "a training",
    "molecules.json": "frames of several molecules",
    "metrics.json": "a comparison",
    "run.json": "a run",
    "predict.json": "a prediction",
}


def refuse_foreign(folder: str | os.PathLike[str], *own: str) -> None:
    """Refuse to write into a folder that holds something else than ``own``, names of files; nothing is touched.

    Raises:
        ValueError: it does, or it is a file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give another folder")
    for name, what in OWNERS.items():
        if name not in own and (folder / name).exists():
            raise ValueError(f"{folder} holds {what} ({name}), which is not overwritten; give another folder")


def read_json(path: str | os.PathLike[str]) -> Any:
    """What a JSON file holds, its text without control characters; without a checksum, as an earlier version wrote it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no JSON, or its content is not that of its checksum.
    """
    path = existing(path, "a file")
    try:
        value = json.loads(path.read_text())
        stated = value.pop(CHECKSUM, None) if isinstance(value, dict) else None
        same = stated is None or stated == _checksum(value)
        value = messages.cleaned(value)
    except (ValueError, RecursionError) as error:  # among them numbers of too many digits, and text that is none
        why = first_line(error)
        raise ValueError(f"expected JSON in {path}, but {why}; restore the file or make its folder again") from None
    if not same:
        raise ValueError(
            f"{path} has changed since it was written (its checksum is another one); restore the file or make its "
            f"folder again; if the change is yours, take out the line {CHECKSUM!r}"
        )
    return value


def read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """An array, memory-mapped.

    Raises:
        ValueError: the file is empty, cut short, or no array of plain numbers.
    """
    try:
        return np.asanyarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy raises whatever a damaged header leads it to
        raise ValueError(f"{path} cannot be read as an array ({first_line(error)}); is it damaged?") from None


def write_npy(path: str | os.PathLike[str], array: np.ndarray) -> str:
    """One ``.npy`` file; its sha256."""
    return write_pieces(path, [array], array.shape, array.dtype)


def npy_header(handle: IO[bytes], shape: tuple[int, ...], kind: np.dtype) -> None:
    """What a ``.npy`` file begins with; the numbers follow, row by row."""
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(handle, header)


def write_pieces(
    path: str | os.PathLike[str], pieces: Iterable[np.ndarray], shape: tuple[int, ...], kind: np.dtype
) -> str:
    """One ``.npy`` file from pieces (n, ...) that follow one another, so that they are never all in memory.

    Returns:
        The sha256 of what was written, as it was in memory.
    """
    header = io.BytesIO()
    npy_header(header, shape, kind)
    digest = hashlib.sha256(header.getvalue())
    with replacing(path) as handle:
        handle.write(header.getvalue())
        for piece in pieces:
            numbers = np.ascontiguousarray(piece, kind).data
            digest.update(numbers)
            handle.write(numbers)
    return digest.hexdigest()


def sha256(path: str | os.PathLike[str]) -> str:
    """Hexadecimal digest of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify(path: Path, digest: str, remedy: str) -> None:
    """Compare a file with its sha256, once for each version of it that this process sees.

    Raises:
        ValueError: it is not what was written.
    """
    now = existing(path, "a file").stat()
    version = (str(path.resolve()), now.st_ino, now.st_size, now.st_mtime_ns, digest)
    if version in _verified:
        return
    if sha256(path) != digest:
        raise ValueError(f"{path} has changed since it was written (its sha256 is another one); {remedy}")
    _verified.add(version)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], stem: str = "") -> Iterator[None]:
    """Hold the folder, or files of it by their stem, for one writer; a second one gets ``Busy`` at once.

    The lock ends with the process.
    """
    path = Path(folder) / f"{'.' if stem else ''}{stem}{LOCK}"
    with open(path, "a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not path.exists() or path.stat().st_ino != os.fstat(handle.fileno()).st_ino:
                raise BlockingIOError  # the file was removed by its last owner between open and lock
        except BlockingIOError:
            what, remedy = (Path(folder) / stem, "name") if stem else (folder, "folder")
            raise Busy(f"another process is writing to {what}; wait for it or choose another {remedy}") from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(folder: str | os.PathLike[str], *own: str) -> Iterator[Path]:
    """Hold a folder that is made where there is none, with those above, and goes again if nothing was put into it.

    Raises:
        ValueError: it holds something else than ``own``, names of files.
        Busy: another process writes to it.
    """
    folder = Path(folder)
    refuse_foreign(folder, *own)
    made = [path for path in folder.parents if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(folder):
            yield folder
    finally:
        with contextlib.suppress(OSError):
            for path in (folder, *made):
                path.rmdir()


@contextlib.contextmanager
def whole(folder: str | os.PathLike[str]) -> Iterator[None]:
    """What is put into a folder is there as a whole or, after a fault, not at all."""
    before = set(Path(folder).iterdir())
    try:
        yield
    except BaseException:
        for path in set(Path(folder).iterdir()) - before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raise
