"""The other end of the process that parses: it is asked, and what it says, or that it died, comes back."""

from __future__ import annotations

import contextlib
import itertools
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np

import cgsurrogate
from cgsurrogate.data.formats.parser_process import END, Block

PROGRAM = Path(__file__).with_name("parser_process.py")
SILENCE = 600  # s without an answer from the parser
SILENT = subprocess.DEVNULL
KEPT = 2  # idle parsers: a reader of forces and one of positions may be at work together
MESSAGES, PAUSE = 8, 0.1  # the rest of an answer is listened to so long, and waited for, s, before its process is ended
_idle: list[tuple[int, subprocess.Popen[bytes], Connection]] = []  # with the process that started it


class Parser:
    """Owns a process that parses; use it in a ``with`` block. A process that did its work serves the next one.

    A damaged file may harm the memory of its parser without an end at once. So a process whose parser failed serves
    no other file, and a file is said to crash its parser only if a process does that has read no other one.
    """

    def __enter__(self) -> Self:
        self._busy, self._failed, self._fresh = False, False, False
        while _idle:
            owner, self._process, self._pipe = _idle.pop()
            if owner == os.getpid() and self._process.poll() is None:
                return self
        self._start()
        return self

    def _start(self) -> None:
        self._fresh = True
        self._pipe, there = multiprocessing.Pipe()
        paths = [str(Path(cgsurrogate.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), str(there.fileno()), str(os.getpid())],
            env=environment,
            pass_fds=[there.fileno()],
            stdin=SILENT,
            stdout=SILENT,
            stderr=SILENT,
        )
        there.close()

    def __exit__(self, *_: object) -> None:
        sound = not self._failed and self._process.poll() is None
        if len(_idle) < KEPT and sound and (not self._busy or self._heard_out()):
            _idle.append((os.getpid(), self._process, self._pipe))
        else:
            self._end()

    def _heard_out(self) -> bool:
        """Whether the rest of an answer that nobody wants any more is short, and has been received."""
        with contextlib.suppress(EOFError, OSError):
            for _ in range(MESSAGES):
                if not self._pipe.poll(PAUSE):
                    return False
                if self._pipe.recv_bytes() == END:
                    return True
        return False

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def found(self, what: str, path: Path, **request: Any) -> dict[str, Any]:
        """What a file holds: ``header``, ``topology``; or ``unpack`` it."""
        told = dict[str, Any]()
        for _ in self._ask(str(path), {"do": what, "path": str(path), **request}, told):
            pass
        return told

    def _ask(self, name: str, request: dict[str, Any], found: dict[str, Any] | None = None) -> Iterator[Block]:
        if self._busy or self._failed:  # an earlier answer was not heard to its end, or was that a parser failed
            self._end()
            self._start()
        heard = 0
        while True:
            fresh, self._fresh = self._fresh, False
            try:
                for block in itertools.islice(self._answer(name, request, found), heard, None):
                    heard += 1
                    yield block
                return
            except (EOFError, OSError):
                self._end()
                code = self._process.returncode
                if not fresh:
                    self._start()
                    continue
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ValueError(f"{name} crashes its parser ({how}); the file is damaged: copy it again or leave it out")

    def _answer(self, name: str, request: dict[str, Any], found: dict[str, Any] | None) -> Iterator[Block]:
        """Raises ``EOFError`` or ``OSError`` where the process ends."""

        def received() -> bytes:
            if not self._pipe.poll(SILENCE):
                raise ValueError(f"{name}: its parser gave no answer for {SILENCE} s; is the file damaged?")
            return self._pipe.recv_bytes()

        self._busy, self._failed = True, False
        self._pipe.send_bytes(json.dumps({**request, "cwd": str(Path.cwd())}).encode())
        while not (answer := json.loads(received())).get("end"):
            if "line" in answer or "error" in answer:
                self._busy, self._failed = False, "error" in answer
                raise ValueError(
                    answer.get("line") or f"{name} cannot be read ({answer['error']}); is the file damaged?"
                )
            if found is not None:
                found |= answer["found"]
                for key, (kind, shape) in answer["arrays"].items():
                    found[key] = np.frombuffer(received(), kind).reshape(shape)
                continue
            xyz = np.frombuffer(received(), np.float32).reshape(answer["frames"], answer["atoms"], 3)
            yield xyz, np.frombuffer(received(), np.float64).reshape(-1, 3, 3) if answer["cell"] else None
        self._busy = False
