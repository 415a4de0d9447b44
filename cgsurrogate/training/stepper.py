"""Maximum-likelihood training of a stepper on pairs of frames that lie a lag apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.frames import Frames
from cgsurrogate.propagator import Stepper
from cgsurrogate.training.loop import History, fit

NOISE = 0.03  # rad, or standard deviations of a stiff coordinate; more of it makes the kinetics of short lags too fast
RATE = 2e-3  # of learning


class LaggedPairs:
    """Batches (now, later, lag): encoded (B, D), encoded (B, D), ps (B,); lags are drawn log-uniformly.

    Pairs never cross runs. ``reversible`` also uses every pair backwards in time, which is right at equilibrium and
    makes the distribution of the frames stationary. Frames with weights come from a biased simulation, so that pairs
    of them say nothing about time: there ``later`` is any frame, drawn by weight, whatever the lag.
    """

    def __init__(
        self,
        stepper: Stepper,
        frames: Frames,
        lags: tuple[float, float] | None = None,
        *,
        batch: int = 512,
        reversible: bool = True,
        batches: int = 16,
        piece: int = 4096,
    ):
        self.batch, self.batches, self.dt, self.reversible = batch, batches, frames.dt, reversible
        low, high = stepper.lags if lags is None else lags
        self.low = max(1, round(low / frames.dt))
        self.high = max(self.low, min(round(high / frames.dt), max(frames.lengths) - 1))
        frames.pairs(self.low)  # refuses runs that are too short
        with torch.no_grad():
            self.codes = torch.cat(
                [
                    stepper.encode(torch.as_tensor(np.array(frames.positions[i : i + piece])))
                    for i in range(0, len(frames), piece)
                ]
            )
        self.ends = torch.as_tensor(np.repeat([run.stop for run in frames.runs], frames.lengths))
        self.cumulative = None
        if frames.weights is not None and np.ptp(frames.weights) > 0:
            self.cumulative = torch.as_tensor(np.cumsum(frames.probabilities))

    def draw(self, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        now, lag = self._starts(rng)
        if self.cumulative is not None:
            where = torch.rand(self.batch, generator=rng, dtype=torch.float64) * self.cumulative[-1]
            later = torch.searchsorted(self.cumulative, where).clamp_max(len(self.codes) - 1)
        else:
            later = now + lag
            if self.reversible:
                back = torch.rand(self.batch, generator=rng) < 0.5
                now, later = torch.where(back, later, now), torch.where(back, now, later)
        return self.codes[now], self.codes[later], lag.to(self.codes.dtype) * self.dt

    def _starts(self, rng: Generator) -> tuple[Tensor, Tensor]:
        """Frames and lags (in frames) such that frame + lag lies in the same run."""
        found: list[Tensor] = []
        while sum(len(part) for part in found) < self.batch:
            now = torch.randint(len(self.codes), (2 * self.batch,), generator=rng)
            share = torch.rand(2 * self.batch, generator=rng)
            lag = ((self.low - 0.4) * ((self.high + 0.4) / (self.low - 0.4)) ** share).round().long()
            lag = lag.clamp(self.low, self.high)
            good = now + lag < self.ends[now]
            found.append(torch.stack([now[good], lag[good]]).T)
        now, lag = torch.cat(found)[: self.batch].T
        return now, lag

    def fixed(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        rng = Generator().manual_seed(0)
        return [self.draw(rng) for _ in range(self.batches)]


def negative_log_likelihood(stepper: Stepper, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
    """Nats a coordinate, with a little noise on the structure that is conditioned on."""
    now, later, lag = batch
    noise = torch.randn(now.shape, generator=rng, dtype=now.dtype).to(now.device)
    return -stepper.log_density(now + NOISE * noise, later, lag).mean() / now.shape[1]


def train_stepper(
    stepper: Stepper,
    frames: Frames,
    *,
    lag: float | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    held_out_fraction: float = 0.2,
    folder: Path | None = None,
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> History:
    """Calibrate and train ``stepper`` in place; the weights that were best on the held-out runs are kept.

    Args:
        lag: main lag in ps; None keeps the stepper's own, or chooses one from the lengths of the runs.
        minutes, steps: the budget; at least one of them.
        held_out_fraction: share of the frames, in whole runs, that only validate.
    """
    if lag is not None:
        stepper.lag = float(lag)
    train, held_out = frames.split(held_out_fraction, seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the networks are made, with random weights, in calibrate
        stepper.calibrate(train)
    return fit(
        stepper,
        negative_log_likelihood,
        LaggedPairs(stepper, train),
        LaggedPairs(stepper, held_out, batch=1024),
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
