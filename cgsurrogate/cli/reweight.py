"""``cgsurrogate reweight``: weights for runs that were not sampled at equilibrium."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options


@click.command("reweight", epilog="Example:  cgsurrogate reweight short-runs -o weighted")
@click.argument("frames", type=_options.PATH)
@_options.out_folder
@click.option("--to", type=_options.PATH, help="Frames whose populations they get, in place of their own equilibrium.")
@click.option(
    "--lag", type=click.FloatRange(min=0, min_open=True), help="ps, of the Markov model; a fifth of a run by default."
)
@_options.seed
@_options.force
def command(frames: Path, out: Path, to: Path | None, lag: float | None, seed: int, force: bool) -> None:
    """Weight FRAMES of short runs, many from one structure, as their equilibrium has them.

    A reversible Markov model of the transitions in the runs says how much of each state there is in the long run.
    Weighted frames are for `train energy` and `compare`. They have no order in time: keep FRAMES for `train stepper`.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core import filesystem
    from cgsurrogate.core.frames import MANIFEST, Frames

    if to is not None and lag is not None:
        raise click.UsageError("give either --to or --lag")
    data, target = Frames.load(frames), None if to is None else Frames.load(to)
    _options.fresh(out, MANIFEST, force)
    with filesystem.writing(out, MANIFEST), filesystem.whole(out):
        made, words = workflows.make_reweighted(data, out, to=target, lag=lag, seed=seed)
    for line in words:
        click.echo(line)
    click.echo(f"{workflows.contents(made)}: {out}")
