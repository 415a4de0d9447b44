"""Text for a terminal: without escape sequences that stored files may hold, and warnings in a line each."""

from __future__ import annotations

import warnings
from typing import Any


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


def plain_warnings() -> None:
    """From now on a warning is one line, without its place in the code."""

    def line(message: Warning | str, *_: Any, **__: Any) -> str:
        return f"warning: {clean(' '.join(str(message).split()))}\n"

    warnings.formatwarning = line
