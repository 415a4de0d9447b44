"""``cgsurrogate report``: one offline page, and every figure as a file."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options


@click.command("report", epilog="Example:  cgsurrogate report comparison -o report")
@click.argument("comparison", type=_options.PATH)
@click.option(
    "-o", "--out", type=_options.PATH, help="Folder for report.html and figures/; the comparison's by default."
)
@click.option("--model", "models", multiple=True, type=_options.PATH, help="Model folder whose training is shown.")
def command(comparison: Path, out: Path | None, models: tuple[Path, ...]) -> None:
    """Draw a comparison: a self-contained HTML page, and the figures as PNG and SVG with their data."""
    from cgsurrogate import workflows

    click.echo(str(workflows.make_report(comparison, out or comparison, models=list(models))))
