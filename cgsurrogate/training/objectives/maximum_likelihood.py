"""Maximum likelihood, or minimum relative entropy (Shell, J. Chem. Phys. 129, 144108 (2008)).

    d ln L / d theta = (<dU/dtheta>_model - <dU/dtheta>_reference) / kT

for each frame of the reference: the energy falls where the data are and rises where the model is. The model's mean is
taken over persistent replicas that are moved on with the current energy between two updates (Tieleman, ICML 2008).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import devices, disk_arrays
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.statistics import draw
from cgsurrogate.simulation.monitor import Monitor
from cgsurrogate.training.batches import naming
from cgsurrogate.training.objectives._base import NAMED, Batch, Fresh, Objective
from cgsurrogate.training.settings import TrainingSettings

SETTINGS = TrainingSettings(rate=1e-3, betas=(0.8, 0.99), average=0.99, every=10)
REPLICAS = 128
STEADY = 2.0  # kT; where the gap is larger than that, the weights wait for the replicas
WARM_UP = 10  # steps before the first update


class MaximumLikelihood(Objective):
    """The gap of mean energies, (<U>_reference - <U>_model) / kT, whose slope is that of -ln L.

    A batch holds frames (2R, N, 3) nm, drawn by weight, and the replicas (R, N, 3) nm. Nothing is held out.

    Args:
        dynamics: samples the energy that the trained module is a part of, by one step between two updates; each should
            take it some way, as a step with Monte Carlo moves does.
    """

    def __init__(self, dynamics: Propagator, frames: Frames):
        self.dynamics, self.frames, self.device = dynamics, frames, devices.of(dynamics)
        self.cumulative = torch.from_numpy(disk_arrays.running_sums(frames.probabilities))
        some = np.linspace(0, len(frames) - 1, min(len(frames), 200)).astype(int)
        self.monitor = Monitor(frames.beads, _positions(frames, some), frames.temperature)
        self.monitor.to(self.device)
        self.replicas: State | None = None
        self.chosen = np.empty(0, int)  # the frames of the last batch
        self.mean_square: float | None = None  # of the gap, (kT)^2, over the latest updates

    @property
    def rate_scale(self) -> float:  # type: ignore[override]
        return min(1.0, STEADY / (math.sqrt(self.mean_square or 0.0) + 1e-9))

    def state_dict(self) -> dict[str, Any]:
        replicas = None if self.replicas is None else self.replicas._asdict()
        return {"replicas": replicas, "mean_square": self.mean_square}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.replicas = None if state["replicas"] is None else State(**state["replicas"])
        self.mean_square = state["mean_square"]

    def draw(self, rng: Generator) -> Batch:
        state, steps, own = self.replicas, 1, devices.generator(self.device, rng)
        if state is None:
            state, steps = self.dynamics.start(self._drawn(REPLICAS, rng), own), 1 + WARM_UP
        for _ in range(steps):
            state = self.dynamics.step(state, own)
        self.replicas = self._replaced(state, rng)
        return self._drawn(2 * REPLICAS, rng), self.replicas.positions

    def loss(self, module: nn.Module, batch: Batch, rng: Generator) -> Tensor:
        frames, replicas = batch
        gap = (module(frames).mean() - module(replicas).mean()) / self.frames.kT
        square = float(gap.detach()) ** 2
        if math.isfinite(square):
            self.mean_square = 0.9 * (square if self.mean_square is None else self.mean_square) + 0.1 * square
        return gap

    def blame(self, module: nn.Module, batch: Batch, fresh: Fresh, held_out: int | None = None) -> list[str]:
        """Frames of the batch that was drawn last whose energy is not finite; replicas are never at fault for long."""
        with torch.no_grad():
            bad = ~torch.isfinite(module(batch[0]))
        return [] if bad.all() else naming(self.frames)(self.chosen[bad.cpu().numpy()][:NAMED].tolist())

    def _drawn(self, count: int, rng: Generator) -> Tensor:
        self.chosen = np.sort(draw(self.cumulative, count, rng).numpy())
        return _positions(self.frames, self.chosen).to(self.device)

    def _replaced(self, state: State, rng: Generator) -> State:
        """Replicas that went astray start anew from a frame: a single broken one would be all that the slope sees."""
        parts = [part for part in state if part is not None]
        good = torch.stack([torch.isfinite(part.reshape(len(part), -1)).all(1) for part in parts]).all(0)
        good &= self.monitor.good(state)
        if good.all():
            return state
        fresh = self.dynamics.start(self._drawn(int((~good).sum()), rng), devices.generator(self.device, rng))

        def mended(old: Tensor | None, new: Tensor | None) -> Tensor | None:
            if old is None or new is None:
                return None
            old = old.clone()
            old[~good] = new
            return old

        return State(*map(mended, state, fresh))  # type: ignore[arg-type]


def _positions(frames: Frames, index: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(frames.positions[index], np.float32))
