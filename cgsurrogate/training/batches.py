"""Frames that training draws by their probability."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Generator, Tensor

BATCH, HELD_OUT = 128, 1536


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
