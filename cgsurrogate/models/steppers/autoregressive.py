"""Soft angles drawn one after the other from mixtures on the circle, then the stiff rest from a Gaussian.

The density is exact:

    p(later | now, lag) = prod_d p(soft_d | soft_<d, context) x N(stiff | soft),

with a context that a network computes once a jump from the present structure, the lag and the memory. The stiff
coordinates have forgotten the past: they depend on the new soft angles alone, by a network of its own.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from cgsurrogate.core.frames import Beads
from cgsurrogate.models.steppers import _heads, _torsion_stepper, _wrapped_normal

VERY_FEW, BLUR, DROPOUT = (
    5_000,
    0.3,
    0.5,
)  # frames below which the context gets noise (rad) on what it sees, and dropout


def build(
    beads: Beads,
    lag: float | None = None,
    width: int = 192,
    blocks: int = 2,
    hidden: int = 64,
    mixtures: int = 12,
    stretches: int = 4,
    window: int = 24,
    memory: int = 0,
) -> Autoregressive:
    """``lag`` ps is the main lag (None: chosen from the data in ``calibrate``); ``width`` and ``blocks`` of the trunk,
    ``hidden`` width and ``mixtures`` components of each head, directions in which the correlations of stiff coordinates
    vary (``stretches``), how many soft angles before its own a head sees (``window``), and the size of the recurrent
    ``memory`` (0: none)."""
    sizes = {"width": width, "blocks": blocks, "hidden": hidden, "mixtures": mixtures, "stretches": stretches}
    sizes["window"] = window
    return Autoregressive(beads, lag, memory, sizes)


class Autoregressive(_torsion_stepper.Internal):
    """See the head of this file and of ``_internal``."""

    def __init__(self, beads: Beads, lag: float | None, memory: int, sizes: dict[str, int]):
        super().__init__(beads, lag, memory)
        if sizes["mixtures"] < 2 or min(sizes.values()) < 1:
            raise ValueError("expected at least 2 mixtures, and a positive width, blocks, hidden, stretches and window")
        self.sizes = sizes
        self.blur = 0.0  # rad, in training only
        self._make_networks()

    def _make_networks(self) -> None:
        sizes, soft = self.sizes, int(self.soft.sum())
        width, stiff, given = sizes["width"], self.zmatrix.size - soft, 2 * _heads.HARMONICS * soft
        self._make_memory()
        self.trunk = _heads.Trunk(self.context_inputs, width, sizes["blocks"])
        lags = _torsion_stepper.LAG_INPUTS
        self.heads = _heads.Heads(soft, width + lags, sizes["hidden"], sizes["mixtures"], sizes["window"], lags)
        self.tail = _heads.Tail(stiff, given, _heads.TAIL, sizes["stretches"])

    def _begin(self, codes: Tensor, weights: Tensor) -> None:
        soft = self.heads.count
        self.tail.begin(codes[:, soft:], weights)
        self.blur = BLUR if len(codes) < VERY_FEW else 0.0
        free = self.heads.mixtures - self.heads.near
        levels = (torch.arange(free, dtype=codes.dtype) + 0.5) / free
        angles = codes[:: max(1, len(codes) // 5000), :soft]
        centre = torch.atan2(angles.sin().mean(0), angles.cos().mean(0))
        quantiles = centre + torch.quantile(_wrapped_normal.wrap(angles - centre), levels, 0)
        self.heads.set_centres(quantiles.T.to(self.scale.dtype), 0.3)

    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        return torch.cat([self.trunk(self._inputs(now, lag, memory)), self._lag_inputs(lag, now)], 1)

    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        soft, stiff = self.log_density_parts(now, later, lag, memory)
        return soft.sum(1) + stiff

    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Nats a coordinate. The two parts share no weights, so ``_layers.STIFF`` does not change what either learns,
        but it lets the soft angles, which carry the kinetics and learn slowly, decide when training is best."""
        if self.training and self.blur:
            context = self._blurred(now, lag, memory, rng)
        else:
            context = self._context(now, lag, memory)
        soft, stiff = self._parts(context, now, later, self.tail.kept(len(now), rng))
        return -(soft.sum(1) + _heads.STIFF * stiff).mean() / now.shape[1]

    def _blurred(self, now: Tensor, lag: Tensor, memory: Tensor | None, rng: Generator) -> Tensor:
        """The context with noise on what it sees and dropout of what the trunk makes of it, so that few frames are not
        learned by heart."""
        noise = torch.randn(now.shape, generator=rng, dtype=now.dtype).to(now.device)
        context = self._context(now + self.blur * noise, lag, memory)
        kept = torch.rand(len(now), self.sizes["width"], generator=rng) >= DROPOUT
        seen, rest = context[:, : kept.shape[1]], context[:, kept.shape[1] :]
        return torch.cat([seen * kept.to(seen) / (1 - DROPOUT), rest], 1)

    def log_density_parts(
        self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As ``log_density``, but the (B, soft) soft coordinates one by one, and the stiff ones (B,)."""
        self._check_calibrated()
        return self._parts(self._context(now, lag, memory), now, later)

    def _parts(self, context: Tensor, now: Tensor, later: Tensor, kept: Tensor | float = 1.0) -> tuple[Tensor, Tensor]:
        soft = self.heads.count
        angles = self.heads.log_density(context, now[:, :soft], later[:, :soft])
        return angles, self.tail.log_density(_heads.waves(later[:, :soft]), later[:, soft:], kept)

    def _noise(self, count: int, rng: Generator) -> _torsion_stepper.Noise:
        """Gumbel noise and normal numbers for the heads, uniform numbers for the tail."""
        soft, like = self.heads.count, {"generator": rng, "dtype": self.scale.dtype, "device": self.scale.device}
        choice = torch.rand(count, soft, self.heads.mixtures, **like)
        return (
            _wrapped_normal.gumbel(choice),
            torch.randn(count, soft, **like),
            torch.rand(count, self.tail.count, **like),
        )

    def _draw_soft(self, now: Tensor, context: Tensor, noise: _torsion_stepper.Noise) -> Tensor:
        return self.heads.draw(context, now[:, : self.heads.count], *noise)

    def _draw_stiff(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        return self.tail.draw(_heads.waves(soft), noise)
