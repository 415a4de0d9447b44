"""Heads of the soft angles: mixtures on the circle, each given the context and the angles drawn before it.

    p(y | c) = prod_d p(y_d | y_<d, c)

as in MADE (Germain et al. 2015), but instead of one masked network that must run D times, every angle has a two-layer
head of its own. In training all heads run as batched products; in sampling the part of the context is computed once,
and each head is three small products. A head sees at most ``window`` angles before its own, so that time and weights
grow in proportion to the chain. Half of the K components of a mixture are centred relative to where the angle is now,
half anywhere on the circle.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cgsurrogate.models.steppers import _wrapped_normal

HARMONICS = 2  # sine and cosine of x and of 2 x
EACH = 2 * HARMONICS  # numbers by which an angle is seen
NEAR = (0.06, 0.7)  # radian, least and largest width of components around where the angle is now, to begin with
ENOUGH = 5000  # frames to place the components of mixtures to begin with


def waves(angles: Tensor, harmonics: int = HARMONICS) -> Tensor:
    """(B, D) radians -> (B, 2 harmonics D), all of one coordinate side by side."""
    multiples = angles.unsqueeze(-1) * torch.arange(1, harmonics + 1, device=angles.device, dtype=angles.dtype)
    return torch.cat([multiples.cos(), multiples.sin()], -1).flatten(1)


class Weights(NamedTuple):
    """What D heads are made of; first the context as each hears it (D, B, H)."""

    context: Tensor
    before: Tensor  # (D, window EACH, H)
    middle: Tensor  # (D, H, H)
    middle_bias: Tensor  # (D, 1, H)
    out: Tensor  # (D, H, 3 K)
    out_bias: Tensor  # (D, 1, 3 K)


class Noise(NamedTuple):
    """All that D heads draw from, and what the lag does to them."""

    gumbel: Tensor  # (D, B, K), with what is added to the weights of the components
    normal: Tensor  # (B, D)
    factors: Tensor | None = None  # (D, B, H) of the last layer


class MixtureHeads(nn.Module):
    """What heads share; ``window`` angles are seen before each, ``mixtures`` is K."""

    multiples: Tensor
    shifts: Tensor

    def __init__(self, window: int, mixtures: int):
        super().__init__()
        self.seen, self.mixtures = EACH * window, mixtures
        self.near = mixtures // 2  # components that are centred relative to now
        ks = torch.arange(1.0, HARMONICS + 1)
        self.register_buffer("multiples", torch.cat([ks, ks]), persistent=False)  # sin(k x + shift) is ``waves``
        self.register_buffer("shifts", torch.cat([ks * 0 + math.pi / 2, ks * 0]), persistent=False)

    def _begin(self, bias: Tensor, angles: Tensor) -> None:
        """Set where the mixtures (..., 3 K) begin: half with the distribution of angles (T, ...) in radian, its rare
        basins included, and half around where the angle is now.
        """
        weights, centres, log_scales = _wrapped_normal.fitted(angles, self.mixtures - self.near)
        with torch.no_grad():
            bias[..., : self.near] = -math.log(self.near)
            bias[..., self.near : self.mixtures] = weights.log().movedim(0, -1)
            bias[..., self.mixtures + self.near : 2 * self.mixtures] = centres.movedim(0, -1)
            widths = torch.linspace(math.log(NEAR[0]), math.log(NEAR[1]), self.near, dtype=bias.dtype)
            bias[..., 2 * self.mixtures : 2 * self.mixtures + self.near] = widths
            bias[..., 2 * self.mixtures + self.near :] = log_scales.movedim(0, -1)

    def _origin(self, now: Tensor) -> Tensor:
        """(B, D) -> (B, D, K): what the centres are relative to."""
        near = torch.arange(self.mixtures, device=now.device) < self.near
        return now.unsqueeze(-1) * near.to(now.dtype)

    def _density(self, w: Weights, now: Tensor, later: Tensor, lag: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, D) radians twice -> (B, D) log densities of ``later``.

        ``lag``: what is added to the weights of the components (D, B, K), and factors of the last layer (D, B, H).
        """
        padded = nn.functional.pad(waves(later), (self.seen, 0))
        before = padded.unfold(1, self.seen, EACH)[:, : later.shape[1]].transpose(0, 1)  # (D, B, seen)
        x = nn.functional.silu(torch.baddbmm(w.context, before, w.before))
        x = x + nn.functional.silu(torch.baddbmm(w.middle_bias, x, w.middle))
        raw = torch.baddbmm(w.out_bias, x if lag is None else x * lag[1], w.out).transpose(0, 1)
        logits, centre, log_scale = raw.chunk(3, -1)
        logits = logits if lag is None else logits + lag[0].transpose(0, 1)
        log_scale = log_scale.clamp(*_wrapped_normal.LOG_SCALES)
        return _wrapped_normal.log_density(later, logits, centre + self._origin(now), log_scale)

    @torch.no_grad()
    def _drawn(self, w: Weights, now: Tensor, noise: Noise, slots: list[int] | None = None) -> Tensor:
        """(B, D) radians and noise -> (B, D) radians, not wrapped.

        ``slots``: where the middle and the last layer of each head stand, which are not D of them then.
        """
        drawn, known = [], now.new_zeros(len(now), self.seen + EACH * now.shape[1])
        parts = [list(part.unbind(0)) for part in w]  # all views of a part at once are cheaper
        if slots is not None:
            parts[2:5] = [[own[slot] for slot in slots] for own in parts[2:5]]
        choices, steps = noise.gumbel.unbind(0), noise.normal.T.unsqueeze(-1).unbind(0)
        origins = self._origin(now).unbind(1)
        for d, (head, choice, step, origin) in enumerate(
            zip(zip(*parts, strict=True), choices, steps, origins, strict=True)
        ):
            x, before, middle, middle_bias, out, bias = head
            begin = EACH * d
            x = nn.functional.silu(torch.addmm(x, known[:, begin : begin + self.seen], before), inplace=True)
            x = nn.functional.silu(torch.addmm(middle_bias, x, middle), inplace=True).add_(x)
            raw = torch.addmm(bias, x if noise.factors is None else x * noise.factors[d], out)
            logits, centre, log_scale = raw.split(self.mixtures, -1)
            chosen = (logits + choice).argmax(-1, keepdim=True)
            scale = log_scale.gather(1, chosen).clamp_(*_wrapped_normal.LOG_SCALES).exp_()
            angle = (centre + origin).gather(1, chosen).addcmul_(scale, step)
            drawn.append(angle)
            begin += self.seen
            torch.addcmul(self.shifts, angle, self.multiples, out=known[:, begin : begin + EACH]).sin_()
        return torch.cat(drawn, 1)
