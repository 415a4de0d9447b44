"""``cgsurrogate inspect``: what data hold, what is wrong with them, and what a verdict could tell from them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.cli import _config, _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.workflows.settings import StudySettings

if TYPE_CHECKING:
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.data.molecules import Molecule
    from cgsurrogate.workflows.inspection import Inspection

KELVIN = 300.0  # where none is given


@click.command("inspect", epilog="Example:  cgsurrogate inspect -s top.pdb -f run0.xtc -f run1.xtc -T 300")
@click.argument("frames", type=_options.PATH, required=False)
@_config.config_options
@_options.input_options
@_options.setting(StudySettings, "--held-out", type=float, help="Share of the frames that would be held out.")
@_options.seed
@_options.trust
@_options.quiet
def command(frames: Path | None, molecule: str | None, held_out: float, seed: int, quiet: bool, **options: Any) -> None:
    """Say what a folder of FRAMES, or trajectories with -s and -f, hold, before anything is trained.

    What is wrong with them, what they can be used for, how well they sample their slow motions, whether their runs
    agree, what would be held out, and which errors of a surrogate that would show. With --config each molecule of the
    system file is inspected.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames

    options = _config.trusted(options)
    described = _config.molecules(options, molecule)
    given = options["topology"] is not None or bool(options["trajectories"]) or bool(described)
    if given == (frames is not None):
        raise click.UsageError(
            "give either a folder of frames, or a topology with -s and trajectories with -f, or a system file with "
            "--config"
        )
    for one in described or (None,):
        if len(described) > 1 and one is not None:
            click.echo(f"{one.name}:")
        files = None
        with progress(quiet) as update:
            if frames is not None:
                data = Frames.load(frames)
            else:
                data, files = _read(one, options, update)
            found = workflows.inspect(data, held_out, seed, files=files, report=functools.partial(update, "inspecting"))
        click.echo(str(found))


def _read(one: Molecule | None, options: dict[str, Any], update: Callable[..., None]) -> tuple[Frames, Inspection]:
    """Frames of a molecule, or of the options of the command line, and what their files hold.

    Raises:
        ValueError: the files have faults, which are printed before.
    """
    from cgsurrogate import workflows

    names = ("topology", "trajectories", "dt", "recover", "length_unit")
    if one is None:
        groups = [[options[name] for name in names]]
    else:
        groups = [[getattr(group, name) for name in names] for group in one.groups]
    looked = [workflows.inspect_files(*group) for group in groups]
    if one is None and options["temperature"] is None:
        options["temperature"] = KELVIN
        click.echo(f"temperature: {KELVIN:g} K is assumed; give it with -T", err=True)
    for files in looked:
        if files.wrong:
            click.echo(str(files))
            raise ValueError(f"{len(files.wrong)} fault(s) of the input, see above; mend them and look again")
    sections = {
        name: tuple(dict.fromkeys(line for files in looked for line in files.sections[name]))
        for name in looked[0].sections
    }
    files = dataclasses.replace(looked[0], sections=sections)

    def told(done: int, total: int | None) -> None:
        update("reading", done / total if total else None, f"{done:,} frames")

    try:
        data = _options.read_molecule(one, told) if one else _options.read_input(report=told, **options)
    except ValueError as error:
        click.echo(str(dataclasses.replace(files, wrong=(str(error),))))
        raise
    return data, files
