"""``cgsurrogate export``: frames to standard trajectory files, force fields to the programs that run them."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress

EXTENDED = "extended"


@click.command("export", epilog="Example:  cgsurrogate export simulation -o traj.xtc")
@click.argument("what", metavar="FRAMES|MODEL", type=_options.PATH)
@click.option(
    "-o", "--out", required=True, type=_options.PATH, help="Trajectory to write, .xtc, .dcd, .trr or .nc; or a folder."
)
@click.option("--split-runs", is_flag=True, help="Of frames: one file a run instead of all runs in one.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["openmm", "ase", "pt2"]),
    help="Of a force field: openmm and ase, a script that simulates it there; pt2, energy and forces for Python and "
    "C++, with which the scripts are faster. Repeatable.",
)
@click.option(
    "--start",
    default=EXTENDED,
    show_default=True,
    metavar="FRAMES|extended|PDB",
    help="Of a force field: the structure to begin with, as for simulate.",
)
@_options.device
@_options.force
@_options.trust
@_options.quiet
def command(
    what: Path,
    out: Path,
    split_runs: bool,
    formats: tuple[str, ...],
    start: str,
    device: str,
    force: bool,
    quiet: bool,
) -> None:
    """Write FRAMES as a trajectory, with a PDB of the beads beside it, for VMD, MDTraj and other programs.

    Or write a force field, MODEL, as a folder for OpenMM, ASE or C++: cgsurrogate export force-field --format openmm
    -o in-openmm.
    """
    if (what / "model.json").exists():
        if split_runs:
            raise click.UsageError("--split-runs is for frames, and this is a model")
        if not formats:
            raise click.UsageError("this is a model: say for what with --format openmm, ase or pt2")
        _deploy(what, out, formats, start, device, force, quiet)
        return
    if formats or start != EXTENDED or force:
        raise click.UsageError(f"--format, --start and --force are for models, and {what} holds no model.json")
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.data.export import export

    for path in export(Frames.load(what), out, split_runs=split_runs):
        click.echo(str(path))


def _deploy(
    folder: Path, out: Path, formats: tuple[str, ...], start: str, device: str, force: bool, quiet: bool
) -> None:
    from cgsurrogate import workflows
    from cgsurrogate.models.engines.potential import energy_of
    from cgsurrogate.models.model import Model
    from cgsurrogate.workflows import deployment

    _options.one_thread()

    _options.computing_on(device, quiet)
    model = Model.load(folder)
    energy_of(model)  # refuses a time-stepper
    with progress(quiet) as update:
        record = workflows.make_deployment(
            model,
            workflows.starting_frames(model, start),
            out,
            formats,
            device=device,
            force=force,
            report=lambda fraction, text: update("exporting", fraction, text),
        )
    for line in deployment.sentences(record):
        click.echo(line)
    click.echo(f"for {', '.join(formats)}: {out}")
