"""The time-stepper of a finished run at several lags beside its baselines, judged by the held-out runs: one table.

    python benchmarks/stepper_table.py RUN -o results/
    python benchmarks/stepper_table.py RUN --stepper MODEL --lags 100 500 1000 5000 --ns-per-day 400 -o results/

RUN is a folder of ``cgsurrogate run``; of it training, held-out, stepper and force-field-simulation are used. Baselines
are a Markov state model of the training runs, frames drawn from them independently, the force field, and a recurrent
stepper that predicts the mean (``mean_stepper.py``, trained here). All figures are those of ``cgsurrogate compare``.
What is already in the folder of results is not made again, so a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from cgsurrogate import workflows
from cgsurrogate.analysis.results import StateKinetics, Timescales
from cgsurrogate.comparison import baselines
from cgsurrogate.comparison.compare import compare
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.dynamics import METASTABLE
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.models.model import MODEL, Model
from cgsurrogate.simulation.run import pick_starts, simulate
from cgsurrogate.simulation.settings import RunOptions, SimulationSettings
from cgsurrogate.training.settings import StepperSettings

METRICS = ("torsions", "TIC 1", "TIC 1-2", "MSM states")
PROCESSES = 4
SHARES = (1 / 10, 1 / 2, 1, 5)  # of the main lag, where no lags are given
Stopwatch = dict[str, float]  # CPU-seconds by row


def main() -> None:
    torch.set_num_threads(1)
    settings = _arguments()
    settings.out.mkdir(parents=True, exist_ok=True)
    training, held_out = Frames.load(settings.run / "training"), Frames.load(settings.run / "held-out")
    cpu, jumps = _seconds(settings.out), {}
    steppers, beside = {}, {}
    model = Model.load(settings.stepper or settings.run / "stepper")
    main_lag = model.module.lag
    for lag in _lags(model.module, training.dt, settings.lags):
        name = f"stepper, {lag / 1000:g} ns"
        steppers[name] = _rollout(name, model, lag, training, settings, cpu)
        jumps[name] = len(steppers[name])
    if settings.mean_minutes:
        name = f"mean, {main_lag / 1000:g} ns"
        mean = _mean_stepper(training, main_lag, settings)
        beside[name] = _rollout(name, mean, main_lag, training, settings, cpu)
        jumps[name] = len(beside[name])
    length = settings.replicas * settings.jumps // 10
    with _timed("Markov model", cpu, settings.out):
        beside["Markov model"] = baselines.resample(training, length=length, lag=main_lag)
    jumps["Markov model"] = len(beside["Markov model"])
    with _timed("draws", cpu, settings.out):
        beside["draws"] = baselines.shuffled(training)
    if (settings.run / "force-field-simulation" / MANIFEST).exists():
        beside["force field"] = Frames.load(settings.run / "force-field-simulation")
        cpu["force field"] = beside["force field"].provenance.wall_seconds or np.nan
    if settings.ns_per_day:
        for name, frames in (("reference", held_out), ("training runs", training)):
            cpu[name] = len(frames) * frames.dt / 1000 / settings.ns_per_day * 86400
    comparison = compare(
        held_out,
        steppers,
        training=training,
        others=beside,
        settings=ComparisonSettings(
            cvs=("tica", "torsions"), macrostates=settings.macrostates, baseline=False, seed=settings.seed
        ),
    )
    comparison.save(settings.out / "comparison")
    text = table(comparison, cpu, jumps)
    filesystem.write_text(settings.out / "table.md", text + "\n")
    print(text)


# -- the rows --------------------------------------------------------------------------------------------------------
def _lags(stepper, dt: float, wanted: list[float] | None) -> list[float]:
    """Lags in ps; by default tenths to five times the main one, whole frames, as far as the stepper was trained."""
    low, high = stepper.lags
    if wanted:
        return wanted
    return sorted({min(high, max(low, round(share * stepper.lag / dt) * dt)) for share in SHARES})


def _rollout(name: str, model, lag: float, training: Frames, settings: argparse.Namespace, cpu: Stopwatch) -> Frames:
    """Replicas that start from training frames, every jump a frame; the CPU-seconds that it took go to ``cpu``."""
    model.module.lag = lag
    folder = settings.out / name.replace(", ", "-").replace(" ", "-")
    if (folder / MANIFEST).exists():
        return Frames.load(folder)
    starts = pick_starts(training, settings.replicas, np.random.default_rng(settings.seed))
    with _timed(name, cpu, settings.out, cpu.get(name, 0.0)):
        return simulate(
            model.module,
            starts,
            training.beads,
            SimulationSettings(settings.jumps * lag, lag, training.temperature, seed=settings.seed),
            RunOptions(folder),
        )


@contextlib.contextmanager
def _timed(name: str, cpu: Stopwatch, folder: Path, before: float = 0.0) -> Iterator[None]:
    """Adds the CPU-seconds of what is done inside, also where it is stopped, to ``before``, and keeps them."""
    began = time.process_time()
    try:
        yield
    finally:
        cpu[name] = before + time.process_time() - began
        filesystem.write_json(folder / "cpu-seconds.json", cpu)


def _mean_stepper(training: Frames, lag: float, settings: argparse.Namespace):
    folder = settings.out / "mean"
    if (folder / MODEL).exists():
        return Model.load(folder)
    kind = str(Path(__file__).with_name("mean_stepper.py"))
    wanted = StepperSettings(stepper=kind, lag=lag, minutes=settings.mean_minutes, seed=settings.seed)
    return workflows.make_stepper(training, folder, wanted)


def _seconds(folder: Path) -> Stopwatch:
    path = folder / "cpu-seconds.json"
    return filesystem.read_json(path) if path.exists() else {}


# -- the table -------------------------------------------------------------------------------------------------------
def table(comparison: Comparison, cpu: Stopwatch, jumps: dict[str, int]) -> str:
    """Markdown: distances with their ratio to the floor, times in ns."""
    known = comparison.reference
    rows = [[
        "", *METRICS, f"{PROCESSES} slowest timescales, ns", "at, ns", *_passages(known),
        "jumps per CPU-s", "independent frames per CPU-s",
    ]]  # fmt: skip
    rows.append(["---"] * len(rows[0]))
    for one in comparison.ensembles:
        seconds = cpu.get(one.name, np.nan)
        rows.append([
            "held-out runs" if one is known else "floor: training runs" if one.role == "floor" else one.name,
            *(_distance(one, metric) for metric in METRICS),
            *_timescales(one, known),
            *_passage_times(one, known),
            _rounded(jumps.get(one.name, np.nan) / seconds),
            _rounded(one.effective / seconds),
        ])  # fmt: skip
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    spans = (
        "; ".join(_spans(known.timescales, row) for row in range(len(known.timescales.lags)))
        if known.timescales
        else ""
    )
    names = known.states[METASTABLE].names if METASTABLE in known.states else ()
    shares = known.states[METASTABLE].populations.value if names else ()
    notes = [
        "Distances: Jensen-Shannon, in brackets the ratio to the floor, + beyond its 95 % band. Times: * outside the"
        f" 95 % interval of the held-out runs. Those intervals, ns: {spans}."
        f" Metastable states: {', '.join(f'{n} {share:.1%}' for n, share in zip(names, shares, strict=True))}."
    ]
    return "\n".join([*lines, "", *notes])


def _distance(one: Ensemble, metric: str) -> str:
    d = one.distances.get(metric)
    if d is None:
        return ""
    if one.role == "floor":
        return f"{d.value:.3f} (band {d.floor_high / d.floor:.2f})"
    return f"{d.value:.3f} ({d.ratio:.2f}{'' if d.within else '+'})"


def _timescales(one: Ensemble, known: Ensemble) -> tuple[str, str]:
    """The timescales of a row, and the lag of its Markov model: the middle one of the reference, or the nearest."""
    own, reference = one.timescales, known.timescales
    if own is None or reference is None or not own.physical:
        return "-", "-"
    at = reference.lags[len(reference.lags) // 2]
    row = int(np.argmin(np.abs(np.log(own.lags / at))))
    other = int(np.argmin(np.abs(np.log(reference.lags / own.lags[row]))))
    cells = [
        _starred(own.values[row, k], reference.low[other, k], reference.high[other, k], "")
        for k in range(min(PROCESSES, own.values.shape[1]))
    ]
    return " ".join(cells), f"{own.lags[row] / 1000:.3g}"


def _spans(times: Timescales, row: int) -> str:
    spans = (
        f"{low / 1000:.2g} to {high / 1000:.2g}" for low, high in zip(times.low[row], times.high[row], strict=True)
    )
    return f"at {times.lags[row] / 1000:.3g}: {', '.join(list(spans)[:PROCESSES])}"


def _passages(known: Ensemble) -> list[str]:
    names = known.states[METASTABLE].names[:2] if METASTABLE in known.states else ("A", "B")
    return [f"MFPT {a} to {b}, ns" for a, b in (names, names[::-1])]


def _passage_times(one: Ensemble, known: Ensemble) -> list[str]:
    """Between the two most populated states of the reference, both ways."""
    own, reference = one.states.get(METASTABLE), known.states.get(METASTABLE)
    if (
        own is None
        or reference is None
        or own.mean_first_passage is None
        or reference.mean_first_passage is None
        or not own.physical
    ):
        return ["-", "-"]
    return [_passage(own, reference, at, one is known) for at in ((0, 1), (1, 0))]


def _passage(own: StateKinetics, reference: StateKinetics, at: tuple[int, int], shown: bool) -> str:
    """The time with its own interval; that of the reference gets no star."""
    value, low, high = (
        x[at] for x in (own.mean_first_passage.value, own.mean_first_passage.low, own.mean_first_passage.high)
    )
    bounds = (
        (np.nan, np.nan) if shown else (reference.mean_first_passage.low[at], reference.mean_first_passage.high[at])
    )
    return _starred(value, *bounds, f" ({low / 1000:.2g} to {high / 1000:.2g})")


def _starred(value: float, low: float, high: float, after: str) -> str:
    """ps as ns, with a star where it lies outside known bounds."""
    if np.isnan(value):
        return "-"
    return f"{value / 1000:.2g}{'*' if value < low or value > high else ''}{after}"


def _rounded(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}" if np.isfinite(value) else "-"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of cgsurrogate run")
    parser.add_argument("--stepper", type=Path, help="a trained stepper in place of that of the run")
    parser.add_argument("--lags", type=float, nargs="+", help="ps; 1/10, 1/2, 1 and 5 times the main lag by default")
    parser.add_argument("--mean-minutes", type=float, default=1.0, help="training of the mean stepper; 0 leaves it out")
    parser.add_argument("--ns-per-day", type=float, help="speed of the simulation that made the reference")
    parser.add_argument("--macrostates", type=int, help="metastable states; by default where the reference has a gap")
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--jumps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
