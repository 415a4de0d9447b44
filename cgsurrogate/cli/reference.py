"""``cgsurrogate reference``: all-atom reference data with OpenMM."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import Update, progress
from cgsurrogate.data.generation.protocol import CAPS, Protocol

if TYPE_CHECKING:
    from cgsurrogate.data.generation.sequences import Peptide


@click.command(
    "reference",
    epilog="Example:  cgsurrogate reference peptide.pdb --runs 4 --ns 10 -o reference",
)
@click.argument("pdb", type=_options.PATH, required=False)
@click.option(
    "--sequences",
    type=_options.PATH,
    metavar="FILE",
    help="Peptides instead of a PDB file: a sequence in one-letter code a line, or FASTA.",
)
@click.option("--sequence", multiple=True, metavar="GPSV", help="A peptide by its sequence; repeatable.")
@click.option(
    "--caps",
    type=click.Choice(CAPS),
    default="none",
    show_default=True,
    help="Ends of the peptides: free and charged, or acetyl and N-methylamide; ACE-GPSV-NME says so by itself.",
)
@_options.out_folder
@_options.setting(Protocol, "--runs", type=click.IntRange(min=1), help="Independent runs, of each molecule.")
@_options.setting(Protocol, "--ns", "nanoseconds", type=float, help="Length of each run in ns.")
@_options.setting(Protocol, "--every", type=float, help="ps between saved frames.")
@_options.setting(Protocol, "-T", "--temperature", type=float, help="K.")
@click.option(
    "--tempering",
    metavar="LOW:HIGH:N",
    help="Parallel tempering: each run is N copies that exchange N temperatures in K, e.g. :500:6 from that of -T. "
    "Populations come sooner, but the frames have no order in time.",
)
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
@click.option(
    "--copies",
    type=click.IntRange(min=1),
    help="Molecules in one OpenMM system, far apart; by default as many as pay.",
)
@_options.executor
@_options.part
@click.option("--platform", help="OpenMM platform; the fastest by default.")
@click.option("--threads", default=1, show_default=True, type=int, help="Threads on the CPU platform.")
@_options.seed
@_options.quiet
def command(pdb: Path | None, out: Path, tempering: str | None, quiet: bool, **options: Any) -> None:
    """Simulate PDB, or peptides given by their sequences, all-atom in implicit solvent.

    OUT gets positions, forces and potential energies of several independent runs, and system.toml, which map and run
    take with --config. The same command again continues, also with more --runs, --ns or sequences. Needs the extra:
    pip install 'cgsurrogate[openmm]'.
    """
    from cgsurrogate.core import filesystem, temperatures
    from cgsurrogate.data.generation.campaign import make_reference

    peptides = _peptides(*(options.pop(name) for name in ("sequences", "sequence", "caps")))
    if bool(peptides) == (pdb is not None):
        raise click.UsageError("expected a PDB file, or --sequences or --sequence")
    if pdb is not None:
        filesystem.existing(pdb, "a PDB file")
    ladder = temperatures.parse(tempering, options["temperature"]) if tempering else None
    if ladder:
        options["temperature"] = ladder[0]
    options["tempering"] = ladder
    how = {name: options.pop(name) for name in ("only", "copies", "platform", "threads", "executor")}
    how["share"] = options.pop("part")
    with progress(quiet) as update:
        told = _told(update)
        paths = make_reference(pdb or peptides, out, Protocol(**options), **how, report=told)
    for path in paths:
        click.echo(str(path))
    if not how["only"] and how["share"] is None:
        click.echo(f"next: cgsurrogate map --config {out / 'system.toml'} -o frames")


def _told(update: Update) -> Callable[[float, float, float], None]:
    """Says before the first chunk how long all will take, then how far it is."""
    began: list[float] = []

    def report(done: float, total: float, speed: float) -> None:
        if not began:
            began.append(done)
            hours = (total - done) / speed * 24
            click.echo(f"{total - done:.3g} ns at about {speed:.3g} ns/day: {_duration(hours)}", err=True)
        fraction = (done - began[0]) / max(total - began[0], 1e-9)
        update("reference", fraction, f"{done:.1f} of {total:.1f} ns, {speed:.0f} ns/day")

    return report


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"


def _peptides(file: Path | None, given: tuple[str, ...], caps: str) -> list[Peptide]:
    from cgsurrogate.data.generation import sequences

    listed = sequences.read(file, caps) if file is not None else []
    return sequences.distinct([*listed, *(sequences.parse(text, caps) for text in given)])
