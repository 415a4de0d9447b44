"""``cgsurrogate map``: all-atom trajectories to frames of beads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress


@click.command(
    "map", epilog="Example:  cgsurrogate map -s top.pdb -f run0.xtc -f run1.xtc --mapping ca -T 300 -o frames"
)
@_options.input_options
@_options.out_folder
@_options.force
@_options.quiet
def command(out: Path, force: bool, quiet: bool, **options: Any) -> None:
    """Map all-atom trajectories (and their forces) to coarse-grained beads."""
    _options.fresh(out, "frames.json", force)
    with progress(quiet) as update:
        frames = _options.read_input(
            report=lambda done, total: update("reading", done / total if total else None, f"{done:,} frames"),
            folder=out.parent,
            **options,
        )
        frames.save(out)
        update("reading", 1.0)
    from cgsurrogate.data import atomic_forces, force_aggregation

    with_ = " with forces" if frames.forces is not None else ""
    click.echo(
        f"{len(frames):,} frames of {len(frames.beads)} beads in {len(frames.lengths)} run(s), "
        f"{frames.dt:g} ps apart, {frames.temperature:g} K{with_}: {out}"
    )
    if about := frames.provenance.notes.get("atomic_forces"):
        click.echo(atomic_forces.sentence(about))
    if frames.provenance.mean_square_force:
        click.echo(force_aggregation.sentence(dict(frames.provenance.mean_square_force)))
