"""Training of a stepper on pairs of frames that lie a lag apart; with a memory, on short sequences of such frames."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.analysis.kinetics.connectivity import Connectivity, connectivity
from cgsurrogate.analysis.kinetics.equilibrium_weights import (
    EquilibriumWeights,
    equilibrium_weights,
    torsions,
    usual_lag,
)
from cgsurrogate.analysis.kinetics.one_step_relaxation import one_step_relaxation, projection, slow_processes
from cgsurrogate.core import devices
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper, supported_lags
from cgsurrogate.geometry import measures
from cgsurrogate.training.batches import COUNTED, LaggedPairs, SeveralMolecules
from cgsurrogate.training.held_out import MANY, held_out_molecules
from cgsurrogate.training.loop import Report, fit, silent
from cgsurrogate.training.objectives._base import BatchObjective
from cgsurrogate.training.settings import StepperSettings
from cgsurrogate.training.state import History

NOISE = 0.03  # rad, or standard deviations of a stiff coordinate; more of it makes the kinetics of short lags too fast
CHECKED = 16  # batches to validate on, of all molecules
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
    trained: Stepper | None = None,
    folder: Path | None = None,
    report: Report = silent,
    device: str = "cpu",
) -> History:
    """Calibrate and train ``stepper`` in place; the weights that were best on the held-out runs are kept.

    Every pair is used backwards in time as well where the runs are at equilibrium (see ``check``), or can be weighted
    so that they are.

    Args:
        others: frames of other molecules that learn together with the first, for steppers that ``transfers``. Each
            molecule learns only those of the lags that its own runs support.
        trained: a stepper of the same kind and options to begin with. The lags are its own, and its weights are kept
            where training makes none that are better on the held-out runs.
        folder: as for ``fit``.
        report: called with the used fraction of the budget and a line of text; concerns about the data come this way
            (and as Python warnings).
        device: where it is trained; the stepper is on the processor before and after.
    """
    every, seed = (frames, *others), settings.seed
    _refuse_unlike(stepper, every)
    settings = settings if trained is None else settings.gentle()
    learning, held = held_out_molecules(every, settings)
    parts = [(f, f) if held else f.split(settings.held_out_fraction, seed) for f in learning]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the networks are made, with random weights, in calibrate
        _begin(stepper, [train for train, _ in parts], settings, trained)
        steppers = [stepper, *(stepper.bound(f.beads) for f in learning[1:])]
    found = [check(s, f) for s, f in zip(steppers, learning, strict=True)]
    notes: list[str] = []

    def note(fraction: float, lines: Sequence[str]) -> None:
        for words in lines:
            notes.append(words)
            report(fraction, words)
            warnings.warn(words, stacklevel=3)

    uses = [
        _use(s, train, one, settings.reweight_starts) for s, (train, _), one in zip(steppers, parts, found, strict=True)
    ]
    note(0.0, _by_molecule([(*one.words, *use.words) for one, use in zip(found, uses, strict=True)]))
    learned = [_to_learn(s, train, use) for s, (train, _), use in zip(steppers, parts, uses, strict=True)]
    new, share = [stepper.bound(f.beads) for f in held], max(1, CHECKED // len(held or learning))
    checked = [_to_check(s, (f, f), Use(True), share) for s, f in zip(new, held, strict=True)] or [
        _to_check(s, two, use, share) for s, two, use in zip(steppers, parts, uses, strict=True)
    ]
    objective = _objective(learned, checked, (len(steppers) if held else 0) if others else None)
    module = (nn.ModuleList([*steppers, *new]) if others else stepper).to(devices.chosen(device))
    history = fit(module, objective, settings, folder=folder, label="stepper", report=report, start=trained is not None)
    module.cpu()
    note(1.0, history.notes)
    note(1.0, _by_molecule([kinetics(s, f, seed) for s, f in zip(steppers, learning, strict=True)]))
    return dataclasses.replace(history, notes=tuple(notes))


def _objective(learned: Sequence[LaggedPairs], checked: Sequence[LaggedPairs], first: int | None) -> BatchObjective:
    """Of several molecules, ``first`` being the number of the first that checks; of one where that is None."""
    if first is None:
        return BatchObjective(pair_loss, learned[0], checked[0])
    return BatchObjective(molecule_loss, SeveralMolecules(learned), SeveralMolecules(checked, first))


def _begin(stepper: Stepper, every: Sequence[Frames], settings: StepperSettings, trained: Stepper | None) -> None:
    """Calibrate, or take what a trained stepper knows and a lag that it and the runs of all molecules support.

    Raises:
        ValueError: there is none, or the one that was asked for is not among its lags.
    """
    if trained is None:
        if settings.lag is not None:
            stepper.lag = float(settings.lag)
        stepper.calibrate(*every)
        return
    stepper.begin_from(trained, *every)
    (low, high), limits = stepper.lags, [supported_lags(frames) for frames in every]
    shortest, longest = max(low, *(short for short, _ in limits)), min(high, *(long for _, long in limits))
    if shortest > longest * (1 + 1e-6):
        raise ValueError(
            f"the pretrained stepper knows lags from {low:g} to {high:g} ps, the frames support {shortest:g} to "
            f"{longest:g} ps (from the time between frames to a quarter of the longest run); train without --from"
        )
    stepper.lag = min(max(stepper.lag, shortest), longest) if settings.lag is None else float(settings.lag)


def _by_molecule(concerns: Sequence[Sequence[str]]) -> list[str]:
    """A line each; of many molecules how many there are, and the first."""
    if len(concerns) == 1:
        return list(concerns[0])
    lines = [f"molecule {number}: {words}" for number, one in enumerate(concerns, 1) for words in one]
    if len(concerns) < MANY or len(lines) < 2:
        return lines
    return [f"{sum(map(bool, concerns))} of {len(concerns)} molecules have concerns, the first: {lines[0]}"]


@dataclasses.dataclass(frozen=True)
class Use:
    """How pairs of frames are used: also backwards in time or not, and with which weights."""

    reversible: bool
    weights: EquilibriumWeights | None = None
    words: tuple[str, ...] = ()

    def of(self, frames: Frames) -> dict[str, Any]:
        """What ``LaggedPairs`` is told."""
        return {"reversible": self.reversible, "weights": None if self.weights is None else self.weights(frames)}


def _use(stepper: Stepper, frames: Frames, found: Connectivity, reweight: bool) -> Use:
    """Runs out of equilibrium are weighted by their transitions over a fifth of a run, where these say how."""
    if found.equilibrium:
        return Use(True)
    plain = "pairs of frames are used forwards in time only"
    if not reweight:
        return Use(False, words=(plain,))
    try:
        turns = len(measures.torsion_quads(frames.beads)[1])
        project = torsions if turns else projection(stepper, frames)
        weights = equilibrium_weights(frames, usual_lag(frames), project)
    except ValueError as error:
        return Use(False, words=(f"{plain}: {error}",))
    words = (
        "pairs of frames have the weights of a reversible Markov model of the runs, which are worth "
        f"{weights.effective:.0%} of the frames"
    )
    lost = 1 - weights.kept
    return Use(True, weights, (f"{words}; {lost:.0%} lie in states that are not left and entered" if lost else words,))


def _to_learn(stepper: Stepper, frames: Frames, use: Use) -> LaggedPairs:
    lags, history = _own_lags(stepper, frames), HISTORY if stepper.memory else 1
    return LaggedPairs(stepper, frames, lags, batch=512, history=history, **use.of(frames))


def _to_check(stepper: Stepper, parts: tuple[Frames, Frames], use: Use, batches: int) -> LaggedPairs:
    """Of the second of the parts, at the lags that the first supports."""
    lags, history = _own_lags(stepper, parts[0]), HISTORY if stepper.memory else 1
    return LaggedPairs(stepper, parts[1], lags, batch=1024, history=history, batches=batches, **use.of(parts[1]))


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
