"""What training draws from: frames by weight, pairs of frames that lie a lag apart, and several molecules at once.

Each has ``draw(rng)``, a random batch, and ``fixed()``, the same batches every time, to validate on; ``names(rng)`` and
``fixed_names()`` say which frames their members are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.analysis.kinetics.one_step_relaxation import encoded
from cgsurrogate.core import disk_arrays, splits
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.core.statistics import draw, systematic

HELD_OUT = 1536  # frames of a fixed sample
COUNTED = 12  # jumps of each sequence, at random places, that count in the loss


Name = Callable[[Sequence[int]], list[str]]


def naming(frames: Frames) -> Name:
    """Which frames of which runs numbers are, in what the frames were taken from."""
    runs, origins = frames.runs, frames.origins
    return lambda numbers: splits.named(runs, origins, numbers)


def _numbered(numbers: Sequence[int]) -> list[str]:
    return [f"frame {number}" for number in numbers]


class WeightedFrames:
    """Frames drawn by their probability; ``fixed`` is one systematic sample of them in batches.

    Args:
        arrays: each (T, ...), in memory or on the disk; a batch has as many parts, (size, ...) float32 each.
        probabilities: (T,).
        name: says which frames numbers are; numbers if None.
    """

    def __init__(self, arrays: Sequence[Any], probabilities: np.ndarray, size: int = 128, name: Name | None = None):
        self.arrays, self.size, self.name = tuple(arrays), size, name or _numbered
        self.cumulative = torch.from_numpy(disk_arrays.running_sums(probabilities))
        self.check = systematic(self.cumulative, min(HELD_OUT, len(probabilities)))

    def draw(self, rng: Generator) -> tuple[Tensor, ...]:
        index = draw(self.cumulative, self.size, rng)
        return self._batch(index)

    def fixed(self) -> list[tuple[Tensor, ...]]:
        return [self._batch(part) for part in self.check.split(2 * self.size)]

    def names(self, rng: Generator) -> list[str]:
        return self.name(draw(self.cumulative, self.size, rng).tolist())

    def fixed_names(self) -> list[list[str]]:
        return [self.name(part.tolist()) for part in self.check.split(2 * self.size)]

    def _batch(self, index: Tensor) -> tuple[Tensor, ...]:
        found = [disk_arrays.rows(array, index.numpy()) for array in self.arrays]
        return tuple(torch.from_numpy(np.asarray(part, np.float32)) for part in found)


class LaggedPairs:
    """Batches (now, later, lag): encoded (B, D), encoded (B, D), ps (B,); lags are drawn log-uniformly.

    Pairs never cross runs. ``reversible`` also uses every pair backwards in time, which is right at equilibrium and
    makes the distribution of the frames stationary. Frames with weights come from a biased simulation, so that pairs
    of them say nothing about time: there ``later`` is any frame, drawn by weight, whatever the lag.

    With ``history`` H > 1 the batches are sequences, (B / H, H, D) each, in which every frame is a lag after the one
    before, and ``later`` is ``now`` moved by one place.

    ``weights`` (T,) say how often pairs begin in each frame: those of ``equilibrium_weights`` make pairs of runs that
    were started out of equilibrium a sample of it, which may then be used backwards as well.
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
        weights: np.ndarray | None = None,
    ):
        self.batches, self.dt, self.reversible = batches, frames.dt, reversible
        low, high = stepper.lags if lags is None else lags
        self.low = max(1, round(low / frames.dt))
        self.high = max(self.low, min(round(high / frames.dt), max(frames.lengths) - 1))
        frames.pairs(self.low, most=1)  # refuses runs that are too short
        self.cumulative = None
        if frames.weights is not None and np.ptp(frames.weights) > 0:
            self.cumulative, history = torch.from_numpy(disk_arrays.running_sums(frames.probabilities)), 1
        self.begun = None if weights is None else torch.from_numpy(disk_arrays.running_sums(weights))
        self.history = max(1, min(history, (max(frames.lengths) - 1) // self.high))
        self.batch = max(1, batch // min(self.history, COUNTED))
        self.codes, self.name = encoded(stepper, frames), naming(frames)
        self.ends = torch.tensor([run.stop for run in frames.runs])

    def draw(self, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        index, lag = self._chosen(rng)
        now, later = (index[:, :-1], index[:, 1:]) if self.history > 1 else index.T
        return self.codes[now], self.codes[later], lag.to(self.codes.dtype) * self.dt

    def names(self, rng: Generator) -> list[str]:
        index, _ = self._chosen(rng)
        pairs = zip(*(self.name(index[:, place].tolist()) for place in (0, -1)), strict=True)
        return [f"{first} {'to' if self.history > 1 else 'and'} {last}" for first, last in pairs]

    def _chosen(self, rng: Generator) -> tuple[Tensor, Tensor]:
        """(B, H + 1) frames that follow one another, and the lag (B,) between them, in frames."""
        first, lag, sign = self._starts(rng)
        if self.cumulative is not None:
            return torch.stack((first, draw(self.cumulative, self.batch, rng)), 1), lag
        return first[:, None] + (sign * lag)[:, None] * torch.arange(self.history + 1), lag

    def _starts(self, rng: Generator) -> tuple[Tensor, ...]:
        """Frames, lags (in frames) and directions such that frame +- history x lag lies in the same run."""
        found: list[Tensor] = []
        count = 2 * self.batch
        while sum(len(part) for part in found) < self.batch:
            if self.begun is None:
                first = torch.randint(len(self.codes), (count,), generator=rng)
            else:
                first = draw(self.begun, count, rng)
            share = torch.rand(count, generator=rng)
            lag = ((self.low - 0.4) * ((self.high + 0.4) / (self.low - 0.4)) ** share).round().long()
            lag = lag.clamp(self.low, self.high)
            back = torch.rand(count, generator=rng) < (0.5 if self.reversible else 0.0)
            last = first + self.history * lag
            good = last < self.ends[torch.searchsorted(self.ends, first, right=True)]
            found.append(torch.stack([torch.where(back, last, first), lag, 1 - 2 * back.long()], 1)[good])
        return torch.cat(found)[: self.batch].unbind(1)

    def fixed(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        rng = Generator().manual_seed(0)
        return [self.draw(rng) for _ in range(self.batches)]

    def fixed_names(self) -> list[list[str]]:
        rng = Generator().manual_seed(0)
        return [self.names(rng) for _ in range(self.batches)]


class SeveralMolecules:
    """Batches of several molecules, each drawn from one of them at random: (now, later, lag, which of them).

    Args:
        first: the number of the first of them.
    """

    def __init__(self, parts: Sequence[LaggedPairs], first: int = 0):
        self.parts, self.first = parts, first

    def draw(self, rng: Generator) -> tuple[Tensor, ...]:
        which = torch.randint(len(self.parts), (), generator=rng)
        return *self.parts[int(which)].draw(rng), which + self.first

    def fixed(self) -> list[tuple[Tensor, ...]]:
        return [(*batch, torch.tensor(k)) for k, part in enumerate(self.parts, self.first) for batch in part.fixed()]

    def names(self, rng: Generator) -> list[str]:
        which = int(torch.randint(len(self.parts), (), generator=rng))
        return self._of_molecule(which, self.parts[which].names(rng))

    def fixed_names(self) -> list[list[str]]:
        return [self._of_molecule(k, names) for k, part in enumerate(self.parts) for names in part.fixed_names()]

    def _of_molecule(self, number: int, names: Sequence[str]) -> list[str]:
        return [f"{name} of {'held-out ' if self.first else ''}molecule {number + 1}" for name in names]
