"""``cgsurrogate submit``: a command as the jobs of a SLURM array."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from cgsurrogate.cli import _options


@click.command(
    "submit",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog="Example:  cgsurrogate submit --array 8 --dry-run simulate MODEL --start frames --time 100 --processes 64 "
    "-o simulation",
)
@click.option("--array", "count", default=8, show_default=True, type=click.IntRange(min=1), help="Number of jobs.")
@click.option("--sbatch", multiple=True, metavar="--OPTION=VALUE", help="Of sbatch, as --sbatch=--time=2:00:00.")
@click.option("--setup", multiple=True, metavar="LINE", help="Of the script before the command, as 'module load x'.")
@click.option("--dry-run", is_flag=True, help="Print the script, submit nothing.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def command(count: int, sbatch: tuple[str, ...], setup: tuple[str, ...], dry_run: bool, words: tuple[str, ...]) -> None:
    """Run simulate, reference or campaign as an array of jobs of SLURM, each with --part k/K.

    Options of submit come before COMMAND, which is as it would be given here, without --part. Where parts are joined, a
    job that waits for the array does so. A job that was stopped or killed goes on where it is submitted again. All
    machines must see this folder.
    """
    name, commands = words[0], _options.commands()
    known = commands.get(name)
    options = {option for parameter in known.params for option in parameter.opts} if known is not None else set()
    if "--part" not in options:
        parted = [one for one, made in commands.items() if any("--part" in p.opts for p in made.params)]
        raise click.UsageError(f"expected a command with parts ({', '.join(parted)}), got {name!r}")
    if given := [word for word in words if word.partition("=")[0] in ("--part", "--join")]:
        raise click.UsageError(f"leave out {given[0]}: each job gets its own")
    written = script(words, count, sbatch, setup)
    join = [sys.executable, "-m", "cgsurrogate", *words, "--join"] if "--join" in options else None
    if dry_run:
        click.echo(written, nl=False)
        if join:
            click.echo(f"# then, when all jobs are done: {shlex.join(join)}")
        return
    if shutil.which("sbatch") is None:
        raise RuntimeError(
            "sbatch is not on this machine; print the script with --dry-run, and take it to one with SLURM"
        )
    job = _submitted(written, [])
    click.echo(f"submitted {count} jobs: {job}")
    if join:
        joining = "\n".join(
            ["#!/bin/bash", *_head(sbatch, "join"), *setup, f"cd {_here()}", f"exec {shlex.join(join)}", ""]
        )
        click.echo(f"submitted the job that joins: {_submitted(joining, [f'--dependency=afterok:{job}'])}")


def script(words: Sequence[str], count: int, sbatch: Sequence[str], setup: Sequence[str]) -> str:
    """The script of an array: a job is told to save a minute before its time is over, and may be queued again."""
    lines = ["#!/bin/bash", f"#SBATCH --array=1-{count}", "#SBATCH --signal=B:TERM@60", "#SBATCH --requeue"]
    run = shlex.join([sys.executable, "-m", "cgsurrogate", *words])
    lines += [*_head(sbatch, words[0]), *setup, f"cd {_here()}"]
    return "\n".join([*lines, f'exec {run} --part "$SLURM_ARRAY_TASK_ID/{count}"', ""])


def _head(sbatch: Sequence[str], name: str) -> list[str]:
    usual = [f"--job-name=cgsurrogate-{name}", "--cpus-per-task=1", "--open-mode=append"]
    return [f"#SBATCH {option}" for option in [*usual, *sbatch]]  # the last one counts


def _here() -> str:
    return shlex.quote(str(Path.cwd()))


def _submitted(text: str, options: list[str]) -> str:
    """The number of the job."""
    done = subprocess.run(["sbatch", "--parsable", *options], input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"sbatch: {done.stderr.strip() or f'ended with code {done.returncode}'}")
    return done.stdout.strip().partition(";")[0]
