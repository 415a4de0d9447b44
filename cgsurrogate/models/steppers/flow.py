"""Conditional flow matching: noise is carried to the soft angles a lag later by a velocity field, in few steps.

    dx/ds = v(x, s | now, lag),   x(0) uniform,   x(1) ~ p(soft later | now, lag),   stiff ~ p(stiff | soft later)

The field lives on the torus of the soft angles. It is regressed on the velocity of the shortest paths between random
noise and data (Lipman et al. 2023; Chen and Lipman 2024). Stiff coordinates are drawn given the soft ones as
``autoregressive`` draws them, which leaves few dimensions to carry. All soft angles are drawn at once.

What is drawn is the result of a few midpoint steps, x -> x + h v(x + h/2 v(x)), not of the exact flow. Each step is an
invertible map with a Jacobian of the size of the soft angles, so that its density is exact too: ``log_density`` undoes
the steps one by one with Newton's method, whatever the number of evaluations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.zmatrix import wrap
from cgsurrogate.models.steppers import _heads, _torsion_stepper

TIME_WAVES = 4
BEND = 1.5  # steps get shorter towards the data, where the field is steep: ends at 1 - (1 - k / n)^BEND
NEWTON, SHORTER, CLOSE = 15, 4, 1e-4  # rounds to undo a step, tries a round, largest error (rad) that is left


def build(
    beads: Beads,
    lag: float | None = None,
    width: int = 256,
    blocks: int = 2,
    evaluations: int = 8,
    memory: int = 0,
) -> Flow:
    """``lag`` ps is the main lag (None: chosen from the data in ``calibrate``); ``width`` and ``blocks`` of the network
    of the field; its ``evaluations`` in a jump (1: one Euler step, else even: midpoint steps of two); ``memory``: size
    of the recurrent memory (0: none)."""
    return Flow(beads, lag, memory, width, blocks, evaluations)


class Flow(_torsion_stepper.Internal):
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
        given = 2 * _heads.HARMONICS * self.count
        self._make_memory()
        self.present = nn.Sequential(
            _heads.Trunk(self.context_inputs, self.width, 1), nn.Linear(self.width, self.width)
        )
        self.by_lag = nn.Linear(_torsion_stepper.LAG_INPUTS, self.width)
        self.trunk = _heads.Trunk(given + 2 * TIME_WAVES, self.width, self.blocks)
        self.last = nn.Linear(self.width, self.count)
        self.tail = _heads.Tail(self.zmatrix.size - self.count, given, _heads.TAIL)

    def _begin(self, codes: Tensor, weights: Tensor) -> None:
        for layer in (self.last, self.by_lag):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.tail.begin(codes[:, self.count :], weights)

    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        """What is added to the first layer of the field, and factors of its last one: (B, 2 width)."""
        return torch.cat([self.present(self._inputs(now, lag, memory)), 1 + self.by_lag(self._lag_inputs(lag, now))], 1)

    def _field(self, x: Tensor, time: Tensor | float, context: Tensor) -> Tensor:
        """The velocity of (B, soft) radians at times (B, 1), or one time, of the path from 0 to 1 -> (B, soft)."""
        ks = torch.arange(TIME_WAVES, dtype=x.dtype, device=x.device) + 0.5
        phase = (math.pi * ks * time).expand(len(x), TIME_WAVES)
        added, scaled = context.chunk(2, 1)
        return self.last(scaled * self.trunk(torch.cat([_heads.waves(x), phase.cos(), phase.sin()], 1), added))

    # -- the solver ---------------------------------------------------------------------------------------------------
    def _steps(self) -> list[tuple[float, float]]:
        """Begin and end of every step."""
        count = max(1, self.evaluations // 2)
        return list(itertools.pairwise(1 - (1 - k / count) ** BEND for k in range(count + 1)))

    def _step(self, x: Tensor, begin: float, end: float, context: Tensor) -> Tensor:
        if self.evaluations == 1:
            return x + (end - begin) * self._field(x, begin, context)
        middle = x + 0.5 * (end - begin) * self._field(x, begin, context)
        return x + (end - begin) * self._field(middle, 0.5 * (begin + end), context)

    def _undone(self, later: Tensor, begin: float, end: float, context: Tensor) -> tuple[Tensor, Tensor]:
        """Where a step began that ended in (B, soft), and log |det| of its Jacobian, (B,); nan where none is found."""

        def step(x: Tensor) -> Tensor:
            return self._step(x, begin, end, context)

        x = self._step(later, end, begin, context)  # a step backwards ends nearby
        off = wrap(step(x) - later)
        for _ in range(NEWTON):
            if off.abs().max() < CLOSE:
                break
            ahead = torch.linalg.solve_ex(_jacobian(step, x), off)[0]
            for _ in range(SHORTER):
                left = wrap(step(x - ahead) - later)
                nearer = left.norm(dim=1, keepdim=True) <= off.norm(dim=1, keepdim=True)
                if nearer.all():
                    break
                ahead = torch.where(nearer, ahead, 0.4 * ahead)
            x, off = torch.where(nearer, x - ahead, x), torch.where(nearer, left, off)
        volume = torch.linalg.slogdet(_jacobian(step, x))[1]
        return x, torch.where((off.abs() < CLOSE).all(1), volume, math.nan)

    def _carried(self, x: Tensor, context: Tensor) -> Tensor:
        for begin, end in self._steps():
            x = self._step(x, begin, end, context)
        return x

    def _noise(self, count: int, rng: Generator) -> _torsion_stepper.Noise:
        """Uniform numbers for the angles and for the tail."""
        like = {"generator": rng, "dtype": self.scale.dtype, "device": self.scale.device}
        return torch.rand(count, self.count, **like), torch.rand(count, self.tail.count, **like)

    def _draw_soft(self, now: Tensor, context: Tensor, noise: _torsion_stepper.Noise) -> Tensor:
        return self._carried(math.pi * (2 * noise[0] - 1), context)

    def _draw_stiff(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        return self.tail.draw(_heads.waves(soft), noise)

    # -- density and training -----------------------------------------------------------------------------------------
    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        """That of what is drawn with so many evaluations; minus infinity where no noise leads."""
        soft, stiff = self.log_density_parts(now, later, lag, memory)
        return soft + stiff

    def log_density_parts(
        self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B,) of the soft coordinates, (B,) of the stiff ones given these."""
        self._check_calibrated()
        context, x = self._context(now, lag, memory), later[:, : self.count]
        value = torch.full_like(x[:, 0], -self.count * math.log(2 * math.pi))
        for begin, end in reversed(self._steps()):
            x, volume = self._undone(x, begin, end, context)
            value = value - volume
        stiff = self.tail.log_density(_heads.waves(later[:, : self.count]), later[:, self.count :])
        return value.nan_to_num(-math.inf), stiff

    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Mean squared error of the velocity, an angle, and nats of the stiff coordinates, a coordinate."""
        soft, stiff = later[:, : self.count], later[:, self.count :]
        like = {"generator": rng, "dtype": now.dtype}
        source = math.pi * (2 * torch.rand(len(now), self.count, **like).to(now.device) - 1)
        time = torch.rand(len(now), 1, **like).to(now.device)
        path = wrap(soft - source)
        found = self._field(source + time * path, time, self._context(now, lag, memory))
        tail = self.tail.log_density(_heads.waves(soft), stiff, self.tail.kept(len(now), rng))
        return (found - path).square().mean() - _heads.STIFF * tail.mean() / now.shape[1]


def _jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(B, D) -> (B, D, D) slopes of a function that moves every row by itself, column by column."""

    def slope(along: Tensor) -> Tensor:
        return torch.func.jvp(function, (x,), (along.expand_as(x),))[1]

    return torch.func.vmap(slope)(torch.eye(x.shape[1], dtype=x.dtype, device=x.device)).permute(1, 2, 0)
