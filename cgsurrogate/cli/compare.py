"""``cgsurrogate compare``: free energies and kinetics of surrogates beside the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core.limits import MOST_SEED


@click.command("compare", epilog="Example:  cgsurrogate compare frames simulation rollout -o comparison")
@click.argument("reference", type=_options.PATH)
@click.argument("surrogates", nargs=-1, required=True)
@click.option("-s", "--topology", type=_options.PATH, help="Topology of what is given as trajectory files.")
@click.option("--mapping", default="backbone", show_default=True, help="Of a REFERENCE given as a trajectory file.")
@click.option("-T", "--temperature", type=float, help="Of a REFERENCE given as a trajectory file, K.")
@click.option("--dt", type=float, help="ps between the frames of trajectory files.")
@_options.recover
@click.option("--training", type=_options.PATH, help="Frames that the surrogates were trained on, as a further row.")
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=FILE",
    help="Frame weights of a SURROGATE, as for map; FILE:kJ/mol for a bias.",
)
@click.option(
    "--cv", "cvs", multiple=True, metavar="KIND", help="A further collective variable, name:key=value or a .py file."
)
@click.option(
    "--state",
    "states",
    multiple=True,
    metavar="NAME=CONDITION",
    help='A state of your own, "folded=RMSD<0.2"; & joins conditions. Two or more give free-energy differences, rates.',
)
@_options.setting(
    ComparisonSettings,
    "--published",
    multiple=True,
    metavar="NAME",
    help="The metrics of a paper (cgsurrogate kinds published).",
)
@_options.setting(
    ComparisonSettings,
    "--macrostates",
    type=click.IntRange(min=2),
    help="How many metastable states; by default where the spectrum of the reference has its largest gap.",
)
@click.option(
    "--ns-per-day",
    "speeds",
    multiple=True,
    metavar="NAME=NUMBER",
    help="How fast the simulation of an ensemble was (reference=200), for independent frames a second.",
)
@_options.setting(
    ComparisonSettings,
    "--burn-in",
    metavar="PS",
    help="To drop from the beginning of each replica of the surrogates; auto: while they remember their starts.",
)
@_options.setting(
    ComparisonSettings, "--baseline/--no-baseline", help="With --training: add a Markov state model of them."
)
@_options.setting(
    ComparisonSettings,
    "--draws",
    is_flag=True,
    help="With --training: add its frames in random order, as a second baseline.",
)
@_options.setting(
    ComparisonSettings,
    "--tolerance",
    "tolerances",
    multiple=True,
    metavar="NAME=NUMBER",
    help="An error that is small enough to agree: temperature, degrees, picometres, blur, shuffled, spread, distance,"
    " populations, rates.",
)
@_options.out_folder
@_options.setting(ComparisonSettings, "--seed", type=click.IntRange(0, MOST_SEED), help="Random seed.")
@_options.trust
@_options.quiet
def command(
    reference: Path,
    surrogates: tuple[str, ...],
    topology: Path | None,
    training: Path | None,
    weights: tuple[str, ...],
    out: Path,
    quiet: bool,
    **options: Any,
) -> None:
    """Compare each SURROGATE with REFERENCE: same coordinates, grids and estimators for all of them.

    REFERENCE and each SURROGATE are a folder of frames, or trajectory files of any program (NAME=a.xtc,b.xtc for
    several runs) that are read with -s and mapped as the reference was. NAME=PATH gives a row a name. Writes
    metrics.json, surfaces.npz and a sample of frames.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.workflows.inputs import paths
    from cgsurrogate.workflows.provenance import hashes, provenance

    of_files = {name: options[name] for name in ("mapping", "temperature", "dt", "recover")}
    frames = workflows.load_reference(reference, topology, **of_files)
    rows = workflows.load_ensembles(surrogates, frames, topology, options["dt"], weights, options["recover"])
    rows = workflows.with_speeds({"reference": frames, **rows}, options["speeds"])
    frames = rows.pop("reference")
    inputs = paths([one for one in (reference, topology, training) if one] + [*surrogates, *weights])
    options["cvs"] = (*ComparisonSettings().cvs, *options["cvs"])
    with progress(quiet) as update:
        comparison = workflows.make_comparison(
            frames,
            rows,
            out,
            training=Frames.load(training) if training else None,
            settings=_options.settings_from(ComparisonSettings, options),
            about={"made": provenance() | {"sha256": hashes(inputs)}},
            report=lambda fraction, text: update("comparing", fraction, text),
        )
    click.echo(comparison.table())
    click.echo(f"\n{comparison.summary()}\n")
    for warning in comparison.warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"metrics: {out / 'metrics.json'}")
