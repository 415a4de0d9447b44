"""Compressed files as they come: unpacked within limits, by the process that parses."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from cgsurrogate.core.filesystem import first_line
from cgsurrogate.data.formats.headers import Refused

OPENERS: dict[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
LARGEST = 1 << 40  # bytes of one file when unpacked
RATIO, FREE_OF_DOUBT = 100, 1 << 28  # a file may expand so many times, and to so many bytes in any case
SPARE = 1 << 30  # bytes that stay free on the disk
PIECE = 16 << 20  # bytes


def is_compressed(path: str | Path) -> bool:
    """
    >>> is_compressed("run0.xtc.gz"), is_compressed("run0.xtc")
    (True, False)
    """
    return Path(path).suffix.lower() in OPENERS


def room(folder: str) -> int:
    """Bytes that an unpacked file may have there: what the disk has free, but for a rest."""
    return max(0, min(LARGEST, shutil.disk_usage(folder).free - SPARE))


def unpack(path: Path, made: Path, most: int) -> None:
    """Write what a compressed file holds to ``made``, at most so many bytes.

    Raises:
        Refused: it is damaged, expands as no trajectory does, or is larger.
    """
    try:
        with OPENERS[path.suffix.lower()](path) as packed, open(made, "wb") as out:
            _copy(path, packed, out, most)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise Refused(f"{path} cannot be unpacked ({first_line(error)}); is the file damaged or cut short?") from None


def _copy(path: Path, packed: IO[bytes], out: IO[bytes], most: int) -> None:
    done, own = 0, path.stat().st_size
    while piece := packed.read(PIECE):
        done += len(piece)
        if done > most:
            raise Refused(
                f"{path} is larger than {most / 1e9:.3g} GB when unpacked, for which the disk of temporary files has "
                "room; unpack it yourself, or point $TMPDIR to a larger disk"
            )
        if done > max(FREE_OF_DOUBT, RATIO * own):
            raise Refused(
                f"{path} unpacks to more than {RATIO} times its size, as no trajectory does; is it the right file? "
                "If it is, unpack it yourself"
            )
        out.write(piece)
