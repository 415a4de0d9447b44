"""``cgsurrogate predict``: a sequence that was never simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.data.generation.protocol import CAPS
from cgsurrogate.workflows.settings import PredictionSettings

if TYPE_CHECKING:
    from cgsurrogate.data.generation.sequences import Peptide


@click.command("predict", epilog="Example:  cgsurrogate predict GPAV -o GPAV")
@click.argument("molecule", metavar="SEQUENCE|FASTA|PDB")
@_options.out_folder
@click.option(
    "--caps",
    type=click.Choice(CAPS),
    default="none",
    show_default=True,
    help="Ends of a sequence: free and charged, or acetyl and N-methylamide; ACE-GPAV-NME says so by itself.",
)
@click.option(
    "--from",
    "source",
    metavar="NAME|FOLDER",
    help="Pretrained models: a bundled name, or a folder with stepper/ and force-field/. [default: peptides, unless "
    "--stepper or --force-field is given]",
)
@click.option("--stepper", type=_options.PATH, metavar="MODEL", help="A time-stepper of your own.")
@click.option("--force-field", type=_options.PATH, metavar="MODEL", help="A force field of your own.")
@click.option(
    "--reference",
    type=_options.PATH,
    metavar="FRAMES",
    help="All-atom frames by which the prediction is judged; of several sequences a data set with a folder each.",
)
@_options.setting(PredictionSettings, "--jumps", type=click.IntRange(min=1), help="Of each replica of the stepper.")
@_options.setting(
    PredictionSettings, "--time", type=float, help="Of each replica of the force field, ps of its own time."
)
@_options.setting(PredictionSettings, "--replicas", type=click.IntRange(min=1), help="Of each, side by side.")
@_options.setting(
    PredictionSettings,
    "--pivot",
    metavar="N:STEPS",
    help="Monte Carlo pivot moves of the force field: N of each replica after every so many steps; 0 for none.",
)
@_options.device
@_options.seed
@_options.trust
@_options.quiet
def command(molecule: str, out: Path, quiet: bool, **options: Any) -> None:
    """Predict the ensemble of a peptide from its sequence: no all-atom simulation is made.

    A time-stepper and a force field that learned from other peptides simulate it; the page in OUT shows free energies,
    helix and strand, timescales, and where the two disagree. A PDB file takes the place of a sequence; a FASTA file
    gives a folder each in OUT, and one table. The same command again goes on where it was stopped.
    """
    from cgsurrogate.workflows import predicted_models, predictions

    _options.computing_on(options["device"], quiet)
    wanted = _molecules(molecule, options.pop("caps"))
    sources = predicted_models.chosen(*(options.pop(name) for name in ("source", "stepper", "force_field", "device")))
    reference = options.pop("reference")
    settings = _options.settings_from(PredictionSettings, options)
    _options.one_thread()
    _options.log_folder = out
    with progress(quiet) as update:
        said = predictions.predict_all(wanted, out, sources, settings, reference=reference, report=update, say=_warn)
    click.echo(said)


def _warn(line: str) -> None:
    click.echo(f"note: {line}", err=True)


def _molecules(text: str, caps: str) -> list[Peptide] | Path:
    """A structure file, or the peptides that a file or the text itself names."""
    from cgsurrogate.data import bead_structures
    from cgsurrogate.data.generation import sequences

    path = Path(text)
    if bead_structures.is_structure(path):
        return path
    if path.is_file():
        return sequences.read(path, caps)
    if path.suffix or path.name != text:
        raise FileNotFoundError(f"expected a sequence, or a file at {text}, there is none")
    return [sequences.parse(text, caps)]
