"""``cgsurrogate inspect``: what data hold, what is wrong with them, and what a verdict could tell from them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.workflows.settings import StudySettings

KELVIN = 300.0  # where none is given


@click.command("inspect", epilog="Example:  cgsurrogate inspect -s top.pdb -f run0.xtc -f run1.xtc -T 300")
@click.argument("frames", type=_options.PATH, required=False)
@_options.input_options
@_options.setting(StudySettings, "--held-out", type=float, help="Share of the frames that would be held out.")
@_options.seed
@_options.quiet
def command(frames: Path | None, held_out: float, seed: int, quiet: bool, **options: Any) -> None:
    """Say what a folder of FRAMES, or trajectories with -s and -f, hold, before anything is trained.

    What is wrong with them, what they can be used for, how well they sample their slow motions, whether their runs
    agree, what would be held out, and which errors of a surrogate that would show.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames

    given = options["topology"] is not None or bool(options["trajectories"])
    if given == (frames is not None):
        raise click.UsageError("give either a folder of frames, or a topology with -s and trajectories with -f")
    files = None
    with progress(quiet) as update:
        if frames is not None:
            data = Frames.load(frames)
        else:
            files = workflows.inspect_files(
                options["topology"], options["trajectories"], options["dt"], options["recover"]
            )
            if options["temperature"] is None:
                options["temperature"] = KELVIN
                click.echo(f"temperature: {KELVIN:g} K is assumed; give it with -T", err=True)
            if files.wrong:
                click.echo(str(files))
                raise ValueError(f"{len(files.wrong)} fault(s) of the input, see above; mend them and look again")
            try:
                data = _options.read_input(
                    report=lambda done, total: update("reading", done / total if total else None, f"{done:,} frames"),
                    **options,
                )
            except ValueError as error:
                click.echo(str(dataclasses.replace(files, wrong=(str(error),))))
                raise
        found = workflows.inspect(
            data, held_out, seed, files=files, report=lambda fraction, text: update("inspecting", fraction, text)
        )
    click.echo(str(found))
