"""Columns of a PLUMED COLVAR file, with the times of their rows (Tribello et al. 2014)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.data.formats.headers import Refused

HEADER = "#! FIELDS"


def is_colvar(path: str | Path) -> bool:
    """Whether a file begins as PLUMED begins its tables."""
    path = Path(path)
    if not path.is_file():
        return False
    with open(path, "rb") as handle:
        return handle.read(len(HEADER)) == HEADER.encode()


def columns(path: Path, names: Sequence[str]) -> tuple[np.ndarray | None, np.ndarray]:
    """Times (T,) in ps, or None where the file has none, and these columns (T, K), in the order of time.

    A run that was continued repeats rows; the later ones count, as they belong to the frames that were kept.

    Raises:
        Refused: no such column, a row cut short, or something that is no number.
    """
    fields, rows = list[str](), list[list[float]]()
    with open(path, errors="replace") as handle:
        for number, line in enumerate(handle, 1):
            words = line.split()
            if line.startswith(HEADER):
                if fields and words[2:] != fields:
                    raise Refused(f"{path} has other columns from line {number} on; split the file there")
                fields = words[2:]
                places = [_place(path, name, fields) for name in names]
                clock = fields.index("time") if "time" in fields else None
            elif words and not line.startswith("#"):
                try:
                    if len(words) != len(fields):
                        raise ValueError
                    time = np.nan if clock is None else float(words[clock])
                    rows.append([time, *(float(words[place]) for place in places)])
                except ValueError:
                    raise Refused(
                        f"{path}, line {number}: expected {len(fields)} numbers, got {line.strip()[:60]!r}; mend the "
                        "line or take it out"
                    ) from None
    if not rows:
        raise Refused(f"{path} holds no rows")
    table = np.array(rows, float)
    times, values = table[:, 0], table[:, 1:]
    if np.isnan(times).any():
        return None, values
    return _last(times, values)


def _place(path: Path, name: str, fields: list[str]) -> int:
    if name not in fields:
        raise Refused(f"{path} has no column {name!r}; it has {', '.join(fields)[:200]}")
    return fields.index(name)


def _last(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of time; of those of one time the last."""
    unique, first_from_behind = np.unique(times[::-1], return_index=True)
    return unique, values[::-1][first_from_behind]
