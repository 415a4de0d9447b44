"""Columns of a PLUMED COLVAR file, with the times of their rows (Tribello et al. 2014)."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.data.formats import xvg

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
        ValueError: no such column, a row cut short, or something that is no number.
    """
    fields, rows = list[str](), list[list[float]]()
    with open(path, errors="replace") as handle:
        for number, line in enumerate(handle, 1):
            words = line.split()
            if line.startswith(HEADER):
                if fields and words[2:] != fields:
                    raise ValueError(f"{path} has other columns from line {number} on; split the file there")
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
                    raise ValueError(
                        f"{path}, line {number}: expected {len(fields)} numbers, got {line.strip()[:60]!r}; mend the "
                        "line or take it out"
                    ) from None
    if not rows:
        raise ValueError(f"{path} holds no rows")
    table = np.array(rows, float)
    times, values = table[:, 0], table[:, 1:]
    if np.isnan(times).any():
        return None, values
    return _last(times, values)


def _place(path: Path, name: str, fields: list[str]) -> int:
    if name not in fields:
        raise ValueError(f"{path} has no column {name!r}; it has {', '.join(fields)[:200]}")
    return fields.index(name)


def _last(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the order of time; of those of one time the last."""
    unique, first_from_behind = np.unique(times[::-1], return_index=True)
    return unique, values[::-1][first_from_behind]


def at_frames(path: Path, names: Sequence[str], run: str, frames: int, times: np.ndarray | None) -> np.ndarray:
    """Columns (frames, K) at every frame of a run, by time where both state it, or else row by row.

    Args:
        names: of the K columns.
        run: its name, for messages.
        times: (frames,) ps, or None.

    Raises:
        ValueError: a frame has no row, or there are not as many rows as frames.
    """
    clock, values = (xvg.columns if xvg.is_xvg(path) else columns)(path, names)
    if clock is None or times is None or len(clock) < 2:
        if len(values) != frames:
            more = (
                "; PLUMED writes a row for step 0, for which there may be no frame" if len(values) == frames + 1 else ""
            )
            raise ValueError(
                f"{path} has {len(values)} rows and {run} {frames} frames, and not both state their times; they must "
                f"agree{more}"
            )
        return values
    nearest = np.clip(np.searchsorted(clock, times), 1, len(clock) - 1)
    nearest -= times - clock[nearest - 1] < clock[nearest] - times
    every = float(np.median(np.diff(clock)))
    slack = np.maximum(1e-2 * every, 4 * np.finfo(np.float32).eps * np.abs(times))  # times of frames: single precision
    missed = np.flatnonzero(np.abs(clock[nearest] - times) > slack)
    if len(missed):
        raise ValueError(
            f"{path} has no row for frame {missed[0]} of {run}, at {times[missed[0]]:g} ps ({len(missed)} frames have "
            f"none); its rows go from {clock[0]:g} to {clock[-1]:g} ps, every {every:g}: is it that of this run, in ps?"
        )
    if len(clock) > 2 * frames and len(set(nearest.tolist())) < frames:
        warnings.warn(f"{path}: several frames of {run} share one row", stacklevel=2)
    return np.asarray(values[nearest])
