"""``cgsurrogate extrapolation``: how far frames are from what a model was trained on."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress


@click.command("extrapolation", epilog="Example:  cgsurrogate extrapolation force-field simulation --worst 5")
@click.argument("model", type=_options.PATH)
@click.argument("frames", type=_options.PATH)
@click.option(
    "--worst",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="List so many frames of the highest score.",
)
@_options.trust
@_options.quiet
def command(model: Path, frames: Path, worst: int, quiet: bool) -> None:
    """Extrapolation scores of FRAMES: how new the surroundings of each bead are to MODEL.

    Writes them to extrapolation.npy (frames, beads) beside the positions. Simulations of a force field have them.
    """
    import numpy as np

    from cgsurrogate.core.frames import Frames
    from cgsurrogate.models import extrapolation_scores
    from cgsurrogate.models.model import Model
    from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation

    _options.one_thread()
    extrapolation = Model.load(model).extrapolation
    if extrapolation is None:
        raise ValueError(f"{model} does not say what its training frames cover; train it again")
    if isinstance(extrapolation, ResidueExtrapolation):
        extrapolation = extrapolation.bound(Frames.load(frames).beads)
    with progress(quiet) as update:
        scored = extrapolation_scores.add_extrapolation(
            frames, extrapolation, lambda fraction: update("scoring", fraction)
        )
    said, scores = extrapolation_scores.words(scored), scored.extrapolation
    if said is not None:
        click.echo(said.text)
    if worst and scores is not None:
        of_frame = np.asarray(scores).max(1)
        for index in np.argsort(-of_frame, kind="stable")[:worst]:
            bead = int(np.argmax(scores[index]))
            name = extrapolation_scores.bead_name(scored.beads, bead)
            click.echo(f"{of_frame[index]:8.3g}  frame {index:,}: bead {bead} ({name})")
