"""Fit and train an energy: the priors from distributions, the networks by noise contrast with forces or denoising."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core.energy import Energy, Prior, Sum, forces
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.geometry.torsion_moves import Moves
from cgsurrogate.training.batches import Sampled, systematic
from cgsurrogate.training.loop import History, fit
from cgsurrogate.training.objectives import maximum_likelihood, self_contrast
from cgsurrogate.training.objectives.force_matching import Denoising, ForceMatching
from cgsurrogate.training.objectives.noise_contrast import Contrast, Levelled

OBJECTIVES = ("auto", "force", "denoise")
SAMPLE = 2000
LOCAL_SHARE, LOCAL_BATCH = 0.3, 48  # of the forces or of denoising, beside contrast
LOCAL_EVERY = 10  # steps between those that have it, on average: it takes as long as several of contrast
FINE_TUNE_SHARE = 0.6  # of the budget
LIKELIHOOD_SHARE, LIKELIHOOD_RATE = 0.8, 1e-3
BATCH, RATE, DECAY, EVERY = 64, 4e-3, 1e-3, 200
HELD_OUT_SHARE = 0.2

Report = Callable[[float, str], None]


def train_energy(
    energy: Sum,
    frames: Frames,
    *,
    objective: str = "auto",
    minutes: float | None = 3.0,
    steps: int | None = None,
    seed: int = 0,
    held_out_fraction: float = HELD_OUT_SHARE,
    dynamics: Callable[[], Propagator] | None = None,
    likelihood: Callable[[], Propagator] | None = None,
    folder: Path | None = None,
    rate: float = RATE,
    report: Report = lambda fraction, text: None,
) -> History:
    """Fit the priors of ``energy``, then train its networks, in place.

    Args:
        objective: ``force`` needs forces in the frames, ``denoise`` does not; ``auto`` takes forces where they are.
            Either is learned beside noise contrast, which sets the populations and chooses the weights.
        minutes, steps: the budget, all parts together; ``steps`` counts updates of the main objective and of the last
            touch alike.
        held_out_fraction: share of the frames, by whole runs, on which the best weights are chosen.
        dynamics: makes what samples this same ``energy``, once its priors are fitted. With it, a part of the budget
            goes to telling data from the model's own equilibrium.
        likelihood: the same, but most of the budget goes to maximum likelihood on all frames (``relative_entropy``);
            what it makes must soon be in equilibrium, as with jumps.

    Raises:
        ValueError: the frames do not suit the energy or the objective; a prior cannot be fitted.
    """
    objective = _objective(objective, frames)
    if len(frames) < 10:
        raise ValueError(f"expected ten or more frames to train from, got {len(frames)}; map more frames")
    kept, held = frames.split(held_out_fraction, seed)
    priors = Sum(*(term for term in energy.terms if isinstance(term, Prior)))
    networks = Sum(*(term for term in energy.terms if not isinstance(term, Prior)))
    for prior in priors.terms:
        prior.fit(kept)
    if not len(networks.terms):
        return History((), {}, "priors fitted; there is no network to train")
    if dynamics is not None and likelihood is not None:
        raise ValueError("expected one kind of fine-tuning, got two; leave out one of them")
    part = 1 - FINE_TUNE_SHARE if dynamics is not None else 1 - LIKELIHOOD_SHARE if likelihood is not None else 1.0
    train, check, loss = _prepare(objective, priors, kept, held, seed)
    history = fit(
        Levelled(networks),
        loss,
        train,
        check,
        minutes=None if minutes is None else part * minutes,
        steps=None if steps is None else max(1, round(part * steps)),
        seed=seed,
        rate=rate,
        decay=DECAY,
        every=EVERY,
        folder=folder,
        label=f"training the energy ({objective})",
        report=lambda fraction, text: report(part * fraction, text),
    )
    if likelihood is not None:
        began = time.monotonic()
        sampler = likelihood()  # fitting its jumps is paid for by the budget
        spent = (time.monotonic() - began) / 60
        rows = maximum_likelihood.fine_tune(
            networks,
            sampler,
            frames,
            minutes=None if minutes is None else max((1 - part) * minutes - spent, 0.05 * minutes),
            steps=None if steps is None else steps - max(1, round(part * steps)),
            seed=seed,
            rate=LIKELIHOOD_RATE,
            moves=1,
            folder=folder,
            report=lambda fraction, text: report(part + (1 - part) * fraction, text),
        )
        return dataclasses.replace(history, reason=f"{history.reason}; then {len(rows)} updates of maximum likelihood")
    if dynamics is None:
        return history
    rounds = self_contrast.fine_tune(
        networks,
        dynamics(),
        kept,
        held,
        minutes=None if minutes is None else (1 - part) * minutes,
        steps=None if steps is None else steps - max(1, round(part * steps)),
        seed=seed,
        folder=folder,
        report=lambda fraction, text: report(part + (1 - part) * fraction, text),
    )
    losses = ", ".join(f"{one.best['held_out']:.4g}" for one in rounds)
    told = f"told from its own samples with held-out losses {losses} (1.386 is no difference)"
    reason = f"{history.reason}; then {told if rounds else 'it could not be simulated, so that nothing was tuned'}"
    return dataclasses.replace(history, reason=reason)


def training_part(frames: Frames, held_out_fraction: float = HELD_OUT_SHARE, seed: int = 0) -> Frames:
    """The frames that ``train_energy`` learns from; the others, whole runs, only choose the best weights."""
    return frames.split(held_out_fraction, seed)[0]


def _objective(objective: str, frames: Frames) -> str:
    if objective not in OBJECTIVES:
        raise ValueError(f"expected an objective out of {', '.join(OBJECTIVES)}, got {objective!r}")
    if objective == "force" and frames.forces is None:
        raise ValueError("force matching needs frames with forces, these have none; map with forces, or use denoise")
    if objective == "auto":
        return "denoise" if frames.forces is None else "force"
    return objective


def _prepare(
    objective: str, priors: Sum, kept: Frames, held: Frames, seed: int
) -> tuple[Sampled, Sampled, Callable[..., Tensor]]:
    """Training data, held-out data and the loss: contrast, and in some steps of training what the objective adds."""
    moves = Moves(kept.beads)
    train, check = ([torch.from_numpy(np.array(f.positions, np.float32))] for f in (kept, held))
    sample = systematic(kept.probabilities, SAMPLE)
    local: Callable[..., Tensor] | None = None
    if objective == "force":
        for frames, arrays in ((kept, train), (held, check)):
            assert frames.forces is not None
            arrays.append(torch.from_numpy(np.array(frames.forces, np.float32)) - _forces(priors, arrays[0]))
        local = ForceMatching(moves, train[0][sample], train[1][sample])
    elif objective == "denoise":
        local = Denoising(moves, priors, train[0][sample], kept.kT)
    rest = Sum(*(term for term in priors.terms if isinstance(term, Prior) and not term.marginal))
    contrast = Contrast(moves, rest, kept, Generator().manual_seed(seed))

    def loss(module: Levelled, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        value = contrast(module, batch, rng)
        if local is None or not module.training or LOCAL_EVERY * torch.rand((), generator=rng) > 1:
            return value
        return value + LOCAL_SHARE * local(module.networks, tuple(part[:LOCAL_BATCH] for part in batch), rng)

    return Sampled(train, kept.probabilities, BATCH), Sampled(check, held.probabilities, BATCH), loss


def _forces(energy: Energy, positions: Tensor) -> Tensor:
    return torch.cat([forces(energy, block)[1] for block in positions.split(500)])
