"""``cgsurrogate export``: frames to standard trajectory files."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options


@click.command("export", epilog="Example:  cgsurrogate export simulation -o traj.xtc")
@click.argument("frames", type=_options.PATH)
@click.option("-o", "--out", required=True, type=_options.PATH, help="Trajectory to write: .xtc, .dcd, .trr or .nc.")
@click.option("--split-runs", is_flag=True, help="One file a run instead of all runs in one.")
def command(frames: Path, out: Path, split_runs: bool) -> None:
    """Write FRAMES as a trajectory, with a PDB of the beads beside it, for VMD, MDTraj and other programs."""
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.data.export import export

    for path in export(Frames.load(frames), out, split_runs=split_runs):
        click.echo(str(path))
