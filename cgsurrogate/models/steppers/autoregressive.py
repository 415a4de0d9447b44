"""Soft angles drawn one after the other from mixtures on the circle, then the stiff rest from a Gaussian.

The density is exact:

    p(later | now, lag) = prod_d p(soft_d | soft_<d, context) x N(stiff | soft),

with a context that a network computes once a jump from the present structure, the lag and the memory. The stiff
coordinates have forgotten the past: they depend on the new soft angles alone, by a network of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor

from cgsurrogate.core.frames import Beads
from cgsurrogate.models.steppers import _lags, _wrapped_normal
from cgsurrogate.models.steppers._dense import CoordinateHeads, DenseEncoder, DenseGaussian
from cgsurrogate.models.steppers._heads import EACH, ENOUGH, waves
from cgsurrogate.models.steppers._torsion_stepper import Moves, Noise, TorsionStepper

# frames below which the context gets noise (rad) on what it sees, and dropout
VERY_FEW, BLUR, DROPOUT = 5_000, 0.3, 0.5
STIFF = 0.1  # weight of the stiff coordinates in the loss, and so in the choice of the best weights on held-out runs


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
    """Args:
    lag: ps, the main lag; None for one chosen from the data by ``calibrate``.
    width, blocks: of the encoder.
    hidden: width of each head.
    mixtures: components of each head.
    stretches: directions in which the correlations of stiff coordinates vary.
    window: soft angles before its own that a head sees.
    memory: size of the recurrent memory; 0 for none.
    """
    sizes = {"width": width, "blocks": blocks, "hidden": hidden, "mixtures": mixtures, "stretches": stretches}
    sizes["window"] = window
    return Autoregressive(beads, lag, memory, sizes)


class Autoregressive(TorsionStepper):
    """See the head of this file and of ``_torsion_stepper``. Stored weights know ``trunk``, ``heads``, ``tail``."""

    def __init__(self, beads: Beads, lag: float | None, memory: int, sizes: dict[str, int]):
        super().__init__(beads, lag, memory)
        if sizes["mixtures"] < 2 or min(sizes.values()) < 1:
            raise ValueError("expected at least 2 mixtures, and a positive width, blocks, hidden, stretches and window")
        self.sizes = sizes
        self.blur = 0.0  # rad, in training only
        self._make_networks()

    def _make_networks(self) -> None:
        sizes, soft = self.sizes, int(self.soft.sum())
        width, stiff, given = sizes["width"], self.zmatrix.size - soft, EACH * soft
        self._make_memory()
        self.trunk = DenseEncoder(self.context_inputs, width, sizes["blocks"])
        lags = _lags.INPUTS
        self.heads = CoordinateHeads(soft, width + lags, sizes["hidden"], sizes["mixtures"], sizes["window"], lags)
        self.tail = DenseGaussian(stiff, given, stretches=sizes["stretches"])

    def _begin(self, codes: Tensor, weights: Tensor, moves: Moves) -> None:
        soft = self.heads.count
        self.tail.begin(codes[:, soft:], weights)
        self.blur = BLUR if len(codes) < VERY_FEW else 0.0
        self.heads.set_centres(codes[:: max(1, len(codes) // ENOUGH), :soft])
        if moves:
            self.heads.set_odds(*moves)

    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        return torch.cat([self.trunk(self._inputs(now, lag, memory)), self._lag_inputs(lag, now)], 1)

    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        soft, stiff = self.log_density_parts(now, later, lag, memory)
        return soft.sum(1) + stiff

    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Nats a coordinate. The two parts share no weights, so ``STIFF`` does not change what either learns,
        but it lets the soft angles, which carry the kinetics and learn slowly, decide when training is best."""
        if self.training and self.blur:
            context = self._blurred(now, lag, memory, rng)
        else:
            context = self._context(now, lag, memory)
        soft, stiff = self._parts(context, now, later, self.tail.kept(len(now), rng))
        return -(soft.sum(1) + STIFF * stiff).mean() / now.shape[1]

    def _blurred(self, now: Tensor, lag: Tensor, memory: Tensor | None, rng: Generator) -> Tensor:
        """The context with noise on what it sees and dropout of what the encoder makes of it, so that few frames are
        not learned by heart."""
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
        return angles, self.tail.log_density(waves(later[:, :soft]), later[:, soft:], kept)

    def _noise(self, count: int, rng: Generator) -> Noise:
        """Gumbel noise and normal numbers for the heads, uniform numbers for the tail."""
        soft, stiff = self.heads.count, self.tail.count
        like: dict[str, Any] = {"generator": rng, "dtype": self.scale.dtype, "device": self.scale.device}
        choice = torch.rand(count, soft, self.heads.mixtures, **like)
        return _wrapped_normal.gumbel(choice), torch.randn(count, soft, **like), torch.rand(count, stiff, **like)

    def _draw_soft(self, now: Tensor, context: Tensor, noise: Noise) -> Tensor:
        return self.heads.draw(context, now[:, : self.heads.count], *noise)

    def _draw_stiff(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        return self.tail.draw(waves(soft), noise)
