"""``cgsurrogate reference``: all-atom reference data with OpenMM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress


@click.command("reference", epilog="Example:  cgsurrogate reference peptide.pdb --runs 4 --ns 10 -o reference")
@click.argument("pdb", type=_options.PATH)
@_options.out_folder
@click.option("--runs", default=4, show_default=True, type=click.IntRange(min=1), help="Independent runs.")
@click.option("--ns", default=10.0, show_default=True, type=float, help="Length of each run in ns.")
@click.option("--every", default=2.0, show_default=True, type=float, help="ps between saved frames.")
@click.option("-T", "--temperature", default=300.0, show_default=True, type=float, help="K.")
@click.option(
    "--forcefield",
    "forcefields",
    multiple=True,
    default=("amber14-all.xml", "implicit/obc2.xml"),
    show_default=True,
    help="OpenMM force-field file; repeatable.",
)
@click.option("--timestep", default=0.004, show_default=True, type=float, help="ps.")
@click.option(
    "--solvent-every",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Evaluate implicit-solvent forces at every n-th step only (multiple time-stepping).",
)
@click.option("--hydrogen-mass", default=4.0, show_default=True, type=float, help="amu, taken from the heavy atom.")
@click.option("--friction", default=1.0, show_default=True, type=float, help="1/ps.")
@click.option("--only", multiple=True, type=int, help="Advance this run only (for job arrays); repeatable.")
@click.option("--platform", help="OpenMM platform; the fastest by default.")
@click.option("--threads", default=1, show_default=True, type=int, help="Threads on the CPU platform.")
@_options.seed
@_options.quiet
def command(pdb: Path, out: Path, quiet: bool, **options: Any) -> None:
    """Simulate PDB all-atom in implicit solvent: positions and forces of several independent runs.

    The same command again continues, also with more --runs or --ns. Needs the extra: pip install 'cgsurrogate[openmm]'.
    """
    from cgsurrogate.core import filesystem
    from cgsurrogate.data.generation.openmm import Protocol, generate

    filesystem.existing(pdb, "a PDB file")
    protocol = Protocol(
        runs=options["runs"],
        nanoseconds=options["ns"],
        every=options["every"],
        temperature=options["temperature"],
        forcefield=tuple(options["forcefields"]),
        timestep=options["timestep"],
        solvent_every=options["solvent_every"],
        hydrogen_mass=options["hydrogen_mass"],
        friction=options["friction"],
        seed=options["seed"],
    )
    with progress(quiet) as update:
        paths = generate(
            pdb,
            out,
            protocol,
            only=options["only"],
            platform=options["platform"],
            threads=options["threads"],
            report=lambda done, total, speed: update(
                "reference", done / total, f"{done:.1f} of {total:.1f} ns, {speed:.0f} ns/day"
            ),
        )
    for path in paths:
        click.echo(str(path))
