"""Noise-contrastive estimation (Gutmann & Hyvarinen, J. Mach. Learn. Res. 13, 307 (2012)): populations, no sampling.

The noise has a density that is known: frames in which every dihedral and angle was replaced by that of another frame,
each drawn on its own. That is the product of the marginals of the data, which is just what the priors of single
coordinates describe. Telling data from noise then teaches a network the ratio of the two densities,

    ln p(x) / q(x) = -(U_network(x) + U_rest(x)) / kT + level,

with the priors that are no marginal (repulsion) as ``U_rest``. So the populations of states that no short simulation
connects come straight from the data.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.energy import Energy, Sum
from cgsurrogate.frames import Frames
from cgsurrogate.internal import Cosines, Dihedrals
from cgsurrogate.training.moves import Moves

POOL = 40_000  # noise frames; made once
CLAMP = 30.0  # kT


class Levelled(nn.Module):
    """Networks with the free constant of their energy, which contrast needs and nothing else."""

    def __init__(self, networks: Energy):
        super().__init__()
        self.networks = networks
        self.level = nn.Parameter(torch.zeros(()))


class Contrast(nn.Module):
    """The logistic loss of telling batches of data (B, N, 3) nm from as many noise frames."""

    def __init__(self, moves: Moves, rest: Sum, frames: Frames, rng: Generator, ratio: int = 2, pool: int = POOL):
        super().__init__()
        self.kT, self.ratio = frames.kT, ratio
        self.rest = [rest]  # in a list: a part of the loss, not a module that is trained with it
        self.noise = mixed(moves, frames, pool, rng)
        self.noise_rest = torch.cat([self._rest(block) for block in self.noise.split(1000)])

    def _rest(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.rest[0](x) / self.kT

    def forward(self, module: Levelled, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        data = batch[0]
        chosen = torch.randint(len(self.noise), (self.ratio * len(data),), generator=rng)
        noise = self.noise[chosen]
        scores = -module.networks(torch.cat((data, noise))) / self.kT + module.level
        real, made = (scores - torch.cat((self._rest(data), self.noise_rest[chosen]))).split([len(data), len(noise)])
        loss = nn.functional.softplus(-real.clamp(-CLAMP, CLAMP)).mean()
        return loss + self.ratio * nn.functional.softplus(made.clamp(-CLAMP, CLAMP)).mean()


def mixed(moves: Moves, frames: Frames, count: int, rng: Generator) -> Tensor:
    """(count, N, 3) nm: frames whose dihedrals and angles each come from another frame, all drawn by weight."""
    cumulative = torch.from_numpy(np.cumsum(frames.probabilities))

    def draw(*shape: int) -> Tensor:
        point = torch.rand(*shape, generator=rng, dtype=torch.float64) * cumulative[-1]
        return torch.searchsorted(cumulative, point).clamp(max=len(cumulative) - 1)

    values = torch.cat([_values(moves, _positions(frames, part)) for part in torch.arange(len(frames)).split(4000)])
    columns, signs = torch.arange(len(moves)), _signs(moves)
    made = []
    for start in range(0, count, 2000):
        size = min(2000, count - start)
        base, donors = draw(size), draw(size, len(moves))
        made.append(moves.turn(_positions(frames, base), signs * (values[donors, columns] - values[base])))
    return torch.cat(made)


def _signs(moves: Moves) -> Tensor:
    """(M,) what a turn by one radian does: where the first bead of a dihedral is turned and not its last, it falls."""
    last = moves.sides[torch.arange(moves.turns), torch.from_numpy(moves.turn_rows[:, 3])]
    return torch.cat((2 * last - 1, last.new_ones(moves.bends)))


def _positions(frames: Frames, index: Tensor) -> Tensor:
    x = torch.from_numpy(np.array(frames.positions[index.numpy()], np.float32))
    return x - x.mean(1, keepdim=True)


def _values(moves: Moves, x: Tensor) -> Tensor:
    """(B, M) radian: what each move changes."""
    cosine, sine = Dihedrals(x.shape[1], moves.turn_rows).to(x)(x)
    bends = Cosines(x.shape[1], moves.bend_rows).to(x)(x).clamp(-1, 1).acos()
    return torch.cat((torch.atan2(sine, cosine), bends), 1)
