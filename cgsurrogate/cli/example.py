"""``cgsurrogate example``: list the embedded examples and write one out."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options


@click.command("example", epilog="Example:  cgsurrogate example pentalanine -o example")
@click.argument("name", required=False)
@click.option("-o", "--out", type=_options.PATH, help="Folder to write the example's files to.")
def command(name: str | None, out: Path | None) -> None:
    """List the embedded examples, or write one out as ordinary files (PDB, XTC, forces)."""
    from cgsurrogate.data import examples

    if name is None:
        for entry in examples.examples():
            click.echo(f"{entry.name:<18}{entry.title}")
        click.echo("Write one out with:  cgsurrogate example NAME -o FOLDER")
        return
    if out is None:
        raise click.UsageError("give the folder to write to with -o")
    for path in examples.write_example(name, out):
        click.echo(str(path))
