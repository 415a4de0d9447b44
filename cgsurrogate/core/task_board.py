"""What is known of the tasks of a campaign, in a folder that all of its processes see, on one machine or several.

``tasks/plan.json`` lists the tasks, and ``tasks/NAME.json`` says how far each is. Who works on a task holds its lock,
so that none is done twice. A file asks all that work for one command to save and stop.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from cgsurrogate.core import filesystem

TASKS, PLAN = "tasks", "plan.json"
WAITING, RUNNING, DONE, FAILED, STOPPED = "waiting", "running", "done", "failed", "stopped"
KILLED = "killed"
OFTEN = 0.5  # s between two notes of a task


class Told(NamedTuple):
    """What a task says of itself: a word on what it does, the share that is done, ns a day, and K."""

    label: str
    fraction: float | None
    text: str = ""
    pace: float | None = None
    kelvin: float | None = None


@dataclasses.dataclass
class Note:
    """What is known of one task.

    Attributes:
        state: one of those above; of a task that is ``RUNNING``, whether it still is says its lock.
        why: it failed or stopped, or what is to be known of its end.
        host, process: that work on it, or did.
        began, since, heard: s since 1970: the beginning of this attempt, its first word, and the last one.
        told: the last word under each label, in order.
        first: the share that was done at the first word.
    """

    state: str = WAITING
    why: str = ""
    host: str = ""
    process: int = 0
    began: float = 0.0
    since: float = 0.0
    heard: float = 0.0
    told: dict[str, Told] = dataclasses.field(default_factory=dict)
    first: float | None = None

    @property
    def last(self) -> Told | None:
        """The last word."""
        return next(reversed(self.told.values()), None)


class Board:
    """The notes of a campaign in ``folder``; it can be handed to another process."""

    def __init__(self, folder: Path):
        self.folder = Path(folder).absolute() / TASKS
        self._stop = self.folder / f".stop-{uuid.uuid4().hex}"

    def plan(self, texts: Mapping[str, str]) -> None:
        """Name all tasks, each with what it is in words.

        Raises:
            ValueError: a task is there under its name that is another one.
        """
        before = self.planned() if (self.folder / PLAN).exists() else {}
        for name, text in texts.items():
            if before.get(name, text) != text:
                raise ValueError(
                    f"{self.folder.parent} was begun with another task {name} ({before[name]}, now {text}); choose "
                    "another folder"
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        if before != dict(texts):
            filesystem.write_json(self.folder / PLAN, {"tasks": dict(texts)})

    def planned(self) -> dict[str, str]:
        """All tasks, each with what it is in words.

        Raises:
            ValueError: no campaign has written into this folder.
        """
        if not (self.folder / PLAN).exists():
            raise ValueError(f"expected a folder with a campaign, there is none in {self.folder.parent}")
        found: dict[str, str] = filesystem.read_json(self.folder / PLAN)["tasks"]
        return found

    def file(self, name: str, ending: str) -> Path:
        """A file that belongs to a task."""
        return self.folder / f"{quote(name, safe=' ,=+')}{ending}"

    def note(self, name: str) -> Note:
        """What is known of a task; ``RUNNING`` only while somebody works on it."""
        try:
            known = json.loads(self.file(name, ".json").read_text())
        except (FileNotFoundError, ValueError):  # a machine went down while it was written
            return Note()
        note = Note(**known | {"told": {label: Told(*told) for label, told in known["told"].items()}})
        if note.state == RUNNING and not self._held(name):
            note.state, note.why = STOPPED, note.why or KILLED
        return note

    def write(self, name: str, note: Note) -> None:
        """Replace what is known of a task; for people, so not all of it survives the end of a machine."""
        path = self.file(name, ".json")
        temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}")
        temporary.write_text(json.dumps(dataclasses.asdict(note)))
        os.replace(temporary, path)

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Hold a task for this process; ``Busy`` where another one works on it."""
        with filesystem.locked(self.folder, quote(name, safe=" ,=+")):
            yield

    def _held(self, name: str) -> bool:
        path = self.folder / f".{quote(name, safe=' ,=+')}{filesystem.LOCK}"
        with contextlib.suppress(FileNotFoundError), open(path) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def clear(self, name: str) -> None:
        """Forget what was known of a task."""
        self.file(name, ".json").unlink(missing_ok=True)

    def ask_to_stop(self) -> None:
        """All that this board was handed to save and stop, wherever they are."""
        self._stop.touch()

    def asked_to_stop(self) -> bool:
        return self._stop.exists()

    def let_go(self) -> None:
        """Nobody works for this board any more."""
        self._stop.unlink(missing_ok=True)

    def remove(self) -> None:
        """Forget all."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Diary:
    """Keeps the note of a task while it is worked on."""

    def __init__(self, board: Board, name: str):
        self.board, self.name, now = board, name, time.time()
        self.note = Note(RUNNING, host=socket.gethostname(), process=os.getpid(), began=now, heard=now)
        self.written = 0.0
        self._write()

    def tell(self, label: str, fraction: float | None, text: str = "", *more: float | None) -> None:
        """As the fields of ``Told``."""
        note, now = self.note, time.time()
        new = note.told.pop(label, None) is None
        note.told[label], note.heard = Told(label, fraction, text, *more), now
        if note.first is None:
            note.first, note.since = fraction, now
        if new or now - self.written > OFTEN or (fraction or 0.0) >= 1.0:
            self._write()

    def end(self, state: str, why: str = "") -> None:
        """The last note."""
        self.note.state, self.note.why = state, why
        self._write()

    def _write(self) -> None:
        self.written = time.time()
        self.board.write(self.name, self.note)


def summary(board: Board) -> dict[str, Any]:
    """Counts by state, ns a day of all that run, and the seconds that are left with as many tasks at once as now.

    What is not known is None.
    """
    notes = {name: board.note(name) for name in board.planned()}
    counts = {state: sum(note.state == state for note in notes.values()) for state in (DONE, RUNNING, FAILED, STOPPED)}
    running = [note for note in notes.values() if note.state == RUNNING]
    paces = [note.last.pace for note in running if note.last is not None and note.last.pace is not None]
    known = [note for note in notes.values() if note.state in (DONE, RUNNING) and note.first is not None]
    made = sum(share(note) - (note.first or 0.0) for note in known)
    taken = sum(note.heard - note.since for note in known)
    left = sum(1.0 - share(note) for note in notes.values() if note.state != FAILED)
    return {
        "notes": notes,
        "counts": {**counts, WAITING: len(notes) - sum(counts.values())},
        "pace": sum(paces) if paces else None,
        "left": left * taken / made / len(running) if running and made > 0 else None,
    }


def share(note: Note) -> float:
    """What share of a task is done."""
    if note.state == DONE:
        return 1.0
    return 0.0 if note.last is None or note.last.fraction is None else min(note.last.fraction, 1.0)


def seconds_left(note: Note) -> float | None:
    """Of a task that runs; None where it is not known."""
    made = share(note) - (note.first or 0.0)
    return (1.0 - share(note)) * (note.heard - note.since) / made if made > 0 else None
