"""The steps of a study as functions: each takes objects, calls the library, and writes one folder.

The commands and the notebook call these; ``pipeline`` strings them together.
"""

from __future__ import annotations

import csv
import dataclasses
import time as clock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgsurrogate import choose, store
from cgsurrogate.comparison import Comparison
from cgsurrogate.energy import Prior
from cgsurrogate.frames import Frames
from cgsurrogate.propagator import Propagator
from cgsurrogate.store import Model

Report = Callable[[float | None, str], None]
NETWORK = "residues"
INTEGRATOR = "baoab:timestep=0.004"
PRIORS = ("bonds", "angles", "dihedrals", "impropers", "repulsion")
SURFACES, METRICS = "surfaces.npz", "metrics.csv"


def silent(fraction: float | None, text: str) -> None:
    """No progress."""


def mapping_builder(text: str) -> Callable[[Any], Any]:
    """``name`` or ``name:key=value`` -> a function from an mdtraj topology to a ``Mapping``."""
    name, options = choose.parse(text)
    build = choose.builder("mappings", name)
    return lambda topology: build(topology, **options)


def load_example(
    name: str,
    mapping: str = "backbone",
    *,
    aggregate: str = "basic",
    report: Callable[[int, int | None], None] = lambda done, total: None,
) -> Frames:
    """An embedded example (``cgsurrogate example`` lists them), mapped to beads."""
    from cgsurrogate.reference import example

    frames = example.load_example(name, mapping_builder(mapping), aggregate=aggregate, report=report)
    frames.source["mapping"] = mapping
    return frames


def make_energy(
    frames: Frames,
    out: Path,
    *,
    objective: str = "auto",
    network: str = NETWORK,
    priors: tuple[str, ...] = PRIORS,
    fine_tune: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Model:
    """Fit priors, train a network on top of them, and store the sum in ``out``; continues where it was stopped."""
    from cgsurrogate.training.energy import train_energy

    torch.manual_seed(seed)  # initial weights only; nothing else draws from the global generator
    recipes: list[tuple[str, str, dict[str, Any]]] = []
    for family, text in [*(("priors", p) for p in priors), ("networks", network)]:
        name, options = choose.parse(text)
        recipes.append((family, name, options))
    energy = store.compose(frames.beads, recipes)
    dynamics = None
    if fine_tune:
        name, options = choose.parse(INTEGRATOR)
        dynamics = choose.build("integrators", name, frames.beads, energy, frames.temperature, **options)
    history = train_energy(
        energy,
        frames,
        objective=objective,
        dynamics=dynamics,
        minutes=minutes or 10.0,
        seed=seed,
        folder=out,
        report=report,
    )
    fitted = [row for term in energy.terms if isinstance(term, Prior) for row in term.summary()]
    info = {"training": _about(history, frames), "priors": fitted, **_limits(frames)}
    model = Model(energy, frames.beads, frames.temperature, info)
    store.save(model, out)
    return model


def make_stepper(
    frames: Frames,
    out: Path,
    *,
    stepper: str = "autoregressive",
    lag: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Model:
    """Train a time-stepper on lagged pairs and store it in ``out``; continues where it was stopped."""
    from cgsurrogate.training.stepper import train_stepper

    torch.manual_seed(seed)
    name, options = choose.parse(stepper)
    built = choose.build("steppers", name, frames.beads, **options)
    history = train_stepper(built, frames, lag=lag, minutes=minutes or 10.0, seed=seed, folder=out, report=report)
    physical = frames.weights is None  # frames of a biased simulation have no order in time
    info = {"training": _about(history, frames), "physical_time": physical, **_limits(frames)}
    model = Model(built, frames.beads, frames.temperature, info)
    store.save(model, out)
    return model


def _about(history, frames: Frames) -> dict[str, Any]:
    notes = {"notes": list(history.notes)} if history.notes else {}
    return {"best": history.best, "reason": history.reason, "frames": len(frames), "runs": len(frames.lengths), **notes}


def _limits(frames: Frames) -> dict[str, float]:
    """What a simulation is watched against."""
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), 2000)).astype(int)
    x = np.asarray(frames.positions[chosen], np.float64)
    first, second = np.triu_indices(len(frames.beads), 1)
    bonded = set(frames.beads.bonds)
    free = np.array([(i, j) not in bonded for i, j in zip(first, second, strict=True)])
    if not free.any():
        return {}
    gaps = np.linalg.norm(x[:, first[free]] - x[:, second[free]], axis=-1)
    return {"closest": float(gaps.min())}


def make_propagator(
    model: Model, *, lag: float | None = None, integrator: str | None = None, temperature: float | None = None
) -> Propagator:
    """What moves the replicas of a model: the stepper itself, or an integrator around the energy.

    Raises:
        ValueError: an option that this kind of model does not have.
    """
    if isinstance(model.module, Propagator):
        if integrator is not None or (temperature is not None and temperature != model.temperature):
            raise ValueError("a time-stepper has no integrator and keeps the temperature of its training data")
        if lag is not None:
            model.module.lag = lag
        return model.module
    if lag is not None:
        raise ValueError("--lag is for time-steppers; the time step of a force field is --integrator baoab:timestep=PS")
    name, options = choose.parse(integrator or INTEGRATOR)
    return choose.build("integrators", name, model.beads, model.module, temperature or model.temperature, **options)


def make_simulation(
    model: Model,
    start: Frames,
    out: Path,
    *,
    replicas: int = 100,
    time: float,
    every: float | None = None,
    lag: float | None = None,
    integrator: str | None = None,
    temperature: float | None = None,
    seed: int = 0,
    max_hours: float | None = None,
    report: Report = silent,
) -> Frames:
    """Simulate ``replicas`` copies for ``time`` ps from frames drawn from ``start``; continues where it was stopped."""
    from cgsurrogate.simulate import pick_starts, simulate

    if start.beads != model.beads:
        raise ValueError(
            f"the starting frames have other beads ({len(start.beads)}) than the model ({len(model.beads)}); "
            "map them with the mapping that the model was trained with"
        )
    propagator = make_propagator(model, lag=lag, integrator=integrator, temperature=temperature)
    if every is None:
        every = propagator.lag * max(1, round(time / 500 / propagator.lag))
    source = {
        "propagator": "time-stepper" if model.is_stepper else "force field",
        "physical_time": model.is_stepper and model.info.get("physical_time", True),
        "lag": propagator.lag,
    }
    return simulate(
        propagator,
        pick_starts(start, replicas, np.random.default_rng(seed)),
        model.beads,
        time=time,
        every=every,
        temperature=temperature or model.temperature,
        seed=seed,
        folder=out,
        source=source,
        closest=model.info.get("closest"),
        max_hours=max_hours,
        report=lambda done, total, speed, kelvin, note: report(
            done / total,
            ", ".join(part for part in (speed and f"{speed:.3g} ns/day", kelvin and f"{kelvin:.0f} K", note) if part),
        ),
    )


def steps_per_second(propagator: Propagator, start: Frames, replicas: int, seconds: float = 3.0) -> float:
    """Steps of the whole batch per second of wall time, measured over about ``seconds``."""
    from cgsurrogate.simulate import pick_starts

    rng = torch.Generator().manual_seed(0)
    propagator.requires_grad_(False)
    state = propagator.start(torch.as_tensor(pick_starts(start, replicas, np.random.default_rng(0))), rng)
    state = propagator.step(state, rng)
    began, count = clock.monotonic(), 0
    while clock.monotonic() - began < seconds:
        state = propagator.step(state, rng)
        count += 1
    return count / (clock.monotonic() - began)


def load_reference(
    path: Path,
    topology: Path | None,
    *,
    mapping: str = "backbone",
    temperature: float | None = None,
    dt: float | None = None,
) -> Frames:
    """A folder of frames, or a trajectory file that is mapped as it is read."""
    if path.is_dir() or not path.exists():
        return Frames.load(path)
    from cgsurrogate.reference.export import load_any

    frames = load_any(path, topology, temperature=temperature, dt=dt, build=mapping_builder(mapping))
    frames.source["mapping"] = mapping
    return frames


def load_ensembles(
    items: tuple[str, ...], reference: Frames, topology: Path | None, dt: float | None
) -> dict[str, Frames]:
    """``NAME=PATH`` or ``PATH``: folders of frames, or trajectory files mapped as the reference was."""
    rows: dict[str, Frames] = {}
    for item in items:
        name, equals, text = item.partition("=")
        path = Path(text if equals else item)
        name = name if equals else path.stem
        if name in rows:
            raise ValueError(f"two surrogates are called {name!r}; name them with NAME=PATH")
        if path.is_dir():
            rows[name] = Frames.load(path)
        else:
            from cgsurrogate.reference.export import load_any

            mapping = reference.source.get("mapping")
            build = mapping_builder(mapping) if mapping else None
            rows[name] = load_any(path, topology, like=reference, dt=dt, build=build)
    return rows


def make_comparison(
    reference: Frames,
    surrogates: dict[str, Frames],
    out: Path,
    *,
    training: Frames | None = None,
    baseline: bool = True,
    seed: int = 0,
    report: Report = silent,
) -> Comparison:
    """Compare, and store the numbers in ``out``. The baseline is a Markov state model of the training frames."""
    from cgsurrogate import markov
    from cgsurrogate.compare import compare

    physical = {name: bool(frames.source.get("physical_time", True)) for name, frames in surrogates.items()}
    baselines = {}
    if training is not None and baseline:
        report(None, "Markov state model of the training runs")
        baselines["Markov state model"] = markov.resample(training, length=max(map(len, surrogates.values())) // 10)
    comparison = compare(
        reference,
        surrogates,
        training=training,
        baselines=baselines,
        physical=physical,
        seed=seed,
        report=lambda text: report(None, text),
    )
    frozen = tuple(
        f"{name}: {len(lost)} replica(s) were frozen, the first after {lost[0]['time']:g} ps ({lost[0]['reason']})"
        for name, frames in surrogates.items()
        if (lost := frames.source.get("quarantined"))
    )
    comparison = dataclasses.replace(comparison, warnings=(*frozen, *comparison.warnings))
    comparison.save(out)
    return comparison


def make_report(
    folder: Path, out: Path, *, models: list[Path], provenance: dict[str, Any] | None = None, title: str | None = None
) -> Path:
    """Draw a stored comparison into ``out``: report.html and figures/."""
    from cgsurrogate.comparison import Comparison
    from cgsurrogate.report.page import write_report

    curves = {}
    for model in models:
        path = model / METRICS
        if path.exists():
            with open(path, newline="") as handle:
                curves[model.name] = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]
    return write_report(
        Comparison.load(folder), out, training=curves, provenance=provenance or {}, title=title or "cgsurrogate"
    )
