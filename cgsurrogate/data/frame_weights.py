"""Statistical weights of frames from what was given for each run: arrays, or columns of PLUMED COLVAR files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.data.formats import arrays, colvar, unit_names
from cgsurrogate.data.formats.sources import Source


def of_runs(specs: Sequence[Any], runs: Sequence[Source], kT: float, *, by_time: bool = True) -> list[np.ndarray]:
    """Weights (frames,) of each run.

    Args:
        specs: arrays ``file.npy`` or ``file.npz:name``, or ``COLVAR:column``, one a run; or one array for all. A unit
            behind it declares a bias energy b, ``COLVAR:bias:kJ/mol``; a weight is then exp(b / kT).
        by_time: rows of a COLVAR belong to frames of the same time; otherwise, and where no times are stated, one row
            is one frame.

    Raises:
        FileNotFoundError: no such file.
        ValueError: they do not fit the runs, are not finite or negative.
    """
    split = [_parts(spec) for spec in specs]
    declared = {unit for _, _, unit in split}
    if len(declared) > 1:
        raise ValueError("some files of weights are declared a bias energy and some are not; treat all the same")
    (unit,) = declared
    tables = [is_colvar for _, is_colvar, _ in split]
    if not any(tables):
        plain = [spec for spec, _, _ in split]
        parts = arrays.split(plain, [run.frames for run in runs], (), "weights")
    elif not all(tables) or len(specs) != len(runs):
        raise ValueError(
            f"{len(runs)} runs need a COLVAR file each, as COLVAR:column, got {len(specs)} files, {sum(tables)} of "
            "them COLVAR"
        )
    else:
        parts = []
        for (spec, _, _), run in zip(split, runs, strict=True):
            path, _, name = str(spec).rpartition(":")
            parts.append(colvar.at_frames(Path(path), name, run.name, run.frames, run.times if by_time else None))
    return _weights([np.asarray(part, float) for part in parts], unit, kT, ", ".join(map(_name, specs)))


def _name(spec: Any) -> str:
    return "an array" if isinstance(spec, np.ndarray) else str(spec)


def arrays_of(specs: Sequence[Any]) -> list[Any]:
    """Those that are arrays, without their units."""
    return [spec for spec, is_table, _ in map(_parts, specs) if not is_table]


def _parts(spec: Any) -> tuple[Any, bool, str | None]:
    """An array or ``COLVAR:column`` without its unit, whether it is the latter, and the unit of a bias energy."""
    if isinstance(spec, np.ndarray):
        return spec, False, None
    text, unit = str(spec), None
    head, _, last = text.rpartition(":")
    if head and (last == "kT" or _is_energy(last)):
        text, unit = head, last
    if arrays.is_array(text):
        return text, False, unit
    path, colon, name = text.rpartition(":")
    if not colon:
        path, name = text, ""
    path = str(filesystem.existing(path, "weights (.npy, .npz:name or COLVAR:column)"))
    if not colvar.is_colvar(path):
        raise ValueError(f"{path} is no COLVAR file of PLUMED, which begins with {colvar.HEADER!r}, and no array")
    if not name:
        raise ValueError(f"say which column of {path}, as {path}:bias:kJ/mol")
    return text, True, unit


def _is_energy(text: str) -> bool:
    try:
        return unit_names.energy(text) > 0
    except ValueError:
        return False


def _weights(values: list[np.ndarray], unit: str | None, kT: float, origin: str) -> list[np.ndarray]:
    """As they are, or exp(bias / kT); the largest bias of all runs is taken off first, only ratios have a meaning."""
    for i, part in enumerate(values):
        if not np.isfinite(part).all():
            raise ValueError(
                f"{origin}: weights of run {i} are not finite, first in frame {np.flatnonzero(~np.isfinite(part))[0]}"
            )
    if unit is not None:
        factor = 1.0 if unit == "kT" else unit_names.energy(unit) / kT
        top = max(part.max() for part in values)
        return [np.exp((part - top) * factor) for part in values]
    if min(part.min() for part in values) < 0:
        raise ValueError(
            f"{origin}: expected weights that are not negative; if the file holds a bias energy, declare it: "
            "file.npz:name:kJ/mol (then a weight is exp(bias / kT))"
        )
    if not sum(part.sum() for part in values) > 0:
        raise ValueError(f"{origin}: all weights are zero")
    return values


def file_of(spec: str | Path) -> Path:
    """The file that ``file``, ``file.npz:name`` or ``COLVAR:column:unit`` names."""
    text = str(spec)
    while not Path(text).exists() and ":" in text:
        text = text.rpartition(":")[0]
    return Path(text if Path(text).exists() else spec)
