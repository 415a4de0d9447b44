"""``cgsurrogate map``: all-atom trajectories to frames of beads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.cli import _config, _options
from cgsurrogate.cli._progress import progress

if TYPE_CHECKING:
    from cgsurrogate.core.frames import Frames

RECORD = "map.json"


@click.command(
    "map", epilog="Example:  cgsurrogate map -s top.pdb -f run0.xtc -f run1.xtc --mapping ca -T 300 -o frames"
)
@_config.config_options
@_options.input_options
@_options.out_folder
@_options.force
@_options.trust
@_options.quiet
def command(out: Path, molecule: str | None, force: bool, quiet: bool, **options: Any) -> None:
    """Map all-atom trajectories (and their forces) to coarse-grained beads.

    With --config and several molecules, the frames of each are in a folder of its name, and OUT is a data set that
    train stepper takes whole.
    """
    from cgsurrogate.core import disk_arrays, filesystem, frame_sets

    options = _config.trusted(options)
    _options.finite(options)
    described = _config.molecules(options, molecule)
    several = len(described) > 1
    every = described or (None,)
    record = {
        "input": [_config.identity(options, one) for one in every],
        "files": {str(path): _version(path) for one in every for path in _config.files(options, one)},
    }
    manifest = frame_sets.MANIFEST if several else "frames.json"

    def done() -> bool:
        _options.fresh(out, manifest, force, out / RECORD, record)
        found = (out / manifest).exists() and not force
        if found:
            click.echo(f"already done: {out}")
        return found

    if done():
        return
    with filesystem.writing(out, manifest), filesystem.whole(out), progress(quiet) as update, disk_arrays.kept_in(out):
        if done():  # meanwhile, by another process
            return
        (out / manifest).unlink(missing_ok=True)
        filesystem.write_json(out / RECORD, record)
        for one in every:
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


def _version(path: Path) -> list[int]:
    """Size and time of the last change of a file."""
    found = path.stat() if path.exists() else None
    return [] if found is None else [found.st_size, found.st_mtime_ns]


def _say(frames: Frames, folder: Path) -> None:
    from cgsurrogate.data import molecules

    with_ = " with forces" if frames.forces is not None else ""
    click.echo(
        f"{len(frames):,} frames of {len(frames.beads)} beads in {len(frames.lengths)} run(s), "
        f"{frames.dt:g} ps apart, {frames.temperature:g} K{with_}: {folder}"
    )
    for line in molecules.sentences(frames):
        click.echo(line)
