"""Simulated time a day of a time-stepper beside all-atom OpenMM with implicit solvent, in turns, one thread each.

    python benchmarks/stepper_speed.py RUN --pdb protein.pdb
    python benchmarks/stepper_speed.py RUN --pdb protein.pdb --lag 1000 --batches 100 1000

RUN is a folder of ``cgsurrogate run``. OpenMM runs its CPU platform, 4 fs with heavy hydrogens. Every round gives each
its turn, so that other work on the machine falls on all; figures are medians of the rounds, by wall clock and by CPU
time. Independent frames are those of the run's comparison: of the held-out runs for OpenMM, of the rollout for the
stepper.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import _peers
import numpy as np
import torch

from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import pick_starts


def main() -> None:
    torch.set_num_threads(1)
    settings = _arguments()
    model = Model.load(settings.stepper or settings.run / "stepper").module
    if settings.lag:
        model.lag = settings.lag
    training = Frames.load(settings.run / "training")
    atoms = _peers.openmm(settings.pdb)
    if isinstance(atoms, str):
        raise SystemExit(f"openmm: {atoms}")
    rows: dict[str, tuple[Callable[[], object], float]] = {f"OpenMM ({atoms[2]})": atoms[:2]}
    for batch in settings.batches:
        rows[f"stepper, {batch} replicas, {model.lag:g} ps"] = (jumps(model, training, batch), batch * model.lag / 1000)
    wall, cpu = measure(rows, settings.rounds, settings.seconds)
    each = independent(settings.run, settings.lag is not None)
    slow = next(iter(rows))
    print("| | ns a day | of it by CPU time | against OpenMM | jumps a second | independent frames a second |")
    print("|---|---|---|---|---|---|")
    for name in rows:
        found, count = each["OpenMM" if name is slow else "stepper"], wall[name] / 86400 / (model.lag / 1000)
        print(
            f"| {name} | {wall[name]:.3g} | {cpu[name]:.3g} | {wall[name] / wall[slow]:.3g} "
            f"| {'' if name is slow else f'{count:,.0f}'} | {found * wall[name] / 86400:.3g} |"
        )


def jumps(model: Stepper, training: Frames, batch: int) -> Callable[[], object]:
    """A call that makes one jump of ``batch`` replicas, on from where the last one ended."""
    rng, starts = torch.Generator().manual_seed(0), pick_starts(training, batch, np.random.default_rng(0))
    model.requires_grad_(False)
    state = model.start(torch.as_tensor(starts), rng)

    def jump() -> None:
        nonlocal state
        state = model.step(state, rng)

    return jump


def measure(
    rows: dict[str, tuple[Callable[[], object], float]], rounds: int, seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """ns a day by wall clock and by CPU time, medians of the rounds, for calls that advance so many ns each."""
    wall: dict[str, list[float]] = {name: [] for name in rows}
    cpu: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(rounds):
        for name, (call, ns) in rows.items():
            call()
            count, began, began_cpu = 0, time.monotonic(), time.process_time()
            while time.monotonic() - began < seconds:
                call()
                count += 1
            wall[name].append(count * ns / (time.monotonic() - began) * 86400)
            cpu[name].append(count * ns / (time.process_time() - began_cpu) * 86400)
    return ({n: statistics.median(v) for n, v in one.items()} for one in (wall, cpu))  # type: ignore[return-value]


def independent(run: Path, other_lag: bool) -> dict[str, float]:
    """Independent frames a simulated ns, from the stored comparison; taken to be the same at another lag."""
    known = Comparison.load(run / "comparison")
    rollout = next(
        one for one in known.others if one.role == "surrogate" and one.timescales and one.timescales.physical
    )
    if other_lag:
        print(f"independent frames a ns of the stepper are those of the rollout in {run.name}, at its own lag")
    frames = {"OpenMM": (known.reference, "held-out"), "stepper": (rollout, "stepper-rollout")}
    return {name: _each(one, Frames.load(run / folder)) for name, (one, folder) in frames.items()}


def _each(one: Ensemble, frames: Frames) -> float:
    return one.effective / (len(frames) * frames.dt / 1000)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of cgsurrogate run")
    parser.add_argument("--pdb", type=Path, required=True, help="all-atom structure for OpenMM")
    parser.add_argument("--stepper", type=Path, help="a trained stepper in place of that of the run")
    parser.add_argument("--lag", type=float, help="ps, within the range that it was trained on")
    parser.add_argument("--batches", type=int, nargs="+", default=[100, 1000], help="replicas at once")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of wall time that each gets in a round")
    return parser.parse_args()


if __name__ == "__main__":
    main()
