"""Train the time-stepper on some runs of a folder of frames, roll it out at several lags, compare with the other runs.

    python benchmarks/stepper.py FRAMES --train 10 --lag 1000 --minutes 3 -o results/

Prints jumps per second, held-out nats, and for every lag the Jensen-Shannon distances beside the noise floor, drift
between the first and the last tenth of the rollout, and implied timescales beside those of the reference.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from cgsurrogate import choose, files
from cgsurrogate.compare import compare
from cgsurrogate.frames import Frames
from cgsurrogate.propagator import Stepper
from cgsurrogate.simulate import pick_starts, simulate
from cgsurrogate.training.stepper import LaggedPairs, train_stepper


def main() -> None:
    torch.set_num_threads(1)
    settings = _arguments()
    frames = Frames.load(settings.frames)
    runs = range(len(frames.lengths))
    training, reference = frames.take_runs(runs[: settings.train]), frames.take_runs(runs[settings.train :])
    name, options = choose.parse(settings.stepper)
    stepper = choose.build("steppers", name, frames.beads, **options)
    began = time.process_time()
    history = train_stepper(stepper, training, lag=settings.lag, minutes=settings.minutes, seed=settings.seed)
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
        files.write_json(settings.out / "stepper.json", rows)


def one_lag(stepper: Stepper, training: Frames, reference: Frames, settings: argparse.Namespace) -> dict:
    starts = pick_starts(training, settings.replicas, np.random.default_rng(settings.seed))
    rollout = simulate(
        stepper,
        starts,
        training.beads,
        time=settings.jumps * stepper.lag,
        every=stepper.lag,
        temperature=training.temperature,
        seed=settings.seed,
    )
    tenth = settings.jumps // 10
    parts = {"all": rollout, "first tenth": _part(rollout, 0, tenth), "last tenth": _part(rollout, -tenth, None)}
    comparison = compare(reference, parts, training=training, cvs=("tica", "torsions"), seed=settings.seed)
    out: dict = {}
    print(f"lag {stepper.lag:g} ps: {len(rollout)} frames, quarantined {rollout.source.get('quarantined')}")
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


def nats(stepper: Stepper, reference: Frames) -> dict[str, list[float]]:
    """Mean log-likelihood of held-out pairs by lag (ps): soft coordinates (radians), stiff ones (whitened)."""
    out = {}
    for lag in sorted({stepper.lags[0], stepper.lag, stepper.lags[1]}):
        pairs = LaggedPairs(stepper, reference, (lag, lag), batch=1024, batches=8, reversible=False)
        with torch.no_grad():
            parts = [stepper.log_density_parts(*batch) for batch in pairs.fixed()]
        soft, stiff = (torch.cat(part) for part in zip(*parts, strict=True))
        out[f"{lag:g}"] = [round(float(soft.sum(1).mean()), 3), round(float(stiff.mean()), 3)]
    return out


def speed(stepper: Stepper, reference: Frames, seconds: float = 2.0) -> dict[int, int]:
    """Replica-jumps per second of CPU time on one thread, by batch."""
    out, rng = {}, torch.Generator().manual_seed(0)
    for batch in (1, 10, 100, 1000):
        state = stepper.start(torch.tensor(pick_starts(reference, batch, np.random.default_rng(0))), rng)
        state, count, began = stepper.step(state, rng), 0, time.process_time()
        while time.process_time() - began < seconds:
            state, count = stepper.step(state, rng), count + 1
        out[batch] = round(batch * count / (time.process_time() - began))
    return out


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument(
        "--train", type=int, required=True, help="number of runs to train on; the rest is the reference"
    )
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
