"""Densities that overlap with the data and can be drawn from: mixtures of products.

    q(z) = sum_k share_k prod_m p_km(z_m)

over the dihedrals and angles z that a molecule can turn. Component 0 is the product of the marginals of all data. The
others stand for groups of frames that are alike, found by expectation maximisation (latent class analysis;
Goodman, Biometrika 61, 215 (1974)): within a group every coordinate is drawn on its own. A sharply folded state,
which shares next to nothing with the product of the marginals, has groups of its own. Further levels of each group
are mixed with the marginals of all data. Each p_km is a smoothed histogram, so that values can be drawn and densities
looked up exactly.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

GROUPS = (0, 4, 16, 64)  # numbers to choose from
BINS = 60  # of a coordinate
SMOOTH = (0.25, 0.5, 0.25)  # of a group's histograms, over neighbouring bins
BROAD = 0.05  # share of the marginals of all data in the histograms of a group as it is fitted
LEVELS = (0.0, 0.1, 0.3)  # further such shares; they reach from the groups to the product
ROUNDS = 30  # of expectation maximisation


def choose(values: Tensor, weights: Tensor, turns: int, check: tuple[Tensor, Tensor], rng: Generator) -> Mixture:
    """The mixture, out of several numbers of groups, that is most likely for values and weights left out of its fit."""
    tried = [Mixture(values, weights, turns, groups, rng) for groups in GROUPS]
    held, share = check
    scores = [float(share.double() @ one.log_density(held)) for one in tried]
    return tried[scores.index(max(scores))]


class Mixture:
    """Densities and samples of values z (B, M) radian, of which the first ``turns`` columns are periodic.

    Attributes:
        edges: (M, 2) the range of each coordinate.
        tables: (K + 1, M, BINS) probabilities of the bins; the first is that of all data.
        shares: (K + 1,).
    """

    def __init__(
        self,
        values: Tensor,
        weights: Tensor,
        turns: int,
        groups: int,
        rng: Generator,
        product: float = 0.3,
    ) -> None:
        """Fit to values (T, M) with weights (T,); ``product`` is the share of component 0."""
        values, weights = values.double(), weights.double() / weights.sum()
        low, high = _range(values, turns)
        self.low, self.width = low, (high - low) / BINS
        self.turns = turns
        coded = _rows(self._bins(values))
        whole, self.fit = self._smoothed(_counts(coded, weights[:, None]))[0], 0.0
        tables, shares = whole.new_zeros(0, *whole.shape), weights[:0]
        if groups:
            tables, shares = self._grouped(coded, weights, whole, groups, rng)
        product = product if groups else 1.0
        levels = [self._broad(tables, whole, level) for level in LEVELS]
        self.tables = torch.cat((whole[None], *levels))
        self.shares = torch.cat(
            (weights.new_tensor([product]), ((1 - product) / len(LEVELS) * shares).tile(len(LEVELS)))
        )
        self.cumulative = self.tables.cumsum(2)
        self.logarithms = torch.cat((_logarithms(self.tables), whole.new_zeros(1, len(self.shares))))  # last row: zero

    def _bins(self, values: Tensor) -> Tensor:
        return ((values.double() - self.low) / self.width).floor().long().clamp(0, BINS - 1)

    def _smoothed(self, tables: Tensor) -> Tensor:
        """(K, M, BINS), periodic in the dihedrals; sums to one."""
        side, middle, _ = SMOOTH
        padded = torch.cat((tables[:, :, :1], tables, tables[:, :, -1:]), 2)
        circle = tables[:, : self.turns]
        padded[:, : self.turns, 0], padded[:, : self.turns, -1] = circle[:, :, -1], circle[:, :, 0]
        out = side * padded[:, :, :-2] + middle * tables + side * padded[:, :, 2:]
        out = out + 1e-5 / BINS
        return out / out.sum(2, keepdim=True)

    def _grouped(self, coded: Tensor, weights: Tensor, whole: Tensor, groups: int, rng: Generator):
        """Tables (K, M, BINS) and shares (K,) by expectation maximisation, from random frames as the first centres."""
        cumulative = weights.cumsum(0)
        first = torch.searchsorted(cumulative, torch.rand(groups, generator=rng, dtype=torch.float64) * cumulative[-1])
        member = weights.new_zeros(len(weights), groups)
        member[first.clamp(max=len(weights) - 1), torch.arange(groups)] = 1
        tables = self._broad(self._smoothed(self._smoothed(_counts(coded, member))), whole, 0.5)
        shares = weights.new_full((groups,), 1 / groups)
        for _ in range(ROUNDS):
            score = _summed(coded, _logarithms(tables)) + shares.log()  # (T, K)
            self.fit = float(weights @ score.logsumexp(1))
            member = score.softmax(1) * weights[:, None]
            shares = (member.sum(0) + 1e-9) / (member.sum() + groups * 1e-9)
            tables = self._broad(self._smoothed(_counts(coded, member)), whole, BROAD)
        return tables, shares

    @staticmethod
    def _broad(tables: Tensor, whole: Tensor, share: float) -> Tensor:
        return (1 - share) * tables + share * whole

    def log_density(self, values: Tensor) -> Tensor:
        """(B, M) radian -> (B,) ln q, per radian each; below the range as at its end."""
        score = _summed(_rows(self._bins(values)), self.logarithms) + self.shares.log()
        return score.logsumexp(1) - self.width.log().sum()

    def covers(self, values: Tensor) -> Tensor:
        """(B, M) -> (B,) whether the density is above zero there."""
        away = (values - self.low) / self.width
        return ((away >= 0) & (away <= BINS)).all(1)

    def draw_given(self, values: Tensor, given: Tensor, rng: Generator) -> Tensor:
        """(B, M) radian drawn from q(z_b | the rest), where the rest are the values (B, M) that are ``given`` (B, M).

        What is given is drawn as well, to be overwritten.
        """
        rows = torch.where(given, _rows(self._bins(values)), len(self.logarithms) - 1)
        score = _summed(rows, self.logarithms) + self.shares.log()
        return self._within(torch.multinomial(score.softmax(1), 1, generator=rng)[:, 0], rng)

    def _within(self, group: Tensor, rng: Generator) -> Tensor:
        """(B, M) radian from the groups (B,)."""
        count = len(group)
        point = torch.rand(count, len(self.low), 2, generator=rng, dtype=torch.float64)
        out = []
        for one, chance in zip(group.split(4096), point.split(4096), strict=True):
            bins = (self.cumulative[one] < chance[..., :1] * self.cumulative[one][..., -1:]).sum(2).clamp(max=BINS - 1)
            out.append(self.low + (bins + chance[..., 1]) * self.width)
        return torch.cat(out)


def _range(values: Tensor, turns: int) -> tuple[Tensor, Tensor]:
    """(M,) and (M,): the whole circle for dihedrals, what was seen and a little more for angles."""
    low, high = values.amin(0), values.amax(0)
    margin = 0.02 * (high - low) + 1e-3
    low, high = low - margin, (high + margin).clamp(max=math.pi - 1e-3)
    low[:turns], high[:turns] = -math.pi, math.pi
    return low.clamp(min=-math.pi), high


def _rows(bins: Tensor) -> Tensor:
    """(T, M) bin numbers -> rows of a table (M BINS, K)."""
    return bins + BINS * torch.arange(bins.shape[1])


def _logarithms(tables: Tensor) -> Tensor:
    """(K, M, BINS) -> (M BINS, K)."""
    return tables.log().flatten(1).T.contiguous()


def _summed(rows: Tensor, table: Tensor) -> Tensor:
    """(T, M) rows of a table (R, K) -> (T, K), the sum of those of each conformation."""
    return torch.nn.functional.embedding_bag(rows, table, mode="sum")


def _counts(rows: Tensor, member: Tensor) -> Tensor:
    """Memberships (T, K) -> (K, M, BINS) histograms that sum to one each."""
    total = member.new_zeros(BINS * rows.shape[1], member.shape[1])
    for column in rows.T:
        total.index_add_(0, column, member)
    tables = total.T.reshape(member.shape[1], -1, BINS) + 1e-12
    return tables / tables.sum(2, keepdim=True)
