"""``cgsurrogate simulate``: run a force field, or roll out a time-stepper."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import common
from cgsurrogate.cli.progress import progress


@click.command(
    "simulate",
    epilog="Example:  cgsurrogate simulate force-field --start frames --time 100 --every 1 -o simulation",
)
@click.argument("model", type=common.PATH)
@click.option("--start", required=True, type=common.PATH, help="Frames to draw the starting positions from.")
@click.option("--replicas", default=100, show_default=True, type=click.IntRange(min=1), help="Run side by side.")
@click.option("--time", "time_", required=True, type=float, help="Length of each replica in ps.")
@click.option(
    "--every", type=float, help="ps between saved frames; a whole number of steps. [default: a 500th of --time]"
)
@click.option("--lag", type=float, help="ps of one jump of a time-stepper, within the range it was trained on.")
@click.option("--energy", type=common.PATH, help="Force field that corrects a time-stepper; needs --correct.")
@click.option(
    "--correct",
    metavar="KIND",
    help="Correct a time-stepper with --energy: relax:steps=20 (force-field steps after each jump), metropolis (the "
    "force field's distribution, no physical time; :steps=20 for such steps in between), reweight:time=PS (weights to "
    "the force field, simulated so long); or without --energy, reweight:to=FRAMES.",
)
@click.option("--integrator", default=None, help="For a force field: kind and options, e.g. baoab:timestep=0.002.")
@click.option("--temperature", "-T", type=float, help="K; that of the model by default (force fields only).")
@click.option("--max-hours", type=float, help="Stop resumable after this wall time.")
@common.out_folder
@common.seed
@common.quiet
def command(
    model: Path,
    start: Path,
    replicas: int,
    time_: float,
    every: float | None,
    lag: float | None,
    energy: Path | None,
    correct: str | None,
    integrator: str | None,
    temperature: float | None,
    max_hours: float | None,
    out: Path,
    seed: int,
    quiet: bool,
) -> None:
    """Simulate many replicas at once from frames drawn from --start.

    The same command again continues where it stopped, bit for bit. Exit code 4: completed, but replicas that blew up
    were frozen before their first bad frame; 5: stopped at --max-hours.
    """
    from cgsurrogate import store, workflow
    from cgsurrogate.frames import Frames

    common.one_thread()
    loaded, frames = store.load(model), Frames.load(start)
    with progress(quiet) as update:
        result = workflow.make_simulation(
            loaded,
            frames,
            out,
            replicas=replicas,
            time=time_,
            every=every,
            lag=lag,
            energy=None if energy is None else store.load(energy),
            correct=correct,
            integrator=integrator,
            temperature=temperature,
            seed=seed,
            max_hours=max_hours,
            report=lambda fraction, text: update("simulating", fraction, text),
        )
    click.echo(f"{len(result):,} frames of {len(result.lengths)} replicas, {result.dt:g} ps apart: {out}")
    if correct is not None:
        click.echo(f"corrected: {workflow.describe(result)}")
    lost = result.source.get("quarantined", [])
    if lost:
        click.echo(f"warning: {len(lost)} replica(s) were frozen: {lost[0]}", err=True)
        raise click.exceptions.Exit(4)
