"""Columns of tables that go with trajectories, COLVAR of PLUMED and .xvg of GROMACS, at the frames of a run.

What is in a file is read by the process that parses; here only its first bytes and its name are looked at.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.data.formats.colvar import HEADER, is_colvar
from cgsurrogate.data.formats.parsing import Parser
from cgsurrogate.data.formats.xvg import is_xvg


def known(path: Path) -> None:
    """Raises ``ValueError`` unless a file is a table of one of the two kinds."""
    if not is_colvar(path) and not is_xvg(path):
        raise ValueError(f"{path} is no COLVAR file of PLUMED, which begins with {HEADER!r}, no .xvg file and no array")


def unit(path: Path) -> str | None:
    """That of the energies in a table, as the file states it; None where it does not."""
    if not is_xvg(path):
        return None
    with Parser() as parser:
        return parser.found("table", path, names=[])["unit"]  # type: ignore[no-any-return]


def at_frames(path: Path, names: Sequence[str], run: str, frames: int, times: np.ndarray | None) -> np.ndarray:
    """Columns (frames, K) at every frame of a run, by time where both state it, or else row by row.

    Args:
        names: of the K columns.
        run: its name, for messages.
        times: (frames,) ps, or None.

    Raises:
        ValueError: a frame has no row, or there are not as many rows as frames.
    """
    with Parser() as parser:
        found = parser.found("table", path, names=list(names))
    clock: np.ndarray | None = found.get("times")
    values: np.ndarray = found["values"]
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
