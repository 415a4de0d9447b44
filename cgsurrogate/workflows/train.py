"""Train a force field or a time-stepper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Prior
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.models.extrapolation import fit_novelty
from cgsurrogate.models.model import MODEL, Model, compose
from cgsurrogate.simulation.monte_carlo.block_moves import pivot_moves
from cgsurrogate.simulation.monte_carlo.pivot import can_pivot
from cgsurrogate.simulation.monte_carlo.sampler import Attempts, HybridSampler
from cgsurrogate.simulation.settings import INTEGRATOR

Report = Callable[[float | None, str], None]
NETWORK = "residues"
PRIORS = ("bonds", "angles", "dihedrals", "impropers", "repulsion")


def silent(fraction: float | None, text: str) -> None:
    """No progress."""


def make_energy(
    frames: Frames,
    out: Path,
    *,
    objective: str = "auto",
    network: str = NETWORK,
    priors: tuple[str, ...] = PRIORS,
    fine_tune: bool = False,
    likelihood: bool = False,
    minutes: float | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Model:
    """Fit priors, train a network on top of them, and store the sum in ``out``; continues where it was stopped.

    ``likelihood``: in place of ``fine_tune``, most of the budget goes to maximum likelihood, with replicas that jump
    between the states of the frames.
    """
    from cgsurrogate.training.force_field import train_energy, training_part

    if (out / MODEL).exists():  # a finished one is replaced, not continued
        _forget(out, MODEL, "training.pt", "likelihood.pt", "round-*/*")
    torch.manual_seed(seed)  # initial weights only; nothing else draws from the global generator
    recipes: list[tuple[str, str, dict[str, Any]]] = []
    for family, text in [*(("priors", p) for p in priors), ("networks", network)]:
        name, options = registry.parse(text)
        recipes.append((family, name, options))
    energy = compose(frames.beads, recipes)

    def inner() -> Propagator:
        name, options = registry.parse(INTEGRATOR)
        return registry.build("integrators", name, frames.beads, energy, frames.temperature, **options)

    def jumps() -> Propagator:
        from cgsurrogate.simulation.monte_carlo.state_moves import IndependenceMove

        return HybridSampler(inner(), energy, [Attempts([IndependenceMove(frames)], 4, 2)])

    def turns() -> Propagator:
        if not can_pivot(frames.beads):
            return inner()
        return HybridSampler(inner(), energy, [Attempts(pivot_moves(frames.beads, energy, frames.temperature, frames))])

    history = train_energy(
        energy,
        frames,
        objective=objective,
        dynamics=turns if fine_tune and not likelihood else None,
        likelihood=jumps if likelihood else None,
        minutes=minutes or 10.0,
        seed=seed,
        folder=out,
        report=report,
    )
    fitted = [row for term in energy.terms if isinstance(term, Prior) for row in term.summary()]
    info = {"training": _about(history, frames), "priors": fitted, **_limits(frames)}
    report(1.0, "what the training frames cover")
    novelty = fit_novelty(training_part(frames, seed=seed), frames, seed)
    model = Model(energy, frames.beads, frames.temperature, info, novelty)
    model.save(out)
    _forget(out, "round-*/samples.npy")
    return model


def _forget(folder: Path, *patterns: str) -> None:
    for pattern in patterns:
        for path in folder.glob(pattern):
            path.unlink()


def make_stepper(
    frames: Frames,
    out: Path,
    *,
    others: Sequence[Frames] = (),
    stepper: str = "autoregressive",
    lag: float | None = None,
    minutes: float | None = None,
    seed: int = 0,
    report: Report = silent,
) -> Model:
    """Train a time-stepper on lagged pairs and store it in ``out``; continues where it was stopped.

    With ``others``, frames of other molecules, all learn together (``--stepper graph``); the model is that of the
    first, and simulates any molecule of which it knows all residues.
    """
    from cgsurrogate.training.stepper import train_stepper

    every = (frames, *others)
    mixed = next((f.out_of_order for f in every if f.weights is None and not f.time_ordered), None)
    if mixed is not None:
        raise ValueError(f"{mixed} have no time order to learn from; simulate without what mixes them")
    torch.manual_seed(seed)
    name, options = registry.parse(stepper)
    built = registry.build("steppers", name, frames.beads, **options)
    history = train_stepper(
        built, frames, others=others, lag=lag, minutes=minutes or 10.0, seed=seed, folder=out, report=report
    )
    physical = all(f.time_ordered for f in every)  # not so for those of a biased simulation
    closest = [limit for f in every for limit in _limits(f).values()]
    info = {"training": _about(history, *every), "physical_time": physical}
    if closest:
        info["closest"] = min(closest)
    model = Model(built, frames.beads, frames.temperature, info)
    model.save(out)
    return model


def _about(history, *every: Frames) -> dict[str, Any]:
    notes: dict[str, Any] = {"notes": list(history.notes)} if history.notes else {}
    if len(every) > 1:
        notes["molecules"] = [_sequence(f.beads) for f in every]
    counts = {"frames": sum(map(len, every)), "runs": sum(len(f.lengths) for f in every)}
    return {"best": history.best, "reason": history.reason, **counts, **notes}


def _sequence(beads: Beads) -> str:
    """``ACE-ALA-NME``."""
    return "-".join(dict(zip(beads.residues, beads.residue_names, strict=True)).values())


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
