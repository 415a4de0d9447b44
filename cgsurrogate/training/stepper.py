"""Training of a stepper on pairs of frames that lie a lag apart; with a memory, on short sequences of such frames."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.analysis.kinetics.connectivity import Connectivity, connectivity
from cgsurrogate.analysis.kinetics.one_step_relaxation import one_step_relaxation, projection, slow_processes
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper, supported_lags
from cgsurrogate.training.batches import COUNTED, LaggedPairs, SeveralMolecules
from cgsurrogate.training.loop import Report, fit, silent
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.state import History

NOISE = 0.03  # rad, or standard deviations of a stiff coordinate; more of it makes the kinetics of short lags too fast
HISTORY = 32  # frames of a sequence over which a memory is trained
FORGET = 0.1  # share of the jumps that are learned with an empty memory, as a rollout begins


def pair_loss(stepper: Stepper, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
    """The stepper's own loss, with a little noise on the structures that are conditioned on."""
    now, later, lag = batch
    now = now + NOISE * torch.randn(now.shape, generator=rng, dtype=now.dtype).to(now.device)
    if now.dim() == 2:
        return stepper.loss(now, later, lag, rng, stepper.remember(None, now, lag))
    history = now.shape[1]
    memories: list[Tensor] = []
    memory: Tensor | None = None
    for k in range(history):
        memory = stepper.remember(memory, now[:, k], lag)
        assert memory is not None  # sequences are drawn only for steppers that have one
        memories.append(memory)
    counted = torch.rand(now.shape[:2], generator=rng).argsort(1)[:, :COUNTED].to(now.device)

    def picked(x: Tensor) -> Tensor:
        return x.gather(1, counted.unsqueeze(-1).expand(-1, -1, x.shape[-1])).flatten(0, 1)

    memory = picked(torch.stack(memories, 1))
    memory = memory * (torch.rand(len(memory), 1, generator=rng) >= FORGET).to(memory)
    return stepper.loss(picked(now), picked(later), lag.repeat_interleave(counted.shape[1]), rng, memory)


def molecule_loss(steppers: nn.ModuleList, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
    """That of the stepper to whose molecule the batch belongs; all share their weights."""
    *pairs, which = batch
    stepper = steppers[int(which)]
    assert isinstance(stepper, Stepper)
    return pair_loss(stepper, tuple(pairs), rng)


def check(stepper: Stepper, frames: Frames) -> Connectivity:
    """Whether the runs connect their states and are at equilibrium; over the shortest lag that is trained.

    States are found in the slowest directions of the frames, or in the encoding of a molecule too small for these.
    """
    values = projection(stepper, frames)(frames)
    return connectivity(values, frames, np.random.default_rng(0), max(1, round(stepper.lags[0] / frames.dt)))


def kinetics(stepper: Stepper, frames: Frames, seed: int = 0) -> tuple[str, ...]:
    """Concerns about the slowest process at the shortest and at the main lag, in words; none where a memory is needed
    to tell, or where frames know no time."""
    shortest, longest = _own_lags(stepper, frames)
    found = None if stepper.memory else slow_processes(stepper, frames, shortest, seed)
    if found is None:
        return ()
    usual = min(stepper.lag, longest)
    concerns = []
    for lag in sorted({shortest, usual}):
        for words in one_step_relaxation(stepper, frames, lag, found, seed).words:
            if lag == usual:
                concerns.append(f"{words}; train for longer, or simulate with a longer lag")
            else:
                concerns.append(
                    f"{words}; rollouts jump {usual:g} ps unless told otherwise, it matters for shorter ones"
                )
    return tuple(concerns)


def train_stepper(
    stepper: Stepper,
    frames: Frames,
    settings: StepperSettings = StepperSettings(),
    *,
    others: Sequence[Frames] = (),
    folder: Path | None = None,
    report: Report = silent,
) -> History:
    """Calibrate and train ``stepper`` in place; the weights that were best on the held-out runs are kept.

    Every pair is used backwards in time as well where the runs are at equilibrium (see ``check``).

    Args:
        others: frames of other molecules that learn together with the first, for steppers that ``transfers``. Each
            molecule learns only those of the lags that its own runs support.
        folder: as for ``fit``.
        report: called with the used fraction of the budget and a line of text; concerns about the data come this way
            (and as Python warnings).
    """
    every, seed = (frames, *others), settings.seed
    _refuse_unlike(stepper, every)
    if settings.lag is not None:
        stepper.lag = float(settings.lag)
    parts = [f.split(settings.held_out_fraction, seed) for f in every]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the networks are made, with random weights, in calibrate
        stepper.calibrate(*(train for train, _ in parts))
        steppers = [stepper, *(stepper.bound(f.beads) for f in others)]
    found = [check(s, f) for s, f in zip(steppers, every, strict=True)]
    notes: list[str] = []

    def note(fraction: float, concerns: Sequence[Sequence[str]]) -> None:
        for number, one in enumerate(concerns):
            for words in one:
                notes.append(f"molecule {number + 1}: {words}" if others else words)
                report(fraction, notes[-1])
                warnings.warn(notes[-1], stacklevel=3)

    note(0.0, [one.words for one in found])
    pairs = [_pairs(s, two, one.equilibrium) for s, two, one in zip(steppers, parts, found, strict=True)]
    history = fit(
        nn.ModuleList(steppers) if others else stepper,
        BatchObjective(molecule_loss, *map(SeveralMolecules, zip(*pairs, strict=True)))
        if others
        else BatchObjective(pair_loss, *pairs[0]),
        settings,
        folder=folder,
        label="stepper",
        report=report,
    )
    for words in history.notes:
        notes.append(words)
        report(1.0, words)
        warnings.warn(words, stacklevel=2)
    note(1.0, [kinetics(s, f, seed) for s, f in zip(steppers, every, strict=True)])
    return dataclasses.replace(history, notes=tuple(notes))


def _pairs(stepper: Stepper, parts: tuple[Frames, Frames], equilibrium: bool) -> tuple[LaggedPairs, LaggedPairs]:
    """To learn from and to validate on, both at the lags that the first of the parts supports."""
    train, check = (
        LaggedPairs(
            stepper,
            part,
            _own_lags(stepper, parts[0]),
            batch=size,
            reversible=equilibrium,
            history=HISTORY if stepper.memory else 1,
        )
        for part, size in zip(parts, (512, 1024), strict=True)
    )
    return train, check


def _refuse_unlike(stepper: Stepper, every: Sequence[Frames]) -> None:
    if len(every) > 1 and not stepper.transfers:
        raise ValueError(
            f"a stepper of the kind {type(stepper).__name__} belongs to one molecule, got frames of {len(every)}; "
            "train several with --stepper graph"
        )
    temperatures = sorted({f.temperature for f in every})
    if len(temperatures) > 1:
        raise ValueError(f"expected frames of one temperature, got {temperatures[0]:g} to {temperatures[-1]:g} K")


def _own_lags(stepper: Stepper, frames: Frames) -> tuple[float, float]:
    """ps: those of the stepper's lags that a molecule's own runs support."""
    (low, high), (shortest, longest) = stepper.lags, supported_lags(frames)
    return max(low, shortest), min(high, longest)
