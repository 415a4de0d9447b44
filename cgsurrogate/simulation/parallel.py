"""One simulation in several parts, each with one thread and a share of the replicas.

The replicas are cut into parts that follow one another, with ladders of temperatures whole. Part k is a simulation by
itself in the folder ``parts/k``, with checkpoints and random numbers of its own; processes of this machine, a cluster
or the jobs of an array run them (``campaigns``). When all parts are done they become one folder of ``Frames``, as that
of one process: runs in the order of replicas, and notes made from the sums of all counts.

**What is reproducible.** The frames follow from the settings, the seed and the number of parts: part k of several is,
bit for bit, what ``simulate`` gives for its replicas with the seed ``part_seed(seed, k)``. How many workers there
are, and what was stopped or killed in between, changes nothing. Another number of parts is another draw from the same
distribution, so a folder keeps the number with which it was begun. One part is ``simulate`` itself, with its seed.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Generator

from cgsurrogate.core import filesystem, interrupts
from cgsurrogate.core.campaigns import PATIENCE, Hear, ShareDone, locked_soon, run_tasks
from cgsurrogate.core.frames import MANIFEST, Beads, Frames
from cgsurrogate.core.limits import cores
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.core.task_board import DONE, Board, Note, Told
from cgsurrogate.simulation import checkpoint
from cgsurrogate.simulation.frame_store import PARTS, Folder, assembled
from cgsurrogate.simulation.run import Unstable, advance, finished, refuse_lost, simulate
from cgsurrogate.simulation.settings import Limits, RunOptions, SimulationSettings, Spread, StepReport
from cgsurrogate.simulation.specification import Specification, specify

AUTO = "auto"


def part_seed(seed: int, part: int) -> int:
    """The seed of one of several parts, 32 bits (torch uses no more of it on a CPU)."""
    return int(np.random.SeedSequence((seed, part)).generate_state(1)[0])


def simulate_parts(
    propagator: Propagator,
    start: Frames | np.ndarray,
    beads: Beads,
    settings: SimulationSettings,
    options: RunOptions,
    known: Provenance | None = None,
) -> Frames:
    """As ``simulate``, in as many parts as are asked for.

    Processes are spawned: a script must call this below ``if __name__ == "__main__":``, or each of them would run it
    again.

    ``processes`` in ``provenance.simulation`` is the number of parts where there are several, and ``wall_seconds`` the
    time of the slowest.

    Raises:
        As ``simulate``, and
        ValueError: no folder; another number of parts than the folder was begun with, or more than there are replicas
            or ladders; a propagator that cannot be handed to another process; parts to join that are not done.
        ShareDone: a share of the parts was asked for, and is done.
        RuntimeError: a process was killed too often.
    """
    if options.folder is None:
        raise ValueError("a simulation that may have several processes needs a folder")
    folder, spread = Path(options.folder), options.spread
    whole = specify(propagator, start, beads, settings)
    number = _chosen(spread, folder, len(whole.first) // _together(propagator))
    if number == 1:
        return simulate(propagator, start, beads, settings, options, known)
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # as ``multiprocessing.spawn`` asks
        raise RuntimeError('a script that wants several processes must ask below: if __name__ == "__main__":')
    if whole.device.type != "cpu":
        raise ValueError(f"several processes are for CPUs, and the model is on {whole.device}; leave out --processes")
    whole = dataclasses.replace(whole, named=whole.named | {"processes": number})
    if (done := finished(folder, whole.named, options.report)) is not None:
        return done
    parts = {f"part {k + 1}": (folder / PARTS / str(k), spec) for k, spec in enumerate(_cut(whole, number))}
    if spread.join and not (folder / MANIFEST).exists():
        _refuse_unfinished(parts)
    folder.mkdir(parents=True, exist_ok=True)
    with locked_soon(folder, 0.0 if spread.share is None else PATIENCE):
        if (done := finished(folder, whole.named, options.report, held=True)) is not None:
            return done
        checkpoint.claim(folder, whole.named)
        if spread.share is None:
            _run(parts, folder, options)
            opened = [Folder(path, spec.named) for path, spec in parts.values()]
            progress, end = _joined(opened)
            refuse_lost(whole, progress)
            return assembled(folder, opened, progress, whole.make(end, known), whole.finish(end))
    _run(parts, folder, options)  # others may run theirs
    raise ShareDone(f"part {spread.share} of {folder} is done ({len(spread.share.of(parts))} of {number} parts)")


Parts = Mapping[str, tuple[Path, Specification]]


def _run(parts: Parts, folder: Path, options: RunOptions) -> None:
    """Run the parts that are not done; of them those of this share, if there are shares."""
    board, spread = Board(folder), options.spread
    wanted = list(parts) if spread.share is None else spread.share.of(parts)
    left = {name: part for name, part in parts.items() if not _done(*part)}
    board.plan({name: f"{len(spec.first)} replicas" for name, (_, spec) in parts.items()})
    for name in parts.keys() - left.keys():
        board.write(name, Note(DONE))
    tasks = {name: partial(_advance, part[1], part[0], options.checkpoint_every) for name, part in left.items()}
    tasks = {name: task for name, task in tasks.items() if name in wanted}
    hear = _hear(options.report, wanted, tasks, next(iter(parts.values()))[1].settings.time)
    with interrupts.watching(options.max_hours) as asked:
        run_tasks(tasks, board, hear, asked, "the simulation", spread.executor)


def _refuse_unfinished(parts: Parts) -> None:
    """Raise ``ValueError`` where there is something to run."""
    left = [name for name, part in parts.items() if not _done(*part)]
    if left:
        raise ValueError(f"{len(left)} of {len(parts)} parts are not done, the first: {left[0]}; run them first")


def _done(folder: Path, spec: Specification) -> bool:
    """Whether a part has all of its frames, or no replica any more."""
    if not (folder / checkpoint.CHECKPOINT).exists():
        return False
    _, progress = checkpoint.read(folder / checkpoint.CHECKPOINT)
    return progress.steps >= spec.total * spec.stride or len(progress.quarantined) == len(spec.first)


def _together(propagator: Propagator) -> int:
    """How many replicas stay in one process: those of a ladder."""
    return 1 if propagator.temperatures is None else len(propagator.temperatures)


def _chosen(spread: Spread, folder: Path, most: int) -> int:
    """The number of parts; ``most`` can be made."""
    asked, begun = spread.processes, _begun(folder)
    if isinstance(asked, str) and asked != AUTO:
        raise ValueError(f"expected a number of processes or {AUTO!r}, got {asked!r}")
    if (spread.share is not None or spread.join) and begun in (None, 1) and asked in (None, 1, AUTO):
        raise ValueError("--part and --join need the number of parts; give --processes N, the same each time")
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
    elif (folder / checkpoint.SETTINGS).exists():
        settings = filesystem.read_json(folder / checkpoint.SETTINGS)
    else:
        return None
    return None if settings is None else int(settings.get("processes", 1))


def _cut(whole: Specification, number: int) -> list[Specification]:
    """Shares of the replicas, as even as whole ladders allow; bonds are judged by the mean of all starts."""
    step, monitor = _together(whole.propagator), whole.monitor
    closest = None if monitor.closest is None else monitor.closest.numpy()
    limits = Limits(monitor.bonds.tolist(), monitor.reference.numpy(), closest)
    parts = []
    for part, ladders in enumerate(np.array_split(np.arange(len(whole.first) // step), number)):
        first, last = ladders[0] * step, (ladders[-1] + 1) * step
        own = dataclasses.replace(whole.settings, seed=part_seed(whole.settings.seed, part), limits=limits)
        parts.append(specify(whole.propagator, whole.first[first:last].numpy(), whole.beads, own, int(first)))
    return parts


def _advance(spec: Specification, folder: Path, checkpoint_every: float, tell: Callable[..., None]) -> None:
    """What one process does: a part by itself, until all frames are made or no replica is left."""

    def report(done: float, total: float, pace: float, kelvin: float | None, note: str) -> None:
        tell("simulating", done / total, note, pace, kelvin)

    folder.mkdir(parents=True, exist_ok=True)
    with interrupts.watching() as asked, filesystem.locked(folder):
        store = Folder(folder, spec.named)
        tell("simulating", store.progress.frames / spec.total)
        try:
            advance(spec, store, report, checkpoint_every, asked)
        except Unstable:
            tell("simulating", 1.0)


def _hear(report: StepReport | None, parts: Sequence[str], left: Iterable[str], total: float) -> Hear:
    """Report for all: how far they are on average, the speed of those that run, the mean kinetic temperature."""
    told = dict.fromkeys(parts, Told("", 1.0)) | dict.fromkeys(left, Told("", 0.0))

    def hear(part: str, said: Told) -> None:
        told[part] = said
        share = fmean(one.fraction or 0.0 for one in told.values())
        paces = [one.pace for one in told.values() if one.pace is not None and (one.fraction or 0.0) < 1.0]
        heat = [one.kelvin for one in told.values() if one.kelvin is not None]
        if report:
            note = "" if said.text == "complete" and share < 1.0 else said.text
            report(share * total, total, sum(paces), fmean(heat) if heat else None, note)

    return hear


def _joined(parts: Sequence[Folder]) -> tuple[checkpoint.Progress, State]:
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
    return whole, State._make(None if field[0] is None else torch.cat(field) for field in fields)
