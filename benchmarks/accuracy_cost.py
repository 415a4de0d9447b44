"""Accuracy against cost of networks: widths, depths and kinds, trained for the same processor time on the same frames.

Accuracy is the held-out loss of noise contrast (``training/objectives/noise_contrast.py``), a proper score of the
populations that needs no simulation, less that of the priors alone: the more negative, the better. The noise is that of
the training frames, the same for all. Errors are those of the mean over held-out runs; for differences, of the paired
difference. Cost is a step of 100 replicas. Every training is stored in ``--out``, so that the same command goes on
where it was stopped.

    python benchmarks/accuracy_cost.py --training RUN/training --held-out RUN/held-out --out FOLDER
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
from pathlib import Path
from time import process_time

import click
import numpy as np
import torch
from force_field import measured, stepping
from torch import Generator, Tensor, nn

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.simulation.run import pick_starts
from cgsurrogate.training.force_field import energy_objective
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.objectives.noise_contrast import CLAMP, NoiseContrast, WithLogPartition
from cgsurrogate.training.settings import EnergySettings

SETTINGS = (
    *(f"residues:width={width},layers={layers}" for layers in (1, 2) for width in (8, 16, 32, 64)),
    "residues:width=32,layers=3",
    "residues:width=32,layers=2,radial=6",
    "residues:width=32,layers=2,cutoff=0.9",
    "schnet:width=16,layers=1",
    "schnet:width=32,layers=1",
    "schnet:width=64,layers=1",
    "schnet:width=32,layers=2",
)
REPLICAS = 100
PROBE = 12  # steps that tell how long one takes


class Score:
    """Held-out loss of every frame, and the mean of the noise, by networks with their log partition."""

    def __init__(self, priors: Sum, training: Frames, held_out: Frames):
        self.contrast = NoiseContrast(
            TorsionMoves(training.beads), _rest(priors), training, Generator().manual_seed(99)
        )
        self.frames, self.kT = held_out, training.kT
        self.x = torch.tensor(np.array(held_out.positions, np.float32))
        self.rest = torch.cat([self.contrast._rest(block) for block in self.x.split(1000)])

    @torch.no_grad()
    def __call__(self, module: WithLogPartition) -> tuple[np.ndarray, float]:
        def margin(x: Tensor, rest: Tensor) -> Tensor:
            value = torch.cat([module.networks(block) for block in x.split(500)])
            return (-value / self.kT - module.log_partition - rest).clamp(-CLAMP, CLAMP)

        real = nn.functional.softplus(-margin(self.x, self.rest))
        made = nn.functional.softplus(margin(self.contrast.noise, self.contrast.noise_rest))
        return real.numpy(), self.contrast.ratio * float(made.mean())

    def summary(self, real: np.ndarray, made: float) -> list[float]:
        """The loss over all held-out frames, then that of each run."""
        p, ends = self.frames.probabilities, np.cumsum(self.frames.lengths)
        runs = [slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        each = [float(p[run] @ real[run] / p[run].sum()) + made for run in runs]
        return [float(p @ real) + made, *each]


def _rest(priors: Sum) -> Sum:
    return Sum(*(term for term in priors.terms if not term.marginal))


def train(
    setting: str, objective: BatchObjective, beads, seconds: float, seed: int
) -> tuple[WithLogPartition, int, float]:
    """A network trained for about ``seconds``, the steps that it made, and its processor time."""
    name, options = registry.parse(setting)

    def run(steps: int) -> tuple[WithLogPartition, float]:
        torch.manual_seed(seed)
        module = WithLogPartition(Sum(registry.build("networks", name, beads, **options)))
        begin = process_time()
        fit(module, objective, EnergySettings(steps=steps, seed=seed, patience=1000))
        return module, process_time() - begin

    run(2)
    short, long = run(2)[1], run(2 + PROBE)[1]
    steps = max(10, round(seconds * PROBE / max(long - short, 1e-3)))
    module, spent = run(steps)
    return module.eval().requires_grad_(False), steps, spent


def draw(rows: list[dict], out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), layout="constrained")
    for kind, marker in (("residues", "o"), ("schnet", "s")):
        mine = [row for row in rows if row["setting"].startswith(kind)]
        axes.errorbar(
            [row["ms"] for row in mine], [row["loss"] for row in mine], [row["error"] for row in mine],
            fmt=marker, capsize=2, label=kind,
        )  # fmt: skip
        for row in mine:
            text = row["setting"].partition(":")[2].replace("width=", "").replace("layers=", "× ").replace(",", " ")
            axes.annotate(text, (row["ms"], row["loss"]), (4, 4), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel=f"CPU milliseconds of a step of {REPLICAS} replicas")
    axes.set_ylabel("held-out loss less that of the priors, nats")
    axes.legend()
    figure.savefig(out / "accuracy-cost.png", dpi=150)


@click.command()
@click.option("--training", required=True, type=click.Path(exists=True, path_type=Path), help="Frames to train on.")
@click.option("--held-out", required=True, type=click.Path(exists=True, path_type=Path), help="Frames to score with.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder for results and the figure.")
@click.option("--settings", default=" ".join(SETTINGS), help="Networks with options, separated by spaces.")
@click.option("--seconds", default=60.0, show_default=True, help="Processor time of each training.")
@click.option("--seeds", default=1, show_default=True, help="Trainings of each setting.")
@click.option("--at-most", default=1000, show_default=True, help="Trainings that this call makes.")
def main(training, held_out, out, settings, seconds, seeds, at_most) -> None:
    """Train each setting, score it on held-out frames, and measure its step."""
    torch.set_num_threads(1)
    frames, held = Frames.load(training), Frames.load(held_out)
    out.mkdir(parents=True, exist_ok=True)
    wanted = [(s, seed) for seed in range(seeds) for s in settings.split()]
    stored = {key: out / f"{key[0].replace(':', '-').replace('=', '')}-{seconds:g}s-{key[1]}.json" for key in wanted}
    missing = [key for key in wanted if not stored[key].exists()][:at_most]
    kept, check = frames.split(0.2, 0)
    priors = Sum(*(registry.build("priors", name, frames.beads) for name in registry.kinds("priors")))
    for prior in priors.terms:
        prior.fit(kept)
    score = objective = None
    for key in missing:
        score = score or Score(priors, kept, held)
        local = "denoise" if kept.forces is None else "force"
        objective = objective or energy_objective(local, priors, kept, check, 0)
        module, steps, spent = train(key[0], objective, frames.beads, seconds, key[1])
        zero = score.summary(*score(WithLogPartition(Sum())))
        row = {"steps": steps, "seconds": spent, "loss": score.summary(*score(module)), "priors": zero}
        stored[key].write_text(json.dumps(row | {"settings": key[0]}))
        click.echo(f"{key[0]}, seed {key[1]}: {steps} steps, {spent:.0f} s, loss {row['loss'][0]:.4f}")
    if not all(path.exists() for path in stored.values()):
        return
    rows = _rows(settings.split(), seeds, stored, priors, frames)
    _print(rows)
    draw(rows, out)


def _rows(settings: list[str], seeds: int, stored: dict, priors: Sum, frames: Frames) -> list[dict]:
    x = torch.tensor(pick_starts(frames, REPLICAS, np.random.default_rng(0)))
    calls = {}
    for setting in settings:
        name, options = registry.parse(setting)
        torch.manual_seed(0)
        energy = Sum(*priors.terms, registry.build("networks", name, frames.beads, **options))
        calls[setting] = stepping(energy.eval().requires_grad_(False), frames, x)
    times, rows = measured(calls, 0.1, 5), []
    for setting in settings:
        found = [json.loads(stored[setting, seed].read_text()) for seed in range(seeds)]
        gain = np.array([np.subtract(one["loss"], one["priors"]) for one in found]).mean(0)  # all, then each run
        error = gain[1:].std(ddof=1) / np.sqrt(len(gain) - 1) if len(gain) > 2 else np.nan
        each = [one["loss"][0] - one["priors"][0] for one in found]
        rows.append({"setting": setting, "ms": 1e3 * times[setting], "loss": gain[0], "error": error, "runs": gain[1:],
                     "seeds": np.ptp(each), "steps": np.mean([one["steps"] for one in found])})  # fmt: skip
    return rows


def _print(rows: list[dict]) -> None:
    best = min(rows, key=lambda row: row["loss"])
    click.echo("\nsetting | steps of training | ms a step | loss less that of priors | above the best (error) | ")
    for row in rows:
        above = row["runs"] - best["runs"]
        error = above.std(ddof=1) / np.sqrt(len(above)) if len(above) > 1 else np.nan
        front = not any(o["ms"] < row["ms"] and o["loss"] < row["loss"] for o in rows)
        click.echo(
            f"{row['setting']} | {row['steps']:.0f} | {row['ms']:.2f} | {row['loss']:.4f} | "
            f"{row['loss'] - best['loss']:.4f} ({error:.4f}) | {'front' if front else ''}"
        )


if __name__ == "__main__":
    main()
