"""Tasks side by side, each in a process with one thread; the process that starts them watches until all are done.

A task can be pickled, and a call of it leaves one finished folder, or goes on from what is saved there. Nothing else
comes back, so any executor could run it. Asked to stop, it saves and raises ``Stopped`` (``interrupts.watching``).
"""

from __future__ import annotations

import contextlib
import copy
import math
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, BrokenExecutor, Future, ProcessPoolExecutor, wait
from multiprocessing import connection
from multiprocessing.reduction import ForkingPickler
from time import monotonic, sleep
from typing import Any

from cgsurrogate.core.filesystem import Busy
from cgsurrogate.core.interrupts import INSIST, Stopped, Terminated, Watch, terminate
from cgsurrogate.core.messages import plain_warnings
from cgsurrogate.core.registry import UserFiles

Task = Callable[[Callable[..., None]], None]
PATIENCE = 60.0  # s in which a process that was asked to stop has saved, and let go of its folder
_own: dict[str, Any] = {}  # in a process that works: its ends of the connections to the one that watches


def cores() -> int:
    """How many this process may use; a batch system gives a job only its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(tasks: Mapping[str, Task], hear: Callable[..., None], watch: Watch, what: str) -> None:
    """Call each task with a function, and ``hear`` here with the task's name and whatever that function was told.

    When one fails, or a stop is asked for, all of them save and end. ``what`` is said to be saved, as "the run".

    Raises:
        Stopped: this process or one of the others was asked to stop; the same tasks go on.
        ValueError: a task cannot be pickled.
        RuntimeError: a process was killed.
        Exception: what a task raised.
    """
    context = multiprocessing.get_context("spawn")
    messages, (asked, stop) = context.Queue(), context.Pipe(duplex=False)
    with stop, ProcessPoolExecutor(len(tasks) or 1, context, _prepare, (UserFiles(), messages, asked)) as pool:
        try:
            pending = _submit(pool, tasks)
            while pending:
                done, pending = wait(pending, 0.3, FIRST_EXCEPTION)
                _pass_on(messages, hear)
                for future in done:
                    future.result()
                if pending and watch.requested:
                    raise watch.reason(what)
        except BaseException as error:
            stop.close()  # all save and end
            if not isinstance(error, BrokenExecutor):
                raise
            if watch.requested:  # some had nothing to save yet
                raise watch.reason(what) from None
            words = "was killed (for want of memory?) or has said above what it died of; what was saved is kept"
            raise RuntimeError(f"a process of {what} {words}, the same command continues it") from error
    _pass_on(messages, hear)


def _submit(pool: ProcessPoolExecutor, tasks: Mapping[str, Task]) -> set[Future[None]]:
    """Start the processes. They never see SIGINT, which a terminal sends to all: only this process decides."""
    try:
        packed = {name: bytes(ForkingPickler.dumps(task)) for name, task in tasks.items()}
    except Exception as error:  # whatever pickling meets in it
        raise ValueError(f"this model cannot be handed to another process ({error}); use one process") from error
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        futures = {pool.submit(_work, *entry) for entry in packed.items()}
        pool.submit(int).cancel()  # the pool may have overlooked the process that it started last, until it is called
        return futures
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _pass_on(messages: Any, hear: Callable[..., None]) -> None:
    while not messages.empty():
        name, told = messages.get()
        hear(name, *told)


def _prepare(_: UserFiles, messages: Any, asked: connection.Connection) -> None:
    """First of all in a process that works; without a task it ignores SIGTERM, since it may hold locks of the pool."""
    import torch

    plain_warnings()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)
    _own.update(messages=messages, asked=asked)
    threading.Thread(target=_end, args=(asked,), daemon=True).start()


def _end(asked: connection.Connection) -> None:
    """Stop the task when the process that watches asks for it or is no more: either closes the connection."""
    connection.wait([asked])
    parent: Any = multiprocessing.parent_process()
    until, sent = monotonic() + PATIENCE, -math.inf
    while True:
        if monotonic() - sent > INSIST:  # a library may have lost the one before
            os.kill(os.getpid(), signal.SIGTERM)
            sent = monotonic()
        alone = connection.wait([parent.sentinel], 0) or monotonic() > until
        if alone and signal.getsignal(signal.SIGTERM) is signal.SIG_IGN:  # all is saved
            os._exit(1)  # nobody else will end this process
        sleep(0.2)


def _work(name: str, packed: bytes) -> None:
    """One task, in a process that works."""
    until = monotonic() + PATIENCE
    try:
        task: Task = copy.deepcopy(ForkingPickler.loads(packed))  # out of memory that all processes share
        signal.signal(signal.SIGTERM, terminate)  # not before: the process that shares it waits for the end of loading
        while not _own["asked"].poll():
            try:
                task(lambda *told: _own["messages"].put((name, told)))
                return
            except Busy:  # a process of a command that was killed holds the folder for a moment longer
                if monotonic() > until:
                    raise
                sleep(0.2)
        raise Stopped(f"{name} was not begun", signal.SIGTERM)
    except Terminated:
        raise Stopped(f"stopped by SIGTERM; what {name} had saved is kept", signal.SIGTERM) from None
    finally:
        with contextlib.suppress(Terminated):  # a signal that came just before
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
