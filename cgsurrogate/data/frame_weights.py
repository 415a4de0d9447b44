"""Statistical weights and energies of frames from what was given for each run: arrays, or columns of tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.data.formats import arrays, tables, unit_names
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
    return _weights(*_values(specs, runs, "weights", by_time=by_time), kT, _origin(specs))


def energies(
    specs: Sequence[Any], runs: Sequence[Source], kT: float, *, by_time: bool = True, windows: bool = False
) -> list[np.ndarray]:
    """Energies (frames,) of each run in kJ/mol, or (frames, K) in each of K windows.

    Args:
        specs: as for ``of_runs``, with a unit; or ``energy.xvg:Potential``, which states its own. Of several windows an
            array (T, K) a run, or ``COLVAR:column,column:unit``.
        kT: kJ/mol, by which a unit ``kT`` is meant.

    Raises:
        FileNotFoundError: no such file.
        ValueError: they do not fit the runs, are not finite, or have no unit.
    """
    what = "bias energies" if windows else "energies"
    parts, unit = _values(specs, runs, what, by_time=by_time, windows=windows)
    if unit is None:
        raise ValueError(f"{specs[0]} does not say the unit of its {what}; append it, as {specs[0]}:kJ/mol")
    _finite(parts, what, _origin(specs))
    factor = kT if unit == "kT" else unit_names.energy(unit)
    return [part * factor for part in parts]


def _values(
    specs: Sequence[Any], runs: Sequence[Source], what: str, *, by_time: bool, windows: bool = False
) -> tuple[list[np.ndarray], str | None]:
    """What the files hold for each run, (frames,) or of all windows (frames, K), and the unit that is stated."""
    split = [_parts(spec, what) for spec in specs]
    declared = {unit for _, _, unit in split}
    if len(declared) > 1:
        named = " and ".join(sorted(map(str, declared)))
        raise ValueError(f"files of {what} are declared with different units ({named}); treat all the same")
    (unit,) = declared
    columnar = [is_table for _, is_table, _ in split]
    if not any(columnar):
        plain = [spec for spec, _, _ in split]
        tail = arrays.load(plain[0]).shape[-1:] if windows else ()
        parts = arrays.split(plain, [run.frames for run in runs], tail, what)
    elif not all(columnar) or len(specs) != len(runs):
        raise ValueError(
            f"{len(runs)} runs need a table of {what} each, as COLVAR:column, got {len(specs)} files, "
            f"{sum(columnar)} of them tables"
        )
    else:
        parts = []
        for (spec, _, _), run in zip(split, runs, strict=True):
            path, _, names = str(spec).rpartition(":")
            times = run.times if by_time else None
            wanted = names.split(",") if windows else [names]
            columns = tables.at_frames(Path(path), wanted, run.name, run.frames, times)
            parts.append(columns if windows else columns[:, 0])
    return [np.asarray(part, float) for part in parts], unit


def _origin(specs: Sequence[Any]) -> str:
    return ", ".join("an array" if isinstance(spec, np.ndarray) else str(spec) for spec in specs)


def _finite(values: list[np.ndarray], what: str, origin: str) -> None:
    for i, part in enumerate(values):
        if not np.isfinite(part).all():
            raise ValueError(
                f"{origin}: {what} of run {i} are not finite, first in frame {np.argwhere(~np.isfinite(part))[0][0]}"
            )


def arrays_of(specs: Sequence[Any]) -> list[Any]:
    """Those that are arrays, without their units."""
    return [spec for spec, is_table, _ in (_parts(spec, "weights or energies") for spec in specs) if not is_table]


def _parts(spec: Any, what: str) -> tuple[Any, bool, str | None]:
    """An array or ``COLVAR:column`` without its unit, whether it is the latter, and the unit of an energy."""
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
    path = str(filesystem.existing(path, f"{what} (.npy, .npz:name, COLVAR:column or .xvg:legend)"))
    tables.known(Path(path))
    if not name:
        raise ValueError(f"say which column of {path}, as {path}:bias:kJ/mol")
    return text, True, unit or tables.unit(Path(path))


def _is_energy(text: str) -> bool:
    try:
        return unit_names.energy(text) > 0
    except ValueError:
        return False


def _weights(values: list[np.ndarray], unit: str | None, kT: float, origin: str) -> list[np.ndarray]:
    """As they are, or exp(bias / kT); the largest bias of all runs is taken off first, only ratios have a meaning."""
    _finite(values, "weights", origin)
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
