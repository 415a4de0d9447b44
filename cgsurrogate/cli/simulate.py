"""``cgsurrogate simulate``: run a force field, or roll out a time-stepper."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress


def _processes(text: str | None) -> int | str | None:
    if text is None or text == "auto":
        return text
    if not text.isdigit() or not int(text):
        raise click.BadParameter(f"expected a number of processes or auto, got {text!r}")
    return int(text)


@click.command(
    "simulate",
    epilog="Example:  cgsurrogate simulate force-field --start frames --time 100 --every 1 -o simulation",
)
@click.argument("model", type=_options.PATH)
@click.option(
    "--start",
    required=True,
    metavar="FRAMES|extended|PDB",
    help="Frames to draw the starting positions from; or, for a force field, all replicas from the extended chain, or "
    "from one structure file.",
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    help="Run side by side; with --tempering, a multiple of its number. [default: 100, or the next such multiple]",
)
@click.option("--time", "time_", required=True, type=float, help="Length of each replica in ps.")
@click.option(
    "--every", type=float, help="ps between saved frames; a whole number of steps. [default: a 500th of --time]"
)
@click.option("--lag", type=float, help="ps of one jump of a time-stepper, within the range it was trained on.")
@click.option(
    "--energy", type=_options.PATH, help="Force field that reweights a time-stepper's frames; needs --correct."
)
@click.option(
    "--correct",
    metavar="KIND",
    help="Weights that give a time-stepper's frames the populations of a force field: reweight:time=PS (of --energy, "
    "simulated so long), or without --energy, reweight:to=FRAMES.",
)
@click.option("--integrator", default=None, help="For a force field: kind and options, e.g. baoab:timestep=0.002.")
@click.option("--temperature", "-T", type=float, help="K; that of the model by default (force fields only).")
@click.option(
    "--tempering",
    metavar="LOW:HIGH:N",
    help="Parallel tempering for a force field: N temperatures in K that replicas exchange, e.g. 300:450:6.",
)
@click.option("--exchange", type=float, help="ps between exchanges of temperatures. [default: about 25 steps]")
@click.option(
    "--turns",
    metavar="N[:STEPS]",
    help="Monte Carlo turns of dihedrals for a force field: N attempts of each replica after every few (STEPS) steps. "
    "Its equilibrium comes many times sooner, but the frames have no physical time.",
)
@click.option(
    "--jumps",
    metavar="FRAMES",
    type=_options.PATH,
    help="Monte Carlo jumps of a force field between the states of these frames, such as its training data: folded and "
    "unfolded states are soon in its own equilibrium, but the frames have no physical time.",
)
@click.option(
    "--processes",
    metavar="N|auto",
    callback=lambda _context, _option, text: _processes(text),
    help="Spread the replicas over N processes of one thread each; auto: as many as there are cores for this job. "
    "[default: 1, or the number that the output folder was begun with]",
)
@click.option("--max-hours", type=float, help="Stop resumable after this wall time.")
@_options.out_folder
@_options.seed
@_options.quiet
def command(
    model: Path,
    start: str,
    replicas: int | None,
    time_: float,
    every: float | None,
    lag: float | None,
    energy: Path | None,
    correct: str | None,
    integrator: str | None,
    temperature: float | None,
    tempering: str | None,
    exchange: float | None,
    turns: str | None,
    jumps: Path | None,
    processes: int | str | None,
    max_hours: float | None,
    out: Path,
    seed: int,
    quiet: bool,
) -> None:
    """Simulate many replicas at once from frames drawn from --start.

    With --tempering, the output is the trajectory at the lowest temperature, one run for each ladder of N replicas; the
    frames of all temperatures, with weights for the lowest, are in its folder all-temperatures. Neither is ordered in
    time. LOW may be left out (:450:6): it is then the temperature of the model.

    The same command again continues where it stopped, bit for bit. Frames depend on the number of --processes, so a
    folder keeps it. Exit code 4: completed, but replicas that blew up
    were frozen before their first bad frame; 5: stopped at --max-hours.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.models import extrapolation_scores
    from cgsurrogate.models.model import Model
    from cgsurrogate.simulation import temperature_ladder
    from cgsurrogate.simulation.monte_carlo import sampler, state_moves

    _options.one_thread()
    loaded = Model.load(model)
    frames = workflows.starting_frames(loaded, start)
    rungs = None if tempering is None else temperature_ladder.parse(tempering, temperature or loaded.temperature)
    with progress(quiet) as update:
        result = workflows.make_simulation(
            loaded,
            frames,
            out,
            replicas=replicas,
            time=time_,
            every=every,
            lag=lag,
            energy=None if energy is None else Model.load(energy),
            correct=correct,
            integrator=integrator,
            temperature=temperature,
            ladder=rungs,
            exchange=exchange,
            turns=turns,
            jumps=None if jumps is None else Frames.load(jumps),
            seed=seed,
            processes=processes,
            max_hours=max_hours,
            report=lambda fraction, text: update("simulating", fraction, text),
        )
    what = "replicas" if rungs is None else f"ladders at {result.temperature:g} K"
    click.echo(f"{len(result):,} frames of {len(result.lengths)} {what}, {result.dt:g} ps apart: {out}")
    if said := extrapolation_scores.words(result):
        click.echo(f"warning: {said.text}" if said.warn else said.text, err=said.warn)
    if correct is not None:
        click.echo(f"corrected: {workflows.describe(result)}")
    if rungs is not None:
        for line in temperature_ladder.sentences(result.provenance.exchange):
            click.echo(line)
        click.echo(f"all temperatures, with weights: {out / temperature_ladder.ALL}")
    if turns is not None:
        click.echo(sampler.sentence(result.provenance.monte_carlo["pivot"]))
    if jumps is not None:
        click.echo(state_moves.sentence(result.provenance.monte_carlo["independence"]))
    lost = result.provenance.quarantined
    if lost:
        click.echo(f"warning: {len(lost)} replica(s) were frozen, the first: {lost[0]}", err=True)
        raise click.exceptions.Exit(4)
