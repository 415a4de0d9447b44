"""Networks of the steppers: a trunk that runs once a jump, heads of the soft angles, a Gaussian of the stiff rest."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.models.steppers import _wrapped_normal

TAIL = 96  # width of the network of the stiff coordinates
FEW, MOST_DROPOUT = 50_000, 0.5  # frames below which the network of the stiff coordinates gets dropout, and its bound
STIFF = 0.1  # weight of the stiff coordinates in the loss, and so in the choice of the best weights on held-out runs
HARMONICS = 2  # sine and cosine of x and of 2 x
ROOT2 = math.sqrt(2)
EDGE = 1 - 1e-7  # erfinv of it is finite in float32


def waves(angles: Tensor, harmonics: int = HARMONICS) -> Tensor:
    """(B, D) radians -> (B, 2 harmonics D), all of one coordinate side by side."""
    multiples = angles.unsqueeze(-1) * torch.arange(1, harmonics + 1, device=angles.device, dtype=angles.dtype)
    return torch.cat([multiples.cos(), multiples.sin()], -1).flatten(1)


class Trunk(nn.Module):
    """A residual network: (B, inputs), and what is added to its first layer (B, width) -> (B, width)."""

    def __init__(self, inputs: int, width: int, blocks: int):
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.LayerNorm(width)

    def forward(self, x: Tensor, added: Tensor | float = 0.0) -> Tensor:
        x = self.first(x) + added
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


class Heads(nn.Module):
    """Mixture parameters of D circular coordinates, each given the context and the coordinates before it.

    p(y | c) = prod_d p(y_d | y_<d, c), as in MADE (Germain et al. 2015), but instead of one masked network that must
    run D times, every coordinate has its own two-layer head on the shared context. In training all heads run as
    batched products; in sampling the context part is computed once, and each head is three small products. A head sees
    at most ``window`` coordinates before its own, so that time and weights grow in proportion to the chain.

    Half of the K components are centred relative to where the coordinate is now, half anywhere on the circle.

    The last ``lags`` numbers of the context say how long the jump is. They also scale the last hidden layer, and move
    the weights of the components directly: the odds of a rare hop grow in proportion to the lag, those of others by
    other laws. Such hops decide the slow kinetics but hardly the likelihood, and without these paths their rates at
    short lags were learned two to four times too high.
    """

    def __init__(self, coordinates: int, context: int, hidden: int, mixtures: int, window: int, lags: int = 0):
        super().__init__()
        count, self.each = coordinates, 2 * HARMONICS
        self.count, self.hidden, self.mixtures = count, hidden, mixtures
        self.seen = self.each * max(1, min(window, count - 1))  # numbers that a head sees of the coordinates before
        self.near = mixtures // 2  # components that are centred relative to now
        self.from_context = nn.Linear(context, count * hidden)
        self.from_before = nn.Parameter(torch.randn(count, self.seen, hidden) / math.sqrt(self.seen + self.each))
        self.middle = nn.Parameter(torch.randn(count, hidden, hidden) / math.sqrt(hidden))
        self.middle_bias = nn.Parameter(torch.zeros(count, 1, hidden))
        self.out = nn.Parameter(torch.randn(count, hidden, 3 * mixtures) * 0.1 / math.sqrt(hidden))
        self.out_bias = nn.Parameter(torch.zeros(count, 1, 3 * mixtures))
        self.moved_by_lag = nn.Parameter(torch.zeros(count, lags, mixtures))
        self.scaled_by_lag = nn.Parameter(torch.zeros(count, lags, hidden))
        ks = torch.arange(1.0, HARMONICS + 1)
        self.register_buffer("multiples", torch.cat([ks, ks]), persistent=False)  # sin(k x + shift) is ``waves``
        self.register_buffer("shifts", torch.cat([ks * 0 + math.pi / 2, ks * 0]), persistent=False)

    def set_centres(self, centres: Tensor, scale: float) -> None:
        """Where the absolute components begin: (D, K - near) radians."""
        with torch.no_grad():
            self.out_bias[:, 0, self.mixtures + self.near : 2 * self.mixtures] = centres
            self.out_bias[:, 0, 2 * self.mixtures :] = math.log(scale)

    def _origin(self, now: Tensor) -> Tensor:
        """(B, D) -> (B, D, K): what the centres are relative to."""
        near = torch.arange(self.mixtures, device=now.device) < self.near
        return now.unsqueeze(-1) * near.to(now.dtype)

    def _split(self, context: Tensor) -> Tensor:
        """(B, C) -> (D, B, H): what each head hears of the context."""
        return self.from_context(context).view(-1, self.count, self.hidden).transpose(0, 1).contiguous()

    def _by_lag(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C) -> what the lag adds to the weights of the components, (D, B, K), and factors (D, B, H)."""
        lag = context[:, context.shape[1] - self.moved_by_lag.shape[1] :]
        return lag @ self.moved_by_lag, 1 + lag @ self.scaled_by_lag

    def log_density(self, context: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """(B, C), (B, D) and (B, D) radians -> (B, D) log densities of the coordinates of ``later``."""
        padded = nn.functional.pad(waves(later), (self.seen, 0))
        before = padded.unfold(1, self.seen, self.each)[:, : self.count].transpose(0, 1)  # (D, B, seen)
        x = nn.functional.silu(torch.baddbmm(self._split(context), before, self.from_before))
        x = x + nn.functional.silu(torch.baddbmm(self.middle_bias, x, self.middle))
        moved, scaled = self._by_lag(context)
        logits, centre, log_scale = torch.baddbmm(self.out_bias, x * scaled, self.out).transpose(0, 1).chunk(3, -1)
        logits = logits + moved.transpose(0, 1)
        return _wrapped_normal.log_density(
            later, logits, centre + self._origin(now), log_scale.clamp(*_wrapped_normal.LOG_SCALES)
        )

    def draw(self, context: Tensor, now: Tensor, gumbel: Tensor, normal: Tensor) -> Tensor:
        """(B, C), (B, D) radians, Gumbel noise (B, D, K) and normal numbers (B, D) -> (B, D) radians, not wrapped."""
        each, seen, mixtures = self.each, self.seen, self.mixtures
        moved, scaled = self._by_lag(context)
        drawn = []
        known = now.new_zeros(len(now), seen + each * self.count)
        parts = (self._split(context), self.from_before, self.middle, self.middle_bias, self.out, self.out_bias)
        noise = (gumbel.transpose(0, 1) + moved, scaled, normal.T.unsqueeze(-1), self._origin(now).transpose(0, 1))
        heads = zip(*(part.unbind(0) for part in (*parts, *noise)), strict=True)  # one view a part is cheaper than many
        for begin, (x, before, middle, middle_bias, out, bias, choice, factor, step, origin) in enumerate(heads):
            begin *= each
            x = nn.functional.silu(torch.addmm(x, known[:, begin : begin + seen], before), inplace=True)
            x = nn.functional.silu(torch.addmm(middle_bias, x, middle), inplace=True).add_(x)
            logits, centre, log_scale = torch.addmm(bias, x * factor, out).split(mixtures, -1)
            chosen = (logits + choice).argmax(-1, keepdim=True)
            scale = log_scale.gather(1, chosen).clamp_(*_wrapped_normal.LOG_SCALES).exp_()
            angle = (centre + origin).gather(1, chosen).addcmul_(scale, step)
            drawn.append(angle)
            torch.addcmul(self.shifts, angle, self.multiples, out=known[:, begin + seen : begin + seen + each]).sin_()
        return torch.cat(drawn, 1)


class Tail(nn.Module):
    """A correlated Gaussian of the stiff coordinates given the soft coordinates that were drawn.

    Means and scales of the coordinates come from a network and are bounded. Their correlations are those of a constant
    triangular factor and, before it, of a few *stretches* of the whitened noise n along directions g that the network
    gives, n + g (f(a) - a) with a = g . n and f(a) = exp(t) (sinh(arsinh(a) + s) - sinh(s)), which has another slope on
    either side of zero (cf. Jones and Pewsey 2009): where the chain folds back on itself, the stiff coordinates move
    together so that its ends keep their contact, and a contact is steeper on one side. Inverse and slope are exact.
    In log density and in sampling the noise is truncated at ``LIMIT`` standard deviations.
    """

    LIMIT = 5.0  # standard deviations of the noise
    REACH = 4.0  # bound of the mean, in standard deviations of the training data
    MOST = 2.0  # bound of t
    SKEW = 1.5  # bound of s

    def __init__(self, coordinates: int, given: int, hidden: int, stretches: int = 4):
        super().__init__()
        self.count, self.stretches, self.hidden = coordinates, stretches, hidden
        self.dropout = 0.0  # in training only
        self.network = Trunk(given, hidden, 1)
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
        self.dropout = min(MOST_DROPOUT, max(0.0, 0.2 * (FEW / len(codes) - 1)))

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

    def _whitener(self) -> Tensor:
        return self.lower.tril(-1) + self.log_diagonal.exp().diag()

    def _parameters_at(self, given: Tensor, kept: Tensor | float = 1.0) -> tuple[Tensor, ...]:
        """Mean and log scale (B, D), directions (B, S, D) of length one, log factors t and skews s (B, S)."""
        hidden = nn.functional.silu(self.network(given)) * kept
        mean, log_scale = self.last(hidden).chunk(2, -1)
        along = nn.functional.normalize(self.along(hidden).view(-1, self.stretches, self.count), dim=-1)
        factor, skew = self.factors(hidden).chunk(2, -1)
        factor, skew = self.MOST * torch.tanh(factor / self.MOST), self.SKEW * torch.tanh(skew / self.SKEW)
        return self.REACH * torch.tanh(mean / self.REACH), 0.7 * torch.tanh(log_scale), along, factor, skew

    def log_density(self, given: Tensor, later: Tensor, kept: Tensor | float = 1.0) -> Tensor:
        """(B, G), (B, D) -> (B,) nats; outside the truncation it goes on as if there were none. ``kept`` (B, H) is
        dropout of the hidden layer, for training."""
        mean, log_scale, along, factor, skew = self._parameters_at(given, kept)
        noise = ((later - mean) * torch.exp(-log_scale)) @ self._whitener().T
        volume = self.log_diagonal.sum() - log_scale.sum(-1)
        for g, t, s in zip(along.unbind(1), factor.unbind(1), skew.unbind(1), strict=True):
            a = (g * noise).sum(-1)
            turned = torch.asinh(a) + s
            stretched = torch.exp(t) * (torch.sinh(turned) - torch.sinh(s))
            volume = volume + t + torch.log(torch.cosh(turned)) - 0.5 * torch.log1p(a.square())
            noise = noise + g * (stretched - a).unsqueeze(-1)
        constant = self.count * (_wrapped_normal.LOG_ROOT_2PI + math.log(math.erf(self.LIMIT / ROOT2)))
        return volume - 0.5 * noise.square().sum(-1) - constant

    def draw(self, given: Tensor, uniform: Tensor) -> Tensor:
        """(B, G) and uniform numbers (B, D) -> (B, D)."""
        mean, log_scale, along, factor, skew = self._parameters_at(given)
        inside = math.erf(self.LIMIT / ROOT2)
        noise = ROOT2 * torch.erfinv(((2 * uniform - 1) * inside).clamp(-EDGE, EDGE))
        shift, shrink = torch.sinh(skew), torch.exp(-factor)
        for k in reversed(range(self.stretches)):
            g = along[:, k]
            a = (g * noise).sum(-1)
            before = torch.sinh(torch.asinh(a * shrink[:, k] + shift[:, k]) - skew[:, k])
            noise = noise + g * (before - a).unsqueeze(-1)
        rest = torch.linalg.solve_triangular(self._whitener(), noise.T, upper=False).T
        return mean + torch.exp(log_scale) * rest
