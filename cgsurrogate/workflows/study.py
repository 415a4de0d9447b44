"""All of it in one folder: read, split by runs, train and simulate both surrogates side by side, compare, report.

Every step leaves a finished folder and is not done again; a run that was stopped continues inside the step.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate import workflows
from cgsurrogate.analysis.kinetics import state_definitions
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.comparison.variables import build_cvs, build_published
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.campaigns import Task, run_tasks
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.interrupts import watching
from cgsurrogate.core.limits import cores
from cgsurrogate.core.task_board import Board
from cgsurrogate.data import molecules
from cgsurrogate.models.extrapolation_scores import add_extrapolation
from cgsurrogate.models.model import MODEL, Model
from cgsurrogate.simulation.monte_carlo.pivot import can_pivot
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows.compare import draw_report
from cgsurrogate.workflows.inspection import WEIGHTED, foresight
from cgsurrogate.workflows.pretrained_run import refuse_start, start_of_run
from cgsurrogate.workflows.provenance import provenance
from cgsurrogate.workflows.samplers import parse_pivot
from cgsurrogate.workflows.settings import StudySettings
from cgsurrogate.workflows.simulate import refuse_replicas
from cgsurrogate.workflows.splits import Split, split
from cgsurrogate.workflows.stability import simulate_stably, step_notes
from cgsurrogate.workflows.study_folder import RECORD, grow, log, record_of, refuse_other, renamed, title, where

Update = Callable[[str, float | None, str], None]
"""Takes what is being done, the share of it that is done (None: not known), and a word on it."""
Load = Callable[[Callable[[int, int | None], None]], Frames]
FRAMES_PER_REPLICA = 200
BRANCHES = ("force field", "time-stepper")
FOLDERS = {"force field": ("force-field", "force-field-simulation"), "time-stepper": ("stepper", "stepper-rollout")}
TRAIN_SHARE, SIMULATE_SHARE = 0.5, 0.25  # of the budget; the rest is for reading, comparing and drawing
PLAN = "split.txt"  # what was said before the training


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
    say: Callable[[str], None] = lambda line: None,
    device: str = "cpu",
) -> Comparison:
    """Do all of it, or what is left of it, in ``out``; with more minutes than before, what these can improve.

    Args:
        load: gives the reference frames; called only where the folder does not hold them yet.
        identity: names the input, so that another one is refused.
        sources: input files, whose sha256 is recorded.
        device: where models are trained and simulated.
        say: gets lines to be read before the training: what is trained on, what is held out, what that can show.

    Raises:
        ValueError: the folder belongs to another input or other settings.
        Stopped: a signal came; the same call continues.
    """
    out = Path(out)
    for kind in (settings.network, settings.stepper, *settings.priors):
        registry.trust(kind)  # the models of this run name it too
    record = record_of(identity, settings)
    fewer = refuse_other(out, record)
    if fewer is None and (out / "report.html").exists():
        report("run", 1.0, "already done")
        return Comparison.load(out / "comparison")
    with filesystem.writing(out, RECORD, "metrics.json"):
        if fewer is not None:
            grow(out, fewer, settings.minutes)
        if not (out / "reference" / MANIFEST).exists():
            frames = load(lambda done, total: report("reading", done / total if total else None, f"{done:,} frames"))
            made = split(frames, settings.held_out, settings.seed)  # refuses what cannot be split, or compared as
            _refuse_unknown(made.held, settings)  # wished, before anything is written
            lines = _before(made, settings.seed, report)
            _keep(frames, made, lines, out, {**record, **provenance(), **where(sources)})
        report("reading", 1.0, "")
        if (out / PLAN).exists():
            for line in (out / PLAN).read_text().splitlines():
                say(line)
        _train_and_simulate(out, settings, report, device)
        _compare(out, settings, report)
        draw(out, report)
        log(out, "done")
    return Comparison.load(out / "comparison")


def _refuse_unknown(held: Frames, settings: StudySettings) -> None:
    """Priors, variables, states and published metrics that there are none of, before an hour of training."""
    for family, texts in (
        ("priors", settings.priors),
        ("networks", (settings.network,)),
        ("steppers", (settings.stepper,)),
    ):
        for text in texts:
            registry.check(family, text)
    refuse_start(settings.start, settings.stepper)
    parse_pivot(settings.pivot)
    refuse_replicas(settings.replicas, held.beads)
    if settings.cvs or settings.states or settings.published:
        cvs = build_cvs(held, (*ComparisonSettings().cvs, *settings.cvs))
        states = state_definitions.parse_all(settings.states)
        state_definitions.check_variables(states, [label for cv in cvs for label in cv.labels])
        build_published(held, settings.published)


def _before(made: Split, seed: int, report: Update) -> list[str]:
    """What is to be read before the training, a line each."""
    first = [f"weighted frames: {WEIGHTED}"] if made.kept.weights is not None else []
    first += molecules.sentences(made.kept)
    report("inspecting", 0.0, "what the held-out part can show")
    try:
        told = [f"the verdict {line}" if line.startswith("would") else line for line in foresight(made, seed)]
    except ValueError as error:  # a molecule without slow variables
        told = [f"what the verdict can show is not known beforehand: {error}"]
    report("inspecting", 1.0, "")
    return [*first, str(made), *(f"note: {note}" for note in made.notes), *told]


def _keep(frames: Frames, made: Split, lines: list[str], out: Path, record: dict[str, Any]) -> None:
    """Write the two parts of the frames, and the frames; the record, which says whose folder it is, comes first."""
    filesystem.write_json(out / RECORD, record)
    filesystem.write_text(out / PLAN, "\n".join(lines) + "\n")
    made.kept.save(out / "training")
    made.held.save(out / "held-out")
    frames.save(out / "reference")  # last, as its manifest says that all is there
    log(out, f"read {len(frames)} frames of {len(frames.beads)} beads in {len(frames.lengths)} runs")
    for line in [*frames.provenance.left_out, *lines]:
        log(out, line)


def _compare(out: Path, settings: StudySettings, report: Update) -> None:
    if not (out / "comparison" / "metrics.json").exists():
        log(out, "comparing")
        workflows.make_comparison(
            Frames.load(out / "held-out"),
            {name: _simulated(out, name) for name in BRANCHES},
            out / "comparison",
            training=Frames.load(out / "training"),
            settings=ComparisonSettings(
                cvs=(*ComparisonSettings().cvs, *settings.cvs),
                states=settings.states,
                published=settings.published,
                seed=settings.seed,
            ),
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
    notes = () if model.is_stepper else step_notes(_length_file(simulation))
    return frames.with_provenance(training_notes=(*model.training_notes, *notes))


def _length_file(simulation: Path) -> Path:
    return simulation.with_name(f"{simulation.name}.json")


def draw(out: Path, report: Update = silent) -> None:
    """Write report.html and figures/ of a compared run, anew where they are there."""
    record = filesystem.read_json(out / RECORD)
    report("drawing", 0.0, "")
    draw_report(
        out / "comparison",
        out,
        models=[out / FOLDERS[name][0] for name in BRANCHES],
        provenance=record,
        title=title(record),
    )
    report("drawing", 1.0, "")


# -- the two branches ------------------------------------------------------------------------------------------------


def _train_and_simulate(out: Path, settings: StudySettings, report: Update, device: str) -> None:
    """Both surrogates, side by side where there are two cores."""
    minutes = settings.minutes if cores() > 1 else settings.minutes / 2
    left: dict[str, Task] = {
        name: functools.partial(_branch, name, out, settings, minutes, device)
        for name in BRANCHES
        if not (out / FOLDERS[name][1] / MANIFEST).exists()
    }
    board = Board(out)
    board.plan(dict.fromkeys(left, "train and simulate"))
    with watching() as watch:
        run_tasks(left, board, lambda _, told: report(*told[:3]), watch, "the run")
    board.remove()


def _branch(name: str, out: Path, settings: StudySettings, minutes: float, device: str, report: Update) -> None:
    training = Frames.load(out / "training")
    model_folder, simulation = (out / folder for folder in FOLDERS[name])
    model_folder.mkdir(exist_ok=True)
    with filesystem.locked(model_folder):  # a process of a run that was killed may still be saving
        pass
    if not (model_folder / MODEL).exists():
        told = functools.partial(report, f"training {name.removeprefix('time-')}")
        model = _train(name, training, model_folder, settings, minutes * TRAIN_SHARE, told, device)
        told(1.0, "")
        for line in model.training_notes:
            log(out, f"{name}: training: {line}")
    model = Model.load(model_folder, device)
    told = functools.partial(report, "rolling out stepper" if model.is_stepper else "simulating force field")
    length = _length(_length_file(simulation), model, training, settings, minutes)
    asked = SimulationSettings(
        length["time"],
        length["every"],
        replicas=settings.replicas,
        seed=settings.seed,
        sampler=SamplerSettings(pivot=length.get("pivot")),
    )
    if model.is_stepper:
        workflows.make_simulation(model, training, simulation, asked, report=told)
    else:
        for line in simulate_stably(model, training, simulation, asked, _length_file(simulation), report=told):
            log(out, f"{name}: {line}")
    told(1.0, "")
    log(out, f"{name} done")


def _train(
    name: str,
    training: Frames,
    out: Path,
    settings: StudySettings,
    minutes: float,
    report: Callable[[float | None, str], None],
    device: str,
) -> Model:
    budget: dict[str, Any] = {"minutes": minutes, "seed": settings.seed}
    if name == "time-stepper":
        stepper = StepperSettings(stepper=settings.stepper, lag=settings.lag, **budget)
        began = time.monotonic()
        start, words = start_of_run(settings.start, stepper, training)
        if words:
            log(out.parent, f"{name}: {words}")
            left = max(minutes / 2, minutes - (time.monotonic() - began) / 60)
            stepper = dataclasses.replace(stepper, minutes=left)
        return workflows.make_stepper(training, out, stepper, start=start, report=report, device=device)
    energy = EnergySettings(
        objective=settings.objective,
        network=settings.network,
        priors=settings.priors,
        fine_tune=settings.fine_tune,
        **budget,
    )
    return workflows.make_energy(training, out, energy, report=report, device=device)


def _length(path: Path, model: Model, training: Frames, settings: StudySettings, minutes: float) -> dict[str, Any]:
    """``time`` and ``every`` in ps, ``pivot`` moves: what fits into the budget at today's speed.

    Kept in a file, so that a continued run agrees.
    """
    if path.exists():
        return renamed(filesystem.read_json(path))
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
