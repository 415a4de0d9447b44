"""``cgsurrogate reference``: all-atom reference data with OpenMM."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.core import filesystem
from cgsurrogate.data.generation import openmm

setting = functools.partial(_options.setting, openmm.Protocol)


@click.command("reference", epilog="Example:  cgsurrogate reference peptide.pdb --runs 4 --ns 10 -o reference")
@click.argument("pdb", type=_options.PATH)
@_options.out_folder
@setting("--runs", type=click.IntRange(min=1), help="Independent runs.")
@setting("--ns", "nanoseconds", help="Length of each run in ns.")
@setting("--every", help="ps between saved frames.")
@setting("-T", "--temperature", help="K.")
@setting("--forcefield", multiple=True, help="OpenMM force-field file; repeatable.")
@setting("--timestep", help="ps.")
@setting(
    "--solvent-every",
    type=click.IntRange(min=1),
    help="Evaluate implicit-solvent forces at every n-th step only (multiple time-stepping).",
)
@setting("--hydrogen-mass", help="amu, taken from the heavy atom.")
@setting("--friction", help="1/ps.")
@click.option("--only", multiple=True, type=int, help="Advance this run only (for job arrays); repeatable.")
@click.option("--platform", help="OpenMM platform; the fastest by default.")
@click.option("--threads", default=1, show_default=True, type=int, help="Threads on the CPU platform.")
@_options.seed
@_options.quiet
def command(pdb: Path, out: Path, quiet: bool, **options: Any) -> None:
    """Simulate PDB all-atom in implicit solvent: positions and forces of several independent runs.

    The same command again continues, also with more --runs or --ns. Needs the extra: pip install 'cgsurrogate[openmm]'.
    """
    filesystem.existing(pdb, "a PDB file")
    how = {name: options.pop(name) for name in ("only", "platform", "threads")}
    with progress(quiet) as update:
        paths = openmm.generate(
            pdb,
            out,
            openmm.Protocol(**options),
            **how,
            report=lambda done, total, speed: update(
                "reference", done / total, f"{done:.1f} of {total:.1f} ns, {speed:.0f} ns/day"
            ),
        )
    for path in paths:
        click.echo(str(path))
