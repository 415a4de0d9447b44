"""When two beads of a rollout are nearer than they can be, from the closest approaches of training frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

TOLERANCE, CONTACT = 0.9, 0.3  # share of the closest approach seen, and the largest one (nm), that count as a collision


def collision_distances(positions: np.ndarray) -> Tensor:
    """(N, N) nm: what counts as a collision of two beads, from the closest that they are in (T, N, 3)."""
    nearest = in_pieces(lambda x: torch.cdist(x, x).amin(0, keepdim=True), positions).amin(0)
    return (TOLERANCE * nearest).clamp(max=CONTACT)


def in_pieces(function: Callable[[Tensor], Tensor], positions: np.ndarray, piece: int = 4096) -> Tensor:
    """``function`` of all positions, in float64, a few thousand frames at a time."""
    parts = [positions[i : i + piece].astype(np.float64) for i in range(0, len(positions), piece)]
    return torch.cat([function(torch.from_numpy(part)) for part in parts])
