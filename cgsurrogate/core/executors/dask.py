"""Workers of Dask: of this machine, of a scheduler that runs, or jobs of SLURM and other batch systems.

Dask starts a worker anew that was killed, and gives its task to another one. Its dashboard shows all of them. Needs the
extra: ``pip install 'cgsurrogate[cluster]'``.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from cgsurrogate.core import interrupts, limits
from cgsurrogate.core.messages import plain_warnings

CLUSTERS = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "sge": "SGECluster", "lsf": "LSFCluster"}
DEATHS = 10  # of workers at a task, after which it is given up: those that only waited on one count as well
SECONDS = 30.0  # a task has to save in before its worker ends


def build(
    tasks: int,
    workers: int = 0,
    address: str = "",
    batch: str = "",
    queue: str = "",
    memory: str = "4GB",
    walltime: str = "24:00:00",
    dashboard: bool = False,
) -> Dask:
    """Give ``address`` of a scheduler, or ``batch`` out of slurm, pbs, sge and lsf, or neither for this machine.

    Args:
        workers: of one thread each; by default one a core of this machine, or for a batch system one a task.
        queue, memory, walltime: of the job of each worker; it is replaced when its time is over.
        dashboard: of this machine's workers, at http://localhost:8787.

    Raises:
        ValueError: no such batch system, or a negative number of workers.
        RuntimeError: Dask is not installed.
    """
    if workers < 0:
        raise ValueError(f"expected a number of workers, got {workers}")
    if batch and batch not in CLUSTERS:
        raise ValueError(f"expected a batch system out of {', '.join(CLUSTERS)}, got {batch!r}")
    dask, distributed = _imported("dask"), _imported("distributed")
    dask.config.set({"distributed.scheduler.allowed-failures": DEATHS})
    if address:
        return Dask(distributed.Client(address))
    if batch:
        job = {"cores": 1, "processes": 1, "memory": memory, "walltime": walltime, "queue": queue or None}
        cluster = getattr(_imported("dask_jobqueue"), CLUSTERS[batch])(**job)
        cluster.adapt(minimum=min(tasks, workers or tasks), maximum=min(tasks, workers or tasks))
    else:
        count = max(1, min(tasks, workers or limits.cores()))
        shown = ":8787" if dashboard else None
        cluster = distributed.LocalCluster(count, threads_per_worker=1, memory_limit=0, dashboard_address=shown)
    return Dask(distributed.Client(cluster), cluster)


def _imported(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise RuntimeError(
            f"this executor needs {name.replace('_', '-')}; install it with: pip install 'cgsurrogate[cluster]'"
        ) from None


class Dask(Executor):
    """The executor of a client, which ends with it; as does the cluster, where one was started for it."""

    def __init__(self, client: Any, cluster: Any = None):
        self._client, self._cluster = client, cluster
        client.register_plugin(_plugin())
        self._executor = client.get_executor(pure=False)

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = self._executor.submit(call, *arguments, **options)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for one in (self._client, self._cluster):
            if one is not None:
                with contextlib.suppress(TimeoutError):
                    one.close()


def _plugin() -> Any:
    """What prepares a worker; its base is only there where Dask is."""

    class Prepared(_imported("distributed").WorkerPlugin):  # type: ignore[misc]
        name = "cgsurrogate"

        def setup(self, worker: Any) -> None:
            prepare()

    return Prepared()


def prepare() -> None:
    """One thread for a worker; SIGTERM lets its tasks save, which are not in its main thread, before it ends."""
    import torch

    plain_warnings()
    torch.set_num_threads(1)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=_save_and_end, daemon=True).start())


def _save_and_end() -> None:
    until = time.monotonic() + SECONDS
    interrupts.ask_all()
    while interrupts.at_work() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)  # in which the scheduler hears of it
    os._exit(128 + signal.SIGTERM)
