"""What a simulation is to do, checked; named in full, so that a folder can tell one simulation from another."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import devices
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation import identity, temperature_ladder
from cgsurrogate.simulation.checkpoint import Progress
from cgsurrogate.simulation.frame_store import Finish, Make, Sink
from cgsurrogate.simulation.monitor import Monitor
from cgsurrogate.simulation.settings import SimulationSettings


@dataclasses.dataclass(frozen=True, eq=False)
class Specification:
    """All that decides about the frames of a simulation; ``specify`` checks that it fits together.

    ``first`` (R, N, 3) nm; ``stride`` steps of the propagator between frames, ``total`` frames a replica. ``named`` is
    all of it in words and digests, so that a folder can tell one simulation from another.
    """

    propagator: Propagator
    first: Tensor
    beads: Beads
    settings: SimulationSettings
    total: int
    stride: int
    monitor: Monitor
    named: dict[str, Any]

    @property
    def device(self) -> torch.device:
        return devices.of(self.propagator)

    def collected(self, sink: Sink, end: State, known: Provenance | None) -> Frames:
        """The frames in a sink, of a simulation that ended in this state."""
        return sink.frames(self.make(end, known), self.finish(end))

    def make(self, end: State, known: Provenance | None) -> Make:
        """What makes frames of the positions of a simulation that ended in this state."""
        about = self.propagator.notes(end, dataclasses.replace(known or Provenance(), simulation=self.named))
        replicas, dt = len(self.first), float(self.named["every"])

        def make(positions: np.ndarray, progress: Progress) -> Frames:
            lengths = tuple(count for _, count in progress.runs(replicas))
            noted = progress.notes(about, replicas, dt)
            return Frames(self.beads, positions, lengths, dt, float(self.named["temperature"]), provenance=noted)

        return make

    def finish(self, end: State) -> Finish | None:
        """What makes the final frames of replicas that exchanged on a ladder of temperatures; None without."""
        rungs = self.propagator.temperatures
        if rungs is None or end.ladder is None:
            return None
        return partial(temperature_ladder.assemble, temperature_ladder.notes(end.ladder.cpu().numpy(), rungs))


def specify(
    propagator: Propagator,
    start: Frames | np.ndarray,
    beads: Beads,
    settings: SimulationSettings,
    number: int = 0,
) -> Specification:
    """Arguments and ValueErrors as of ``simulate``; ``number`` of the first replica, for what is said."""
    time, every, temperature = settings.time, settings.every, settings.temperature
    if every is None or temperature is None:
        raise ValueError("expected the time between frames and the temperature in the settings of a simulation")
    positions = start.positions if isinstance(start, Frames) else np.asarray(start)
    first = torch.tensor(np.array(positions), dtype=_dtype(propagator))
    stride = _whole(every, propagator.lag, "the time between frames", "the step of the propagator")
    total = _whole(time, every, "the time", "the time between frames")
    monitor = Monitor(beads, first, temperature, settings.limits, number)
    named = {
        "time": float(time),
        "every": float(every),
        "temperature": float(temperature),
        "seed": int(settings.seed),
        "replicas": len(first),
        "start": identity.digest({"start": first}),
        "beads": identity.of_beads(beads),
        "propagator": identity.describe(propagator),
        "health": monitor.describe(),
    }
    if (device := devices.of(propagator)).type != "cpu":
        named["device"] = device.type  # its random numbers are others
    rungs = propagator.temperatures
    if rungs is not None:
        temperature_ladder.check_replicas(len(first), len(rungs))
        if not math.isclose(temperature, rungs[0]):
            raise ValueError(f"expected the lowest temperature of the ladder, {rungs[0]:g} K, got {temperature:g} K")
    return Specification(propagator, first, beads, settings, total, stride, monitor, named)


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
