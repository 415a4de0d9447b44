"""A molecule that was never simulated: both models roll it out from its sequence, and a page shows what they say.

Every step leaves a finished folder and is not done again; a prediction that was stopped goes on with the same call.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgsurrogate import workflows
from cgsurrogate.comparison.comparison import METRICS, Comparison
from cgsurrogate.comparison.measuring import same_molecule
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import filesystem
from cgsurrogate.core.campaigns import Task, run_tasks
from cgsurrogate.core.differences import differences, words
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.interrupts import watching
from cgsurrogate.core.task_board import Board
from cgsurrogate.data import bead_structures
from cgsurrogate.data.generation.sequences import Peptide
from cgsurrogate.models import extrapolation_scores
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.monte_carlo.pivot import can_pivot
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.workflows import predicted_models
from cgsurrogate.workflows.compare import draw_report, make_comparison
from cgsurrogate.workflows.predicted_models import FORCE_FIELD, STEPPER, Sources
from cgsurrogate.workflows.provenance import provenance
from cgsurrogate.workflows.samplers import parse_pivot
from cgsurrogate.workflows.settings import PredictionSettings
from cgsurrogate.workflows.simulate import of_molecule, refuse_replicas
from cgsurrogate.workflows.stability import simulate_stably
from cgsurrogate.workflows.study_folder import log

RECORD, START = "predict.json", "start"
SIMULATIONS = {STEPPER: "stepper-rollout", FORCE_FIELD: "force-field-simulation"}
FRAMES_PER_REPLICA = 100  # of the force field
Update = Callable[[str, float | None, str], None]


def predict(
    molecule: Peptide | Path,
    out: Path,
    sources: Sources,
    settings: PredictionSettings,
    *,
    reference: Frames | None = None,
    report: Update = lambda label, fraction, text: None,
    say: Callable[[str], None] = lambda line: None,
) -> Comparison:
    """Do all of it, or what is left of it, in ``out``.

    Args:
        molecule: a peptide by its sequence, or a structure file.
        reference: all-atom frames of the molecule, by which the prediction is judged.
        say: gets lines on what the models do not know of the molecule.

    Raises:
        ValueError: the models cannot be of this molecule; the folder belongs to another prediction.
        RuntimeError: PeptideBuilder is not installed.
        Stopped: a signal came; the same call continues.
    """
    parse_pivot(settings.pivot)
    models = predicted_models.load(sources.folders)
    start = starting_structure(molecule, models)
    if reference is not None:
        same_molecule("the prediction", start, "reference", reference)
    record = _record(molecule, start, sources.folders, settings, reference)
    if _finished(out, record):
        report("predict", 1.0, "already done")
        return Comparison.load(out / "comparison")
    instead = predicted_models.bound(models, start.beads)
    refuse_replicas(settings.replicas, start.beads)
    for name, lines in instead.items():
        for line in lines:
            say(f"{name}: {line}")
    with filesystem.writing(out, RECORD, METRICS):
        if not (out / RECORD).exists():
            told = {name: predicted_models.facts(model, start.beads, instead[name]) for name, model in models.items()}
            filesystem.write_json(out / RECORD, {**record, "models": told, "card": sources.card, **provenance()})
        if not (out / START / MANIFEST).exists():
            start.save(out / START)
        _simulate(out, sources, models, settings, report)
        _compare(out, list(models), settings.seed, reference, report)
        draw(out, sources.folders, report)
        log(out, "done")
    return Comparison.load(out / "comparison")


def starting_structure(molecule: Peptide | Path, models: dict[str, Model]) -> Frames:
    """One frame of the molecule, in the mapping that the models were trained with."""
    build, model = predicted_models.mapping_of(models), next(iter(models.values()))
    if isinstance(molecule, Peptide):
        (beads, x), about = bead_structures.of_sequence(molecule, build), f"an extended chain of {molecule.name}"
    else:
        (beads, x), about = bead_structures.of_file(molecule, build), f"the structure {molecule.name}"
    frames = Frames(beads, x[None], (1,), 1.0, model.temperature)
    return frames.with_provenance(mapping=predicted_models.mapping(model), made_by=about)


# -- the folder ------------------------------------------------------------------------------------------------------


def _record(
    molecule: Peptide | Path,
    start: Frames,
    folders: dict[str, Path],
    settings: PredictionSettings,
    reference: Frames | None,
) -> dict[str, Any]:
    """What the result depends on, as JSON gives it back."""
    from cgsurrogate.core.fingerprints import digest

    name = molecule.name if isinstance(molecule, Peptide) else molecule.stem
    made = {
        "input": {
            "molecule": name,
            "start": digest(start),
            "weights": predicted_models.identity(folders),
            **({} if reference is None else {"reference": digest(reference)}),
        },
        "settings": dataclasses.asdict(settings),
    }
    return dict(json.loads(json.dumps(made)))


def _finished(out: Path, record: dict[str, Any]) -> bool:
    """Whether the folder holds all of this prediction.

    Raises:
        ValueError: it holds another one, or something else; nothing is touched.
    """
    if not (out / RECORD).exists():
        if out.exists() and (not out.is_dir() or any(not path.name.startswith(".") for path in out.iterdir())):
            raise ValueError(f"{out} exists and is no prediction; choose another folder with -o")
        return False
    before = filesystem.read_json(out / RECORD)
    if changes := differences({part: before.get(part) for part in record}, record):
        raise ValueError(f"{out} was made differently ({words(changes)}); choose another folder with -o")
    return (out / "report.html").exists()


# -- the steps -------------------------------------------------------------------------------------------------------


def _simulate(
    out: Path, sources: Sources, models: dict[str, Model], settings: PredictionSettings, report: Update
) -> None:
    """Both models, side by side where there are two cores."""
    left: dict[str, Task] = {
        name: functools.partial(_branch, name, out, sources.folders[name], sources.device, settings)
        for name in models
        if not (out / SIMULATIONS[name] / MANIFEST).exists()
    }
    board = Board(out)
    board.plan(dict.fromkeys(left, "simulate"))
    with watching() as watch:
        run_tasks(left, board, lambda _, told: report(*told[:3]), watch, "the prediction")
    board.remove()


def _branch(name: str, out: Path, folder: Path, device: str, settings: PredictionSettings, report: Update) -> None:
    import warnings

    warnings.simplefilter("ignore")  # what the model does not know has been said
    model, start, simulation = Model.load(folder, device), Frames.load(out / START), out / SIMULATIONS[name]
    told = functools.partial(report, "rolling out stepper" if name == STEPPER else "simulating force field")
    if name == STEPPER:
        module: Any = model.module
        asked = SimulationSettings(
            settings.jumps * module.lag, module.lag, replicas=settings.replicas, seed=settings.seed
        )
        workflows.make_simulation(model, start, simulation, asked, report=told)
    else:
        sampler = SamplerSettings(pivot=settings.pivot if can_pivot(start.beads) else None)
        unit = workflows.make_propagator(of_molecule(model, start.beads), sampler).lag
        every = unit * max(1, round(settings.time / FRAMES_PER_REPLICA / unit))
        time = every * max(1, round(settings.time / every))
        asked = SimulationSettings(time, every, replicas=settings.replicas, seed=settings.seed, sampler=sampler)
        record = simulation.with_name(f"{simulation.name}.json")
        if not record.exists():
            filesystem.write_json(record, {"time": time, "every": every})
        for line in simulate_stably(model, start, simulation, asked, record, report=told):
            log(out, f"{name}: {line}")
    told(1.0, "")
    log(out, f"{name} done")


def _compare(out: Path, names: list[str], seed: int, reference: Frames | None, report: Update) -> None:
    if not (out / "comparison" / METRICS).exists():
        log(out, "comparing")
        make_comparison(
            reference,
            {name: Frames.load(out / SIMULATIONS[name]) for name in names},
            out / "comparison",
            settings=ComparisonSettings(seed=seed),
            report=functools.partial(report, "comparing"),
        )
    report("comparing", 1.0, "")
    filesystem.write_text(out / METRICS, (out / "comparison" / METRICS).read_text())


def draw(out: Path, folders: dict[str, Path], report: Update = lambda label, fraction, text: None) -> None:
    """Write report.html and figures/ of a prediction, anew where they are there."""
    from cgsurrogate.report.prediction import Prediction

    report("drawing", 0.0, "")
    record = filesystem.read_json(out / RECORD)
    told, card, name = record.pop("models"), record.pop("card"), record["input"]["molecule"]
    scored = {model: extrapolation_scores.words(Frames.load(out / SIMULATIONS[model])) for model in told}
    for model, said in scored.items():
        if said is not None:
            told[model]["its structures"] = said.text
    draw_report(
        out / "comparison",
        out,
        models=list(folders.values()),
        provenance=record,
        title=f"{name}, predicted",
        prediction=Prediction(name, told, card),
    )
    report("drawing", 1.0, "")
