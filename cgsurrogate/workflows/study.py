"""All of it in one folder: read, split by runs, train and simulate both surrogates side by side, compare, report.

Every step leaves a finished folder and is not done again; a run that was stopped continues inside the step.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import multiprocessing
import queue as queues
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate import workflows
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.interrupts import Stopped, watching
from cgsurrogate.data import force_aggregation
from cgsurrogate.models.extrapolation_scores import add_uncertainty
from cgsurrogate.simulation.monte_carlo.pivot import can_pivot
from cgsurrogate.simulation.parallel import cores
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.workflows.provenance import hashes, provenance

Update = Callable[[str, float | None, str], None]
FRAMES_PER_REPLICA = 200
BRANCHES = ("force field", "time-stepper")
FOLDERS = {"force field": ("force-field", "force-field-simulation"), "time-stepper": ("stepper", "stepper-rollout")}
TRAIN_SHARE, SIMULATE_SHARE = 0.5, 0.25  # of the budget; the rest is for reading, comparing and drawing


@dataclasses.dataclass(frozen=True)
class Settings:
    """What ``run`` can be told beside its input: ``minutes`` of wall time in all; the share of the runs held out.

    ``turns`` are the Monte Carlo turns of the force field, "0" for plain dynamics; ``fine_tune`` tells data from its
    own equilibrium in the larger part of its training.
    """

    minutes: float = 7.0
    lag: float | None = None
    objective: str = "auto"
    network: str = workflows.NETWORK
    stepper: str = "autoregressive"
    held_out: float = 0.34
    replicas: int = 200
    turns: str = "10:5"
    fine_tune: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise ValueError(f"--minutes must be positive, got {self.minutes}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"--held-out must lie between 0 and 1, got {self.held_out}")


def run(
    load: Callable[[Callable[[int, int | None], None]], Frames],
    identity: dict[str, Any],
    out: str | Path,
    settings: Settings = Settings(),
    *,
    sources: Sequence[Path] = (),
    report: Update = lambda label, fraction, text="": None,
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
    if not (out / "reference" / MANIFEST).exists():
        frames = load(lambda done, total: report("reading", done / total if total else None, f"{done:,} frames"))
        kept, held = frames.split(settings.held_out, settings.seed)  # refuses what cannot be split, before writing
        out.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        out.mkdir(parents=True, exist_ok=True)
        stack.enter_context(filesystem.locked(out))
        if not (out / "reference" / MANIFEST).exists():
            kept.save(out / "training")
            held.save(out / "held-out")
            frames.save(out / "reference")
            filesystem.write_json(out / "run.json", {**record, **provenance(), "sha256": hashes(sources)})
            _log(out, f"read {len(frames)} frames of {len(frames.beads)} beads in {len(frames.lengths)} runs")
            if noise := frames.provenance.mean_square_force:
                _log(out, force_aggregation.sentence(noise))
        report("reading", 1.0, "")
        _branches(out, settings, report)
        if not (out / "comparison" / "metrics.json").exists():
            _log(out, "comparing")
            surrogates = {name: _simulated(out, name) for name in BRANCHES}
            workflows.make_comparison(
                Frames.load(out / "held-out"),
                surrogates,
                out / "comparison",
                training=Frames.load(out / "training"),
                seed=settings.seed,
                report=lambda fraction, text: report("comparing", fraction, text),
            )
        report("comparing", 1.0, "")
        filesystem.write_text(out / "metrics.json", (out / "comparison" / "metrics.json").read_text())
        report("drawing", 0.0, "")
        workflows.make_report(
            out / "comparison",
            out,
            models=[out / FOLDERS[name][0] for name in BRANCHES],
            provenance=filesystem.read_json(out / "run.json"),
            title=str(identity.get("example") or Path(str(identity.get("topology", "run"))).stem),
        )
        report("drawing", 1.0, "")
        _log(out, "done")
    return Comparison.load(out / "comparison")


def _simulated(out: Path, name: str) -> Frames:
    """The frames of a branch, with their uncertainty also where a run was killed just before it was noted."""
    from cgsurrogate.models import model as store

    model, simulation = (out / folder for folder in FOLDERS[name])
    novelty = store.load(model).novelty
    return Frames.load(simulation) if novelty is None else add_uncertainty(simulation, novelty)


def _refuse_other(out: Path, record: dict[str, Any]) -> None:
    """Another input or other settings on the same folder: show the difference, touch nothing."""
    if not (out / "run.json").exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ValueError(f"{out} exists and is not a run folder; choose another folder with -o")
        return
    before = filesystem.read_json(out / "run.json")
    changed = [
        f"{part} {key}: {before[part].get(key)} there, {value} now"
        for part in ("input", "settings")
        for key, value in record[part].items()
        if before[part].get(key) != value
    ]
    if changed:
        raise ValueError(f"{out} was made differently ({'; '.join(changed)}); choose another folder with -o")


def _log(out: Path, text: str) -> None:
    with open(out / "log.txt", "a") as log:
        log.write(f"{datetime.datetime.now().isoformat(timespec='seconds')} {text}\n")


# -- the two branches, each in a process of its own ------------------------------------------------------------------


def _branches(out: Path, settings: Settings, report: Update) -> None:
    """Train and simulate both surrogates, side by side where there are two cores."""
    left = [name for name in BRANCHES if not (out / FOLDERS[name][1] / MANIFEST).exists()]
    together = cores() > 1
    for group in [left] if together else [[name] for name in left]:
        if group:
            _run_group(group, out, settings, 1.0 if together else 0.5, report)


def _run_group(names: list[str], out: Path, settings: Settings, share: float, report: Update) -> None:
    context = multiprocessing.get_context("spawn")
    messages = context.Queue()
    workers = {
        name: context.Process(target=_branch, args=(name, out, settings, share, messages), daemon=True)
        for name in names
    }
    with watching() as watch:
        for worker in workers.values():
            worker.start()
        failure = _listen(workers, messages, watch, out, report)
        for worker in workers.values():
            if worker.is_alive():
                worker.terminate()  # it saves and ends
        for worker in workers.values():
            worker.join(120)
    if watch.signal is not None:
        raise watch.reason("the run")
    if failure is not None:
        raise failure


def _listen(workers, messages, watch, out: Path, report: Update) -> Exception | None:
    """Pass progress on until every branch is done, one fails, or a signal comes."""
    open_ = set(workers)
    while open_ and not watch.requested:
        try:
            name, label, fraction, text = messages.get(timeout=0.3)
        except queues.Empty:
            for name in open_:
                code = workers[name].exitcode
                if code is not None and messages.empty():
                    return RuntimeError(f"the {name} process ended with exit code {code}; see {out / 'log.txt'}")
            continue
        if label == "done":
            open_.discard(name)
            _log(out, f"{name} done")
        elif label == "failed":
            return fraction if isinstance(fraction, Exception) else RuntimeError(text)
        else:
            report(label, fraction, text)
    return None


def _branch(name: str, out: Path, settings: Settings, share: float, messages) -> None:
    """Runs in a child process."""
    import traceback

    import torch

    torch.set_num_threads(1)

    def tell(label: str):
        return lambda fraction, text: messages.put((name, label, fraction, text))

    try:
        _train_and_simulate(name, out, settings, share, tell)
        messages.put((name, "done", None, ""))
    except Stopped:
        pass
    except (ValueError, FileNotFoundError, FloatingPointError, filesystem.Busy) as error:
        _log(out, traceback.format_exc())
        messages.put((name, "failed", error, str(error)))
    except Exception as error:
        _log(out, traceback.format_exc())
        messages.put((name, "failed", None, f"the {name} failed: {type(error).__name__}: {error}"))


def _train_and_simulate(name: str, out: Path, settings: Settings, share: float, tell) -> None:
    from cgsurrogate.models import model as store

    training = Frames.load(out / "training")
    model_folder, simulation_folder = (out / folder for folder in FOLDERS[name])
    minutes = settings.minutes * share
    if (model_folder / store.MODEL).exists():
        model = store.load(model_folder)
    elif name == "force field":
        model = workflows.make_energy(
            training,
            model_folder,
            objective=settings.objective,
            network=settings.network,
            fine_tune=settings.fine_tune,
            minutes=minutes * TRAIN_SHARE,
            seed=settings.seed,
            report=tell("training force field"),
        )
    else:
        model = workflows.make_stepper(
            training,
            model_folder,
            stepper=settings.stepper,
            lag=settings.lag,
            minutes=minutes * TRAIN_SHARE,
            seed=settings.seed,
            report=tell("training stepper"),
        )
    tell(f"training {'stepper' if model.is_stepper else 'force field'}")(1.0, "")
    label = "rolling out stepper" if model.is_stepper else "simulating force field"
    plan = _plan(simulation_folder.with_name(f"{simulation_folder.name}.json"), model, training, settings, minutes)
    asked = SimulationSettings(
        plan["time"],
        plan["every"],
        replicas=settings.replicas,
        seed=settings.seed,
        sampler=SamplerSettings(pivot=plan.get("pivot", plan.get("turns"))),  # as plans called them at first
    )
    workflows.make_simulation(model, training, simulation_folder, asked, report=tell(label))
    tell(label)(1.0, "")


def _plan(path: Path, model, training: Frames, settings: Settings, minutes: float) -> dict[str, Any]:
    """How long to simulate: what fits into the budget at today's speed; kept, so that a continued run agrees."""
    if path.exists():
        return filesystem.read_json(path)
    pivot = settings.turns if not model.is_stepper and can_pivot(model.beads) else None
    propagator = workflows.make_propagator(model, SamplerSettings(pivot=pivot), frames=training)
    speed = workflows.steps_per_second(propagator, training, settings.replicas)
    steps = max(FRAMES_PER_REPLICA, speed * 60 * minutes * SIMULATE_SHARE)
    if model.is_stepper:
        steps = min(steps, 10 * FRAMES_PER_REPLICA)  # every jump is kept
        every = propagator.lag
        plan = {"every": every, "time": every * round(steps)}
    else:
        stride = max(1, int(steps // FRAMES_PER_REPLICA))
        every = propagator.lag * stride
        plan = {"every": every, "time": every * FRAMES_PER_REPLICA, "pivot": pivot}
    filesystem.write_json(path, plan)
    return plan
