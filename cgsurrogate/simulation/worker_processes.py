"""Parts of a simulation, each in a process with one thread; the process that starts them watches until all are done."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import multiprocessing
import os
import signal
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing import connection, resource_tracker
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import torch

from cgsurrogate.core import filesystem, interrupts
from cgsurrogate.core.registry import UserFiles
from cgsurrogate.simulation import checkpoint
from cgsurrogate.simulation.frame_store import Folder
from cgsurrogate.simulation.run import SECONDS_BETWEEN_REPORTS, Unstable, advance
from cgsurrogate.simulation.settings import StepReport
from cgsurrogate.simulation.specification import Specification

PATIENCE = 60.0  # s in which a process of a command that was killed has noticed, saved and ended
EXPECTED = (FileNotFoundError, ValueError, OSError, FloatingPointError, MemoryError, filesystem.Busy)  # one clear line


@dataclasses.dataclass(eq=False)
class Part:
    """One part, the process that does it, and what that has told last: ps done, ns a day, K."""

    number: int
    spec: Specification
    folder: Path
    process: Any = None
    messages: Any = None
    done: float = 0.0
    pace: float = 0.0
    kelvin: float | None = None

    def complete(self) -> bool:
        """As its checkpoint says: all frames are made, or no replica is left."""
        spec, progress = self.spec, checkpoint.reached(self.folder)
        ended = progress.steps >= spec.total * spec.stride or len(progress.quarantined) == len(spec.first)
        self.done = spec.settings.time if ended else progress.steps * spec.propagator.lag
        return ended


def advance_parts(
    parts: Sequence[Part], asked: interrupts.Watch, report: StepReport | None, checkpoint_every: float
) -> None:
    """Run all parts that are not complete, each in a process, until they are; raises as ``simulate_parts``."""
    left = [part for part in parts if not part.complete()]
    failure: Exception | None = None
    try:
        _start(left, checkpoint_every)
        failure = _listen(parts, left, asked, report)
    finally:
        for part in left:
            if part.process is not None and part.process.is_alive():
                part.process.terminate()  # it saves and ends
        for part in left:
            if part.process is not None:
                part.process.join()
    complete = [part.complete() for part in parts]
    if all(complete):
        if report:
            _report(parts, report, "complete")
        return
    if failure is not None:
        raise failure
    raise asked.reason(f"the simulation ({min(part.done for part in parts):g} ps)")


def _start(parts: Sequence[Part], checkpoint_every: float) -> None:
    """A process for each part. It never sees SIGINT, which a terminal sends to all: only this process decides."""
    context = multiprocessing.get_context("spawn")
    resource_tracker.ensure_running()  # here, because it unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for part in parts:
            part.folder.mkdir(parents=True, exist_ok=True)
            part.messages, theirs = context.Pipe(duplex=False)
            arguments = (UserFiles(), part.spec, part.folder, checkpoint_every, theirs)
            process = context.Process(target=_work, args=arguments, daemon=True, name=f"part {part.number}")
            try:
                process.start()
            except OSError:
                raise
            except Exception as error:  # whatever pickling meets in it
                raise ValueError(f"this model cannot be handed to another process ({error}); use one process") from None
            part.process = process
            theirs.close()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _listen(
    parts: Sequence[Part], left: Sequence[Part], asked: interrupts.Watch, report: StepReport | None
) -> Exception | None:
    """Pass on what the processes tell until all have ended, one has failed, or this one is asked to stop."""
    open_, reported, news = {part.messages: part for part in left}, monotonic(), False
    while open_ and not asked.requested:
        notes = []
        ready: list[Any] = connection.wait(list(open_), timeout=0.3)
        for messages in ready:
            part = open_[messages]
            try:
                kind, content = messages.recv()
            except (EOFError, OSError):  # its end is closed
                del open_[messages]
                messages.close()
                part.pace = 0.0
                if part.complete():
                    continue
                part.process.join()
                if part.process.exitcode == -signal.SIGTERM:  # before it could note it
                    asked.signal = signal.SIGTERM
                    return None
                return _ended(part, len(parts))
            if kind == "stopped":
                asked.signal = content
                return None
            if kind == "failed":
                return content
            part.done, _, part.pace, part.kelvin, said = content
            news = True
            notes += [said] if said not in ("", "complete", "stopped") else []
        if report and (notes or (news and monotonic() - reported > SECONDS_BETWEEN_REPORTS)):
            _report(parts, report, "; ".join(notes))
            reported, news = monotonic(), False
    return None


def _report(parts: Sequence[Part], report: StepReport, note: str) -> None:
    """One line for all: the slowest part, and the speed of all together."""
    total = parts[0].spec.settings.time
    heat = [(part.kelvin, len(part.spec.first)) for part in parts if part.kelvin is not None]
    kelvin = sum(k * n for k, n in heat) / sum(n for _, n in heat) if heat else None
    report(min(part.done for part in parts), total, sum(part.pace for part in parts), kelvin, note)


def _ended(part: Part, number: int) -> RuntimeError:
    code = part.process.exitcode
    name = f"process {part.number + 1} of {number}"
    if code < 0:
        how = signal.Signals(-code).name
        return RuntimeError(f"{name} was killed by {how}; what was saved is kept, the same command continues it")
    return RuntimeError(f"{name} ended with exit code {code} before it was done; what it printed is above")


# -- a process that works ---------------------------------------------------------------------------------------------


def _work(_: UserFiles, spec: Specification, folder: Path, checkpoint_every: float, messages: Any) -> None:
    """One part, with one thread."""
    torch.set_num_threads(1)
    spec = copy.deepcopy(spec)  # out of the memory that it came in, which all processes share

    def tell(kind: str, content: Any = None) -> None:
        try:
            messages.send((kind, content))
        except OSError:  # nobody listens any more
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with interrupts.watching() as asked, _locked(folder, asked), contextlib.suppress(Unstable):
            sink = Folder(folder, spec.named)
            advance(spec, sink, lambda *told: tell("told", told), checkpoint_every, asked)
    except interrupts.Stopped as stopped:
        tell("stopped", stopped.signal)
    except EXPECTED as error:
        tell("failed", next(kind for kind in EXPECTED if isinstance(error, kind))(str(error)))
    except Exception as error:
        failure = RuntimeError(f"{type(error).__name__} in a process of the simulation: {error}")
        failure.add_note(traceback.format_exc())
        tell("failed", failure)


@contextlib.contextmanager
def _locked(folder: Path, asked: interrupts.Watch) -> Iterator[None]:
    """As ``filesystem.locked``; a process of a command that was killed may hold the folder for a moment longer."""
    until = monotonic() + PATIENCE
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(filesystem.locked(folder))
                break
            except filesystem.Busy:
                if monotonic() > until:
                    raise
                if asked.requested:
                    raise asked.reason("the simulation") from None
                sleep(0.2)
        yield
