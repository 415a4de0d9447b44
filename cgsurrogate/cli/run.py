"""``cgsurrogate run``: from trajectories to a report, in one folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cgsurrogate.cli import _options
from cgsurrogate.cli._progress import progress


@click.command(
    "run",
    epilog="Example:  cgsurrogate run -s top.pdb -f a.xtc -f b.xtc --mapping backbone -T 300 -o RUN",
)
@_options.input_options
@_options.out_folder
@click.option(
    "--example", default=None, help="Embedded example to use where no files are given. [default: pentalanine]"
)
@click.option("--minutes", default=7.0, show_default=True, type=float, help="Budget of wall time for all of it.")
@click.option("--lag", type=float, help="Time of one jump of the stepper in ps; chosen from the data by default.")
@click.option(
    "--objective",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "force", "denoise"]),
    help="Of the force field, beside noise contrast.",
)
@click.option("--network", default="residues", show_default=True, help="Kind of network, name:key=value.")
@click.option("--stepper", default="autoregressive", show_default=True, help="Kind of stepper, name:key=value.")
@click.option("--held-out", default=0.34, show_default=True, type=float, help="Share of the runs that only judge.")
@click.option("--replicas", default=200, show_default=True, type=click.IntRange(min=1), help="Simulated side by side.")
@click.option(
    "--turns",
    default="10:5",
    show_default=True,
    metavar="N:STEPS",
    help="Monte Carlo turns of the force field: N of each replica after every so many steps; 0 for plain dynamics.",
)
@click.option(
    "--fine-tune/--no-fine-tune",
    default=True,
    show_default=True,
    help="In the larger part of the force field's training: telling data from its own equilibrium.",
)
@click.option(
    "--ns-per-day", type=float, help="How fast the simulation that made the input was, to compare speeds with."
)
@_options.seed
@_options.quiet
def command(out: Path, quiet: bool, **options: Any) -> None:
    """Map, train a force field and a time-stepper, simulate both, compare with held-out runs, report.

    Without -s and -f it uses the embedded example. The same command again continues where it was stopped, or says that
    it is done.
    """
    from cgsurrogate import workflows
    from cgsurrogate.workflows import study

    inputs = {k: options.pop(k) for k in (
        "topology", "trajectories", "mapping", "temperature", "dt", "force_files", "weight_files", "begin", "end",
        "stride", "aggregate")}  # fmt: skip
    given = inputs["topology"] is not None or bool(inputs["trajectories"])
    if given and options["example"]:
        raise click.UsageError("give either files (-s, -f) or --example, not both")
    settings = study.Settings(
        **{
            k: options[k]
            for k in ("minutes", "lag", "objective", "network", "stepper", "held_out", "replicas", "turns", "seed")
        }
    )
    if given:
        identity = {k: _plain(v) for k, v in inputs.items() if v not in (None, ())}
    else:
        name = options["example"] or "pentalanine"
        identity = {"example": name, "mapping": inputs["mapping"], "aggregate": inputs["aggregate"]}

    def load(report):
        if given:
            frames = _options.read_input(report=report, **inputs)
        else:
            frames = workflows.load_example(name, inputs["mapping"], aggregate=inputs["aggregate"], report=report)
        return frames if speed is None else workflows.with_speed(frames, speed)

    speed = options["ns_per_day"]
    if speed is not None:
        identity["ns_per_day"] = speed
    _options.log_folder = out
    with progress(quiet) as update:
        comparison = study.run(load, identity, out, settings, sources=_sources(inputs), report=update)
    click.echo(comparison.table())
    for line in (*comparison.verdict, *(f"warning: {w}" for w in comparison.warnings)):
        click.echo(line)
    click.echo(f"report: {out / 'report.html'}")


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists: what JSON can hold."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | str) else str(value)


def _sources(inputs: dict[str, Any]) -> list[Path]:
    """The input files; ``file.npz:name`` is the file."""
    named = [inputs["topology"], *inputs["trajectories"], *inputs["force_files"], *inputs["weight_files"]]
    paths = [Path(str(item)) for item in named if item is not None]
    return [path if path.exists() else Path(str(path).split(".npz:")[0] + ".npz") for path in paths]
