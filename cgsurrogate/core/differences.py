"""What differs between the settings that a folder was made with and those of now, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SAID = 4  # in a message


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """(there, now) of each setting that is not the same, by a key like ``propagator.lag``; values as JSON has them.

    >>> differences({"a": {"b": 1}, "c": (1, 2)}, {"a": {"b": 2}, "c": [1, 2]})
    {'a.b': (1, 2)}
    """
    one, other = _flat(json.loads(json.dumps(before))), _flat(json.loads(json.dumps(now)))
    keys = dict.fromkeys([*one, *other])
    return {key: (one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)}


def words(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """``lag: 1 there, 2 now; ...``; the first few of them."""
    said = [f"{key}: {there} there, {now} now" for key, (there, now) in list(changes.items())[:SAID]]
    return "; ".join(said + ([f"and {len(changes) - SAID} more"] if len(changes) > SAID else []))


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries, and lists of them, as one."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            value = {str(number): item for number, item in enumerate(value, 1)}
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat
