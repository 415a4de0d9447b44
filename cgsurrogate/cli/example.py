"""``cgsurrogate example``: list the embedded examples and write one out."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import common


@click.command("example", epilog="Example:  cgsurrogate example pentalanine -o example")
@click.argument("name", required=False)
@click.option("-o", "--out", type=common.PATH, help="Folder to write the example's files to.")
def command(name: str | None, out: Path | None) -> None:
    """List the embedded examples, or write one out as ordinary files (PDB, XTC, forces)."""
    from cgsurrogate.reference import example

    if name is None:
        for entry in example.examples():
            click.echo(f"{entry.name:<18}{entry.title}")
        click.echo("Write one out with:  cgsurrogate example NAME -o FOLDER")
        return
    if out is None:
        raise click.UsageError("give the folder to write to with -o")
    for path in example.write_example(name, out):
        click.echo(str(path))
