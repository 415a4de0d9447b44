"""Any propagator and starting positions -> ``Frames``: checkpoints, limits of time, and checks on every replica.

A simulation in a folder can be stopped or killed at any moment. The same call again goes on from the last checkpoint,
bit for bit as if nothing had happened, because a step is a function of (state, random numbers) and both are stored.
While it runs, the folder holds ``simulation.json`` (the settings), ``checkpoint.safetensors`` and ``chunks/``; when
it is done, all of that has become one folder of ``Frames``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import filesystem, interrupts
from cgsurrogate.core.frames import MANIFEST, Beads, Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.core.statistics import systematic
from cgsurrogate.simulation import checkpoint
from cgsurrogate.simulation.specification import Plan, make_plan

Report = Callable[[float, float, float, float | None, str], None]
"""Called about once a second with (ps done, ps in all, ns a day of all replicas together, mean kinetic temperature in K
or None where there are no velocities, a note or an empty text)."""

STEPS_BETWEEN_CHECKS = 50  # so that checks cost little beside the steps
SECONDS_BETWEEN_REPORTS = 1.0
BLOCK_BYTES = 64 << 20  # positions held in memory before they are written


class Unstable(RuntimeError):
    """Every replica has left the physical range."""


def pick_starts(frames: Frames, replicas: int, rng: np.random.Generator) -> np.ndarray:
    """(R, N, 3) nm starting positions, drawn from the frames with their weights, in random order.

    By systematic resampling, so no frame comes twice unless its weight asks for it.
    """
    if replicas < 1:
        raise ValueError(f"expected at least one replica, got {replicas}")
    chosen = systematic(np.cumsum(frames.probabilities), replicas, rng)
    return np.array(frames.positions[chosen], np.float32)[rng.permutation(replicas)]


def simulate(
    propagator: Propagator,
    start: Frames | np.ndarray,
    beads: Beads,
    *,
    time: float,
    every: float,
    temperature: float,
    seed: int = 0,
    folder: str | Path | None = None,
    bonds: Sequence[tuple[int, int]] | None = None,
    bond_lengths: np.ndarray | None = None,
    closest: np.ndarray | float | None = None,
    report: Report | None = None,
    max_hours: float | None = None,
    checkpoint_every: float = 60.0,
    known: Provenance | None = None,
) -> Frames:
    """Run all replicas for ``time`` and keep a frame ``every`` so often; the start is not a frame. A run is a replica.

    A replica whose positions are no longer finite, whose watched bonds leave (1/2, 2) times their reference length, or
    whose kinetic temperature is absurd is frozen before its first bad frame. Its run is then shorter, or missing if it
    had no good frame; its provenance says which replica was ``quarantined``, when and why, and which of the
    ``replicas`` each run is. The others go on bitwise unchanged, but for those on the same ladder of temperatures.
    ``wall_seconds`` there is what it took, all pieces.

    Where replicas exchange temperatures, the frames are those at the lowest one, a run a ladder, and those of all are
    saved in a folder inside (``ladder.assemble``).

    Args:
        start: (R, N, 3) nm, or frames of which each one starts a replica.
        time: ps, a whole number of ``every``.
        every: ps between frames, a whole number of ``propagator.lag``.
        temperature: K, for the checks and for the frames; the lowest of a ladder.
        folder: where to write; None keeps all in memory, without checkpoints.
        bonds: watched pairs; the bonds of the beads if None.
        bond_lengths: (len(bonds),) nm, their reference; the mean over the start if None.
        closest: nm, the closest approach in training, for all pairs or as (N, N); a note warns at half of it.
        report: progress, see ``Report``.
        max_hours: wall time after which to stop, resumable; needs a folder.
        checkpoint_every: seconds of wall time between checkpoints, which is what a kill can lose.
        known: what else is known of the frames.

    Raises:
        ValueError: settings that do not fit together, or do not fit what the folder holds.
        stopping.Stopped: SIGTERM, SIGINT or ``max_hours``; all is saved and the same call goes on.
        Unstable: no replica is left.
        files.Busy: another process writes to the folder.
    """
    if max_hours is not None and (folder is None or not max_hours > 0):
        raise ValueError(f"max_hours must be above 0 and needs a folder, got {max_hours} and folder {folder}")
    plan = make_plan(
        propagator,
        start,
        beads,
        time=time,
        every=every,
        temperature=temperature,
        seed=seed,
        bonds=bonds,
        bond_lengths=bond_lengths,
        closest=closest,
    )
    if folder is None:
        sink: checkpoint.Sink = checkpoint.Memory(len(plan.first), plan.total, len(beads))
        end = advance(plan, sink, report, math.inf, interrupts.Watch())
        return sink.frames(beads, every, temperature, plan.notes(end, known or Provenance()), plan.finish(end))
    folder = Path(folder)
    if (done := finished(folder, plan.settings, report)) is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with filesystem.locked(folder):
        sink = checkpoint.Folder(folder, plan.settings)
        with interrupts.watching(max_hours) as asked:
            end = advance(plan, sink, report, checkpoint_every, asked)
        return sink.frames(beads, every, temperature, plan.notes(end, known or Provenance()), plan.finish(end))


def finished(folder: Path, settings: dict[str, Any], report: Report | None) -> Frames | None:
    """The frames of a folder that is complete; ValueError if they are those of another simulation."""
    if not (folder / MANIFEST).exists():
        return None
    done = Frames.load(folder)
    checkpoint.refuse_other(folder, done.provenance.simulation, settings)
    if report:
        report(settings["time"], settings["time"], 0.0, None, "already complete")
    return done


def advance(
    plan: Plan, sink: checkpoint.Sink, report: Report | None, checkpoint_every: float, asked: interrupts.Watch
) -> State:
    """Go on from what the sink holds until all frames are in it; the state at the end. Raises as ``simulate``."""
    with _frozen(plan.propagator):
        return _run(plan, sink, report, checkpoint_every, asked)


def _run(
    plan: Plan, sink: checkpoint.Sink, report: Report | None, checkpoint_every: float, asked: interrupts.Watch
) -> State:
    """Step until ``total`` frames, ``stride`` steps apart, are in the sink; the state at the end."""
    propagator, first, total, stride, health = plan.propagator, plan.first, plan.total, plan.stride, plan.health
    device, progress, replicas = plan.device, sink.progress, len(first)
    rng = Generator(device)
    health.to(device)
    state = sink.restore(rng, device)
    if state is None:
        state = _laid_out(propagator.start(first.to(device), rng.manual_seed(plan.seed)))
    window: list[State] = []
    window_size = max(1, min(STEPS_BETWEEN_CHECKS // stride, BLOCK_BYTES // (replicas * first[0].nbytes)))
    if propagator.temperatures is not None:
        window_size = 1  # no replica that has failed at a frame is in the exchanges after it
    reported = saved = counted = monotonic()
    steps = told = progress.steps

    def check() -> State:
        """Judge the window and pass it to the sink; the state to go on from."""
        if window:
            x = torch.stack([s.positions for s in window])
            v, kelvin, energy, rungs = (_stack(window, n) for n in ("velocities", "temperature", "energy", "ladder"))
            health.check(x, v, progress, progress.frames - len(window), kelvin)
            labels = None if rungs is None else torch.stack((rungs[..., 0].double(), energy.double()), -1).cpu().numpy()  # type: ignore[union-attr]
            sink.append(x.to("cpu", torch.float32).numpy(), labels)
            window.clear()
        return health.mend(state, progress)

    def save() -> float:
        nonlocal counted
        progress.steps, now = steps, monotonic()
        progress.seconds, counted = progress.seconds + now - counted, now
        sink.commit(state, rng)
        return monotonic()

    def tell(note: str) -> tuple[float, int]:
        now = monotonic()
        if report:
            alive = replicas - len(progress.quarantined)
            pace = (steps - told) * propagator.lag * alive / 1000 / max(now - reported, 1e-9) * 86400
            done, end = steps * propagator.lag, total * stride * propagator.lag
            report(done, end, pace, health.kinetic_temperature(state, progress), note)
        return now, steps

    while steps < total * stride and len(progress.quarantined) < replicas:
        state = _laid_out(propagator.step(state, rng))
        steps += 1
        if steps % stride == 0:
            window.append(state)
            progress.frames += 1
            if len(window) >= window_size:
                state = check()
        now, stop = monotonic(), asked.requested
        if stop or now - saved > checkpoint_every or sink.size > BLOCK_BYTES:
            state = check()
            saved = save()
        if stop and steps < total * stride:
            tell("stopped")
            raise asked.reason(f"the simulation ({steps * propagator.lag:g} ps)")
        if health.news or now - reported > SECONDS_BETWEEN_REPORTS:
            reported, told = tell(health.pop_news())
    state = check()
    save()
    refuse_lost(plan, progress)
    tell(health.pop_news() or "complete")
    return state


def refuse_lost(plan: Plan, progress: checkpoint.Progress) -> None:
    """Raise Unstable if no replica is left."""
    if len(progress.quarantined) == len(plan.first):
        lost = progress.quarantined[0]
        when = (lost["frame"] + 1) * plan.stride * plan.propagator.lag
        raise Unstable(
            f"all {len(plan.first)} replicas left the physical range, the first after {when:g} ps "
            f"({lost['reason']}); use a shorter timestep, or train the model for longer"
        )


def _laid_out(state: State) -> State:
    """The same numbers in the order in memory that a checkpoint gives them back in: sums round by that order."""
    return State(*(None if part is None else part.contiguous() for part in state))


def _stack(window: list[State], name: str) -> Tensor | None:
    """(W, R, ...) one field of all states, None where they do not have it."""
    parts = [getattr(state, name) for state in window]
    return None if parts[0] is None else torch.stack(parts)


@contextlib.contextmanager
def _frozen(propagator: Propagator) -> Iterator[None]:
    """In evaluation mode, and with no graph kept for its weights: forces come a quarter faster."""
    training, learning = propagator.training, [p for p in propagator.parameters() if p.requires_grad]
    propagator.eval().requires_grad_(False)
    try:
        yield
    finally:
        propagator.train(training)
        for parameter in learning:
            parameter.requires_grad_(True)
