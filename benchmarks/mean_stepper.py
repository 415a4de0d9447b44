"""A recurrent stepper that predicts the mean of the next structure: the baseline that shows why a draw is needed.

    cgsurrogate train stepper RUN/training --stepper benchmarks/mean_stepper.py -o mean
    cgsurrogate simulate mean --start RUN/training --time 1e6 -o mean-rollout

It sees what the time-steppers see, through a gated recurrent unit, and learns by squared error from the same sequences.
Angles are predicted as the mean of (cos, sin), whose direction is the circular mean. It is rolled out deterministically
and so falls into a fixed point or a cycle, whatever its error in one step. It has no density, so it is no kind of the
package: it cannot keep the contract of steppers.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.frames import Beads
from cgsurrogate.models.steppers._dense import DenseEncoder
from cgsurrogate.models.steppers._torsion_stepper import Noise, TorsionStepper


def build(beads: Beads, lag: float | None = None, width: int = 192, blocks: int = 2, memory: int = 48) -> Mean:
    """``lag`` ps is the main lag (None: chosen from the data); ``width`` and ``blocks`` of the network; ``memory``."""
    if min(width, blocks, memory) < 1:
        raise ValueError("expected a positive width, blocks and memory")
    return Mean(beads, lag, memory, width, blocks)


class Mean(TorsionStepper):
    """See the head of this file."""

    def __init__(self, beads: Beads, lag: float | None, memory: int, width: int, blocks: int):
        super().__init__(beads, lag, memory)
        self.width, self.blocks = width, blocks
        self._make_networks()

    def _make_networks(self) -> None:
        self.count = int(self.soft.sum())
        self._make_memory()
        self.trunk = DenseEncoder(self.context_inputs, self.width, self.blocks)
        self.last = nn.Linear(self.width, self.count + self.zmatrix.size)

    def _begin(self, codes: Tensor, weights: Tensor, moves: object) -> None:
        self.closest.zero_()  # there is no other draw to take

    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        return self.last(self.trunk(self._inputs(now, lag, memory)))

    def _noise(self, count: int, rng: Generator) -> Noise:
        return (self.scale.new_empty(count, 0),)

    def _draw_soft(self, now: Tensor, context: Tensor, noise: Noise) -> Tensor:
        return torch.atan2(context[:, self.count : 2 * self.count], context[:, : self.count])

    def _draw_stiff(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        return context[:, 2 * self.count :]

    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Mean squared error of cosines, sines and stiff coordinates (in standard deviations)."""
        angles = later[:, : self.count]
        target = torch.cat([angles.cos(), angles.sin(), later[:, self.count :]], 1)
        return (self._context(now, lag, memory) - target).square().mean()

    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        raise ValueError("a stepper that predicts the mean has no density; take autoregressive or graph")
