"""A user's own function of the positions as a collective variable."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions
from cgsurrogate.core.frames import Frames

TRIED = 8  # frames that the function is tried on
TURN = np.array([[0.36, 0.48, -0.8], [-0.8, 0.6, 0.0], [0.48, 0.64, 0.6]])
MOVE = np.array([1.0, -2.0, 3.0])


def builder(module: ModuleType) -> Callable[..., OfPositions] | None:
    """A ``build`` for a file that has only ``cv(positions)``, with options after the positions; None if it has none.

    The file may also set ``labels`` (a tuple of texts), ``unit`` and ``period``.
    """
    function = getattr(module, "cv", None)
    if not callable(function):
        return None

    def build(reference: Frames, **options: Any) -> OfPositions:
        return _of(reference, module, lambda x: function(x, **options))

    rest = list(inspect.signature(function).parameters.values())[1:]
    first = inspect.Parameter("reference", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    build.__signature__ = inspect.Signature([first, *rest])  # type: ignore[attr-defined]
    return build


def _of(reference: Frames, module: ModuleType, function: Callable[[np.ndarray], Any]) -> OfPositions:
    """``function`` takes (t, N, 3) nm and gives (t,) or (t, d)."""
    where = str(module.__file__)
    stem = Path(where).stem
    x = np.asarray(reference.positions[:TRIED], float)
    values = _checked(function(x), len(x), where)
    columns = values.shape[1]
    usual = (stem,) if columns == 1 else tuple(f"{stem} {k + 1}" for k in range(columns))
    labels = tuple(getattr(module, "labels", None) or usual)
    if len(labels) != columns:
        raise ValueError(f"{where} names {len(labels)} labels for {columns} columns; name one a column")
    if not np.isfinite(values).all():
        raise ValueError(f"{where}: cv gives values that are not finite; mend the function")
    notes: tuple[str, ...] = (f"{stem}: a function of the user, {where}",)
    moved = _checked(function(x @ TURN.T + MOVE), len(x), where)
    if not np.allclose(moved, values, atol=1e-5 * max(1.0, float(np.abs(values).max()))):
        notes += (f"{stem} changes when the molecule is turned or shifted, which a surrogate does at will",)
    unit, period = getattr(module, "unit", ""), getattr(module, "period", None)
    return OfPositions(
        stem, labels, lambda x: _checked(function(x), len(x), where), unit=unit, period=period, notes=notes
    )


def _checked(values: Any, count: int, where: str) -> np.ndarray:
    """(t,) or (t, d) -> (t, d)."""
    array = np.asarray(values, float)
    if array.ndim not in (1, 2) or len(array) != count:
        raise ValueError(f"{where}: cv must give ({count},) or ({count}, d) for {count} frames, got {array.shape}")
    return array.reshape(count, -1)
