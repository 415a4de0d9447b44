"""``cgsurrogate train energy|stepper``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.training.settings import MINUTES, OBJECTIVES, EnergySettings, StepperSettings, TrainingSettings

SHOWN = 60  # prior terms

minutes = _options.setting(
    TrainingSettings,
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Budget of wall time; training ends within it with the best model so far.  "
    f"[default: {MINUTES:g}, without --steps]",
)
steps = _options.setting(
    TrainingSettings,
    "--steps",
    type=click.IntRange(min=1),
    help="Budget of steps; with it alone, the same command gives the same weights to the byte on the same machine.",
)

devices = _options.setting(
    TrainingSettings,
    "--devices",
    type=click.IntRange(min=1),
    help="Processes (on a CPU) or GPUs that train together, each on batches of its own; a step has those of all.",
)

begin_with = click.option(
    "--from",
    "start",
    metavar="MODEL",
    help="Begin with a pretrained model: peptides, which comes with the package, or a folder. Kinds and options are "
    "its own.",
)


@click.group("train")
def command() -> None:
    """Learn a force field or a time-stepper from frames."""


@command.command("energy", epilog="Example:  cgsurrogate train energy frames --minutes 5 -o force-field")
@click.argument("frames", type=_options.PATH, nargs=-1, required=True)
@_options.out_folder
@_options.setting(
    EnergySettings,
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="Learned together with noise contrast: forces, or denoising where there are none. likelihood then spends most "
    "of the budget, in place of fine-tuning, on maximum likelihood with replicas that move between states: for "
    "molecules that fold.",
)
@_options.setting(EnergySettings, "--network", help="Kind, options as name:key=value,key=value.")
@_options.setting(EnergySettings, "--prior", "priors", multiple=True, help="Prior term; repeatable.")
@_options.setting(
    EnergySettings,
    "--fine-tune/--no-fine-tune",
    help="In the larger part of the budget: telling data from the model's own equilibrium, which it simulates.",
)
@minutes
@steps
@devices
@begin_with
@_options.device
@_options.seed
@_options.force
@_options.quiet
def energy(
    frames: tuple[Path, ...], out: Path, start: str | None, device: str, force: bool, quiet: bool, **options: Any
) -> None:
    """Fit priors and train a network on top of them: an energy that `simulate` runs.

    Noise contrast sets the populations; force matching (with forces) or denoising (without) the local slopes; then what
    is left between data and the model's own samples is learned. The same command again continues.

    Several FRAMES, or a data set of several molecules, learn together by contrast and local slopes alone; `simulate`
    then starts from frames of any molecule of the same residues.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frame_sets import FrameSet

    begun, settings = _started(start, "energy", EnergySettings(**options))
    data = [one for path in frames for one in FrameSet.load(path).values()]
    if _done(out, settings, data, begun, force):
        return
    _options.one_thread()
    others, quiet = _others(options["devices"], device, quiet)
    _options.computing_on(device, quiet)
    with progress(quiet) as update:
        model = workflows.make_energy(
            data[0],
            out,
            settings,
            others=data[1:],
            start=begun,
            device=device,
            report=lambda fraction, text: update("force field", fraction, text),
        )
    if others:
        return
    rows = model.info["priors"]
    shown = sorted(rows, key=lambda row: -row.get("misfit", 0.0))[:SHOWN] if len(rows) > SHOWN else rows
    more = f"  (of {len(rows)} those that fit worst)" if len(shown) < len(rows) else ""
    click.echo(f"{'prior term':<44}{'misfit':>8}{more}")
    for row in shown:
        misfit = f"{row['misfit']:.3f}" if "misfit" in row else ""
        values = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("term", "misfit"))
        click.echo(f"{row['term']:<44}{misfit:>8}  {values}")
    _tell(model)
    click.echo(f"force field: {out}")


@command.command("stepper", epilog="Example:  cgsurrogate train stepper frames --lag 100 --minutes 5 -o stepper")
@click.argument("frames", type=_options.PATH, nargs=-1, required=True)
@_options.out_folder
@_options.setting(StepperSettings, "--lag", type=float, help="Time of one jump in ps; chosen from the data by default.")
@_options.setting(StepperSettings, "--stepper", help="Kind, with options as name:key=value.")
@_options.setting(
    StepperSettings,
    "--reweight-starts/--no-reweight-starts",
    help="Runs that were started out of equilibrium: learn their pairs with the weights of a reversible Markov model, "
    "in both directions of time, and not as they are, forwards only. Right where runs often go there and back.",
)
@minutes
@steps
@devices
@begin_with
@_options.device
@_options.seed
@_options.force
@_options.quiet
def stepper(
    frames: tuple[Path, ...], out: Path, start: str | None, device: str, force: bool, quiet: bool, **options: Any
) -> None:
    """Learn the distribution of the conformation a lag ahead: a stepper that `simulate` rolls out.

    Several FRAMES, or the folder that `map --config` made of several molecules, mapped alike, learn together with
    --stepper graph, which `simulate` then starts from frames of any molecule of the same residues. The same command
    again continues.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frame_sets import FrameSet

    begun, settings = _started(start, "stepper", StepperSettings(**options))
    data = [one for path in frames for one in FrameSet.load(path).values()]
    if _done(out, settings, data, begun, force):
        return
    _options.one_thread()
    others, quiet = _others(options["devices"], device, quiet)
    _options.computing_on(device, quiet)
    with progress(quiet) as update:
        model = workflows.make_stepper(
            data[0],
            out,
            settings,
            others=data[1:],
            start=begun,
            device=device,
            report=lambda fraction, text: update("time-stepper", fraction, text),
        )
    if others:
        return
    _tell(model)
    module: Any = model.module
    low, high = module.lags
    click.echo(f"time-stepper: lag {module.lag:g} ps ({low:g} to {high:g}): {out}")


def _started(name: str | None, kind: str, settings: Any) -> tuple[Any, Any]:
    """The pretrained model to begin with, if there is one, and the settings that follow from it."""
    if name is None:
        return None, settings
    from cgsurrogate import workflows

    model, context = workflows.pretrained_model(name, kind), click.get_current_context()
    said = [one for one in context.params if context.get_parameter_source(one) is ParameterSource.COMMANDLINE]
    return model, workflows.started(settings, model, said)


def _others(count: int, device: str, quiet: bool) -> tuple[bool, bool]:
    """Whether this process is one of several that train together and not the first, which alone speaks; and quiet."""
    from cgsurrogate.core import devices
    from cgsurrogate.training import ranks

    other = ranks.joined(TrainingSettings(devices=count), devices.chosen(device)) > 0
    if other:
        warnings.simplefilter("ignore")  # the first says them
    return other, quiet or other


def _done(out: Path, settings: TrainingSettings, data: list[Any], start: Any, force: bool) -> bool:
    """Whether the folder holds what this command makes, which is then said; refuse another model there."""
    from cgsurrogate.workflows import training_folder

    if not force and training_folder.finished(out, settings, data, start):
        click.echo(f"already done: {out}")
        return True
    _options.fresh(out, "model.json", force)
    return False


def _tell(model: Any) -> None:
    about, best = model.info["training"], model.info["training"]["best"]
    if best:
        click.echo(f"best at step {best['step']:.0f}, validation loss {best['held_out']:.4g}; {about['reason']}")
