"""One simulation in several processes, each with one thread and a share of the replicas.

The replicas are cut into parts that follow one another, with ladders of temperatures whole. Part k is a simulation by
itself in the folder ``parts/k``, with checkpoints and random numbers of its own; the process that was called watches.
When all parts are done they become one folder of ``Frames``, as that of one process: runs in the order of replicas, and
notes made from the sums of all counts.

**What is reproducible.** The frames follow from the settings, the seed and the number of parts: part k of several is,
bit for bit, what ``simulate`` gives for its replicas with the seed ``part_seed(seed, k)``. How many cores there are,
and what was stopped or killed in between, changes nothing. Another number of parts is another draw from the same
distribution, so a folder keeps the number with which it was begun. One part is ``simulate`` itself, with its seed.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator

from cgsurrogate.core import filesystem, interrupts
from cgsurrogate.core.frames import MANIFEST, Beads, Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation import checkpoint
from cgsurrogate.simulation.run import Report, finished, refuse_lost, simulate
from cgsurrogate.simulation.specification import Plan, make_plan
from cgsurrogate.simulation.worker_processes import Part, advance_parts

PARTS = "parts"
AUTO = "auto"


def cores() -> int:
    """How many this process may use; a batch system gives a job only its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def part_seed(seed: int, part: int) -> int:
    """The seed of one of several parts, 32 bits (torch uses no more of it on a CPU)."""
    return int(np.random.SeedSequence((seed, part)).generate_state(1)[0])


def simulate_parts(
    propagator: Propagator,
    start: Frames | np.ndarray,
    beads: Beads,
    *,
    folder: str | Path,
    processes: int | str | None = None,
    report: Report | None = None,
    max_hours: float | None = None,
    checkpoint_every: float = 60.0,
    known: Provenance | None = None,
    **settings: Any,
) -> Frames:
    """As ``simulate``, in as many processes as are asked for.

    They are spawned: a script must call this below ``if __name__ == "__main__":``, or each of them would run it again.

    ``simulation["processes"]`` in the provenance is their number where there are several, ``wall_seconds`` the time of
    the slowest.

    Args:
        processes: how many; "auto" for one a core; None for one. A folder that is begun keeps its number with both.
        settings: further arguments of ``simulate``.

    Raises:
        As ``simulate``, and
        ValueError: another number of processes than the folder was begun with, or more than there are replicas or
            ladders; a propagator that cannot be handed to another process.
        RuntimeError: a process was killed, or failed for a reason that is no fault of the settings.
    """
    folder = Path(folder)
    plan = make_plan(propagator, start, beads, **settings)
    number = _chosen(processes, folder, len(plan.first) // _together(propagator))
    how: dict[str, Any] = {"report": report, "max_hours": max_hours, "checkpoint_every": checkpoint_every}
    if number == 1:
        return simulate(propagator, start, beads, folder=folder, known=known, **how, **settings)
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as ``multiprocessing.spawn`` asks
        raise RuntimeError('a script that wants several processes must ask below: if __name__ == "__main__":')
    if plan.device.type != "cpu":
        raise ValueError(f"several processes are for CPUs, and the model is on {plan.device}; leave out --processes")
    if max_hours is not None and not max_hours > 0:
        raise ValueError(f"max_hours must be above 0, got {max_hours}")
    plan = dataclasses.replace(plan, settings=plan.settings | {"processes": number})
    if (done := finished(folder, plan.settings, report)) is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with filesystem.locked(folder):
        checkpoint.claim(folder, plan.settings)
        parts = _cut(plan, beads, folder / PARTS, number)
        with interrupts.watching(max_hours) as asked:
            advance_parts(parts, asked, report, checkpoint_every)
        opened = [checkpoint.Folder(part.folder, part.plan.settings) for part in parts]
        progress, end = _joined(opened)
        refuse_lost(plan, progress)
        about = beads, plan.settings["every"], plan.settings["temperature"], plan.notes(end, known or Provenance())
        frames = checkpoint.assembled(folder, opened, progress, *about, plan.finish(end))
        shutil.rmtree(folder / PARTS)
        (folder / checkpoint.SETTINGS).unlink()
        return frames


def _together(propagator: Propagator) -> int:
    """How many replicas stay in one process: those of a ladder."""
    return 1 if propagator.temperatures is None else len(propagator.temperatures)


def _chosen(asked: int | str | None, folder: Path, most: int) -> int:
    """The number of parts; ``most`` can be made."""
    if isinstance(asked, str) and asked != AUTO:
        raise ValueError(f"expected a number of processes or {AUTO!r}, got {asked!r}")
    begun = _begun(folder)
    if asked is None:
        return begun or 1
    if asked == AUTO:
        return begun or min(cores(), most)
    if int(asked) != asked or asked < 1:
        raise ValueError(f"expected a whole number of processes, at least 1, got {asked}")
    if begun not in (None, asked):
        raise ValueError(
            f"{folder} was begun with {begun} process(es), not {asked}, and its frames depend on their number; "
            f"give {begun}, or choose another folder"
        )
    if asked > most:
        raise ValueError(f"{asked} processes for {most} replica(s) or ladder(s) of them; give at most {most}")
    return int(asked)


def _begun(folder: Path) -> int | None:
    """With how many processes a simulation in the folder was begun; None where there is none."""
    if (folder / MANIFEST).exists():
        settings = Frames.load(folder).provenance.simulation
    else:
        settings = (
            filesystem.read_json(folder / checkpoint.SETTINGS) if (folder / checkpoint.SETTINGS).exists() else None
        )
    return None if settings is None else int(settings.get("processes", 1))


def _cut(plan: Plan, beads: Beads, folder: Path, number: int) -> list[Part]:
    """Shares of the replicas, as even as whole ladders allow; bonds are judged by the mean of all starts."""
    step, health, parts, first = _together(plan.propagator), plan.health, [], 0
    for part, ladders in enumerate(np.array_split(np.arange(len(plan.first) // step), number)):
        last = first + len(ladders) * step
        own = make_plan(
            plan.propagator,
            plan.first[first:last].numpy(),
            beads,
            **{name: plan.settings[name] for name in ("time", "every", "temperature")},
            seed=part_seed(plan.seed, part),
            bonds=health.bonds.tolist(),
            bond_lengths=health.reference.numpy(),
            closest=None if health.closest is None else health.closest.numpy(),
            number=first,
        )
        parts.append(Part(part, own, folder / str(part)))
        first = last
    return parts


def _joined(parts: Sequence[checkpoint.Folder]) -> tuple[checkpoint.Progress, State]:
    """Progress and state as of one simulation of all replicas."""
    every = [part.progress for part in parts]
    whole = checkpoint.Progress(max(p.steps for p in every), max(p.frames for p in every))
    first = 0
    for part in parts:
        whole.quarantined += [q | {"replica": q["replica"] + first} for q in part.progress.quarantined]
        first += part.replicas
    whole.quarantined.sort(key=lambda q: q["frame"])
    whole.heat = [float(sum(p.heat[0] for p in every)), int(sum(p.heat[1] for p in every))]
    whole.close = min((p.close for p in every if p.close), key=lambda pair: pair[2], default=None)
    whole.seconds = max(p.seconds for p in every)
    states = [part.restore(Generator(), torch.device("cpu")) for part in parts]
    fields = zip(*(state for state in states if state is not None), strict=True)
    return whole, State(*(None if field[0] is None else torch.cat(field) for field in fields))
