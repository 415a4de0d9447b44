"""Branches of a study side by side, each in a process of its own."""

from __future__ import annotations

import datetime
import functools
import multiprocessing
import queue
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol

from cgsurrogate.core import filesystem
from cgsurrogate.core.interrupts import Stopped, Watch, watching


class Update(Protocol):
    """Takes what is being done, the share of it that is done (None: not known), and a word on it."""

    def __call__(self, label: str, fraction: float | None, text: str = "") -> None: ...


Branch = Callable[[Update], None]
FAULTS = (ValueError, FileNotFoundError, FloatingPointError, filesystem.Busy)  # of the input or the machine, not ours


def run_branches(branches: Mapping[str, Branch], out: Path, report: Update) -> None:
    """Run all branches at once, each a function that can be pickled; a stop or a fault of one ends them all.

    Raises:
        Stopped: a signal came; every branch has saved what it had.
        Exception: what a branch raised.
    """
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    workers = {
        name: context.Process(target=_work, args=(name, branch, out, messages), daemon=True)
        for name, branch in branches.items()
    }
    with watching() as watch:
        for worker in workers.values():
            worker.start()
        failure = _listen(workers, messages, watch, out, report)
        for worker in workers.values():
            if worker.is_alive():
                worker.terminate()  # it saves and ends
        for worker in workers.values():
            worker.join(120)
    if watch.signal is not None:
        raise watch.reason("the run")
    if failure is not None:
        raise failure


def _listen(
    workers: Mapping[str, BaseProcess], messages: Any, watch: Watch, out: Path, report: Update
) -> Exception | None:
    """Pass progress on until every branch is done, one fails, or a signal comes."""
    open_ = set(workers)
    while open_ and not watch.requested:
        try:
            name, label, fraction, text = messages.get(timeout=0.3)
        except queue.Empty:
            for name in open_:
                code = workers[name].exitcode
                if code is not None and messages.empty():
                    return RuntimeError(f"the {name} process ended with exit code {code}; see {out / 'log.txt'}")
            continue
        if label == "done":
            open_.discard(name)
            log(out, f"{name} done")
        elif label == "failed":
            return fraction if isinstance(fraction, Exception) else RuntimeError(text)
        else:
            report(label, fraction, text)
    return None


def _work(name: str, branch: Branch, out: Path, messages: Any) -> None:
    """Runs in a child process."""
    import torch

    torch.set_num_threads(1)
    try:
        branch(functools.partial(_tell, messages, name))
        messages.put((name, "done", None, ""))
    except Stopped:
        pass
    except Exception as error:
        log(out, traceback.format_exc())
        known = isinstance(error, FAULTS)
        text = str(error) if known else f"the {name} failed: {type(error).__name__}: {error}"
        messages.put((name, "failed", error if known else None, text))


def _tell(messages: Any, name: str, label: str, fraction: float | None, text: str = "") -> None:
    messages.put((name, label, fraction, text))


def log(out: Path, text: str) -> None:
    """A line with the time in the log of a folder."""
    with open(out / "log.txt", "a") as handle:
        handle.write(f"{datetime.datetime.now().isoformat(timespec='seconds')} {text}\n")
