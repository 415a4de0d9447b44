"""All of it in one folder: read, split by runs, train and simulate both surrogates side by side, compare, report.

Every step leaves a finished folder and is not done again; a run that was stopped continues inside the step.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate import workflows
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.interrupts import watching
from cgsurrogate.core.worker_processes import Task, run_tasks
from cgsurrogate.data import force_aggregation
from cgsurrogate.models.extrapolation_scores import add_extrapolation
from cgsurrogate.models.model import MODEL, Model
from cgsurrogate.simulation.monte_carlo.pivot import can_pivot
from cgsurrogate.simulation.parallel import cores
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows.provenance import hashes, provenance
from cgsurrogate.workflows.settings import StudySettings

Update = Callable[[str, float | None, str], None]
"""Takes what is being done, the share of it that is done (None: not known), and a word on it."""
Load = Callable[[Callable[[int, int | None], None]], Frames]
FRAMES_PER_REPLICA = 200
BRANCHES = ("force field", "time-stepper")
FOLDERS = {"force field": ("force-field", "force-field-simulation"), "time-stepper": ("stepper", "stepper-rollout")}
TRAIN_SHARE, SIMULATE_SHARE = 0.5, 0.25  # of the budget; the rest is for reading, comparing and drawing
RENAMED = {"turns": "pivot"}  # settings of folders that are older than a name


def silent(label: str, fraction: float | None, text: str = "") -> None:
    """No progress."""


def run(
    load: Load,
    identity: dict[str, Any],
    out: str | Path,
    settings: StudySettings,
    *,
    sources: Sequence[Path] = (),
    report: Update = silent,
) -> Comparison:
    """Do all of it, or what is left of it, in ``out``.

    Args:
        load: gives the reference frames; called only where the folder does not hold them yet.
        identity: names the input, so that another one is refused.
        sources: input files, whose sha256 is recorded.

    Raises:
        ValueError: the folder belongs to another input or other settings.
        Stopped: a signal came; the same call continues.
    """
    out = Path(out)
    record = {"input": identity, "settings": dataclasses.asdict(settings)}
    _refuse_other(out, record)
    if (out / "report.html").exists():
        report("run", 1.0, "already done")
        return Comparison.load(out / "comparison")
    frames = None
    if not (out / "reference" / MANIFEST).exists():
        frames = load(lambda done, total: report("reading", done / total if total else None, f"{done:,} frames"))
        frames.split(settings.held_out, settings.seed)  # refuses what cannot be split, before anything is written
    out.mkdir(parents=True, exist_ok=True)
    with filesystem.locked(out):
        if frames is not None:
            _keep(frames, out, settings, {**record, **provenance(), "sha256": hashes(sources)})
        report("reading", 1.0, "")
        _train_and_simulate(out, settings, report)
        _compare(out, settings, report)
        draw(out, report)
        log(out, "done")
    return Comparison.load(out / "comparison")


def log(out: Path, text: str) -> None:
    """A line with the time in the log of a folder."""
    with open(out / "log.txt", "a") as handle:
        handle.write(f"{datetime.datetime.now().isoformat(timespec='seconds')} {text}\n")


def _keep(frames: Frames, out: Path, settings: StudySettings, record: dict[str, Any]) -> None:
    """Write the frames and their two parts; the record of the run comes last."""
    kept, held = frames.split(settings.held_out, settings.seed)
    kept.save(out / "training")
    held.save(out / "held-out")
    frames.save(out / "reference")
    filesystem.write_json(out / "run.json", record)
    log(out, f"read {len(frames)} frames of {len(frames.beads)} beads in {len(frames.lengths)} runs")
    if noise := frames.provenance.mean_square_force:
        log(out, force_aggregation.sentence(dict(noise)))


def _refuse_other(out: Path, record: dict[str, Any]) -> None:
    """Another input or other settings on the same folder: show the difference, touch nothing."""
    if not (out / "run.json").exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f"{out} exists and is not a run folder; choose another folder with -o")
        return
    before = filesystem.read_json(out / "run.json")
    before["settings"] = _renamed(before["settings"])
    changed = [
        f"{part} {key}: {before[part].get(key)} there, {value} now"
        for part in ("input", "settings")
        for key, value in record[part].items()
        if before[part].get(key) != value
    ]
    if changed:
        raise ValueError(f"{out} was made differently ({'; '.join(changed)}); choose another folder with -o")


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(key, key): value for key, value in settings.items()}


def _compare(out: Path, settings: StudySettings, report: Update) -> None:
    if not (out / "comparison" / "metrics.json").exists():
        log(out, "comparing")
        workflows.make_comparison(
            Frames.load(out / "held-out"),
            {name: _simulated(out, name) for name in BRANCHES},
            out / "comparison",
            training=Frames.load(out / "training"),
            settings=ComparisonSettings(seed=settings.seed),
            report=functools.partial(report, "comparing"),
        )
    report("comparing", 1.0, "")
    filesystem.write_text(out / "metrics.json", (out / "comparison" / "metrics.json").read_text())


def _simulated(out: Path, name: str) -> Frames:
    """The frames of a branch, with their extrapolation scores also where a run was killed just before it was noted.

    What training warned of is taken from the model, as frames of earlier versions do not know it.
    """
    folder, simulation = (out / folder for folder in FOLDERS[name])
    model, frames = Model.load(folder), Frames.load(simulation)
    if model.extrapolation is not None:
        frames = add_extrapolation(simulation, model.extrapolation)
    return frames.with_provenance(training_notes=model.training_notes)


def draw(out: Path, report: Update = silent) -> None:
    """Write report.html and figures/ of a compared run, anew where they are there."""
    record = filesystem.read_json(out / "run.json")
    report("drawing", 0.0, "")
    workflows.make_report(
        out / "comparison",
        out,
        models=[out / FOLDERS[name][0] for name in BRANCHES],
        provenance=record,
        title=str(record["input"].get("example") or Path(str(record["input"].get("topology", "run"))).stem),
    )
    report("drawing", 1.0, "")


# -- the two branches ------------------------------------------------------------------------------------------------


def _train_and_simulate(out: Path, settings: StudySettings, report: Update) -> None:
    """Both surrogates, side by side where there are two cores."""
    together = cores() > 1
    minutes = settings.minutes if together else settings.minutes / 2
    left: dict[str, Task] = {
        name: functools.partial(_branch, name, out, settings, minutes)
        for name in BRANCHES
        if not (out / FOLDERS[name][1] / MANIFEST).exists()
    }
    with watching() as watch:
        for group in [left] if together else [{name: branch} for name, branch in left.items()]:
            run_tasks(group, lambda _, *told: report(*told), watch, "the run")


def _branch(name: str, out: Path, settings: StudySettings, minutes: float, report: Update) -> None:
    training = Frames.load(out / "training")
    model_folder, simulation = (out / folder for folder in FOLDERS[name])
    model_folder.mkdir(exist_ok=True)
    with filesystem.locked(model_folder):  # a process of a run that was killed may still be saving
        if (model_folder / MODEL).exists():
            model = Model.load(model_folder)
        else:
            told = functools.partial(report, f"training {name.removeprefix('time-')}")
            model = _train(name, training, model_folder, settings, minutes * TRAIN_SHARE, told)
            told(1.0, "")
            for line in model.training_notes:
                log(out, f"{name}: training: {line}")
    told = functools.partial(report, "rolling out stepper" if model.is_stepper else "simulating force field")
    length = _length(simulation.with_name(f"{simulation.name}.json"), model, training, settings, minutes)
    asked = SimulationSettings(
        length["time"],
        length["every"],
        replicas=settings.replicas,
        seed=settings.seed,
        sampler=SamplerSettings(pivot=length.get("pivot")),
    )
    workflows.make_simulation(model, training, simulation, asked, report=told)
    told(1.0, "")
    log(out, f"{name} done")


def _train(
    name: str,
    training: Frames,
    out: Path,
    settings: StudySettings,
    minutes: float,
    report: Callable[[float | None, str], None],
) -> Model:
    budget: dict[str, Any] = {"minutes": minutes, "seed": settings.seed}
    if name == "time-stepper":
        stepper = StepperSettings(stepper=settings.stepper, lag=settings.lag, **budget)
        return workflows.make_stepper(training, out, stepper, report=report)
    energy = EnergySettings(
        objective=settings.objective, network=settings.network, fine_tune=settings.fine_tune, **budget
    )
    return workflows.make_energy(training, out, energy, report=report)


def _length(path: Path, model: Model, training: Frames, settings: StudySettings, minutes: float) -> dict[str, Any]:
    """``time`` and ``every`` in ps, ``pivot`` moves: what fits into the budget at today's speed.

    Kept in a file, so that a continued run agrees.
    """
    if path.exists():
        return _renamed(filesystem.read_json(path))
    pivot = settings.pivot if not model.is_stepper and can_pivot(model.beads) else None
    propagator = workflows.make_propagator(model, SamplerSettings(pivot=pivot), frames=training)
    speed = workflows.steps_per_second(propagator, training, settings.replicas)
    steps = max(FRAMES_PER_REPLICA, speed * 60 * minutes * SIMULATE_SHARE)
    if model.is_stepper:
        steps = min(steps, 10 * FRAMES_PER_REPLICA)  # every jump is kept
        length: dict[str, Any] = {"every": propagator.lag, "time": propagator.lag * round(steps)}
    else:
        every = propagator.lag * max(1, int(steps // FRAMES_PER_REPLICA))
        length = {"every": every, "time": every * FRAMES_PER_REPLICA, "pivot": pivot}
    filesystem.write_json(path, length)
    return length
