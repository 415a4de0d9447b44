"""``cgsurrogate simulate``: run a force field, or roll out a time-stepper."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.simulation.settings import FRAMES, REPLICAS, SamplerSettings, SimulationSettings, Spread


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
@_options.setting(
    SimulationSettings,
    "--replicas",
    type=click.IntRange(min=1),
    help=f"Run side by side; with --tempering, a multiple of its number. [default: {REPLICAS}, or the next multiple]",
)
@click.option("--time", required=True, type=float, help="Length of each replica in ps.")
@_options.setting(
    SimulationSettings,
    "--every",
    type=float,
    help=f"ps between saved frames; a whole number of steps. [default: a {FRAMES}th of --time]",
)
@_options.setting(
    SamplerSettings,
    "--lag",
    type=float,
    help="ps of one jump of a time-stepper, within the range it was trained on.",
)
@click.option("--energy", type=_options.PATH, help="Force field that corrects a time-stepper; needs --correct.")
@_options.setting(
    SimulationSettings,
    "--correct",
    metavar="KIND",
    help="Weight the frames of a time-stepper: reweight:time=PS to the populations of the force field --energy, "
    "simulated so long, or reweight:to=FRAMES to those of frames.",
)
@_options.setting(
    SamplerSettings,
    "--integrator",
    help="For a force field: kind and options, e.g. baoab:timestep=0.002.",
)
@_options.setting(
    SimulationSettings,
    "--temperature",
    "-T",
    type=float,
    help="K; that of the model by default (force fields only).",
)
@click.option(
    "--tempering",
    metavar="LOW:HIGH:N",
    help="Parallel tempering for a force field: N temperatures in K that replicas exchange, e.g. 300:450:6.",
)
@_options.setting(
    SamplerSettings,
    "--exchange",
    type=float,
    help="ps between exchanges of temperatures. [default: about 25 steps]",
)
@_options.setting(
    SamplerSettings,
    "--pivot",
    metavar="N[:STEPS]",
    help="Monte Carlo pivot moves of dihedrals for a force field: N attempts of each replica after every few (STEPS) "
    "steps. Its equilibrium comes many times sooner, but the frames have no physical time.",
)
@_options.setting(
    SamplerSettings,
    "--independence",
    metavar="FRAMES",
    type=_options.PATH,
    help="Monte Carlo moves of a force field between the states of these frames, such as its training data: folded and "
    "unfolded states are soon in its own equilibrium, but the frames have no physical time.",
)
@click.option(
    "--processes",
    metavar="N|auto",
    callback=lambda _context, _option, text: _processes(text),
    help="Cut the replicas into N parts, each a task of one thread; auto: as many as there are cores for this job. "
    "[default: 1, or the number that the output folder was begun with]",
)
@_options.executor
@_options.part
@click.option("--join", is_flag=True, help="Run nothing: make one folder of the parts that jobs with --part have run.")
@click.option("--max-hours", type=float, help="Stop resumable after this wall time.")
@_options.device
@_options.out_folder
@_options.seed
@_options.trust
@_options.quiet
def command(model: Path, start: str, energy: Path | None, out: Path, device: str, quiet: bool, **options: Any) -> None:
    """Simulate many replicas at once from frames drawn from --start.

    With --tempering, the output is the trajectory at the lowest temperature, one run for each ladder of N replicas; the
    frames of all temperatures, with weights for the lowest, are in its folder all-temperatures. Neither is ordered in
    time. LOW may be left out (:450:6): it is then the temperature of the model.

    The same command again continues where it stopped, bit for bit. Frames depend on the number of --processes, so a
    folder keeps it. Exit code 4: completed, but replicas that blew up
    were frozen before their first bad frame; 5: stopped at --max-hours.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.campaigns import ShareDone
    from cgsurrogate.models.model import Model

    if device == "auto" and options["processes"] not in (None, 1):
        device = "cpu"  # where processes are
    _options.one_thread()
    loaded = Model.load(model, device)
    settings = _settings(options, loaded.temperature)
    frames = workflows.starting_frames(loaded, start)
    _options.computing_on(device, quiet)
    spread = Spread(options["processes"], options["executor"], options["part"], options["join"])
    try:
        with progress(quiet) as update:
            result = workflows.make_simulation(
                loaded,
                frames,
                out,
                settings,
                energy=None if energy is None else Model.load(energy, device),
                spread=spread,
                max_hours=options["max_hours"],
                report=lambda fraction, text: update("simulating", fraction, text),
            )
    except ShareDone as done:
        click.echo(f"{done}; when all are: the same command with --join in place of --part")
        return
    _say(result, settings, out)
    lost = result.provenance.quarantined
    if lost:
        click.echo(f"warning: {len(lost)} replica(s) were frozen, the first: {lost[0]}", err=True)
        raise click.exceptions.Exit(4)


def _settings(options: dict[str, Any], temperature: float) -> SimulationSettings:
    """Those of the command line; ``temperature`` (K) is that of the model."""
    from cgsurrogate.core import temperatures
    from cgsurrogate.core.frames import Frames

    def picked(kind: type) -> dict[str, Any]:
        return {field.name: options[field.name] for field in dataclasses.fields(kind) if field.name in options}

    sampler = picked(SamplerSettings)
    if options["independence"] is not None:
        sampler["independence"] = Frames.load(options["independence"])
    if options["tempering"] is not None:
        sampler["temperatures"] = temperatures.parse(options["tempering"], options["temperature"] or temperature)
    return SimulationSettings(**picked(SimulationSettings), sampler=SamplerSettings(**sampler))


def _say(result: Any, settings: SimulationSettings, out: Path) -> None:
    """What came out, in a line each."""
    from cgsurrogate import workflows
    from cgsurrogate.models import extrapolation_scores
    from cgsurrogate.simulation import temperature_ladder
    from cgsurrogate.simulation.monte_carlo import sampler

    ladders = settings.sampler.temperatures is not None
    what = f"ladders at {result.temperature:g} K" if ladders else "replicas"
    click.echo(f"{len(result):,} frames of {len(result.lengths)} {what}, {result.dt:g} ps apart: {out}")
    if said := extrapolation_scores.words(result):
        click.echo(f"warning: {said.text}" if said.warn else said.text, err=said.warn)
    if settings.correct is not None:
        click.echo(f"corrected: {workflows.describe(result)}")
    if ladders:
        for line in temperature_ladder.sentences(result.provenance.exchange):
            click.echo(line)
        click.echo(f"all temperatures, with weights: {out / temperature_ladder.ALL}")
    for line in sampler.sentences(result.provenance.monte_carlo):
        click.echo(line)
