"""``cgsurrogate status``: how far the tasks of a campaign are."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import clock

if TYPE_CHECKING:
    from cgsurrogate.core.task_board import Note

FEW = 20  # tasks of which each gets a line; of more, only those that run, failed or stopped


@click.command("status", epilog="Example:  cgsurrogate status campaign")
@click.argument("folder", type=_options.PATH)
def command(folder: Path) -> None:
    """Show the tasks of the campaign in FOLDER: done, running, failed and why, ns/day, and the time that is left.

    FOLDER is the output of campaign, or of a simulate, reference, run or predict that works there now or was stopped.
    The time that is left is that at the speed of the tasks that run now.
    """
    from cgsurrogate.core import filesystem, task_board

    board = task_board.Board(folder)
    if not board.folder.exists() and (kinds := [w for f, w in filesystem.OWNERS.items() if (folder / f).exists()]):
        click.echo(f"{folder} holds {kinds[-1]}; no campaign works there")
        return
    found = task_board.summary(board)
    counts = ", ".join(f"{count} {state}" for state, count in found["counts"].items() if count)
    pace = "" if found["pace"] is None else f"; {found['pace']:.3g} ns/day"
    left = "" if found["left"] is None else f"; {clock(found['left'])} left"
    click.echo(f"{len(found['notes'])} tasks: {counts}{pace}{left}")
    rows = _rows(found["notes"])
    if rows:
        head = ("task", "state", "done", "ns/day", "left", "")
        wide = [max(len(row[k]) for row in (head, *rows)) for k in range(len(head))]
        for row in (head, *rows):
            click.echo("  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip())


def _rows(notes: Mapping[str, Note]) -> list[tuple[str, ...]]:
    from cgsurrogate.core import task_board
    from cgsurrogate.core.messages import clean

    rows: list[tuple[str, ...]] = []
    for name, note in notes.items():
        if len(notes) > FEW and note.state in (task_board.DONE, task_board.WAITING):
            continue
        last, runs = note.last, note.state == task_board.RUNNING
        left = task_board.seconds_left(note) if runs else None
        text = f"{last.label} {last.text}".strip() if runs and last is not None else note.why
        if runs:
            text += f" ({note.host} {note.process}, heard {clock(time.time() - note.heard)} ago)"
        pace = f"{last.pace:.3g}" if runs and last is not None and last.pace is not None else ""
        done = f"{100 * task_board.share(note):.0f} %"
        rows.append((clean(name), note.state, done, pace, "" if left is None else clock(left), clean(text)))
    return rows
