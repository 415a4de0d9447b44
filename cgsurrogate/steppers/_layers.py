"""The networks of the autoregressive stepper: a trunk that runs once a jump, and one small head a coordinate."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cgsurrogate.steppers import _circle

HARMONICS = 2  # sine and cosine of x and of 2 x
LOG_SCALES = (-4.0, 2.0)  # of a mixture component, log radians


def waves(angles: Tensor, harmonics: int = HARMONICS) -> Tensor:
    """(B, D) radians -> (B, 2 harmonics D), all of one coordinate side by side."""
    multiples = angles.unsqueeze(-1) * torch.arange(1, harmonics + 1, device=angles.device, dtype=angles.dtype)
    return torch.cat([multiples.cos(), multiples.sin()], -1).flatten(1)


class Trunk(nn.Module):
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


class Heads(nn.Module):
    """Mixture parameters of D circular coordinates, each given the context and the coordinates before it.

    p(y | c) = prod_d p(y_d | y_<d, c), as in MADE (Germain et al. 2015), but instead of one masked network that must
    run D times, every coordinate has its own two-layer head on the shared context. In training all heads run as
    batched products; in sampling the context part is computed once, and each head is three small products.

    Half of the K components are centred relative to where the coordinate is now, half anywhere on the circle.
    """

    def __init__(self, coordinates: int, context: int, hidden: int, mixtures: int):
        super().__init__()
        count, waves_each = coordinates, 2 * HARMONICS
        self.count, self.hidden, self.mixtures = count, hidden, mixtures
        self.near = mixtures // 2  # components that are centred relative to now
        self.from_context = nn.Linear(context, count * hidden)
        self.from_before = nn.Parameter(torch.randn(count, count * waves_each, hidden) * 0.5 / math.sqrt(count + 1))
        self.middle = nn.Parameter(torch.randn(count, hidden, hidden) / math.sqrt(hidden))
        self.middle_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.out = nn.Parameter(torch.randn(count, hidden, 3 * mixtures) * 0.1 / math.sqrt(hidden))
        self.out_bias = nn.Parameter(torch.zeros(count, 1, 3 * mixtures))
        mask = torch.ones(count, count).tril(-1)  # coordinate d sees those before it
        mask = mask.repeat_interleave(waves_each, 1).unsqueeze(-1)
        self.register_buffer("mask", mask, persistent=False)

    def set_centres(self, centres: Tensor, scale: float) -> None:
        """Where the absolute components begin: (D, K - near) radians."""
        with torch.no_grad():
            self.out_bias[:, 0, self.mixtures + self.near : 2 * self.mixtures] = centres
            self.out_bias[:, 0, 2 * self.mixtures :] = math.log(scale)

    def _parameters_of(self, raw: Tensor, now: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, centre, log_scale = raw.chunk(3, -1)
        centre = torch.cat([centre[..., : self.near] + now.unsqueeze(-1), centre[..., self.near :]], -1)
        return logits, centre, log_scale.clamp(*LOG_SCALES)

    def _split(self, context: Tensor) -> Tensor:
        """(B, C) -> (D, B, H): what each head hears of the context."""
        return self.from_context(context).view(-1, self.count, self.hidden).transpose(0, 1).contiguous()

    def log_density(self, context: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """(B, C), (B, D) and (B, D) radians -> (B, D) log densities of the coordinates of ``later``."""
        x = nn.functional.silu(self._split(context) + waves(later) @ (self.from_before * self.mask))
        x = x + nn.functional.silu(torch.baddbmm(self.middle_bias, x, self.middle))
        raw = torch.baddbmm(self.out_bias, x, self.out).transpose(0, 1)
        return _circle.log_density(later, *self._parameters_of(raw, now))

    def draw(self, context: Tensor, now: Tensor, uniform: Tensor) -> Tensor:
        """(B, C), (B, D) radians and uniform numbers (B, D, 2) -> (B, D) radians."""
        each, batch = 2 * HARMONICS, len(now)
        first = self._split(context)
        drawn = now.new_empty(self.count, batch)
        known = now.new_empty(batch, each * self.count)
        for d in range(self.count):
            x = nn.functional.silu(torch.addmm(first[d], known[:, : each * d], self.from_before[d, : each * d]))
            x = x + nn.functional.silu(torch.addmm(self.middle_bias[d], x, self.middle[d]))
            logits, *rest = torch.addmm(self.out_bias[d], x, self.out[d]).chunk(3, -1)
            chosen = _circle.pick(logits, uniform[:, d, :1])
            centre, log_scale = (part.gather(-1, chosen).squeeze(-1) for part in rest)
            centre = torch.where(chosen.squeeze(-1) < self.near, centre + now[:, d], centre)
            drawn[d] = _circle.draw(centre, log_scale.clamp(*LOG_SCALES), uniform[:, d, 1])
            known[:, each * d : each * (d + 1)] = waves(drawn[d, :, None])
        return drawn.T


class Tail(nn.Module):
    """A correlated Gaussian of the stiff coordinates given the context and the soft coordinates that were drawn.

    The mean and the scale of each coordinate come from a network, both bounded; the correlations (of the whitened rest)
    are constant. In log density and in sampling the noise is truncated at ``LIMIT`` standard deviations.
    """

    LIMIT = 5.0  # standard deviations of the noise
    REACH = 4.0  # bound of the mean, in standard deviations of the training data

    def __init__(self, coordinates: int, context: int, given: int, hidden: int):
        super().__init__()
        self.count = coordinates
        self.first = nn.Linear(context + given, hidden)
        self.last = nn.Linear(hidden, 2 * coordinates)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.lower = nn.Parameter(torch.zeros(coordinates, coordinates))  # of the inverse Cholesky factor
        self.log_diagonal = nn.Parameter(torch.zeros(coordinates))

    def set_covariance(self, covariance: Tensor) -> None:
        """Begin with the (D, D) covariance of the training data."""
        factor = torch.linalg.inv(torch.linalg.cholesky(covariance.double())).to(self.lower.dtype)
        with torch.no_grad():
            self.lower.copy_(factor.tril(-1))
            self.log_diagonal.copy_(factor.diagonal().log())

    def _whitener(self) -> Tensor:
        return self.lower.tril(-1) + self.log_diagonal.exp().diag()

    def _mean_and_log_scale(self, context: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        raw = self.last(nn.functional.silu(self.first(torch.cat([context, given], -1))))
        mean, log_scale = raw.chunk(2, -1)
        return self.REACH * torch.tanh(mean / self.REACH), 0.7 * torch.tanh(log_scale)

    def log_density(self, context: Tensor, given: Tensor, later: Tensor) -> Tensor:
        """(B, C), (B, G), (B, D) -> (B,) nats; outside the truncation it goes on as the Gaussian."""
        mean, log_scale = self._mean_and_log_scale(context, given)
        noise = ((later - mean) * torch.exp(-log_scale)) @ self._whitener().T
        constant = self.count * (_circle.LOG_ROOT_2PI + math.log(math.erf(self.LIMIT / _circle.ROOT2)))
        return self.log_diagonal.sum() - 0.5 * noise.square().sum(-1) - log_scale.sum(-1) - constant

    def draw(self, context: Tensor, given: Tensor, uniform: Tensor) -> Tensor:
        """(B, C), (B, G) and uniform numbers (B, D) -> (B, D)."""
        mean, log_scale = self._mean_and_log_scale(context, given)
        inside = math.erf(self.LIMIT / _circle.ROOT2)
        noise = _circle.ROOT2 * torch.erfinv(((2 * uniform - 1) * inside).clamp(-_circle.EDGE, _circle.EDGE))
        rest = torch.linalg.solve_triangular(self._whitener(), noise.T, upper=False).T
        return mean + torch.exp(log_scale) * rest
