"""Means, scales and closest approaches by kind of coordinate, over the frames of several molecules."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.zmatrix import wrap
from cgsurrogate.models.steppers._collisions import collision_distances, in_pieces
from cgsurrogate.models.steppers._coordinate_types import Chain, Vocabulary
from cgsurrogate.models.steppers._torsion_stepper import ENOUGH, TorsionStepper, which_are_soft


class Sample:
    """Coordinates (T, D) of some frames of one molecule in float64, weights (T, 1) that sum to one, and kinds (D,)."""

    def __init__(self, molecule: TorsionStepper, chain: Chain, frames: Frames, vocabulary: Vocabulary):
        stride = math.ceil(len(frames) / ENOUGH)
        self.positions, self.apart = frames.positions[::stride], molecule.apart
        self.natural = in_pieces(molecule.natural, self.positions)
        weights = torch.tensor(frames.probabilities[::stride])[:, None]
        self.weights, self.circular = weights / weights.sum(), molecule.circular
        _, self.names, kinds = vocabulary.find(chain)
        self.kinds, self.count = torch.from_numpy(kinds), len(vocabulary.kinds)

    def mean(self, values: Tensor) -> Tensor:
        """(T, D) -> (K,): means over frames, summed over the coordinates of each kind."""
        return self.by_kind((self.weights * values).sum(0))

    def by_kind(self, values: Tensor) -> Tensor:
        """(D,) -> (K,) sums."""
        return torch.zeros(self.count, dtype=torch.float64).index_add(0, self.kinds, values)

    def rest(self, centre: Tensor) -> Tensor:
        """(K,) -> (T, D) what is left of each coordinate."""
        rest = self.natural - centre[self.kinds]
        return torch.where(self.circular, wrap(rest), rest)


def moments(samples: list[Sample]) -> tuple[Tensor, Tensor, Tensor]:
    """(K,) of each kind: mean, standard deviation, and whether it is soft; averaged over molecules and places."""
    zero = torch.zeros(samples[0].count, dtype=torch.float64)
    places = sum((s.by_kind(torch.ones(len(s.kinds), dtype=torch.float64)) for s in samples), zero)
    circular = sum((s.by_kind(s.circular.double()) for s in samples), zero) > 0
    mean, cosine, sine = (
        sum((s.mean(function(s.natural)) for s in samples), zero) / places
        for function in (torch.clone, torch.cos, torch.sin)
    )
    centre = torch.where(circular, torch.atan2(sine, cosine), mean)
    scale = (sum((s.mean(s.rest(centre).square()) for s in samples), zero) / places).sqrt()
    return centre, scale, which_are_soft(scale, circular, cosine, sine)


def nearest(samples: list[Sample], names: int) -> Tensor:
    """(U, U) nm: what counts as a collision of beads by their names; 0 where they were never far along the chain."""
    found = np.full((names, names), np.inf)
    for s in samples:
        apart = s.apart.numpy()
        pairs = np.broadcast_to(s.names[:, None], apart.shape)[apart], np.broadcast_to(s.names, apart.shape)[apart]
        np.minimum.at(found, pairs, collision_distances(s.positions).numpy()[apart])
    found[np.isinf(found)] = 0.0
    return torch.from_numpy(found)
