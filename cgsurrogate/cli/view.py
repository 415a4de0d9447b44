"""``cgsurrogate view``: the 3-D player alone."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options


@click.command("view", epilog="Example:  cgsurrogate view simulation -o movie.html")
@click.argument("frames", type=_options.PATH)
@click.option("-o", "--out", required=True, type=_options.PATH, help="HTML file to write.")
def command(frames: Path, out: Path) -> None:
    """Write an offline HTML page that plays the first run of FRAMES in 3-D."""
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.report.page import write_player

    click.echo(str(write_player(Frames.load(frames), out)))
