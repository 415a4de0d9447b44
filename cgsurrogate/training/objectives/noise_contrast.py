"""Noise-contrastive estimation (Gutmann & Hyvarinen, J. Mach. Learn. Res. 13, 307 (2012)): populations, no sampling.

The noise has a density that is known: frames in which every dihedral and angle was replaced by that of another frame,
each drawn on its own. That is the product of the marginals of the data, which is just what the priors of single
coordinates describe. Telling data from noise then teaches a network the ratio of the two densities,

    ln p(x) / q(x) = -(U_network(x) + U_rest(x)) / kT - ln Z,

with the priors that are no marginal (repulsion) as ``U_rest``, and ln Z as one more number to learn. So the populations
of states that no short simulation connects come straight from the data.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import devices, disk_arrays
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import draw
from cgsurrogate.geometry.torsion_moves import TorsionMoves

POOL, POOL_COST, SHARE = 160_000, 1e8, 4  # noise frames, made once: at most so many; less where frames are few (SHARE
# for each), or beads are many, since making one costs as the square of their number
ASIDE = 0.1  # share of the noise that only judges
CLAMP = 30.0  # kT
SEARCH, WIDTH = 80, 60.0  # steps of the search for the best ln Z, and kT from the middle of the scores
RATIO = 2  # noise frames for each of the data


class WithLogPartition(nn.Module):
    """Networks with the logarithm of their partition function, which noise contrast needs and nothing else."""

    def __init__(self, networks: Energy, log_partition: float = 0.0):
        super().__init__()
        self.networks = networks
        self.log_partition = nn.Parameter(torch.tensor(log_partition))


class NoiseContrast(nn.Module):
    """The logistic loss of telling batches of data (B, N, 3) nm from ``ratio`` times as many noise frames.

    In evaluation the noise is a part of it that was set aside. With ``free`` each batch has the ln Z that is best for
    it: of a molecule that only validates, nothing learns it.
    """

    def __init__(
        self,
        moves: TorsionMoves,
        rest: Energy,
        frames: Frames,
        rng: Generator,
        ratio: int = RATIO,
        pool: int | None = None,
        free: bool = False,
    ):
        super().__init__()
        self.kT, self.ratio, self.free = frames.kT, ratio, free
        self.rest = [rest]  # in a list: a part of the loss, not a module that is trained with it
        self.noise = noise_frames(moves, frames, pool or pool_size(frames), rng)
        device = devices.of(rest)
        self.noise_rest = torch.cat([self._rest(block.to(device)).cpu() for block in self.noise.split(1000)])

    def _rest(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.rest[0](x) / self.kT

    def forward(self, module: WithLogPartition, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        data = batch[0]
        aside = max(1, round(ASIDE * len(self.noise)))
        low, high = (aside, len(self.noise)) if module.training else (0, aside)
        chosen = torch.randint(low, high, (self.ratio * len(data),), generator=rng)
        noise, rest = (part[chosen].to(data) for part in (self.noise, self.noise_rest))
        scores = -module.networks(torch.cat((data, noise))) / self.kT - module.log_partition
        real, made = (scores - torch.cat((self._rest(data), rest))).split([len(data), len(noise)])
        if self.free:
            best = best_log_partition(real.detach(), made.detach(), self.ratio)[1]
            real, made = real - best, made - best
        return contrast_loss(real, made, self.ratio)


def best_log_partition(real: Tensor, made: Tensor, ratio: float = RATIO) -> tuple[float, float]:
    """The least logistic loss of scores of data (B,) and noise (C,) over their ln Z, and that; the loss is convex in
    it."""
    middle = float(torch.cat((real, made)).median())
    low, high = middle - WIDTH, middle + WIDTH

    def loss(at: float) -> float:
        return float(contrast_loss(real - at, made - at, ratio))

    for _ in range(SEARCH):
        one, two = low + (high - low) / 3, high - (high - low) / 3
        low, high = (low, two) if loss(one) <= loss(two) else (one, high)
    return loss((low + high) / 2), (low + high) / 2


def contrast_loss(real: Tensor, made: Tensor, ratio: float = RATIO) -> Tensor:
    """The logistic loss of scores in kT, of data (B,) and of noise (C,), which counts ``ratio`` times."""
    loss = nn.functional.softplus(-real.clamp(-CLAMP, CLAMP)).mean()
    return loss + ratio * nn.functional.softplus(made.clamp(-CLAMP, CLAMP)).mean()


def pool_size(frames: Frames) -> int:
    """How many noise frames to make; with too few, a network learns them by heart."""
    return int(min(POOL, max(10_000, min(SHARE * len(frames), POOL_COST / len(frames.beads) ** 2))))


def noise_frames(moves: TorsionMoves, frames: Frames, count: int, rng: Generator) -> Tensor:
    """(count, N, 3) nm: frames whose dihedrals and angles each come from another frame, all drawn by weight."""
    cumulative = torch.from_numpy(disk_arrays.running_sums(frames.probabilities))
    values, columns = torch.from_numpy(disk_arrays.empty((len(frames), len(moves)))), torch.arange(len(moves))
    for start in range(0, len(frames), 4000):
        values[start : start + 4000] = moves.values(_centred(frames.positions[start : start + 4000]))
        frames.release()
    made = []
    for start in range(0, count, 2000):
        size = min(2000, count - start)
        base = draw(cumulative, size, rng)
        donors = draw(cumulative, size * len(moves), rng).reshape(size, len(moves))
        at = _centred(disk_arrays.rows(frames.positions, base.numpy()))
        made.append(moves.placed(at, values[donors, columns]))
    return torch.cat(made)


def _centred(positions: np.ndarray) -> Tensor:
    x = torch.from_numpy(np.array(positions, np.float32))
    return x - x.mean(1, keepdim=True)
