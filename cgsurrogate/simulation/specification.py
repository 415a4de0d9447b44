"""What a simulation is to do, checked; named in full, so that a folder can tell one simulation from another."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation import checkpoint, temperature_ladder
from cgsurrogate.simulation.monitor import Health


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """All that decides about the frames of a simulation; ``make_plan`` checks that it fits together.

    ``first`` (R, N, 3) nm; ``stride`` steps of the propagator between frames, ``total`` frames a replica. ``settings``
    name it all, so that a folder can tell one simulation from another.
    """

    propagator: Propagator
    first: Tensor
    seed: int
    total: int
    stride: int
    health: Health
    settings: dict[str, Any]

    @property
    def device(self) -> torch.device:
        tensors = [*self.propagator.parameters(), *self.propagator.buffers()]
        return next(iter(tensors), self.first).device

    def notes(self, end: State, known: Provenance) -> Provenance:
        """What is known of the frames of a simulation that ended in this state."""
        return self.propagator.notes(end, dataclasses.replace(known, simulation=self.settings))

    def finish(self, end: State) -> checkpoint.Finish | None:
        """What makes the final frames of replicas that exchanged on a ladder of temperatures; None without."""
        rungs = self.propagator.temperatures
        if rungs is None or end.ladder is None:
            return None
        exchange = temperature_ladder.notes(end.ladder.cpu().numpy(), rungs)

        def finish(whole: Frames, labels: np.ndarray, folder: Path | None) -> Frames:
            made = temperature_ladder.assemble(whole, labels, exchange)
            if folder is not None:
                made.save(folder)
            return made.target

        return finish


def make_plan(
    propagator: Propagator,
    start: Frames | np.ndarray,
    beads: Beads,
    *,
    time: float,
    every: float,
    temperature: float,
    seed: int = 0,
    bonds: Sequence[tuple[int, int]] | None = None,
    bond_lengths: np.ndarray | None = None,
    closest: np.ndarray | float | None = None,
    number: int = 0,
) -> Plan:
    """Arguments as for ``simulate``, and the same ValueErrors; ``number`` of the first replica, for what is said."""
    positions = start.positions if isinstance(start, Frames) else np.asarray(start)
    first = torch.tensor(np.array(positions), dtype=_dtype(propagator))
    stride = _whole(every, propagator.lag, "the time between frames", "the step of the propagator")
    total = _whole(time, every, "the time", "the time between frames")
    health = Health(beads, first, temperature, bonds, bond_lengths, closest, number)
    settings = {
        "time": float(time),
        "every": float(every),
        "temperature": float(temperature),
        "seed": int(seed),
        "replicas": len(first),
        "start": _digest({"start": first}),
        "beads": hashlib.sha256(repr(beads).encode()).hexdigest()[:16],
        "propagator": _describe(propagator),
        "health": health.describe(),
    }
    rungs = propagator.temperatures
    if rungs is not None:
        temperature_ladder.check_replicas(len(first), len(rungs))
        if not math.isclose(temperature, rungs[0]):
            raise ValueError(f"expected the lowest temperature of the ladder, {rungs[0]:g} K, got {temperature:g} K")
    return Plan(propagator, first, int(seed), total, stride, health, settings)


def _dtype(propagator: Propagator) -> torch.dtype:
    found = [t.dtype for t in [*propagator.parameters(), *propagator.buffers()] if t.is_floating_point()]
    return found[0] if found else torch.float32


def _whole(long: float, short: float, long_name: str, short_name: str) -> int:
    """How often ``short`` fits into ``long``, both ps."""
    if not (long > 0 and math.isfinite(long)):
        raise ValueError(f"{long_name} must be above 0 ps, got {long}")
    count = round(long / short)
    if count < 1 or abs(count * short - long) > 1e-6 * long:
        near = max(1, count) * short
        raise ValueError(
            f"{long_name} ({long:g} ps) must be a whole number of {short:g} ps, {short_name}; "
            f"the nearest is {near:g} ps"
        )
    return count


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _describe(propagator: Propagator) -> dict[str, Any]:
    """What decides about its steps: its class, its printed options, how it was built, and its numbers."""
    tensors = dict(propagator.named_parameters()) | dict(propagator.named_buffers())
    kind, spec = type(propagator), getattr(propagator, "spec", None)
    return {
        "kind": f"{kind.__module__}.{kind.__qualname__}",
        "options": propagator.extra_repr(),
        "recipe": repr(None if spec is None else dataclasses.asdict(spec)),
        "lag": propagator.lag,
        "weights": _digest(tensors),
    }
