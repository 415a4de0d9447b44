"""A campaign: tasks that any ``concurrent.futures.Executor`` runs, here or elsewhere; none is lost with its worker.

A task can be pickled, and a call of it leaves one finished folder, or goes on from what is saved there. Nothing comes
back from it: what it leaves is on the disk, what it says on a ``Board``. So the same tasks can be given to processes of
this machine, to a cluster, or to the jobs of an array, and what is finished is the same whoever did it.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import TypeVar

from cgsurrogate.core import filesystem, interrupts, registry
from cgsurrogate.core.filesystem import Busy, first_line
from cgsurrogate.core.interrupts import Stopped, Watch
from cgsurrogate.core.registry import UserFiles
from cgsurrogate.core.task_board import DONE, FAILED, KILLED, RUNNING, STOPPED, WAITING, Board, Diary, Told

_T = TypeVar("_T")
Task = Callable[[Callable[..., None]], None]
Hear = Callable[[str, Told], None]
Executors = Callable[[int], Executor]
"""Gives an executor for so many tasks, as often as one breaks."""

TRIES = 4  # how often a worker may die of a task
PATIENCE = 60.0  # s in which a task that was asked to stop has saved, and let go of its folder
SETTLING = 1.0  # s in which a signal that ended a worker has come to this process as well, if it was meant for all


def executors(text: str = "local") -> Executors:
    """Of a kind by its name and options, as ``local:workers=2``.

    Raises:
        ValueError: there is no such kind.
    """
    name, options = registry.parse(text)
    registry.check("executors", text)
    return functools.partial(_built, name, options)


def _built(name: str, options: Mapping[str, object], tasks: int) -> Executor:
    made: Executor = registry.builder("executors", name)(tasks, **options)
    return made


@dataclasses.dataclass(frozen=True)
class Share:
    """Part ``number`` of ``count``, from 1: every ``count``-th task, so that shares are alike.

    >>> Share.parse("2/3").of("abcdefg")
    ['b', 'e']
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Share:
        """Of ``k/K``; ValueError if it is none."""
        first, _, second = text.partition("/")
        if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
            raise ValueError(f"expected a part k/K with k from 1 to K, as 3/8, got {text!r}")
        return cls(int(first), int(second))

    def of(self, tasks: Iterable[_T]) -> list[_T]:
        return list(tasks)[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


@contextlib.contextmanager
def locked_soon(folder: Path, patience: float) -> Iterator[None]:
    """As ``filesystem.locked``, but another writer is waited for, for so many seconds."""
    until = time.monotonic() + patience
    while True:
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(filesystem.locked(folder))
            except Busy:
                if time.monotonic() >= until:
                    raise
                time.sleep(0.2)
                continue
            yield
            return


class ShareDone(Exception):
    """This process has done its share of a campaign; whether the others have is not known to it."""


# -- where the campaign is watched -------------------------------------------------------------------------------------


def run_tasks(
    tasks: Mapping[str, Task],
    board: Board,
    hear: Hear,
    watch: Watch,
    what: str,
    make: Executors | None = None,
    *,
    alone: bool = False,
) -> None:
    """Call each task, and ``hear`` here with its name and what it told.

    A task whose worker was killed is tried again, up to ``TRIES`` times, in a new executor where the old one broke;
    the last time by itself. When one fails, or a stop is asked for, all others save and end.

    Args:
        board: where the tasks are planned.
        what: said to be saved, as "the run".
        make: by default the processes of this machine.
        alone: each task is worth its own; when one fails, the others go on, and the fault is raised at the end.

    Raises:
        Stopped: this process was asked to stop; the same tasks go on.
        ValueError: a task cannot be pickled.
        RuntimeError: a task was killed too often; or, of tasks that are ``alone``, some have failed.
        Exception: what a task raised.
    """
    campaign = _Campaign(tasks, board, hear, watch, what)
    for name in tasks:
        if board.note(name).state != RUNNING:  # for another command; it is waited for
            board.clear(name)
    waiting, make = list(tasks), make or executors()
    try:
        while waiting:
            last = [name for name in waiting if campaign.killed[name] == TRIES - 1]
            waiting = campaign.attempt([name for name in waiting if name not in last], make, alone)
            for name in last:  # by itself: it may only have been at work where another one's end broke the pool
                waiting += campaign.attempt([name], make, alone)
    finally:
        board.let_go()
    if campaign.failed:
        name, error = next(iter(campaign.failed.items()))
        count = f"{len(campaign.failed)} of {len(tasks)} tasks failed"
        raise RuntimeError(f"{count}, {name}: {first_line(error)}; the same command tries again what is not done")


class _Campaign:
    """What the process that watches knows of its tasks: how often each was killed, and which have failed."""

    def __init__(self, tasks: Mapping[str, Task], board: Board, hear: Hear, watch: Watch, what: str):
        self.tasks, self.board, self.hear, self.watch, self.what = tasks, board, hear, watch, what
        self.killed = dict.fromkeys(tasks, 0)
        self.failed: dict[str, BaseException] = {}
        self._heard: dict[tuple[str, str], Told] = {}
        self._seen: dict[str, int] = {}

    def attempt(self, names: list[str], make: Executors, alone: bool) -> list[str]:
        """Try these tasks; those to try again."""
        if not names:
            return []
        lost: dict[str, bool] = {}  # whether by the end of its worker
        users = UserFiles()
        with make(len(names)) as pool:
            futures: dict[Future[None], str] = {}
            try:
                for name in names:
                    futures[pool.submit(call, users, name, self.tasks[name], self.board)] = name
                while futures:
                    done, _ = wait(futures, interrupts.POLL, FIRST_COMPLETED)
                    self._pass_on()
                    if self.watch.requested:
                        raise self.watch.reason(self.what)
                    for future in done:
                        name = futures.pop(future)
                        error = future.exception()
                        if isinstance(error, BrokenExecutor | Stopped):  # nobody has asked it to, so its worker was
                            lost[name] = isinstance(error, BrokenExecutor)
                        elif error is not None:
                            self._fail(name, error, alone)
            except BrokenExecutor:  # while tasks were handed over
                lost = dict.fromkeys(names, True) | lost
            except BaseException:
                self.board.ask_to_stop()
                wait(futures, PATIENCE)
                raise
        if lost:
            self._refuse_deadly(lost, alone)
        self._pass_on()
        return [name for name in lost if name not in self.failed]

    def _fail(self, name: str, error: BaseException, alone: bool) -> None:
        note = self.board.note(name)
        if note.state == WAITING and not isinstance(error, Busy):
            words = f"{name} cannot be handed to another process ({first_line(error)}); use one process"
            error = ValueError(words)
        if note.state != FAILED:
            note.state, note.why = FAILED, first_line(error)
            self.board.write(name, note)
        if not alone:
            raise error
        self.failed[name] = error

    def _refuse_deadly(self, lost: Mapping[str, bool], alone: bool) -> None:
        """Count how often a task was killed; where a pool broke, only of those that its end has met at work."""
        until = time.monotonic() + SETTLING
        while not self.watch.requested and time.monotonic() < until:
            time.sleep(0.05)
        if self.watch.requested:
            raise self.watch.reason(self.what)
        for name, broken in lost.items():
            note = self.board.note(name)
            self.killed[name] += not broken or (note.state == STOPPED and note.why == KILLED)
            if self.killed[name] >= TRIES:
                words = f"{name} was killed {TRIES} times (for want of memory?); what was saved is kept, the same "
                self._fail(name, RuntimeError(f"{words}command continues it"), alone)

    def _pass_on(self) -> None:
        """Say here what tasks have told since the last time."""
        changed = []
        with os.scandir(self.board.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".json") and not entry.name.startswith("."):
                    changed_at = entry.stat().st_mtime_ns
                    if self._seen.get(entry.name) != changed_at:
                        self._seen[entry.name] = changed_at
                        changed.append(entry.name)
        for name in self.tasks:
            if self.board.file(name, ".json").name in changed:
                for label, told in self.board.note(name).told.items():
                    if self._heard.get((name, label)) != told:
                        self._heard[name, label] = told
                        self.hear(name, told)


# -- where the work is done --------------------------------------------------------------------------------------------


def call(_: UserFiles, name: str, task: Task, board: Board) -> None:
    """One task, in whatever process and thread an executor has for it.

    Raises:
        Stopped: it was asked to stop, and has saved.
    """
    if board.asked_to_stop():
        raise Stopped(f"{name} was not begun")
    until = time.monotonic() + PATIENCE
    with interrupts.stoppable(board.asked_to_stop):
        task = copy.deepcopy(task)  # out of memory that processes share
        while True:
            try:
                with board.held(name):
                    if board.note(name).state != DONE:  # Dask may have lost that it was done
                        _noted(name, task, board)
                    return
            except Busy:  # a process of a command that was killed holds the folder for a moment longer
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)


def _noted(name: str, task: Task, board: Board) -> None:
    diary = Diary(board, name)
    try:
        task(diary.tell)
    except Busy as error:
        diary.end(WAITING, first_line(error))
        raise
    except (Stopped, interrupts.Terminated) as error:
        diary.end(STOPPED, str(error) or "stopped by SIGTERM")
        raise
    except BaseException as error:
        diary.end(FAILED, first_line(error))
        raise
    diary.end(DONE)
