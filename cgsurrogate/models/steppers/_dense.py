"""Networks of a stepper of one molecule: encoder, heads of the soft angles, Gaussian of the stiff rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.models.steppers import _wrapped_normal
from cgsurrogate.models.steppers._conditional_gaussian import (
    MOST,
    REACH,
    SKEW,
    ConditionalGaussian,
    Stretch,
    bounded,
    dropout,
)
from cgsurrogate.models.steppers._heads import EACH, MixtureHeads, Noise, Weights

WIDTH = 96  # of the network of the stiff coordinates


class DenseEncoder(nn.Module):
    """A residual network: (B, inputs) -> (B, width)."""

    def __init__(self, inputs: int, width: int, blocks: int):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


class CoordinateHeads(MixtureHeads):
    """A head for each of D coordinates of one molecule, on a context that all share.

    The last ``lags`` numbers of the context say how long the jump is. They also scale the last hidden layer, and move
    the weights of the components directly: the odds of a rare hop grow in proportion to the lag, those of others by
    other laws. Such hops decide the slow kinetics but hardly the likelihood, and without these paths their rates at
    short lags were learned two to four times too high.
    """

    def __init__(self, coordinates: int, context: int, hidden: int, mixtures: int, window: int, lags: int = 0):
        count = coordinates
        super().__init__(max(1, min(window, count - 1)), mixtures)
        self.count, self.hidden = count, hidden
        self.from_context = nn.Linear(context, count * hidden)
        self.from_before = nn.Parameter(torch.randn(count, self.seen, hidden) / math.sqrt(self.seen + EACH))
        self.middle = nn.Parameter(torch.randn(count, hidden, hidden) / math.sqrt(hidden))
        self.middle_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.out = nn.Parameter(torch.randn(count, hidden, 3 * mixtures) * 0.1 / math.sqrt(hidden))
        self.out_bias = nn.Parameter(torch.zeros(count, 1, 3 * mixtures))
        self.moved_by_lag = nn.Parameter(torch.zeros(count, lags, mixtures))
        self.scaled_by_lag = nn.Parameter(torch.zeros(count, lags, hidden))

    def set_centres(self, angles: Tensor) -> None:
        """Begin with the distribution of angles (T, D) in radian."""
        for d in range(self.count):  # one by one: all at once would need much memory for long chains
            self._begin(self.out_bias[d, 0], angles[:, d])

    @torch.no_grad()
    def set_odds(self, shortest: Sequence[Tensor], longest: Sequence[Tensor]) -> None:
        """Begin with the odds of moves, from pairs now and later, (T, D) radian each, at the ends of the lags.

        A component of weight 0.001 is far from where training begins by nats, and hardly shows in the loss. So hops to
        rare basins begin as often as in the data, at either end; in between their odds are a power of the lag.
        """
        begin, end = self._fitted_logits(*shortest), self._fitted_logits(*longest)
        self.out_bias[:, 0, : self.mixtures] = begin.to(self.out_bias)
        self.moved_by_lag[:, 0] = (end - begin).to(self.out_bias)  # its input is 0 at the shortest, 1 at the longest

    def _fitted_logits(self, now: Tensor, later: Tensor) -> Tensor:
        """(T, D) radian twice -> (D, K)."""
        _, centres, log_scales = self.out_bias[:, 0].to(now).chunk(3, -1)
        found = []
        for d in range(self.count):
            centre = centres[d] + self._origin(now[:, d])
            each = _wrapped_normal.log_density_of_each(later[:, d], centre, log_scales[d])
            found.append(_wrapped_normal.fitted_logits(each))
        return torch.stack(found)

    def _weights(self, context: Tensor) -> Weights:
        own = self.from_context(context).view(-1, self.count, self.hidden).transpose(0, 1).contiguous()
        return Weights(own, self.from_before, self.middle, self.middle_bias, self.out, self.out_bias)

    def _by_lag(self, context: Tensor) -> tuple[Tensor, Tensor]:
        lag = context[:, context.shape[1] - self.moved_by_lag.shape[1] :]
        return lag @ self.moved_by_lag, 1 + lag @ self.scaled_by_lag

    def log_density(self, context: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """(B, C), (B, D) and (B, D) radians -> (B, D) log densities of the coordinates of ``later``."""
        return self._density(self._weights(context), now, later, self._by_lag(context))

    def draw(self, context: Tensor, now: Tensor, gumbel: Tensor, normal: Tensor) -> Tensor:
        """(B, C), (B, D) radians, Gumbel noise (B, D, K) and normal numbers (B, D) -> (B, D) radians, not wrapped."""
        moved, scaled = self._by_lag(context)
        return self._drawn(self._weights(context), now, Noise(gumbel.transpose(0, 1) + moved, normal, scaled))


class DenseGaussian(ConditionalGaussian[Tensor]):
    """Of the D stiff coordinates of one molecule, by a network of what is given, (B, G)."""

    def __init__(self, coordinates: int, given: int, hidden: int = WIDTH, stretches: int = 4):
        super().__init__()
        self.count, self.stretches, self.hidden = coordinates, stretches, hidden
        self.dropout = 0.0  # in training only
        self.network = DenseEncoder(given, hidden, 1)
        self.last = nn.Linear(hidden, 2 * coordinates)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.along = nn.Linear(hidden, stretches * coordinates)
        nn.init.normal_(self.along.weight, std=0.02)
        nn.init.normal_(self.along.bias)
        self.factors = nn.Linear(hidden, 2 * stretches)
        nn.init.zeros_(self.factors.bias)
        self.lower = nn.Parameter(torch.zeros(coordinates, coordinates))  # of the inverse Cholesky factor
        self.log_diagonal = nn.Parameter(torch.zeros(coordinates))

    def begin(self, codes: Tensor, weights: Tensor) -> None:
        """Start values, and how much dropout so few frames need, from (T, D) with weights (T, 1) that sum to one."""
        self.set_covariance((weights * codes).T @ codes + 1e-4 * torch.eye(codes.shape[1], dtype=codes.dtype))
        self.dropout = dropout(len(codes))

    def kept(self, count: int, rng: Generator) -> Tensor | float:
        """Dropout for ``log_density`` of so many rows in training; one otherwise."""
        if not (self.training and self.dropout):
            return 1.0
        drawn = torch.rand(count, self.hidden, generator=rng, dtype=self.lower.dtype) >= self.dropout
        return drawn.to(self.lower) / (1 - self.dropout)

    def set_covariance(self, covariance: Tensor) -> None:
        """Begin with the (D, D) covariance of the training data."""
        factor = torch.linalg.inv(torch.linalg.cholesky(covariance.double())).to(self.lower.dtype)
        with torch.no_grad():
            self.lower.copy_(factor.tril(-1))
            self.log_diagonal.copy_(factor.diagonal().log())
            self.factors.weight.zero_()

    def _whitener(self, given: Tensor) -> tuple[Tensor, Tensor]:
        return self.lower.tril(-1) + self.log_diagonal.exp().diag(), self.log_diagonal

    def _parameters_at(self, given: Tensor, kept: Tensor | float) -> tuple[Tensor, Tensor, list[Stretch]]:
        hidden = nn.functional.silu(self.network(given)) * kept
        mean, log_scale = self.last(hidden).chunk(2, -1)
        along = nn.functional.normalize(self.along(hidden).view(-1, self.stretches, self.count), dim=-1)
        factor, skew = self.factors(hidden).unsqueeze(-1).chunk(2, 1)  # (B, stretches, 1)
        parts = along, bounded(factor, MOST), bounded(skew, SKEW)
        stretches = [Stretch(*of) for of in zip(*(part.unbind(1) for part in parts), strict=True)]
        return bounded(mean, REACH), 0.7 * torch.tanh(log_scale), stretches
