"""``cgsurrogate train energy|stepper``."""

from __future__ import annotations

from pathlib import Path

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress

PRIORS = ("bonds", "angles", "dihedrals", "impropers", "repulsion")


@click.group("train")
def command() -> None:
    """Learn a force field or a time-stepper from frames."""


@command.command("energy", epilog="Example:  cgsurrogate train energy frames --minutes 5 -o force-field")
@click.argument("frames", type=_options.PATH)
@_options.out_folder
@click.option(
    "--objective",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "force", "denoise"]),
    help="Learned together with noise contrast: forces, or denoising where there are none.",
)
@click.option("--network", default="residues", show_default=True, help="Kind, options as name:key=value,key=value.")
@click.option("--prior", "priors", multiple=True, default=PRIORS, show_default=True, help="Prior term; repeatable.")
@click.option(
    "--fine-tune/--no-fine-tune",
    default=True,
    show_default=True,
    help="In the larger part of the budget: telling data from the model's own equilibrium, which it simulates.",
)
@click.option(
    "--likelihood",
    is_flag=True,
    help="In place of fine-tuning, spend most of the budget on maximum likelihood with replicas that jump between "
    "states. For molecules that fold.",
)
@_options.minutes
@_options.seed
@_options.force
@_options.quiet
def energy(
    frames: Path,
    out: Path,
    objective: str,
    network: str,
    priors: tuple[str, ...],
    fine_tune: bool,
    likelihood: bool,
    minutes: float | None,
    seed: int,
    force: bool,
    quiet: bool,
) -> None:
    """Fit priors and train a network on top of them: an energy that `simulate` runs.

    Noise contrast sets the populations; force matching (with forces) or denoising (without) the local slopes; then what
    is left between data and the model's own samples is learned. The same command again continues.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames

    data = Frames.load(frames)
    _options.fresh(out, "model.json", force)
    _options.one_thread()
    with progress(quiet) as update:
        model = workflows.make_energy(
            data,
            out,
            objective=objective,
            network=network,
            priors=priors,
            fine_tune=fine_tune,
            likelihood=likelihood,
            minutes=minutes,
            seed=seed,
            report=lambda fraction, text: update("force field", fraction, text),
        )
    click.echo(f"{'prior term':<44}{'misfit':>8}")
    for row in model.info["priors"]:
        misfit = f"{row['misfit']:.3f}" if "misfit" in row else ""
        values = ", ".join(f"{k} {v:.4g}" for k, v in row.items() if k not in ("term", "misfit"))
        click.echo(f"{row['term']:<44}{misfit:>8}  {values}")
    _tell(model)
    click.echo(f"force field: {out}")


@command.command("stepper", epilog="Example:  cgsurrogate train stepper frames --lag 100 --minutes 5 -o stepper")
@click.argument("frames", type=_options.PATH, nargs=-1, required=True)
@_options.out_folder
@click.option("--lag", type=float, help="Time of one jump in ps; chosen from the data by default.")
@click.option("--stepper", default="autoregressive", show_default=True, help="Kind, with options as name:key=value.")
@_options.minutes
@_options.seed
@_options.force
@_options.quiet
def stepper(
    frames: tuple[Path, ...],
    out: Path,
    lag: float | None,
    stepper: str,
    minutes: float | None,
    seed: int,
    force: bool,
    quiet: bool,
) -> None:
    """Learn the distribution of the conformation a lag ahead: a stepper that `simulate` rolls out.

    Several FRAMES, of molecules mapped alike, learn together with --stepper graph, which `simulate` then starts from
    frames of any molecule of the same residues. The same command again continues.
    """
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames

    data, *others = (Frames.load(path) for path in frames)
    _options.fresh(out, "model.json", force)
    _options.one_thread()
    with progress(quiet) as update:
        model = workflows.make_stepper(
            data,
            out,
            others=others,
            stepper=stepper,
            lag=lag,
            minutes=minutes,
            seed=seed,
            report=lambda fraction, text: update("time-stepper", fraction, text),
        )
    _tell(model)
    low, high = model.module.lags
    click.echo(f"time-stepper: lag {model.module.lag:g} ps ({low:g} to {high:g}): {out}")


def _tell(model) -> None:
    about, best = model.info["training"], model.info["training"]["best"]
    if best:
        click.echo(f"best at step {best['step']:.0f}, held-out loss {best['held_out']:.4g}; {about['reason']}")
