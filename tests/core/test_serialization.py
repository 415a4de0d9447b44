"""A result stored and read again is the same result, whatever its fields are."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import pytest

from cgsurrogate.core import serialization


@dataclasses.dataclass(frozen=True, eq=False)
class Inner:
    value: float
    numbers: np.ndarray
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Outer:
    name: str
    inner: Inner
    several: tuple[Inner, ...]
    table: dict[str, dict[str, Inner]]
    free: dict[str, dict[str, Any]]
    maybe: Inner | None = None
    count: int = 3
    edges: tuple[np.ndarray, ...] = ()


def example():
    small, large, empty = np.array([[1.5, np.nan], [2.0, 3.0]]), np.arange(200.0), np.empty((0, 2))
    inner = Inner(math.nan, small, ("a", "b"))
    return Outer(
        "x",
        inner,
        (Inner(1.0, large), Inner(2.0, empty)),
        {"p": {"q": inner}, "r": {}},
        {"bonds": {"edges": np.linspace(0, 1, 5), "worst": "C-N", "bad frames": np.int64(4), "rms": np.float32(0.5)}},
        edges=(large, small[0]),
    )


def through_json(value, hint):
    arrays = {}
    record = json.loads(json.dumps(serialization.pack(value, hint, arrays, "0"), allow_nan=False))
    return serialization.unpack(record, hint, arrays), record, arrays


def test_everything_comes_back():
    before = example()
    after, _, arrays = through_json(before, Outer)
    np.testing.assert_equal(dataclasses.asdict(after), dataclasses.asdict(before))
    assert all(isinstance(one, Inner) for one in (after.inner, *after.several, after.table["p"]["q"]))
    assert type(after.several) is type(after.edges) is type(after.inner.names) is tuple
    assert all(key.startswith("0/") for key in arrays)


def test_small_arrays_can_be_read_by_a_person_and_large_ones_are_named():
    _, record, arrays = through_json(example(), Outer)
    assert record["inner"]["numbers"] == [[1.5, None], [2.0, 3.0]] and record["inner"]["value"] is None
    assert np.array_equal(arrays[record["several"][0]["numbers"]["array"]], np.arange(200.0))


def test_a_field_that_an_older_file_lacks_takes_its_default_and_a_foreign_key_is_ignored():
    _, record, arrays = through_json(example(), Outer)
    del record["count"]
    record["ratio"] = 7
    assert serialization.unpack(record, Outer, arrays).count == 3
    del record["name"]
    with pytest.raises(TypeError, match="name"):
        serialization.unpack(record, Outer, arrays)
