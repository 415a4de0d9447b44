"""Columns of an .xvg file, as ``gmx energy`` writes it: times, and what the legends name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.data.formats import unit_names
from cgsurrogate.data.formats.headers import Refused

LEGEND = re.compile(r'@\s*s(\d+)\s+legend\s+"(.*)"')
AXIS = re.compile(r'@\s*(x|y)axis\s+label\s+"([^"]*?)\(([^()]*)\)[^"]*"')


def is_xvg(path: str | Path) -> bool:
    return Path(path).suffix.lower() == ".xvg"


def unit(path: str | Path) -> str | None:
    """That of the columns, as the file states it, if it is an energy; None otherwise."""
    found = next((m[3] for m in map(AXIS.match, _head(Path(path))) if m and m[1] == "y"), None)
    try:
        return found if found and unit_names.energy(found) else None
    except ValueError:
        return None


def columns(path: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) in ps and the columns (T, K) whose legends are ``names``.

    Raises:
        Refused: no such legend, or something that is no table of numbers.
    """
    head = _head(path)
    legends = {m[2]: int(m[1]) + 1 for m in map(LEGEND.match, head) if m}
    for name in names:
        if name not in legends:
            raise Refused(f"{path} has no column {name!r}; it has {', '.join(legends)[:200] or 'no legends'}")
    clock = next((m[3] for m in map(AXIS.match, head) if m and m[1] == "x"), "ps")
    try:
        table = np.loadtxt(path, comments=("#", "@", "&"), ndmin=2, usecols=[0, *(legends[name] for name in names)])
    except (ValueError, IndexError) as error:
        raise Refused(f"{path} cannot be read as a table of numbers ({str(error)[:150]})") from None
    if not len(table):
        raise Refused(f"{path} holds no rows")
    return table[:, 0] * unit_names.time(clock), table[:, 1:]


def _head(path: Path) -> list[str]:
    """The lines before the numbers."""
    lines = []
    with open(path, errors="replace") as handle:
        for line in handle:
            if line.strip() and line.lstrip()[0] not in "#@":
                break
            lines.append(line.strip())
    return lines
