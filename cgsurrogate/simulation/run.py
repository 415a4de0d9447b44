"""Any propagator and starting positions -> ``Frames``: checkpoints, limits of time, and checks on every replica.

A simulation in a folder can be stopped or killed at any moment. The same call again goes on from the last checkpoint,
bit for bit as if nothing had happened, because a step is a function of (state, random numbers) and both are stored.
While it runs, the folder holds ``simulation.json`` (the settings), ``checkpoint.safetensors`` and ``chunks/``; when
it is done, all of that has become one folder of ``Frames``.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
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
from cgsurrogate.simulation import checkpoint, identity
from cgsurrogate.simulation.frame_store import Folder, Memory, Sink, leftovers, remove
from cgsurrogate.simulation.settings import RunOptions, SimulationSettings, StepReport
from cgsurrogate.simulation.specification import Specification, specify

IN_MEMORY = RunOptions()
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
    chosen = systematic(torch.from_numpy(np.cumsum(frames.probabilities)), replicas, rng.random()).numpy()
    return np.array(frames.positions[chosen], np.float32)[rng.permutation(replicas)]


def simulate(
    propagator: Propagator,
    start: Frames | np.ndarray,
    beads: Beads,
    settings: SimulationSettings,
    options: RunOptions = IN_MEMORY,
    known: Provenance | None = None,
) -> Frames:
    """Run all replicas and keep a frame every so often; the start is not a frame. A run is a replica.

    A replica whose positions are no longer finite, whose watched bonds leave (1/2, 2) times their reference length, or
    whose kinetic temperature is absurd is frozen before its first bad frame. Its run is then shorter, or missing if it
    had no good frame; its provenance says which replica was ``quarantined``, when and why, and which of the
    ``replicas`` each run is. The others go on bitwise unchanged, but for those on the same ladder of temperatures.
    ``wall_seconds`` there is what it took, all pieces.

    Where replicas exchange temperatures, the frames are those at the lowest one, a run a ladder, and those of all are
    saved in a folder inside (``temperature_ladder.assemble``).

    Args:
        start: (R, N, 3) nm, or frames of which each one starts a replica.
        settings: with ``every`` and ``temperature``; ``replicas``, ``sampler`` and ``correct`` are for who calls this.
        options: ``spread`` is for ``parallel.simulate_parts``.
        known: what else is known of the frames.

    Raises:
        ValueError: settings that do not fit together, or do not fit what the folder holds.
        Stopped: SIGTERM, SIGINT or ``max_hours``; all is saved and the same call goes on.
        Unstable: no replica is left.
        Busy: another process writes to the folder.
    """
    spec = specify(propagator, start, beads, settings)
    if options.folder is None:
        memory = Memory(len(spec.first), spec.total, len(beads))
        end = advance(spec, memory, options.report, math.inf, interrupts.Watch())
        return spec.collected(memory, end, known)
    folder = Path(options.folder)
    if (done := finished(folder, spec.named, options.report)) is not None:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with filesystem.locked(folder):
        if (done := finished(folder, spec.named, options.report, held=True)) is not None:
            return done
        store = Folder(folder, spec.named)
        with interrupts.watching(options.max_hours) as asked:
            end = advance(spec, store, options.report, options.checkpoint_every, asked)
        return spec.collected(store, end, known)


def finished(folder: Path, named: dict[str, Any], report: StepReport | None, held: bool = False) -> Frames | None:
    """The frames of a folder that is complete; ValueError if they are those of another simulation.

    What they were made of, where a process was killed at the very end, is removed where the folder is ``held`` by this
    process; elsewhere such a folder is not taken for complete.
    """
    left = leftovers(folder)
    if not (folder / MANIFEST).exists() or (left and not held):
        return None
    done = Frames.load(folder)
    identity.refuse_other(folder, done.provenance.simulation, named)
    if report:
        report(named["time"], named["time"], 0.0, None, "already complete")
    remove(left)
    return done


def advance(
    spec: Specification, sink: Sink, report: StepReport | None, checkpoint_every: float, asked: interrupts.Watch
) -> State:
    """Go on from what the sink holds until all frames are in it; the state at the end. Raises as ``simulate``."""
    with _frozen(spec.propagator):
        return _Advance(spec, sink, report).run(checkpoint_every, asked)


class _Advance:
    """The loop of a simulation: ``state`` after ``steps``, and the ``window`` of frames that nobody has judged yet."""

    def __init__(self, spec: Specification, sink: Sink, report: StepReport | None):
        self.spec, self.sink, self.report, self.progress = spec, sink, report, sink.progress
        self.monitor, self.rng = spec.monitor, Generator(spec.device)
        self.monitor.to(spec.device)
        state = sink.restore(self.rng, spec.device)
        if state is None:
            first = spec.first.to(spec.device)
            state = _laid_out(spec.propagator.start(first, self.rng.manual_seed(int(spec.settings.seed))))
        self.state, self.steps = state, self.progress.steps
        self.window: list[State] = []
        self.reported = self.saved = self.counted = monotonic()
        self.told = self.steps

    def run(self, checkpoint_every: float, asked: interrupts.Watch) -> State:
        """Step until all frames are in the sink; the state at the end."""
        spec, progress = self.spec, self.progress
        total, most = spec.total * spec.stride, self._window_size()
        while self.steps < total and len(progress.quarantined) < len(spec.first):
            self.state = _laid_out(spec.propagator.step(self.state, self.rng))
            self.steps += 1
            if self.steps % spec.stride == 0:
                self.window.append(self.state)
                progress.frames += 1
                if len(self.window) >= most:
                    self._check()
            now, stop = monotonic(), asked.requested
            if stop or now - self.saved > checkpoint_every or self.sink.size > BLOCK_BYTES:
                self._save()
            if stop and self.steps < total:
                self._tell("stopped")
                raise asked.reason(f"the simulation ({self.steps * spec.propagator.lag:g} ps)")
            if self.monitor.news or now - self.reported > SECONDS_BETWEEN_REPORTS:
                self._tell(self.monitor.pop_news())
        self._save()
        refuse_lost(spec, progress)
        self._tell(self.monitor.pop_news() or "complete")
        return self.state

    def _window_size(self) -> int:
        if self.spec.propagator.temperatures is not None:
            return 1  # no replica that has failed at a frame is in the exchanges after it
        frame = len(self.spec.first) * self.spec.first[0].nbytes
        return max(1, min(STEPS_BETWEEN_CHECKS // self.spec.stride, BLOCK_BYTES // frame))

    def _check(self) -> None:
        """Judge the window and pass it to the sink; mend the state to go on from."""
        window, progress = self.window, self.progress
        if window:
            x = torch.stack([s.positions for s in window])
            v, kelvin, energy, rungs = (_stack(window, n) for n in ("velocities", "temperature", "energy", "ladder"))
            self.monitor.check(x, v, progress, progress.frames - len(window), kelvin)
            labels = None
            if rungs is not None and energy is not None:
                labels = torch.stack((rungs[..., 0].double(), energy.double()), -1).cpu().numpy()
            self.sink.append(x.to("cpu", torch.float32).numpy(), labels)
            window.clear()
        self.state = self.monitor.mend(self.state, progress)

    def _save(self) -> None:
        self._check()
        progress, now = self.progress, monotonic()
        progress.steps, progress.seconds = self.steps, progress.seconds + now - self.counted
        self.counted = now
        self.sink.commit(self.state, self.rng)
        self.saved = monotonic()

    def _tell(self, note: str) -> None:
        now, lag = monotonic(), self.spec.propagator.lag
        if self.report:
            alive = len(self.spec.first) - len(self.progress.quarantined)
            pace = (self.steps - self.told) * lag * alive / 1000 / max(now - self.reported, 1e-9) * 86400
            done, end = self.steps * lag, self.spec.total * self.spec.stride * lag
            self.report(done, end, pace, self.monitor.kinetic_temperature(self.state, self.progress), note)
        self.reported, self.told = now, self.steps


def refuse_lost(spec: Specification, progress: checkpoint.Progress) -> None:
    """Raise Unstable if no replica is left."""
    if len(progress.quarantined) == len(spec.first):
        lost = progress.quarantined[0]
        when = (lost["frame"] + 1) * spec.stride * spec.propagator.lag
        raise Unstable(
            f"all {len(spec.first)} replicas left the physical range, the first after {when:g} ps "
            f"({lost['reason']}); use a shorter timestep, or train the model for longer"
        )


def _laid_out(state: State) -> State:
    """The same numbers in the order in memory that a checkpoint gives them back in: sums round by that order."""
    return State._make(None if part is None else part.contiguous() for part in state)


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
