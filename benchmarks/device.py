"""What a device makes of all of it, in one table: steps of a force field, jumps of a time-stepper, frames of training.

    python benchmarks/device.py --device cuda                                 # 4,096 replicas, as on a GPU
    python benchmarks/device.py                                               # a processor, small sizes

Seconds are those of the clock on a GPU, those of the processor elsewhere. Beside each figure stands its share of the
roofline: the time that the matrix products would take at the measured peak of the device, or all reading and writing at
its measured bandwidth, whichever is longer, over the time that it took. Operations that compiled code of this package
does on a processor are not counted, so there the share says nothing of it (--no-native).
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Callable

import click
import force_field
import numpy as np
import torch

from cgsurrogate.core import devices
from cgsurrogate.core.limits import DEVICES
from cgsurrogate.models import pretrained
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import pick_starts
from cgsurrogate.workflows import starting_frames

REPLICAS = {"cuda": 4096, "mps": 1024, "cpu": 64}
BATCH = {"cuda": 4096, "mps": 512, "cpu": 128}  # frames of a step of training
BEADS = (10, 270)


def steps(beads: int, replicas: int, device: torch.device) -> Callable[[], object]:
    energy, frames = force_field.chain(beads, "residues")
    energy.eval().requires_grad_(False).to(device)
    x = torch.tensor(pick_starts(frames, replicas, np.random.default_rng(0)), device=device)
    return force_field.stepping(energy, frames, x)


def jumps(replicas: int, device: torch.device) -> tuple[Callable[[], object], int]:
    """Of the bundled stepper, and its beads."""
    home = pretrained.folder("peptides")
    start = starting_frames(Model.load(home / "force-field"), "extended")
    model = Model.load(home / "stepper", device.type)
    module = model.module.requires_grad_(False) if model.beads == start.beads else model.module.bound(start.beads)
    rng = torch.Generator(device).manual_seed(0)
    x = torch.tensor(np.repeat(start.positions, replicas, 0), device=device)
    state = module.start(x, rng)

    def jump() -> None:
        nonlocal state
        with torch.no_grad():
            state = module.step(state, rng)

    return jump, len(start.beads)


def learning(batch: int, device: torch.device) -> Callable[[], object]:
    energy, frames = force_field.chain(BEADS[0], "residues")
    energy.to(device)
    return force_field.training(frames, energy.terms[-1], batch, device.type)


@click.command()
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True)
@click.option("--replicas", type=click.IntRange(min=1), help="Side by side. [default: 4,096 on a GPU, 64 else]")
@click.option("--seconds", default=2.0, show_default=True, help="Of a measurement in one round.")
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(min=1))
@click.option("--native/--no-native", default=True, help="Compiled code of this package on a processor.")
def main(device: str, replicas: int | None, seconds: float, rounds: int, native: bool) -> None:
    """Measure all of it in turns."""
    if not native:
        os.environ["CGSURROGATE_NATIVE"] = "0"
    torch.set_num_threads(1)
    place = devices.chosen(device)
    many, batch = replicas or REPLICAS[place.type], BATCH[place.type]
    jump, jumping = jumps(many, place)
    calls = {f"steps of {count} beads": (steps(count, many, place), many) for count in BEADS}
    calls[f"jumps of {jumping} beads"] = jump, many
    calls[f"frames of training, {BEADS[0]} beads"] = learning(batch, place), batch
    limits = force_field.measured(force_field.machine(place.type), seconds, rounds, place.type)
    peak, band = 2 * 1024**3 / limits["matmul"], 2 * 4 * (1 << 24) / limits["copy"]
    click.echo(f"{devices.words(place)}: matrix products {peak / 1e9:.0f} GFLOP/s, copies {band / 1e9:.1f} GB/s")
    times = force_field.measured({name: call for name, (call, _) in calls.items()}, seconds, rounds, place.type)
    click.echo(f"{'':<34}{'batch':>7}{'a second':>12}{'roofline':>10}{'calls':>8}")
    for name, (call, size) in calls.items():
        with force_field.Work() as work:
            call()
        bound = max(work.operations / peak, work.bytes / band)
        click.echo(f"{name:<34}{size:>7}{size / times[name]:>12,.0f}{bound / times[name]:>10.0%}{work.calls:>8}")


if __name__ == "__main__":
    main()
