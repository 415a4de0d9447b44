"""A command of a campaign as a task: it runs in a process of its own, as a person would run it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cgsurrogate.cli import _progress
from cgsurrogate.core.interrupts import LIFELINE, POLL, Stopped, watching
from cgsurrogate.core.task_board import KILLED

QUARANTINED, RESUMABLE = 4, 5
LOOKED_AT = 4096  # bytes at the end of what a command has said
PACE = re.compile(r"([0-9.e+]+) ns/day")


@dataclasses.dataclass(frozen=True)
class CommandTask:
    """A task: ``words`` after ``cgsurrogate``, in this folder; what it says goes to ``said``."""

    words: tuple[str, ...]
    folder: Path
    said: Path

    def __call__(self, tell: Callable[..., None]) -> None:
        """Run it to its end.

        Raises:
            Stopped: it was asked to stop, and has saved; or it was killed.
            RuntimeError: it failed; in the last line that it said.
        """
        read, write = os.pipe()
        with open(self.said, "ab") as said, watching() as watch:
            begin = said.tell()  # what an earlier attempt has said is no news
            try:
                process = subprocess.Popen(
                    [sys.executable, "-m", "cgsurrogate", *self.words],
                    cwd=self.folder,
                    env=os.environ | {LIFELINE: str(read)},
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    pass_fds=(read,),
                    start_new_session=True,  # so that a terminal's Ctrl-C reaches this process alone
                )
            finally:
                os.close(read)
            asked = False
            try:
                while process.poll() is None:
                    if watch.requested and not asked:
                        process.terminate()
                        asked = True
                    self._tell(tell, begin)
                    time.sleep(POLL)
            finally:
                os.close(write)  # it ends, also where this process is in trouble
                process.wait()
            self._tell(tell, begin)
            if process.returncode in (0, QUARANTINED):
                return
            if watch.requested:
                raise watch.reason(shlex.join(self.words))
            raise self._fault(process.returncode)

    def _fault(self, code: int) -> Exception:
        if code in (-signal.SIGKILL, 128 + signal.SIGTERM, 128 + signal.SIGINT):  # by whom is not known
            return Stopped(KILLED, signal.SIGKILL)
        lines = [line.strip() for line in self._tail().splitlines() if line.strip()]
        limit = "stopped at its limit: " if code == RESUMABLE else ""
        return RuntimeError(limit + (lines[-1].removeprefix("Error: ") if lines else f"ended with code {code}"))

    def _tail(self, begin: int = 0) -> str:
        with open(self.said, "rb") as said:
            said.seek(max(begin, os.fstat(said.fileno()).st_size - LOOKED_AT))
            return said.read().decode(errors="replace")

    def _tell(self, tell: Callable[..., None], begin: int) -> None:
        """Pass on the last line of progress."""
        for line in reversed(self._tail(begin).splitlines()):
            known = _progress.parsed(line)
            if known is not None:
                pace = PACE.search(known[2])
                with contextlib.suppress(ValueError):
                    tell(*known, float(pace[1]) if pace else None)
                return
