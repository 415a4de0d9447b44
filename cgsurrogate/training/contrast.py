"""Noise-contrastive estimation (Gutmann & Hyvarinen, J. Mach. Learn. Res. 13, 307 (2012)): populations, no sampling.

The noise q has a density that is known and overlaps with the data (``noise.Mixture``): frames turned to dihedrals and
angles drawn from it. Telling data from noise teaches a network the ratio of the two densities,

    ln p(x) / q(x) = -(U_network(x) + U_priors(x)) / kT + ln volume(x) - ln q(x) + level.

Bonds and impropers are those of frames in data and noise alike, so that neither they nor their priors tell the two
apart. So the populations of states that no short simulation connects come straight from the data.

The logistic loss sees a frame of noise that is e^20 times too likely as an error of 20, while it ruins the
partition function. With noise that counts ``WEIGHT`` times as much as data the loss is near maximum likelihood, and
such frames are searched for (``renewed``).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.energy import Energy, Sum
from cgsurrogate.fast import Forces
from cgsurrogate.frames import Frames
from cgsurrogate.training.moves import Moves
from cgsurrogate.training.noise import Mixture, choose

POOL = 20_000  # noise frames at a time
OWN, OWN_GROUPS, OWN_SHARE = 6000, 32, 0.25  # noise after the energy itself: samples, groups, share
LEAST = 300  # effective samples of it
LEFT_OUT = 0.2  # share of the frames, by whole runs, on which the number of groups is chosen
WEIGHT = 50.0  # of noise against data


class Levelled(nn.Module):
    """Networks with the free constant of their energy, which contrast needs and nothing else."""

    def __init__(self, networks: Energy):
        super().__init__()
        self.networks = networks
        self.level = nn.Parameter(torch.zeros(()))


class Contrast(nn.Module):
    """The logistic loss of telling batches of data (B, N, 3) nm from as many noise frames."""

    def __init__(self, moves: Moves, priors: Sum, frames: Frames, rng: Generator, ratio: int = 2, pool: int = POOL):
        super().__init__()
        self.kT, self.ratio, self.moves = frames.kT, ratio, moves
        # in a list: a part of the loss, not a module that is trained with it
        self.priors = [Sum(*(term for term in priors.terms if _turned(term, moves)))]
        self.density, self.frames, self.pool = density(moves, frames, rng), frames, pool
        self._fill(rng)

    @torch.no_grad()
    def renewed(self, module: Levelled, rng: Generator, widen: bool = True) -> None:
        """New noise that looks where the energy is low now, so that minima where there are no data are noticed.

        ``widen``: noise frames are drawn again by exp(-U/kT) / q, at a higher temperature where that leaves too few of
        them, and a mixture fitted to these joins the noise. Its density remains known, so contrast remains exact. Then
        frames that count much are drawn often, and their weight is lowered by as much.
        """
        if widen:
            self._widen(self._scores(module) - module.level, rng)
        self._fill(rng)
        slope = torch.sigmoid(self._scores(module) - math.log(WEIGHT))
        self.chance = 0.5 / self.pool + 0.5 * (slope + 1e-12) / (slope + 1e-12).sum()
        self.undone = (1 / (self.pool * self.chance)).float()

    def _scores(self, module: Levelled) -> Tensor:
        energies = Forces(module.networks).energies
        energy = torch.cat([energies(block) for block in self.noise.split(4000)])
        return (self.noise_known - energy / self.kT + module.level).double()

    def _widen(self, logarithms: Tensor, rng: Generator) -> None:
        weights = _flattened(logarithms)
        chosen = torch.multinomial(weights, OWN, replacement=True, generator=rng)
        values = torch.cat([self.moves.values(block) for block in self.noise[chosen].split(4000)])
        equal = torch.full((OWN,), 1 / OWN, dtype=torch.float64)
        own = Mixture(values, equal, self.moves.turns, OWN_GROUPS, rng, product=0.1, like=self.density)
        self.density = self.density.joined(own, OWN_SHARE)

    def _fill(self, rng: Generator) -> None:
        self.offset = 0.0
        self.noise = made(self.moves, self.frames, self.density, self.pool, rng)
        self.noise_known = torch.cat([self.known(block) for block in self.noise.split(1000)])
        self.offset = float(self.noise_known.logsumexp(0)) - math.log(self.pool)  # the priors alone are normalised
        self.noise_known -= self.offset
        self.chance = torch.full((self.pool,), 1 / self.pool, dtype=torch.float64)
        self.undone = torch.ones(self.pool)

    @torch.no_grad()
    def known(self, x: Tensor) -> Tensor:
        """(B,) ln of the density of the priors over that of the noise."""
        values = self.moves.values(x)
        volume = values[:, self.moves.turns :].sin().clamp(min=1e-6).log().sum(1)
        return (volume - self.density.log_density(values) - self.priors[0](x) / self.kT).float() - self.offset

    def forward(self, module: Levelled, batch: tuple[Tensor, ...], rng: Generator) -> Tensor:
        data = batch[0]
        chosen = torch.multinomial(self.chance, self.ratio * len(data), replacement=True, generator=rng)
        noise = self.noise[chosen]
        scores = -module.networks(torch.cat((data, noise))) / self.kT + module.level
        real, made = (scores + torch.cat((self.known(data), self.noise_known[chosen]))).split([len(data), len(noise)])
        margin = math.log(WEIGHT)
        loss = nn.functional.softplus(margin - real).mean()
        return loss + WEIGHT * (self.undone[chosen] * nn.functional.softplus(made - margin)).mean()


def _flattened(logarithms: Tensor, least: int = LEAST) -> Tensor:
    """Probabilities by these logarithms (B,), scaled down as far as it takes for ``least`` effective samples (Kish)."""
    low, high = 0.0, 1.0
    scale = 1.0
    for _ in range(30):
        weights = (scale * (logarithms - logarithms.max())).exp()
        enough = float(weights.sum().square() / weights.square().sum()) >= least
        if enough and scale == 1.0:
            break
        low, high = (scale, high) if enough else (low, scale)
        scale = (low + high) / 2
    return weights / weights.sum()


def _turned(term: Energy, moves: Moves) -> bool:
    """Whether a prior takes part: not where it inverts coordinates that data and noise share, such as bonds."""
    turned = {tuple(row) for rows in (moves.turn_rows, moves.bend_rows) for row in rows}
    return not getattr(term, "marginal", False) or {tuple(row) for row in getattr(term, "rows", ())} <= turned


def density(moves: Moves, frames: Frames, rng: Generator) -> Mixture:
    """The mixture that suits runs left out of its fit."""
    kept, held = ((all_values(moves, part), torch.from_numpy(part.probabilities)) for part in frames.split(LEFT_OUT, 0))
    return choose(*kept, moves.turns, held, rng)


def made(moves: Moves, frames: Frames, density: Mixture, count: int, rng: Generator) -> Tensor:
    """(count, N, 3) nm: frames drawn by weight, turned to dihedrals and angles drawn from ``density``."""
    cumulative = torch.from_numpy(np.cumsum(frames.probabilities))
    out = []
    for wanted in density.draw(count, rng).float().split(2000):
        point = torch.rand(len(wanted), generator=rng, dtype=torch.float64) * cumulative[-1]
        x = _positions(frames, torch.searchsorted(cumulative, point).clamp(max=len(cumulative) - 1))
        out.append(moves.placed(x, wanted))
    return torch.cat(out)


def all_values(moves: Moves, frames: Frames) -> Tensor:
    """(T, M) radian."""
    return torch.cat([moves.values(_positions(frames, part)) for part in torch.arange(len(frames)).split(4000)])


def _positions(frames: Frames, index: Tensor) -> Tensor:
    x = torch.from_numpy(np.array(frames.positions[index.numpy()], np.float32))
    return x - x.mean(1, keepdim=True)
