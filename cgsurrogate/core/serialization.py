"""Frozen dataclasses to plain JSON and a dictionary of arrays, and back, led by their type hints alone.

A new field of a result is stored and read without a line of code here.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

import numpy as np

FEW = 64  # numbers; an array of at most so many stands in the JSON itself, where a person can read it
KEY = "array"  # {"array": key}: the numbers are in the dictionary of arrays


def pack(value: Any, hint: Any, arrays: dict[str, np.ndarray], at: str) -> Any:
    """``value`` of type ``hint`` as plain numbers, text, lists and dictionaries; nan and infinity become None.

    Large arrays, and those whose type is not known, go to ``arrays`` under a key that begins with ``at``.
    """
    hint = _present(hint)
    if value is None:
        return None
    if isinstance(value, np.ndarray):
        if hint is np.ndarray and 0 < value.size <= FEW and value.dtype.kind in "fiu":
            return plain(value)
        arrays[at] = value
        return {KEY: at}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = typing.get_type_hints(type(value))
        return {
            f.name: pack(getattr(value, f.name), hints[f.name], arrays, f"{at}/{f.name}")
            for f in dataclasses.fields(value)
        }
    if isinstance(value, Mapping):
        inner = _arguments(hint, 1)
        return {str(k): pack(v, inner, arrays, f"{at}/{k}") for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        inner = _arguments(hint, 0)
        return [pack(v, inner, arrays, f"{at}/{k}") for k, v in enumerate(value)]
    return plain(value)


def unpack(record: Any, hint: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of ``pack``. Fields that are missing take their default; keys that are no field are ignored."""
    optional, hint = type(None) in typing.get_args(hint), _present(hint)
    if isinstance(record, dict) and set(record) == {KEY}:
        return arrays[record[KEY]]
    if record is None:
        return math.nan if hint is float and not optional else None
    if hint is np.ndarray:
        return np.array(record, float)
    if hint is float:
        return float(record)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        hints = typing.get_type_hints(hint)
        known = {f.name for f in dataclasses.fields(hint)} & set(record)
        return hint(**{name: unpack(record[name], hints[name], arrays) for name in known})
    if isinstance(record, dict):
        inner = _arguments(hint, 1)
        return {k: unpack(v, inner, arrays) for k, v in record.items()}
    if isinstance(record, list) and typing.get_origin(hint) is tuple:
        inner = _arguments(hint, 0)
        return tuple(unpack(v, inner, arrays) for v in record)
    return record


def _present(hint: Any) -> Any:
    """``X`` of ``X | None``."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
    return hint


def _arguments(hint: Any, place: int) -> Any:
    found = typing.get_args(hint)
    return found[place] if len(found) > place else Any


def plain(value: Any) -> Any:
    """Numpy to plain Python, tuples to lists, nan and infinity to None."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
