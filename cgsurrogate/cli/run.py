"""``cgsurrogate run``: from trajectories to a report, in one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cgsurrogate.cli import _config, _options
from cgsurrogate.cli._progress import progress
from cgsurrogate.training.settings import OBJECTIVES
from cgsurrogate.workflows.settings import StudySettings

if TYPE_CHECKING:
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.data.molecules import Molecule

EXAMPLE = "pentalanine"


@click.command(
    "run",
    epilog="Example:  cgsurrogate run -s top.pdb -f a.xtc -f b.xtc --mapping backbone -T 300 -o RUN",
)
@_config.config_options
@_options.input_options
@_options.out_folder
@click.option("--example", help=f"Embedded example to use where no files are given. [default: {EXAMPLE}]")
@_options.setting(StudySettings, "--minutes", type=float, help="Budget of wall time for all of it.")
@_options.setting(
    StudySettings, "--lag", type=float, help="Time of one jump of the stepper in ps; chosen from the data by default."
)
@_options.setting(
    StudySettings,
    "--objective",
    type=click.Choice(OBJECTIVES),
    help="Of the force field, beside noise contrast; likelihood: after it, in place of fine-tuning.",
)
@_options.setting(StudySettings, "--network", help="Kind of network, name:key=value.")
@_options.setting(
    StudySettings,
    "--prior",
    "priors",
    multiple=True,
    help="Prior term of the force field; repeatable, in place of all.",
)
@_options.setting(StudySettings, "--stepper", help="Kind of stepper, name:key=value.")
@_options.setting(
    StudySettings,
    "--from",
    "start",
    metavar="MODEL",
    help="Pretrained model, by name or folder, that a graph stepper begins with if held-out runs say that it helps; "
    "none for none. [default: the bundled one, where it suits]",
)
@_options.setting(StudySettings, "--held-out", type=float, help="Share of the runs that only judge.")
@_options.setting(StudySettings, "--replicas", type=click.IntRange(min=1), help="Simulated side by side.")
@_options.setting(
    StudySettings,
    "--pivot",
    metavar="N:STEPS",
    help="Monte Carlo pivot moves of the force field: N of each replica after every so many steps; 0 for plain "
    "dynamics.",
)
@_options.setting(
    StudySettings,
    "--fine-tune/--no-fine-tune",
    help="In the larger part of the force field's training: telling data from its own equilibrium.",
)
@_options.setting(
    StudySettings,
    "--state",
    "states",
    multiple=True,
    metavar="NAME=CONDITION",
    help='A state of your own, "folded=RMSD<0.2", as for compare; two or more give free-energy differences, rates.',
)
@_options.setting(
    StudySettings, "--cv", "cvs", multiple=True, metavar="KIND", help="A further collective variable, as for compare."
)
@_options.setting(
    StudySettings, "--published", multiple=True, metavar="NAME", help="The metrics of a paper, as for compare."
)
@click.option(
    "--ns-per-day", type=float, help="How fast the simulation that made the input was, to compare speeds with."
)
@_options.device
@_options.seed
@_options.trust
@_options.quiet
def command(out: Path, molecule: str | None, quiet: bool, **options: Any) -> None:
    """Map, train a force field and a time-stepper, simulate both, compare with held-out runs, report.

    Without -s and -f, or --config, it uses the embedded example. The same command again continues where it was stopped,
    or says that it is done. With more --minutes the stepper learns on, the force field anew; the earlier results are
    kept in OUT/earlier. --config RUN/run.json with another OUT repeats an earlier run.
    """
    from cgsurrogate.core import disk_arrays
    from cgsurrogate.workflows import study

    options = _config.trusted(options)
    inputs = {name: options[name] for name in _options.INPUTS}
    settings = _options.settings_from(StudySettings, options)
    one = _config.only(_config.molecules(options, molecule))
    identity, load = _source(inputs, options["example"], options["ns_per_day"], one)
    sources = _config.files(inputs, one)
    _config.warn_of_changes(sources)
    _options.computing_on(options["device"], quiet)
    _options.log_folder = out
    with progress(quiet) as update, disk_arrays.kept_in(out.parent):
        comparison = study.run(
            load, identity, out, settings, sources=sources, report=update, say=click.echo, device=options["device"]
        )
    click.echo(comparison.table())
    click.echo(f"\n{comparison.summary()}\n")
    for warning in comparison.warnings:
        click.echo(f"warning: {warning}")
    click.echo(f"report: {out / 'report.html'}")


def _source(
    inputs: dict[str, Any], example: str | None, speed: float | None, described: Molecule | None
) -> tuple[dict[str, Any], Callable[..., Frames]]:
    """What the input is, as it is recorded, and a function that reads it."""
    from cgsurrogate import workflows

    given = inputs["topology"] is not None or bool(inputs["trajectories"])
    if given and example:
        raise click.UsageError("give either files (-s, -f) or --example, not both")
    if described is not None or given:
        identity = _config.identity(inputs, described)
    else:
        identity = {"example": example or EXAMPLE, **{name: inputs[name] for name in ("mapping", "aggregate")}}

    def load(report: Callable[[int, int | None], None]) -> Frames:
        if described is not None:
            frames = _options.read_molecule(described, report)
        elif given:
            frames = _options.read_input(report=report, **inputs)
        else:
            frames = workflows.load_example(
                example or EXAMPLE, inputs["mapping"], aggregate=inputs["aggregate"], report=report
            )
        return frames if speed is None else workflows.with_speed(frames, speed)

    return identity if speed is None else {**identity, "ns_per_day": speed}, load
