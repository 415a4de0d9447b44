"""Files of bytes that begin with their own sha256, so that damage is noticed when they are read."""

from __future__ import annotations

import hashlib
import os

from cgsurrogate.core import filesystem

CHECKED = b"cgsurrogate sha256 "  # before the digest of what follows


def write_checked(path: str | os.PathLike[str], content: bytes) -> None:
    """Write bytes after a line with their sha256."""
    with filesystem.replacing(path) as handle:
        handle.write(CHECKED + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def read_checked(path: str | os.PathLike[str], remedy: str) -> bytes:
    """What ``write_checked`` wrote.

    Raises:
        ValueError: it is anything else; ``remedy`` says what to do.
    """
    head, _, content = filesystem.existing(path, "a file").read_bytes().partition(b"\n")
    if not head.startswith(CHECKED):
        raise ValueError(f"{path} is damaged or of an older version; {remedy}")
    if head[len(CHECKED) :] != hashlib.sha256(content).hexdigest().encode():
        raise ValueError(f"{path} has changed since it was written (its sha256 is another one); {remedy}")
    return content
