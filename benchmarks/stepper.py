"""Train the time-stepper on some runs of a folder of frames, roll it out at several lags, compare with the other runs.

    python benchmarks/stepper.py FRAMES --train 10 --lag 1000 --minutes 3 -o results/
    python benchmarks/stepper.py --lengths 5 10 20 40 80            # cost alone, of poly-alanine chains

Prints jumps per second, held-out nats, and for every lag the Jensen-Shannon distances beside the noise floor, drift
between the first and the last tenth of the rollout, and implied timescales beside those of the reference.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from cgsurrogate.comparison.compare import compare
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.simulation.run import pick_starts, simulate
from cgsurrogate.simulation.settings import SimulationSettings
from cgsurrogate.training.batches import LaggedPairs
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.stepper import pair_loss, train_stepper


def main() -> None:
    torch.set_num_threads(1)
    settings = _arguments()
    if settings.lengths:
        return cost(settings)
    frames = Frames.load(settings.frames)
    runs = range(len(frames.lengths))
    training, reference = frames.take_runs(runs[: settings.train]), frames.take_runs(runs[settings.train :])
    name, options = registry.parse(settings.stepper)
    stepper = registry.build("steppers", name, frames.beads, **options)
    began = time.process_time()
    wanted = StepperSettings(lag=settings.lag, minutes=settings.minutes, seed=settings.seed)
    history = train_stepper(stepper, training, wanted)
    low, high = stepper.lags
    print(
        f"trained to step {history.best['step']:.0f} in {time.process_time() - began:.0f} CPU-s, lags {low}-{high} ps"
    )
    rows = {"nats": nats(stepper, reference), "jumps per CPU-s": speed(stepper, reference), "lags": {}}
    print("held-out log-likelihood, nats:", rows["nats"], "  jumps per CPU-s by batch:", rows["jumps per CPU-s"])
    for lag in sorted({low, stepper.lag, high}):
        stepper.lag = lag
        rows["lags"][f"{lag:g}"] = one_lag(stepper, training, reference, settings)
    if settings.out:
        settings.out.mkdir(parents=True, exist_ok=True)
        filesystem.write_json(settings.out / "stepper.json", rows)


def one_lag(stepper: Stepper, training: Frames, reference: Frames, settings: argparse.Namespace) -> dict:
    starts = pick_starts(training, settings.replicas, np.random.default_rng(settings.seed))
    rollout = simulate(
        stepper,
        starts,
        training.beads,
        SimulationSettings(settings.jumps * stepper.lag, stepper.lag, training.temperature, seed=settings.seed),
    )
    tenth = settings.jumps // 10
    parts = {"all": rollout, "first tenth": _part(rollout, 0, tenth), "last tenth": _part(rollout, -tenth, None)}
    how = ComparisonSettings(cvs=("tica", "torsions"), baseline=False, burn_in=0, seed=settings.seed)
    comparison = compare(reference, parts, training=training, settings=how)
    out: dict = {}
    print(f"lag {stepper.lag:g} ps: {len(rollout)} frames, quarantined {rollout.provenance.quarantined}")
    for ensemble in comparison.others:
        out[ensemble.name] = {metric: [d.value, d.floor] for metric, d in ensemble.distances.items()}
        print(
            f"  {ensemble.name:12s}",
            ", ".join(f"{m} {v:.3f} (floor {f:.3f})" for m, (v, f) in out[ensemble.name].items()),
        )
        if ensemble.name == "all" and ensemble.timescales is not None:
            for who in (comparison.reference, ensemble):
                for at, values in zip(who.timescales.lags, who.timescales.values, strict=True):
                    print(f"    {who.name} at {at:g} ps: timescales", np.round(values, 1).tolist(), "ps")
    return out


def _part(frames: Frames, start: int, stop: int | None) -> Frames:
    """The same piece of every run."""
    index = [np.arange(run.start, run.stop)[start:stop] for run in frames.runs]
    return Frames(
        frames.beads,
        frames.positions[np.concatenate(index)],
        tuple(map(len, index)),
        frames.dt,
        frames.temperature,
    )


def nats(stepper: Stepper, reference: Frames) -> dict[str, float]:
    """Mean log-likelihood of held-out pairs by lag (ps), per unit of the encoding (radians, standard deviations)."""
    out = {}
    for lag in sorted({stepper.lags[0], stepper.lag, stepper.lags[1]}):
        pairs = LaggedPairs(stepper, reference, (lag, lag), batch=512, batches=4, reversible=False)
        with torch.no_grad():
            out[f"{lag:g}"] = round(float(torch.cat([stepper.log_density(*b) for b in pairs.fixed()]).mean()), 3)
    return out


def cost(settings: argparse.Namespace) -> None:
    """Weights, seconds of one training step (512 pairs) and jumps per CPU-second, untrained, by length of the chain.

    Collisions are switched off: untrained proposals have many.
    """
    name, options = registry.parse(settings.stepper)
    for residues in settings.lengths:
        frames = chain(residues)
        stepper = registry.build("steppers", name, frames.beads, lag=frames.dt, **options)
        stepper.calibrate(frames)
        stepper.closest.zero_()
        pairs, rng = LaggedPairs(stepper, frames, (frames.dt, frames.dt)), torch.Generator().manual_seed(0)
        batch = pairs.draw(rng)
        pair_loss(stepper, batch, rng).backward()
        began = time.process_time()
        for _ in range(3):
            pair_loss(stepper, batch, rng).backward()
        step = (time.process_time() - began) / 3
        rate = speed(stepper.requires_grad_(False), frames, 1.0, (100,))[100]
        count = sum(p.numel() for p in stepper.parameters())
        print(
            f"{residues:3d} residues, {len(frames.beads)} beads, {int(stepper.soft.sum())} soft angles: {count:,} "
            f"weights, {step:.3f} s a training step, {rate:,} jumps per CPU-s at batch 100"
        )


def chain(residues: int, count: int = 600) -> Frames:
    """Backbone beads (N, CA, CB, C, O) of poly-alanine with random phi and psi; it may cross itself."""
    names = ("N", "CA", "CB", "C", "O") * residues
    bonds = []
    for k in range(0, 5 * residues, 5):
        bonds += [(k, k + 1), (k + 1, k + 2), (k + 1, k + 3), (k + 3, k + 4)] + ([(k - 2, k)] if k else [])
    size = len(names)
    beads = Beads(
        names=names,
        types=(0,) * size,
        masses=(12.0,) * size,
        residues=tuple(i // 5 for i in range(size)),
        residue_names=("ALA",) * size,
        bonds=tuple(sorted(bonds)),
    )
    z, rng = ZMatrix(beads, from_start=True), np.random.default_rng(0)
    dihedrals = np.where(z.torsion, 0.0, 2.1) + rng.normal(0, 0.05, (count, size - 3))
    middle = [{names[int(p)], names[int(q)]} for _, p, q, _ in z.refs[3:]]
    turns = z.torsion & np.array([pair != {"C", "N"} for pair in middle])
    omega = z.torsion & ~turns
    dihedrals[:, turns] = rng.uniform(-np.pi, np.pi, (count, int(turns.sum())))
    dihedrals[:, omega] += np.pi
    bond, angle = rng.normal(0.15, 0.003, (count, size - 1)), rng.normal(1.9, 0.05, (count, size - 2))
    positions = z.to_positions(*(torch.tensor(part) for part in (bond, angle, dihedrals))).numpy()
    return Frames(beads, positions.astype(np.float32), (count,), dt=100.0, temperature=300.0)


def speed(
    stepper: Stepper, reference: Frames, seconds: float = 2.0, batches: tuple[int, ...] = (1, 10, 100, 1000)
) -> dict[int, int]:
    """Replica-jumps per second of CPU time on one thread, by batch."""
    out, rng = {}, torch.Generator().manual_seed(0)
    for batch in batches:
        state = stepper.start(torch.tensor(pick_starts(reference, batch, np.random.default_rng(0))), rng)
        state, count, began = stepper.step(state, rng), 0, time.process_time()
        while time.process_time() - began < seconds:
            state, count = stepper.step(state, rng), count + 1
        out[batch] = round(batch * count / (time.process_time() - began))
    return out


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="?")
    parser.add_argument("--train", type=int, default=1, help="number of runs to train on; the rest is the reference")
    parser.add_argument("--lengths", type=int, nargs="+", help="residues of chains whose cost alone is measured")
    parser.add_argument("--stepper", default="autoregressive", help="kind, with options as name:key=value")
    parser.add_argument("--lag", type=float, help="ps; chosen from the data by default")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--jumps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
