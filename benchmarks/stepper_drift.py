"""Whether long rollouts drift: the first tenth of every replica against the last, and what the geometry says of all.

    cgsurrogate simulate RUN/stepper --start RUN/training --replicas 100 --lag 1000 --time 1e8 --every 1e4 -o long
    python benchmarks/stepper_drift.py RUN long [FURTHER ...]

Further rollouts are of the same length, each from where the one before ended (a stepper without memory goes on from a
structure alone); the tenths are then those of all of them together.

Averages are taken replica by replica, and replicas are independent: the difference of a figure between the tenths has
the standard error of its mean over replicas, so that no assumption about correlation in time is needed. Of K figures
without drift the largest |t| lies below the given bound in 95 of 100 cases (Bonferroni). Distances are those of
``compare``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cgsurrogate.comparison.compare import compare
from cgsurrogate.comparison.settings import CVS, ComparisonSettings
from cgsurrogate.comparison.variables import build_cvs
from cgsurrogate.core.frames import Frames

PARTS = 10


def main() -> None:
    settings = _arguments()
    rollouts, held_out = [Frames.load(folder) for folder in settings.rollouts], Frames.load(settings.run / "held-out")
    for rollout in rollouts:
        lost = rollout.provenance.quarantined
        print(f"{len(rollout):,} frames of {len(rollout.lengths)} replicas, {rollout.dt:g} ps apart; {len(lost)} lost")
    tenth = len(rollouts) / PARTS
    first, last = part(rollouts[0], 0, tenth), part(rollouts[-1], 1 - tenth, 1)
    averages(first, last, held_out)
    rows = {"first tenth": first, "last tenth": last, **{f"all {k}": one for k, one in enumerate(rollouts, 1)}}
    plain = ComparisonSettings(baseline=False, burn_in=0, seed=settings.seed)
    comparison = compare(held_out, rows, training=Frames.load(settings.run / "training"), settings=plain)
    print(comparison.table())
    inside = compare(first, {"last tenth": last}, settings=plain).others[0].distances
    print(
        "last tenth against the first: distance, in brackets what one half of the first shows against the other (95 %)"
    )
    print("  " + ", ".join(f"{name} {d.value:.3f} ({d.floor_high:.3f})" for name, d in inside.items()))


def part(frames: Frames, begin: float, end: float) -> Frames:
    """The same part of every run, from and to shares of its length."""
    pieces = [
        np.arange(run.start + round(begin * size), run.start + round(end * size))
        for run, size in zip(frames.runs, frames.lengths, strict=True)
    ]
    positions = frames.positions[np.concatenate(pieces)]
    return Frames(frames.beads, positions, tuple(map(len, pieces)), frames.dt, frames.temperature)


def averages(first: Frames, last: Frames, reference: Frames) -> None:
    """Mean of every collective variable (of cosine and sine of angles) in both tenths, and t of their difference."""
    from scipy.stats import t as student

    found: list[tuple[str, float, float, float]] = []
    for cv in build_cvs(reference, CVS):
        one, two = cv(first), cv(last)
        for k, label in enumerate(cv.labels):
            waves = {"": lambda x: x} if cv.period is None else {"cos ": np.cos, "sin ": np.sin}
            for name, wave in waves.items():
                before, after = (by_replica(wave(x[:, k]), f) for x, f in ((one, first), (two, last)))
                change = after - before
                error = change.std(ddof=1) / np.sqrt(len(change))
                found.append((name + label, before.mean(), change.mean(), change.mean() / error))
    bound = student.ppf(1 - 0.025 / len(found), len(first.lengths) - 1)
    print(
        f"{len(found)} averages, largest |t| {max(abs(t) for *_, t in found):.2f}, bound {bound:.2f}; the largest five:"
    )
    for label, mean, change, t in sorted(found, key=lambda row: -abs(row[3]))[:5]:
        print(f"  {label}: {mean:.4f} in the first tenth, {change:+.4f} in the last, t {t:+.2f}")


def by_replica(values: np.ndarray, frames: Frames) -> np.ndarray:
    return np.array([values[run].mean() for run in frames.runs])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of cgsurrogate run, for its held-out and training runs")
    parser.add_argument("rollouts", type=Path, nargs="+", help="frames of cgsurrogate simulate, in the order of time")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
