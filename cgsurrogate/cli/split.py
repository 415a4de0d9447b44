"""``cgsurrogate split``: frames to train on, and frames to judge by."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from cgsurrogate.cli import _options
from cgsurrogate.workflows.settings import StudySettings


@click.command("split", epilog="Example:  cgsurrogate split frames --held-out 0.34 -o training held-out")
@click.argument("frames", type=_options.PATH)
@_options.setting(StudySettings, "--held-out", type=float, help="Share of the frames that is held out.")
@click.option("-o", "--out", nargs=2, required=True, type=_options.PATH, help="Folders to write: kept, held out.")
@_options.seed
@_options.force
def command(frames: Path, held_out: float, out: tuple[Path, Path], seed: int, force: bool) -> None:
    """Divide FRAMES in whole runs, a data set in whole molecules: one part to train on, one to judge by.

    Runs are chosen by their lengths. A single run is cut in blocks with gaps between them. Nothing is in both parts.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core import frame_sets
    from cgsurrogate.core.frames import Frames

    if len({frames.resolve(), *(folder.resolve() for folder in out)}) < 3:
        raise click.UsageError("give two folders with -o, neither of them the one that is divided")
    if (frames / frame_sets.MANIFEST).exists():
        _by_molecule(frames, held_out, out, seed, force)
        return
    data = Frames.load(frames)
    with _written(out, "frames.json", force):
        made = workflows.make_split(data, out, held_out, seed)
    for folder, part in zip(out, (made.kept, made.held), strict=True):
        click.echo(f"{folder}: {workflows.contents(part)}")
    for note in made.notes:
        click.echo(f"note: {note}")


def _by_molecule(folder: Path, held_out: float, out: tuple[Path, Path], seed: int, force: bool) -> None:
    from cgsurrogate.core.frame_sets import MANIFEST, FrameSet

    parts = FrameSet.load(folder).split(held_out, seed)
    with _written(out, MANIFEST, force):
        for target, part in zip(out, parts, strict=True):
            part.save(target)
    for target, part in zip(out, parts, strict=True):
        shown = ", ".join(list(part)[:8]) + (", ..." if len(part) > 8 else "")
        click.echo(f"{target}: {len(part)} molecule{'s' * (len(part) != 1)}: {shown}")


@contextlib.contextmanager
def _written(out: tuple[Path, Path], manifest: str, force: bool) -> Iterator[None]:
    """Hold both folders for one writer; after a fault neither has anything of what was written."""
    from cgsurrogate.core import filesystem

    with contextlib.ExitStack() as held:
        for folder in out:
            _options.fresh(folder, manifest, force)
            held.enter_context(filesystem.writing(folder, manifest))
            _options.fresh(folder, manifest, force)  # meanwhile, by another process
            held.enter_context(filesystem.whole(folder))
        yield
