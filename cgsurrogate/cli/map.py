"""``cgsurrogate map``: all-atom trajectories to frames of beads."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.cli import _config, _options
from cgsurrogate.cli._progress import progress

if TYPE_CHECKING:
    from cgsurrogate.core.frames import Frames


@click.command(
    "map", epilog="Example:  cgsurrogate map -s top.pdb -f run0.xtc -f run1.xtc --mapping ca -T 300 -o frames"
)
@_config.config_options
@_options.input_options
@_options.out_folder
@_options.force
@_options.quiet
def command(out: Path, molecule: str | None, force: bool, quiet: bool, **options: Any) -> None:
    """Map all-atom trajectories (and their forces) to coarse-grained beads.

    With --config and several molecules, the frames of each are in a folder of its name, and OUT is a data set that
    train stepper takes whole.
    """
    from cgsurrogate.core import disk_arrays, frame_sets

    described = _config.molecules(options, molecule)
    several = len(described) > 1
    _options.fresh(out, frame_sets.MANIFEST if several else "frames.json", force)
    whole = _whole(out) if several else contextlib.nullcontext()
    with progress(quiet) as update, disk_arrays.kept_in(out.parent), whole:
        for one in described or (None,):
            label = f"reading {one.name}" if one is not None and several else "reading"

            def told(done: int, total: int | None, label: str = label) -> None:
                update(label, done / total if total else None, f"{done:,} frames")

            read = _options.read_molecule(one, told) if one else _options.read_input(report=told, **options)
            folder = out / one.name if one is not None and several else out
            read.save(folder)
            update(label, 1.0)
            _say(read, folder)
    if several:
        frame_sets.save_manifest(out, [one.name for one in described])
        click.echo(f"{len(described)} molecules: {out}")


@contextlib.contextmanager
def _whole(out: Path) -> Iterator[None]:
    """A folder of several molecules is made as a whole or, where one of them is at fault, not at all."""
    from cgsurrogate.core import frame_sets

    (out / frame_sets.MANIFEST).unlink(missing_ok=True)
    before = set(out.iterdir()) if out.is_dir() else None
    try:
        yield
    except BaseException:
        for path in set(out.iterdir()) - (before or set()) if out.is_dir() else ():
            shutil.rmtree(path)
        if before is None and out.is_dir():
            out.rmdir()
        raise


def _say(frames: Frames, folder: Path) -> None:
    from cgsurrogate.data import molecules

    with_ = " with forces" if frames.forces is not None else ""
    click.echo(
        f"{len(frames):,} frames of {len(frames.beads)} beads in {len(frames.lengths)} run(s), "
        f"{frames.dt:g} ps apart, {frames.temperature:g} K{with_}: {folder}"
    )
    for line in molecules.sentences(frames):
        click.echo(line)
