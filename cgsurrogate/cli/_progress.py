"""Progress for people: bars on a terminal, plain lines every few seconds when piped."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Iterator
from typing import Protocol

QUIET_SECONDS = 10.0


class Update(Protocol):
    """Tells how far the work under a label is: a fraction, or None where that is unknown, and a few words."""

    def __call__(self, label: str, fraction: float | None, text: str = "") -> None: ...


LINE = re.compile(
    r"(?P<label>[^:]+): (?:(?P<done>done)|(?P<percent>[0-9]+) %|[0-9:]+)[^,]*(?:,[^,]* left)?(?:, (?P<text>.*))?"
)


def parsed(line: str) -> tuple[str, float | None, str] | None:
    """Label, share that is done and words of a line of progress, as it is written where no terminal is; else None.

    >>> parsed("simulating: 34 %, 0:20 left, 12 ns/day, 301 K")
    ('simulating', 0.34, '12 ns/day, 301 K')
    >>> parsed("comparing: done in 1:05")
    ('comparing', 1.0, '')
    >>> parsed("reading: 0:10")
    ('reading', None, '')
    """
    found = LINE.fullmatch(line.strip())
    if found is None:
        return None
    share = 1.0 if found["done"] else int(found["percent"]) / 100 if found["percent"] else None
    return found["label"], share, found["text"] or ""


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextlib.contextmanager
def progress(quiet: bool = False) -> Iterator[Update]:
    """Yields an ``Update``; every label gets a bar, or lines, of its own."""
    if quiet:
        yield _silent
    elif sys.stderr.isatty():
        yield from _bars()
    else:
        yield _lines()


def _silent(label: str, fraction: float | None, text: str = "") -> None:
    """No progress."""


def _bars() -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskID,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, TaskID] = {}

        def update(label: str, fraction: float | None, text: str = "") -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=1.0, text="")
            if text:
                bars.update(tasks[label], text=text)
            if fraction is not None:
                bars.update(tasks[label], completed=min(1.0, fraction))

        yield update


def _lines() -> Update:
    began: dict[str, float] = {}
    shown: dict[str, float] = {}
    texts: dict[str, str] = {}
    ended: set[str] = set()

    def update(label: str, fraction: float | None, text: str = "") -> None:
        now = time.monotonic()
        start = began.setdefault(label, now)
        texts[label] = text or texts.get(label, "")
        done = fraction is not None and fraction >= 1
        if label in ended or (not done and now - shown.get(label, start) < QUIET_SECONDS):
            return
        shown[label] = now
        line = f"{label}: "
        if done:
            ended.add(label)
            line += f"done in {clock(now - start)}"
        elif fraction:
            line += f"{100 * fraction:.0f} %, {clock((now - start) / fraction * (1 - fraction))} left"
        else:
            line += f"{clock(now - start)}"
        print(line + (f", {texts[label]}" if texts[label] else ""), file=sys.stderr, flush=True)

    return update
