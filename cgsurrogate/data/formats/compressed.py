"""Compressed files as they come: unpacked into a temporary folder, within limits."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LARGEST = 1 << 40  # bytes of one file when unpacked
SPARE = 1 << 30  # bytes that stay free on the disk
PIECE = 16 << 20  # bytes


def is_compressed(path: str | Path) -> bool:
    """
    >>> is_compressed("run0.xtc.gz"), is_compressed("run0.xtc")
    (True, False)
    """
    return Path(path).suffix.lower() in OPENERS


def unpacked(path: Path) -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """The file without its last ending, in a folder that is removed when nothing refers to it any longer.

    Raises:
        ValueError: it is damaged, or larger than the disk for temporary files ($TMPDIR) has room for.
    """
    folder = tempfile.TemporaryDirectory(prefix="unpacked-")
    made = Path(folder.name) / path.stem
    try:
        with OPENERS[path.suffix.lower()](path) as packed, open(made, "wb") as out:
            _copy(path, packed, out, min(LARGEST, shutil.disk_usage(folder.name).free - SPARE))
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        folder.cleanup()
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} cannot be unpacked ({said}); is the file damaged or cut short?") from None
    except ValueError:
        folder.cleanup()
        raise
    return made, folder


def _copy(path: Path, packed: IO[bytes], out: IO[bytes], most: int) -> None:
    done = 0
    while piece := packed.read(PIECE):
        done += len(piece)
        if done > most:
            raise ValueError(
                f"{path} is larger than {max(most, 0) / 1e9:.3g} GB when unpacked; unpack it yourself, or "
                "point $TMPDIR to a larger disk"
            )
        out.write(piece)
