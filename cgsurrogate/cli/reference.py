"""``cgsurrogate reference``: all-atom reference data with OpenMM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.data.generation.protocol import Protocol


@click.command("reference", epilog="Example:  cgsurrogate reference peptide.pdb --runs 4 --ns 10 -o reference")
@click.argument("pdb", type=_options.PATH)
@_options.out_folder
@_options.setting(Protocol, "--runs", type=click.IntRange(min=1), help="Independent runs.")
@_options.setting(Protocol, "--ns", "nanoseconds", type=float, help="Length of each run in ns.")
@_options.setting(Protocol, "--every", type=float, help="ps between saved frames.")
@_options.setting(Protocol, "-T", "--temperature", type=float, help="K.")
@_options.setting(Protocol, "--forcefield", multiple=True, help="OpenMM force-field file; repeatable.")
@_options.setting(Protocol, "--timestep", type=float, help="ps.")
@_options.setting(
    Protocol,
    "--solvent-every",
    type=click.IntRange(min=1),
    help="Evaluate implicit-solvent forces at every n-th step only (multiple time-stepping).",
)
@_options.setting(Protocol, "--hydrogen-mass", type=float, help="amu, taken from the heavy atom.")
@_options.setting(Protocol, "--friction", type=float, help="1/ps.")
@click.option("--only", multiple=True, type=int, help="Advance this run only (for job arrays); repeatable.")
@click.option("--platform", help="OpenMM platform; the fastest by default.")
@click.option("--threads", default=1, show_default=True, type=int, help="Threads on the CPU platform.")
@_options.seed
@_options.quiet
def command(
    pdb: Path, out: Path, only: tuple[int, ...], platform: str | None, threads: int, quiet: bool, **options: Any
) -> None:
    """Simulate PDB all-atom in implicit solvent: positions and forces of several independent runs.

    The same command again continues, also with more --runs or --ns. Needs the extra: pip install 'cgsurrogate[openmm]'.
    """
    from cgsurrogate.core import filesystem
    from cgsurrogate.data.generation.openmm import generate

    filesystem.existing(pdb, "a PDB file")
    with progress(quiet) as update:
        paths = generate(
            pdb,
            out,
            Protocol(**options),
            only=only,
            platform=platform,
            threads=threads,
            report=lambda done, total, speed: update(
                "reference", done / total, f"{done:.1f} of {total:.1f} ns, {speed:.0f} ns/day"
            ),
        )
    for path in paths:
        click.echo(str(path))
