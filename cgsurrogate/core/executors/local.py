"""Processes of this machine, each with one thread.

The pool is that of the standard library. What it lacks is added: its processes save and end when the process that
started them is no more or has done with them, and they do not see SIGINT, which a terminal sends to all.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from multiprocessing import connection
from typing import Any

from cgsurrogate.core import interrupts, limits
from cgsurrogate.core.messages import plain_warnings


def build(tasks: int, workers: int = 0) -> Local:
    """``workers`` processes; by default as many as there are cores for this job, and no more than tasks."""
    if workers < 0:
        raise ValueError(f"expected a number of workers, 0 for one a core, got {workers}")
    return Local(max(1, min(tasks, workers or limits.cores())))


class Local(Executor):
    """Spawned processes: a script must ask for them below ``if __name__ == "__main__":``."""

    def __init__(self, workers: int):
        context = multiprocessing.get_context("spawn")
        end, self._lifeline = context.Pipe(duplex=False)
        self._starting = workers
        self._pool = ProcessPoolExecutor(workers, context, _prepare, (end,))

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            future = self._pool.submit(call, *arguments, **options)
            if (
                self._starting
            ):  # it may overlook the death of the process that it started last, until it is called again
                self._starting -= 1
                self._pool.submit(int)
            return future
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Tasks that are at work save and stop."""
        self._lifeline.close()
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


def _prepare(lifeline: connection.Connection) -> None:
    """First of all in a process of the pool."""
    import torch

    plain_warnings()
    torch.set_num_threads(1)
    threading.Thread(target=_end, args=(lifeline,), daemon=True).start()


def _end(lifeline: connection.Connection) -> None:
    """End this process when the one that has the other end of the pipe closes it or is no more; a task saves before."""
    connection.wait([lifeline])
    sent = 0.0
    while interrupts.at_work():
        if time.monotonic() - sent > interrupts.INSIST:
            os.kill(os.getpid(), signal.SIGTERM)
            sent = time.monotonic()
        time.sleep(0.05)
    os._exit(0)
