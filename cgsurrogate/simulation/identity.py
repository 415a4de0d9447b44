"""What tells one simulation from another: all that decides about its frames, in words and digests."""

from __future__ import annotations

import ast
import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from cgsurrogate.core.differences import differences, words
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Propagator


def describe(propagator: Propagator) -> dict[str, Any]:
    """What decides about its steps: how it was built, or its class and options; its weights; and what is inside it.

    A kind is named by its family, never by its module, so that files may move. Constants that are not stored with a
    model follow from the rest.
    """
    return _built(propagator) | {"weights": digest(propagator.state_dict())}


def _built(propagator: Propagator) -> dict[str, Any]:
    spec, inner = getattr(propagator, "spec", None), getattr(propagator, "integrator", None)
    plain = {"kind": type(propagator).__qualname__, "options": propagator.extra_repr()}
    about = plain if spec is None else dataclasses.asdict(spec)
    return about | {"lag": propagator.lag} | ({} if inner is None else {"integrator": _built(inner)})


def of_beads(beads: Beads) -> str:
    """A digest of all that they are."""
    fields = ", ".join(f"{field.name}={getattr(beads, field.name)!r}" for field in dataclasses.fields(beads))
    return hashlib.sha256(f"Beads({fields})".encode()).hexdigest()[:16]


def digest(tensors: Mapping[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


def refuse_other(folder: Path, before: Mapping[str, Any] | None, now: dict[str, Any]) -> None:
    """Raise ValueError that shows what differs, unless the folder belongs to a simulation with these settings."""
    if before is None:
        raise ValueError(f"{folder} already holds frames that no simulation made; choose another folder")
    if changes := differences(_renewed(dict(before), now), now):
        raise ValueError(f"{folder} holds a simulation with other settings ({words(changes)}); choose another folder")


def _renewed(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Settings in today's words that were stored when a propagator was named by its module.

    This is done for integrators and time-steppers by themselves, not for samplers around them, and not for overdamped
    dynamics, whose state was another. Digests of weights were made in another way, so they are not compared.
    """
    about = before["propagator"]
    built = ast.literal_eval(about["recipe"]) if "recipe" in about else None
    family = built and f".{built['family']}."
    if not built or family not in about["kind"] or built["name"] == "overdamped":
        return before
    options = {key: value for key, value in built["options"].items() if (key, value) != ("outer", 1)}
    weights = now["propagator"]["weights"]
    return before | {"propagator": built | {"options": options, "lag": about["lag"], "weights": weights}}
