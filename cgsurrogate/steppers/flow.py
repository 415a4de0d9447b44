"""Conditional flow matching: noise is carried to the structure a lag later by a velocity field, with a midpoint solver.

    dx/ds = v(x, s | now, lag),  x(0) ~ source,  x(1) ~ p(later | now, lag)

The source is uniform on the circle for soft angles and standard normal for stiff coordinates, and the paths to learn
from are the shortest ones (Lipman et al. 2023; Chen and Lipman 2024 on the torus): the field is regressed on the
velocity of straight paths between random noise and data. All coordinates are drawn at once, so the cost does not grow
with the number of soft angles but with the ``evaluations`` of the field. The density follows from the divergence of the
field along the path, and costs as many evaluations of its slope as there are coordinates: fine for small molecules.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.frames import Beads
from cgsurrogate.steppers import _internal, _layers
from cgsurrogate.zmatrix import wrap

TIME_WAVES = 4
DENSITY_STEPS = 10  # of the midpoint solver in the log density


def build(
    beads: Beads,
    lag: float | None = None,
    width: int = 256,
    blocks: int = 3,
    evaluations: int = 8,
    memory: int = 0,
) -> Flow:
    """``lag`` ps is the main lag (None: chosen from the data in ``calibrate``); ``width`` and ``blocks`` of the network
    of the field; its ``evaluations`` in a jump (1: one Euler step, else even: midpoint steps of two); ``memory``: size
    of the recurrent memory (0: none)."""
    return Flow(beads, lag, memory, width, blocks, evaluations)


class Flow(_internal.Internal):
    """See the head of this file and of ``_internal``."""

    def __init__(self, beads: Beads, lag: float | None, memory: int, width: int, blocks: int, evaluations: int):
        super().__init__(beads, lag, memory)
        if min(width, blocks) < 1 or evaluations < 1 or (evaluations > 1 and evaluations % 2):
            raise ValueError("expected a positive width and blocks, and 1 or an even number of evaluations")
        self.width, self.blocks, self.evaluations = width, blocks, evaluations
        self._make_networks()

    def extra_repr(self) -> str:
        return f"evaluations={self.evaluations}"

    def _make_networks(self) -> None:
        self.count = int(self.soft.sum())
        point = 2 * _layers.HARMONICS * self.count + self.zmatrix.size - self.count + 2 * TIME_WAVES
        self._make_memory()
        self.present = nn.Linear(self.context_inputs, self.width)
        self.trunk = _layers.Trunk(point, self.width, self.blocks)
        self.last = nn.Linear(self.width, self.zmatrix.size)

    def _begin(self, codes: Tensor, weights: Tensor) -> None:
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        return self.present(self._inputs(now, lag, memory))

    def _velocity(self, x: Tensor, time: Tensor | float, context: Tensor) -> Tensor:
        """(B, D) at times (B, 1) or one time, of the path from 0 to 1 -> (B, D)."""
        ks = torch.arange(TIME_WAVES, dtype=x.dtype, device=x.device) + 0.5
        phase = (math.pi * ks * time).expand(len(x), TIME_WAVES)
        point = torch.cat([_layers.waves(x[:, : self.count]), x[:, self.count :], phase.cos(), phase.sin()], 1)
        return self.last(self.trunk(point, context))

    def _source(self, angles: Tensor, normal: Tensor) -> Tensor:
        """Uniform numbers (B, soft) and normal ones (B, stiff) -> (B, D)."""
        return torch.cat([math.pi * (2 * angles - 1), normal], 1)

    def _noise(self, count: int, rng: Generator) -> _internal.Noise:
        like = {"generator": rng, "dtype": self.scale.dtype, "device": self.scale.device}
        return torch.rand(count, self.count, **like), torch.randn(count, self.zmatrix.size - self.count, **like)

    def _drawn(self, now: Tensor, context: Tensor, noise: _internal.Noise) -> Tensor:
        x = self._source(*noise)
        if self.evaluations == 1:
            return x + self._velocity(x, 0.0, context)
        steps = self.evaluations // 2
        for k in range(steps):
            middle = x + self._velocity(x, k / steps, context) / (2 * steps)
            x = x + self._velocity(middle, (k + 0.5) / steps, context) / steps
        return x

    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Mean squared error of the velocity, a coordinate."""
        source = self._source(*self._noise(len(now), _near(rng, self.scale)))
        time = torch.rand(len(now), 1, generator=rng, dtype=now.dtype).to(now.device)
        path = self._between(source, later)
        field = self._velocity(source + time * path, time, self._context(now, lag, memory))
        return (field - path).square().mean()

    def _between(self, source: Tensor, later: Tensor) -> Tensor:
        path = later - source
        return torch.cat([wrap(path[:, : self.count]), path[:, self.count :]], 1)

    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        """By following the field backwards; its error is that of the solver."""
        self._check_calibrated()
        context = self._context(now, lag, memory)
        x, volume = later, torch.zeros_like(later[:, 0])
        for k in reversed(range(DENSITY_STEPS)):
            field = self._velocity(x, (k + 1) / DENSITY_STEPS, context)
            field, divergence = self._with_divergence(
                x - field / (2 * DENSITY_STEPS), (k + 0.5) / DENSITY_STEPS, context
            )
            x, volume = x - field / DENSITY_STEPS, volume + divergence / DENSITY_STEPS
        stiff = x[:, self.count :]
        source = -0.5 * (stiff.square() + math.log(2 * math.pi)).sum(1) - self.count * math.log(2 * math.pi)
        return source - volume

    def _with_divergence(self, x: Tensor, time: float, context: Tensor) -> tuple[Tensor, Tensor]:
        """The field (B, D) and its divergence (B,), exactly: one forward slope a coordinate."""

        def field(y: Tensor) -> Tensor:
            return self._velocity(y, time, context)

        def slope(direction: Tensor) -> Tensor:
            return (torch.func.jvp(field, (x,), (direction.expand_as(x),))[1] * direction).sum(1)

        basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return field(x), torch.func.vmap(slope)(basis).sum(0)


def _near(rng: Generator, like: Tensor) -> Generator:
    """A generator on the device of ``like`` that follows from ``rng``."""
    if rng.device == like.device:
        return rng
    return Generator(like.device).manual_seed(int(torch.randint(1 << 62, (1,), generator=rng)))
