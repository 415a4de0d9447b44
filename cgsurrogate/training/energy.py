"""Fit and train an energy: the priors from distributions, the networks by noise contrast with forces or denoising."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.energy import Energy, Prior, Sum, forces
from cgsurrogate.frames import Frames
from cgsurrogate.propagator import Propagator
from cgsurrogate.training import relative_entropy
from cgsurrogate.training.contrast import Contrast, Levelled
from cgsurrogate.training.loop import History, fit
from cgsurrogate.training.losses import Denoising, ForceMatching
from cgsurrogate.training.moves import Moves

OBJECTIVES = ("auto", "force", "denoise")
BATCH, HELD_OUT, SAMPLE = 128, 1536, 2000
LOCAL_SHARE, LOCAL_BATCH = 0.3, 48  # of the forces or of denoising, beside contrast
FINE_TUNE_SHARE = 0.5  # of the budget
DECAY, EVERY = 1e-3, 50
STAGES = (0.3, *[0.1] * 7)  # of the budget; between them the noise learns from the energy
WIDENED = 3  # times that the noise is widened
LATER_RATE = 0.5  # of the rate, in later stages

Report = Callable[[float, str], None]


def train_energy(
    energy: Sum,
    frames: Frames,
    *,
    objective: str = "auto",
    minutes: float | None = 3.0,
    steps: int | None = None,
    seed: int = 0,
    held_out_fraction: float = 0.2,
    dynamics: Propagator | None = None,
    folder: Path | None = None,
    rate: float = 2e-3,
    report: Report = lambda fraction, text: None,
) -> History:
    """Fit the priors of ``energy``, then train its networks, in place.

    Args:
        objective: ``force`` needs forces in the frames, ``denoise`` does not; ``auto`` takes forces where they are.
            Either is learned together with noise contrast, which sets the populations (docs/force-field.md).
        minutes, steps: the budget, all parts together; ``steps`` counts updates of the main objective and of the last
            touch alike.
        held_out_fraction: share of the frames, by whole runs, on which the best weights are chosen.
        dynamics: moves replicas with this same ``energy``. With it, half of the budget goes to relative entropy with
            persistent replicas. Where noise contrast works this gained nothing.

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
    part = 1 - FINE_TUNE_SHARE if dynamics is not None else 1.0
    train, check, contrast, loss = _prepare(objective, priors, kept, held, seed)
    module, done = Levelled(networks), 0.0
    for number, share in enumerate(STAGES):
        last = number == len(STAGES) - 1
        history = fit(
            module,
            loss,
            train,
            check,
            minutes=None if minutes is None else part * share * minutes,
            steps=None if steps is None else max(1, round(part * share * steps)),
            seed=seed + number,
            rate=rate * (1 if number == 0 else LATER_RATE),
            decay=DECAY,
            every=EVERY,
            folder=folder if last or folder is None else folder / f"stage-{number + 1}",
            label=f"training the energy ({objective})",
            report=lambda fraction, text, done=done, share=share: report(part * (done + share * fraction), text),
        )
        done += share
        if not last:
            contrast.renewed(module, Generator().manual_seed(seed + 1000 * (number + 1)), widen=number < WIDENED)
    if dynamics is not None:
        relative_entropy.fine_tune(
            networks,
            dynamics,
            kept,
            minutes=None if minutes is None else (1 - part) * minutes,
            steps=None if steps is None else steps - max(1, round(part * steps)),
            seed=seed,
            report=lambda fraction, text: report(part + (1 - part) * fraction, text),
        )
    return history


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
) -> tuple[Sampled, Sampled, Contrast, Callable[..., Tensor]]:
    """Training data, held-out data, contrast, and the loss of an objective: contrast and what it adds."""
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
    contrast = Contrast(moves, priors, kept, Generator().manual_seed(seed))

    def loss(module: Levelled, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        value = contrast(module, batch, rng)
        if local is None:
            return value
        return value + LOCAL_SHARE * local(module.networks, tuple(part[:LOCAL_BATCH] for part in batch), rng)

    return Sampled(train, kept.probabilities), Sampled(check, held.probabilities), contrast, loss


def _forces(energy: Energy, positions: Tensor) -> Tensor:
    return torch.cat([forces(energy, block)[1] for block in positions.split(500)])


def systematic(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Indices of at most ``count`` frames, spread evenly over their cumulative probability; the same every time."""
    count = min(count, len(probabilities))
    points = (np.arange(count) + 0.5) / count
    return np.minimum(np.searchsorted(np.cumsum(probabilities), points), len(probabilities) - 1)


class Sampled:
    """Frames drawn by their probability; ``fixed`` is one systematic sample of them in batches."""

    def __init__(self, arrays: Sequence[Tensor], probabilities: np.ndarray, size: int = BATCH):
        self.arrays, self.size = tuple(arrays), size
        self.cumulative = torch.from_numpy(np.cumsum(probabilities))
        self.check = torch.from_numpy(systematic(probabilities, HELD_OUT))

    def draw(self, rng: Generator) -> tuple[Tensor, ...]:
        point = torch.rand(self.size, generator=rng, dtype=torch.float64) * self.cumulative[-1]
        index = torch.searchsorted(self.cumulative, point).clamp(max=len(self.cumulative) - 1)
        return tuple(array[index] for array in self.arrays)

    def fixed(self) -> list[tuple[Tensor, ...]]:
        return [tuple(array[part] for array in self.arrays) for part in self.check.split(2 * self.size)]
