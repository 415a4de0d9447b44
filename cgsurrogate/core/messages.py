"""Text for a terminal: without escape sequences that stored files may hold, and warnings and errors in a line each."""

from __future__ import annotations

import errno
import warnings
from typing import Any

SHOWN = 100  # characters of a name
REFUSED = {  # what an operating system says, and the remedy; {} is the file
    errno.EACCES: "no permission for {}; change its permissions (chmod, chown) or name another place",
    errno.EPERM: "no permission for {}; change its permissions (chmod, chown) or name another place",
    errno.EROFS: "{} lies on a disk that can only be read; name another place",
    errno.ENOSPC: "no space left on the disk of {}; free some or name another place, then give the same command again",
    errno.EDQUOT: "your quota of disk space is used up where {} lies; free some, then give the same command again",
    errno.ENAMETOOLONG: "the name {} is too long for this disk; choose a shorter one",
    errno.ENOENT: "there is no {}; is the name right?",
    errno.ENOTDIR: "a part of {} is a file, not a folder; name another place",
    errno.EISDIR: "{} is a folder, expected a file",
    errno.EEXIST: "{} is there already; name another place",
    errno.ENOTEMPTY: "{} is not empty; name another place",
    errno.EMFILE: "too many files are open ({} is one too many); allow more with: ulimit -n 4096",
    errno.EIO: "the disk of {} gives errors; copy what is there to another one",
    errno.ENOMEM: "no memory is left for {}; close other programs or ask for less",
    errno.ELOOP: "{} is a link that leads back to itself; name another place",
}


def clean(text: str) -> str:
    """The text without control characters but line breaks and tabs.

    >>> clean("a\\x1b[2Jb")
    'a[2Jb'
    """
    return text if text.isprintable() else "".join(c for c in text if c.isprintable() or c in "\n\t")


def cleaned(value: Any) -> Any:
    """A tree of JSON with all its text cleaned."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(item) for item in value]
    if isinstance(value, dict):
        return {clean(key): cleaned(item) for key, item in value.items()}
    return value


def of_system(error: OSError) -> str:
    """An error of the operating system as a sentence with the file and the remedy; others as they are.

    >>> of_system(PermissionError(13, "Permission denied", "out"))
    'no permission for out; change its permissions (chmod, chown) or name another place'
    >>> of_system(OSError("a sentence of our own"))
    'a sentence of our own'
    """
    sentence = REFUSED.get(error.errno or 0)
    if sentence is None:
        return str(error)
    name = "a file" if error.filename is None else str(error.filename)
    return sentence.format(name if len(name) <= SHOWN else f"{name[:SHOWN]}...")


def plain_warnings() -> None:
    """From now on a warning is one line, without its place in the code."""

    def line(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"warning: {clean(' '.join(str(message).split()))}\n"

    warnings.formatwarning = line
