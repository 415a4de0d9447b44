"""The lags of a stepper: which ones data support, and what its networks see of one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import supported_lags

WAVES = 4
INPUTS = WAVES + 1  # numbers that networks see of a lag
NEAREST, FARTHEST = 10, 5  # times shorter and longer than the main lag, the ends of the range
JUMPS = 500  # lags in the longest run
PAIRS = 20_000  # of frames, enough for the odds of moves


def default_lag(frames: Frames) -> float:
    """ps: a 500th of the longest run, at least one frame, rounded to whole frames.

    Long enough that the beads' own fast motion has lost its memory, short enough that every run holds hundreds of
    independent jumps.
    """
    return frames.dt * max(1, round(max(frames.lengths) / JUMPS))


def chosen(lag: float, every: Sequence[Frames]) -> tuple[float, float, float]:
    """ps: the main lag, found where it is nan, and the ends of a range around it that the runs can support.

    The runs of every molecule must support the main lag, those of one the ends of the range.
    """
    limits = [supported_lags(frames) for frames in every]
    shortest, longest = max(low for low, _ in limits), min(high for _, high in limits)
    if shortest > longest * (1 + 1e-6):
        raise ValueError(
            f"no lag suits all molecules: one needs at least {shortest:g} ps (the time between frames), another at "
            f"most {longest:g} ps (a quarter of its longest run); train on them separately"
        )
    if math.isnan(lag):
        middle = math.exp(sum(math.log(default_lag(frames)) for frames in every) / len(every))
        dt = max(frames.dt for frames in every)
        lag = min(longest, max(1, round(middle / dt)) * dt)
    if not shortest * (1 - 1e-6) <= lag <= longest * (1 + 1e-6):
        raise ValueError(
            f"expected a lag from {shortest:g} ps (the time between frames) to {longest:g} ps "
            f"(a quarter of the longest run), got {lag:g} ps"
        )
    low = min(max(1, round(lag / NEAREST / frames.dt)) * frames.dt for frames in every)
    return lag, low, min(max(high for _, high in limits), lag * FARTHEST)


def pairs(frames: Frames, lag: float) -> tuple[np.ndarray, np.ndarray]:
    """Frames now and ``lag`` ps later in the same run, evenly spread; at most ``PAIRS``."""
    return frames.pairs(min(max(1, round(lag / frames.dt)), max(frames.lengths) - 1), PAIRS)


def inputs(lag: Tensor, ends: Tensor) -> Tensor:
    """(B,) ps and (2,) ps -> (B, ``INPUTS``): where it lies in the range, on a log scale, and waves of that."""
    low, high = ends.log()
    place = ((lag.log() - low) / (high - low).clamp_min(1e-6))[:, None]
    ks = torch.arange(1, WAVES + 1, device=lag.device, dtype=lag.dtype)
    return torch.cat([place, torch.cos(math.pi * ks * place)], 1)


def rounded(value: Tensor) -> float:
    """The number that was put into a float32 buffer, if it had at most six digits."""
    return float(f"{float(value):.6g}")
