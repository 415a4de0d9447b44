"""When two beads of a rollout are nearer than they can be, from the closest approaches of training frames; and then?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

TOLERANCE, CONTACT = 0.9, 0.3  # share of the closest approach seen, and the largest one (nm), that count as a collision
TRIALS = 8  # proposals at once for a replica that collided
ROUNDS = (True, True, False, False)  # whether the soft angles are kept in each; after the last it stays where it is
TOGETHER = 16  # replicas that are drawn again in one batch

Again = Callable[[Tensor, int, bool], Tensor]
"""Takes replicas (M,), the number of the round, and whether it keeps the soft angles; gives (M ``TRIALS``, N, 3) nm."""


def collision_distances(positions: np.ndarray) -> Tensor:
    """(N, N) nm: what counts as a collision of two beads, from the closest that they are in (T, N, 3)."""
    nearest = in_pieces(lambda x: torch.cdist(x, x).amin(0, keepdim=True), positions).amin(0)
    return (TOLERANCE * nearest).clamp(max=CONTACT)


def without_collisions(positions: Tensor, before: Tensor, collides: Callable[[Tensor], Tensor], again: Again) -> Tensor:
    """Positions (B, N, 3) nm with those that collide drawn again, or as they were ``before`` where that does not help.

    They are drawn in batches of one size, filled up where few collide: how a product of matrices rounds depends on its
    size, and what one replica draws must not depend on how many others collide.
    """
    bad = collides(positions).nonzero()[:, 0]
    for number, kept in enumerate(ROUNDS):
        if not len(bad):
            break
        left = []
        for some in bad.split(TOGETHER):
            filled = torch.cat((some, some[-1:].expand(TOGETHER - len(some))))
            tried = again(filled, number, kept)
            good = ~collides(tried).view(-1, TRIALS)
            found = tried[torch.arange(TOGETHER, device=bad.device) * TRIALS + good.byte().argmax(1)]
            fine = good.any(1)[: len(some)]
            positions[some] = torch.where(fine[:, None, None], found[: len(some)], before[some])
            left.append(some[~fine])
        bad = torch.cat(left)
    return positions


def in_pieces(function: Callable[[Tensor], Tensor], positions: np.ndarray, piece: int = 4096) -> Tensor:
    """``function`` of all positions, in float64, a few thousand frames at a time."""
    parts = [positions[i : i + piece].astype(np.float64) for i in range(0, len(positions), piece)]
    return torch.cat([function(torch.from_numpy(part)) for part in parts])
