"""``cgsurrogate campaign``: many commands of a file, each one a task, on whatever there is to run them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import Update, progress

if TYPE_CHECKING:
    from cgsurrogate.core.campaigns import Executors, Hear, Share, Task
    from cgsurrogate.core.task_board import Board, Told

NEVER = ("campaign", "submit", "status")


@click.command("campaign", epilog="Example:  cgsurrogate campaign commands.txt -o campaign")
@click.argument("commands", type=_options.PATH)
@_options.out_folder
@_options.executor
@_options.part
@_options.quiet
def command(commands: Path, out: Path, executor: Executors | None, part: Share | None, quiet: bool) -> None:
    """Run the COMMANDS of a file, one a line as after cgsurrogate: trainings of many seeds, molecules, comparisons.

    Lines that are empty or begin with # are left out. Each command runs by itself; one that fails does not end the
    others, and one that is killed is tried again. What each of them says is in OUT/tasks, and cgsurrogate status OUT
    shows a table. The same command again does what is not done. A command may not need what another one makes.
    """
    from cgsurrogate.core import campaigns, filesystem, interrupts
    from cgsurrogate.core.task_board import Board

    lines = read(filesystem.existing(commands, "a file with commands").read_text(), _options.commands())
    filesystem.refuse_foreign(out)
    board = Board(out)
    board.plan({name: shlex.join(words) for name, words in lines.items()})
    wanted = list(lines) if part is None else part.of(lines)
    alone = filesystem.locked(board.folder, "campaign" if part is None else f"part-{part.number}-of-{part.count}")
    with alone, progress(quiet) as update, interrupts.watching() as watch:
        left = {name: lines[name] for name in wanted if not finished(board, name, lines[name])}
        hear = _hear(update, wanted, left)
        campaigns.run_tasks(tasks(left, board), board, hear, watch, "the campaign", executor, alone=True)
    click.echo(f"{len(wanted)} of {len(lines)} commands are done: {out}")


def read(text: str, known: Collection[str]) -> dict[str, list[str]]:
    """The words of each command, by its name: the folder that it writes, or else all of it; ``known`` are commands.

    Raises:
        ValueError: a line that is no command, or two that write to one place.
    """
    found: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        words = words[1:] if words[:1] == ["cgsurrogate"] else words
        if not words:
            continue
        if words[0] not in known or words[0] in NEVER:
            raise ValueError(f"line {number}: expected a command as after cgsurrogate, got {line.strip()[:100]!r}")
        name = _written(words) or shlex.join(words)
        name = shlex.join(words) if words[0] == "reference" else name  # several may write to one folder
        if name in found:
            raise ValueError(f"line {number}: an earlier command writes to {name} as well")
        found[name] = words
    if not found:
        raise ValueError("expected commands, one a line, got none")
    return found


def _written(words: Sequence[str]) -> str | None:
    """What stands after -o."""
    for option, value in zip(words, [*words[1:], None], strict=True):
        if option in ("-o", "--out"):
            return value
        if option.startswith("--out="):
            return option.removeprefix("--out=")
    return None


def finished(board: Board, name: str, words: Sequence[str]) -> bool:
    """Whether a command is done and what it wrote is still there."""
    from cgsurrogate.core.task_board import DONE

    written = _written(words)
    return board.note(name).state == DONE and (written is None or Path(written).exists())


def tasks(left: Mapping[str, Sequence[str]], board: Board) -> dict[str, Task]:
    from cgsurrogate.cli._command_task import CommandTask

    return {name: CommandTask(tuple(words), Path.cwd(), board.file(name, ".txt")) for name, words in left.items()}


def _hear(update: Update, wanted: Sequence[str], left: Mapping[str, object]) -> Hear:
    """Says how far all are on average."""
    shares = {name: float(name not in left) for name in wanted}

    def hear(name: str, told: Told) -> None:
        shares[name] = told.fraction or 0.0
        update("campaign", sum(shares.values()) / len(shares), f"{name}: {told.label}")

    return hear
