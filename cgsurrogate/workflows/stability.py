"""A force field whose replicas leave the physical range is simulated again with a shorter time step."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from cgsurrogate import workflows
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import Unstable
from cgsurrogate.simulation.settings import INTEGRATOR, SimulationSettings
from cgsurrogate.workflows.settings import Report, silent

HALVINGS = 3
LOST = 0.1  # share of the replicas above which the time step is held to be too long


def simulate_stably(
    model: Model,
    start: Frames,
    out: Path,
    settings: SimulationSettings,
    record: Path,
    *,
    report: Report = silent,
) -> tuple[str, ...]:
    """Simulate into ``out``; where more than ``LOST`` of the replicas leave the physical range, at half the time step.

    The frames are then half as far apart, so that the cost stays. The number of halvings is kept in ``record``, the
    JSON file of the length, so that a continued run goes on where it was.

    Returns:
        A line on the time step, if it is not the usual one.

    Raises:
        Unstable: no replica is left, also at the shortest time step.
    """
    while True:
        halvings = _halvings(record)
        last = halvings == HALVINGS
        try:
            frames = workflows.make_simulation(model, start, out, _shortened(settings, halvings), report=report)
            replicas = max(1, settings.replicas or len(frames.lengths))
            if last or len(frames.provenance.quarantined) <= LOST * replicas:
                return step_notes(record)
        except Unstable:
            if last:
                raise
        filesystem.write_json(record, {**filesystem.read_json(record), "halvings": halvings + 1})
        shutil.rmtree(out, ignore_errors=True)


def step_notes(record: Path) -> tuple[str, ...]:
    """What is to be known of the time step, of the JSON file that ``simulate_stably`` kept."""
    halvings = _halvings(record)
    if not halvings:
        return ()
    usual = float(registry.parse(INTEGRATOR)[1]["timestep"])
    return (
        f"replicas left the physical range at a time step of {usual * 1000 / 2 ** (halvings - 1):g} fs, so it was "
        f"simulated with {usual * 1000 / 2**halvings:g} fs; the priors are stiff, or the training was short",
    )


def _halvings(record: Path) -> int:
    return int(filesystem.read_json(record).get("halvings", 0)) if record.exists() else 0


def _shortened(settings: SimulationSettings, halvings: int) -> SimulationSettings:
    if not halvings:
        return settings
    name, options = registry.parse(settings.sampler.integrator or INTEGRATOR)
    shorter: dict[str, Any] = {**options, "timestep": options["timestep"] / 2**halvings}
    text = f"{name}:{','.join(f'{key}={value}' for key, value in shorter.items())}"
    return dataclasses.replace(
        settings,
        time=settings.time / 2**halvings,
        every=None if settings.every is None else settings.every / 2**halvings,
        sampler=dataclasses.replace(settings.sampler, integrator=text),
    )
