"""Training of a stepper on pairs of frames that lie a lag apart; with a memory, on short sequences of such frames."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.analysis.kinetics.connectivity import Connectivity, connectivity
from cgsurrogate.analysis.kinetics.one_step_relaxation import encoded, one_step_relaxation, projection, slow_processes
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper, supported_lags
from cgsurrogate.training.loop import History, fit

NOISE = 0.03  # rad, or standard deviations of a stiff coordinate; more of it makes the kinetics of short lags too fast
RATE = 2e-3  # of learning
HISTORY = 32  # frames of a sequence over which a memory is trained
COUNTED = 12  # jumps of each sequence, at random places, that count in the loss
FORGET = 0.1  # share of the jumps that are learned with an empty memory, as a rollout begins


class LaggedPairs:
    """Batches (now, later, lag): encoded (B, D), encoded (B, D), ps (B,); lags are drawn log-uniformly.

    Pairs never cross runs. ``reversible`` also uses every pair backwards in time, which is right at equilibrium and
    makes the distribution of the frames stationary. Frames with weights come from a biased simulation, so that pairs
    of them say nothing about time: there ``later`` is any frame, drawn by weight, whatever the lag.

    With ``history`` H > 1 the batches are sequences, (B / H, H, D) each, in which every frame is a lag after the one
    before, and ``later`` is ``now`` moved by one place.
    """

    def __init__(
        self,
        stepper: Stepper,
        frames: Frames,
        lags: tuple[float, float] | None = None,
        *,
        batch: int = 512,
        reversible: bool = True,
        history: int = 1,
        batches: int = 16,
    ):
        self.batches, self.dt, self.reversible = batches, frames.dt, reversible
        low, high = stepper.lags if lags is None else lags
        self.low = max(1, round(low / frames.dt))
        self.high = max(self.low, min(round(high / frames.dt), max(frames.lengths) - 1))
        frames.pairs(self.low)  # refuses runs that are too short
        self.cumulative = None
        if frames.weights is not None and np.ptp(frames.weights) > 0:
            self.cumulative, history = torch.as_tensor(np.cumsum(frames.probabilities)), 1
        self.history = max(1, min(history, (max(frames.lengths) - 1) // self.high))
        self.batch = max(1, batch // min(self.history, COUNTED))
        self.codes = encoded(stepper, frames)
        self.begins = torch.as_tensor(np.repeat([run.start for run in frames.runs], frames.lengths))
        self.ends = torch.as_tensor(np.repeat([run.stop for run in frames.runs], frames.lengths))

    def draw(self, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        first, lag, sign = self._starts(rng)
        if self.cumulative is not None:
            where = torch.rand(self.batch, generator=rng, dtype=torch.float64) * self.cumulative[-1]
            later = torch.searchsorted(self.cumulative, where).clamp_max(len(self.codes) - 1)
            return self.codes[first], self.codes[later], lag.to(self.codes.dtype) * self.dt
        index = first[:, None] + (sign * lag)[:, None] * torch.arange(self.history + 1)
        now, later = (index[:, :-1], index[:, 1:]) if self.history > 1 else index.T
        return self.codes[now], self.codes[later], lag.to(self.codes.dtype) * self.dt

    def _starts(self, rng: Generator) -> tuple[Tensor, ...]:
        """Frames, lags (in frames) and directions such that frame +- history x lag lies in the same run."""
        found: list[Tensor] = []
        count = 2 * self.batch
        while sum(len(part) for part in found) < self.batch:
            now = torch.randint(len(self.codes), (count,), generator=rng)
            share = torch.rand(count, generator=rng)
            lag = ((self.low - 0.4) * ((self.high + 0.4) / (self.low - 0.4)) ** share).round().long()
            lag = lag.clamp(self.low, self.high)
            back = torch.rand(count, generator=rng) < (0.5 if self.reversible else 0.0)
            sign = 1 - 2 * back.long()
            last = now + sign * self.history * lag
            good = (last < self.ends[now]) & (last >= self.begins[now])
            found.append(torch.stack([now, lag, sign], 1)[good])
        return torch.cat(found)[: self.batch].unbind(1)

    def fixed(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        rng = Generator().manual_seed(0)
        return [self.draw(rng) for _ in range(self.batches)]


class Several:
    """Batches of several molecules, each drawn from one of them at random: (now, later, lag, which of them)."""

    def __init__(self, parts: Sequence[LaggedPairs]):
        self.parts = parts

    def draw(self, rng: Generator) -> tuple[Tensor, ...]:
        which = torch.randint(len(self.parts), (), generator=rng)
        return *self.parts[int(which)].draw(rng), which

    def fixed(self) -> list[tuple[Tensor, ...]]:
        return [(*batch, torch.tensor(k)) for k, part in enumerate(self.parts) for batch in part.fixed()]


def pair_loss(stepper: Stepper, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
    """The stepper's own loss, with a little noise on the structures that are conditioned on."""
    now, later, lag = batch
    now = now + NOISE * torch.randn(now.shape, generator=rng, dtype=now.dtype).to(now.device)
    if now.dim() == 2:
        return stepper.loss(now, later, lag, rng, stepper.remember(None, now, lag))
    history = now.shape[1]
    memories: list[Tensor] = []
    memory = None
    for k in range(history):
        memory = stepper.remember(memory, now[:, k], lag)
        memories.append(memory)
    counted = torch.rand(now.shape[:2], generator=rng).argsort(1)[:, :COUNTED].to(now.device)

    def picked(x: Tensor) -> Tensor:
        return x.gather(1, counted.unsqueeze(-1).expand(-1, -1, x.shape[-1])).flatten(0, 1)

    memory = picked(torch.stack(memories, 1))
    memory = memory * (torch.rand(len(memory), 1, generator=rng) >= FORGET).to(memory)
    return stepper.loss(picked(now), picked(later), lag.repeat_interleave(counted.shape[1]), rng, memory)


def several_loss(steppers: nn.ModuleList, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
    """That of the stepper to whose molecule the batch belongs; all share their weights."""
    *pairs, which = batch
    return pair_loss(steppers[int(which)], tuple(pairs), rng)


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
    lags = sorted({shortest, min(stepper.lag, longest)})
    return tuple(words for lag in lags for words in one_step_relaxation(stepper, frames, lag, found, seed).words)


def train_stepper(
    stepper: Stepper,
    frames: Frames,
    *,
    others: Sequence[Frames] = (),
    lag: float | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    held_out_fraction: float = 0.1,
    reversible: bool | None = None,
    folder: Path | None = None,
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> History:
    """Calibrate and train ``stepper`` in place; the weights that were best on the held-out runs are kept.

    Args:
        others: frames of other molecules that learn together with the first, for steppers that ``transfers``. Each
            molecule learns only those of the lags that its own runs support.
        lag: main lag in ps; None keeps the stepper's own, or chooses one from the lengths of the runs.
        minutes, steps: the budget; at least one of them.
        held_out_fraction: share of the frames, in whole runs, that only validate.
        reversible: use every pair backwards in time as well; None where the runs are at equilibrium (``connectivity``).
        report: called with the used fraction of the budget and a line of text; concerns about the data come this way
            (and as Python warnings).
    """
    every = (frames, *others)
    _refuse_unlike(stepper, every)
    if lag is not None:
        stepper.lag = float(lag)
    parts = [f.split(held_out_fraction, seed) for f in every]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the networks are made, with random weights, in calibrate
        stepper.calibrate(*(train for train, _ in parts))
        steppers = [stepper, *(stepper.bound(f.beads) for f in others)]
    found = [check(s, f) for s, f in zip(steppers, every, strict=True)]
    notes = [(f"molecule {k + 1}: " if others else "") + w for k, one in enumerate(found) for w in one.words]
    for words in notes:
        report(0.0, words)
        warnings.warn(words, stacklevel=2)
    batches: list[list[LaggedPairs]] = [[], []]
    for s, one, two in zip(steppers, found, parts, strict=True):
        options = {"reversible": one.equilibrium if reversible is None else reversible}
        options |= {"history": HISTORY if stepper.memory else 1, "lags": _own_lags(stepper, two[0])}
        for kept, part, size in zip(batches, two, (512, 1024), strict=True):
            kept.append(LaggedPairs(s, part, batch=size, **options))
    history = fit(
        nn.ModuleList(steppers) if others else stepper,
        several_loss if others else pair_loss,
        *((Several(kept) for kept in batches) if others else (kept[0] for kept in batches)),
        minutes=minutes,
        steps=steps,
        seed=seed,
        rate=RATE,
        every=100,
        patience=12,
        folder=folder,
        label="stepper",
        report=report,
    )
    after = [(k, words) for k, (s, f) in enumerate(zip(steppers, every, strict=True)) for words in kinetics(s, f, seed)]
    for k, words in after:
        notes.append((f"molecule {k + 1}: " if others else "") + words)
        report(1.0, notes[-1])
        warnings.warn(notes[-1], stacklevel=2)
    return dataclasses.replace(history, notes=tuple(notes))


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
