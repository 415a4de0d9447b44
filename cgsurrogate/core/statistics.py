"""Statistics of samples in time: how long they remember, blocks that can be taken as independent, draws by weight."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from cgsurrogate.core.frames import Frames

if TYPE_CHECKING:  # a report draws with numpy, and torch takes seconds to import
    from torch import Generator, Tensor

MOST_BLOCKS, LEAST_BLOCKS = 128, 8
LEAST_GROUPS = 3  # fewer groups of runs say nothing about their spread
LEAST_RUNS = 6  # from here on the noise floor splits whole runs; below it splits blocks
DRAWS = 100


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Blocks:
    """Stretches of frames that never cross runs: block k holds frames edges[k] to edges[k + 1] of run runs[k]."""

    edges: np.ndarray
    runs: np.ndarray
    inefficiency: float  # frames between independent ones
    enough: bool  # whether the blocks are longer than the correlation

    def __len__(self) -> int:
        return len(self.runs)

    def __repr__(self) -> str:
        few = "" if self.enough else ", shorter than the correlation asks"
        return f"Blocks: {len(self)} of {self.edges[-1]:,} frames, {self.inefficiency:.3g} for an independent one{few}"


def blocks(lengths: Sequence[int], inefficiency: float = 1.0, groups: Sequence[int] | None = None) -> Blocks:
    """Cut runs into blocks of at least two statistical inefficiencies, a whole run where it is shorter than that.

    There are at most ``MOST_BLOCKS``; more runs than that are pooled into groups of neighbours. There are at least
    ``LEAST_BLOCKS``, if need be shorter than the correlation asks; ``enough`` is then False.

    Args:
        groups: for each run the number of its group, neighbours together, where only whole groups are independent (as
            are ladders of exchanging replicas). Each is then a block, if there are at least ``LEAST_GROUPS``.

    >>> blocks((100, 100), inefficiency=5.0)
    Blocks: 20 of 200 frames, 5 for an independent one
    """
    if groups is not None and len(set(groups)) >= LEAST_GROUPS:
        last = np.flatnonzero(np.diff([*groups, max(groups) + 1]))
        edges = np.concatenate([[0], np.cumsum(lengths)[last]])
        return _pooled(edges, np.arange(len(last)), inefficiency, enough=len(last) >= LEAST_BLOCKS)
    total, longest = sum(lengths), max(lengths)
    wanted = max(2 * inefficiency, total / MOST_BLOCKS, 1.0)
    most = max(1.0, total / LEAST_BLOCKS)
    length = min(wanted, most)
    pieces, runs = [np.zeros(1, int)], []
    for run, n in enumerate(lengths):
        count = max(1, int(n / length)) if len(lengths) < LEAST_BLOCKS else max(1, int(n / wanted))
        pieces.append(sum(lengths[:run]) + np.linspace(0, n, count + 1).round().astype(int)[1:])
        runs += [run] * count
    enough = inefficiency * 1.01 < longest and (len(lengths) >= LEAST_BLOCKS or wanted <= most * 1.01)
    return _pooled(np.concatenate(pieces), np.array(runs), inefficiency, enough=bool(enough))


def _pooled(edges: np.ndarray, runs: np.ndarray, inefficiency: float, *, enough: bool) -> Blocks:
    """Blocks; where there are more runs than ``MOST_BLOCKS``, groups of neighbours."""
    if len(set(runs.tolist())) > MOST_BLOCKS:
        keep = np.linspace(0, len(runs), MOST_BLOCKS + 1).round().astype(int)
        edges, runs = edges[keep], runs[keep[:-1]]
    return Blocks(edges, runs, float(inefficiency), enough)


def resamples(count: int, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """(draws, count) how often each of ``count`` blocks is drawn, with replacement."""
    return rng.multinomial(count, np.full(count, 1 / count), draws).astype(np.float32)


def groups(frames: Frames) -> tuple[int, ...] | None:
    """For each run the ladder that its frames come from; None where no replicas exchanged.

    Ladders are independent of one another; frames of one ladder are not, in whatever order they are taken.
    """
    known = frames.provenance
    if known.exchange is None:
        return None
    ladders = known.ladders or tuple(replica // len(known.exchange["temperatures"]) for replica in known.replicas)
    return ladders if len(ladders) == len(frames.lengths) else None


def correlation_time(values: np.ndarray, runs: tuple[slice, ...]) -> np.ndarray:
    """(T, D) values -> (D,) integrated autocorrelation time in frames; 0.5 for white noise and for constants.

    The sum ends where a pair of neighbouring terms is no longer positive (Geyer 1992, initial positive sequence). The
    mean is that of all runs together, so runs that stay in different states count as correlated over all their length.
    """
    values = np.asarray(values, float)
    centred = values - values.mean(0)
    longest = max(run.stop - run.start for run in runs)
    total, terms = np.zeros((longest, values.shape[1])), np.zeros(longest)
    for run in runs:
        x = centred[run]
        size = 1 << (2 * len(x) - 1).bit_length()
        power = np.abs(np.fft.rfft(x, size, axis=0)) ** 2
        total[: len(x)] += np.fft.irfft(power, size, axis=0)[: len(x)]
        terms[: len(x)] += np.arange(len(x), 0, -1)
    variance = total[0] / terms[0]
    rho = (total / terms[:, None]) / np.where(variance > 0, variance, 1)
    if longest % 2:
        rho = np.concatenate([rho, np.zeros((1, rho.shape[1]))])
    even = rho.reshape(-1, 2, values.shape[1]).sum(1)
    ended = np.cumsum(even <= 0, axis=0) > 0
    time = np.where(ended, 0, even).sum(0) - 0.5
    return np.where(variance > 0, np.maximum(time, 0.5), 0.5)


def statistical_inefficiency(values: np.ndarray, runs: tuple[slice, ...]) -> float:
    """Frames for each independent one, 1 + 2 sum of the autocorrelation, of the slowest column."""
    return max(1.0, 2 * float(np.max(correlation_time(values, runs))))


def kish(weights: Sequence[float] | np.ndarray) -> float:
    """How many equally weighted frames are worth as much as these weights, (sum w)^2 / sum w^2 (Kish 1965).

    >>> kish([1.0, 1.0, 0.0, 0.0])
    2.0
    """
    weights = np.asarray(weights)
    return float(np.sum(weights, dtype=float) ** 2 / np.sum(np.square(weights, dtype=float)))


@overload
def draw(cumulative: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray: ...
@overload
def draw(cumulative: Tensor, count: int, rng: Generator) -> Tensor: ...
def draw(cumulative: Any, count: int, rng: Any) -> Any:
    """Indices of ``count`` independent draws with replacement, arrays of numpy or of torch as what is given.

    Args:
        cumulative: (T,) running sums of the probabilities, which may sum to anything above 0. They are made once where
            many draws are wanted.

    >>> import torch
    >>> draw(torch.tensor([0.0, 2.0, 2.0]), 3, torch.Generator())
    tensor([1, 1, 1])
    """
    if isinstance(cumulative, np.ndarray):
        found = np.searchsorted(cumulative, rng.random(count) * cumulative[-1], side="right")
        return np.minimum(found, np.searchsorted(cumulative, cumulative[-1]))
    import torch

    return _at(cumulative, torch.rand(count, generator=rng, dtype=cumulative.dtype, device=cumulative.device))


def systematic(cumulative: Tensor, count: int, shift: float | Tensor = 0.5) -> Tensor:
    """Rising indices of ``count`` draws by systematic resampling: each index comes count p times, rounded up or down.

    The draws spread evenly over what is drawn from. The rounding is without bias where ``shift`` is a random number,
    uniform between 0 and 1. ``cumulative`` as for ``draw``.

    >>> import torch
    >>> systematic(torch.tensor([1.0, 2.0, 4.0]), 4)
    tensor([0, 1, 2, 2])
    """
    import torch

    return _at(cumulative, (torch.arange(count, dtype=cumulative.dtype, device=cumulative.device) + shift) / count)


def _at(cumulative: Tensor, share: Tensor) -> Tensor:
    """The index at each share of the sum; never one without probability."""
    import torch

    found = torch.searchsorted(cumulative, share * cumulative[-1], right=True)
    return torch.minimum(found, torch.searchsorted(cumulative, cumulative[-1]))
