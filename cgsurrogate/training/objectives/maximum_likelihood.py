"""Minimum relative entropy (Shell, J. Chem. Phys. 129, 144108 (2008)): what the model samples must look like the data.

    d S_rel / d theta = (<dU/dtheta>_reference - <dU/dtheta>_model) / kT

is the gradient of the log-likelihood of the data. The model's mean is taken over persistent replicas that are moved on
by a few steps of Langevin dynamics with the current energy between two updates (Tieleman, ICML 2008).
"""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import filesystem
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.interrupts import watching
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.simulation.monitor import Monitor

REPLICAS = 128
STEADY = 2.0  # kT; where the gap is larger than that, the weights wait for the replicas
MOVES = 5  # steps of dynamics between updates
WARM_UP = 50  # steps of dynamics before the first update
CHECKPOINT, SECONDS_BETWEEN_CHECKPOINTS = "likelihood.pt", 30.0


def fine_tune(
    networks: Energy,
    dynamics: Propagator,
    frames: Frames,
    *,
    minutes: float | None,
    steps: int | None,
    seed: int,
    rate: float = 5e-4,
    average: float = 0.99,
    moves: int = MOVES,
    folder: Path | None = None,
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> list[dict[str, float]]:
    """Train ``networks``, the part of the energy behind ``dynamics`` that has weights, in place (averaged weights).

    One that was stopped or killed goes on; with a budget of steps it ends bit for bit where an unbroken one does.

    Args:
        moves: steps of ``dynamics`` between two updates; fewer do where a step has Monte Carlo moves.
        folder: where ``likelihood.pt`` (all that continuing needs) goes; None keeps nothing.

    Returns:
        rows of step, seconds, and the gap <U>_reference - <U>_model in kT.

    Raises:
        Stopped: a signal came; with a ``folder`` the same call continues.
    """
    optimizer = torch.optim.Adam(networks.parameters(), lr=rate, betas=(0.8, 0.99))
    mean = copy.deepcopy(networks).requires_grad_(False)
    work = _Work(networks, mean, optimizer, torch.Generator().manual_seed(seed + 1))
    file = None if folder is None else folder / CHECKPOINT
    if file is not None and file.exists():
        work.restore(file)
    saved = time.monotonic()
    with watching() as watch:
        for row in _updates(work, dynamics, frames, minutes, steps, rate, average, moves):
            if row["step"] % 10 == 0:
                report(min(row["used"], 1.0), "")
            ended, due = row["used"] >= 1, time.monotonic() - saved > SECONDS_BETWEEN_CHECKPOINTS
            if file is not None and (ended or due or watch.requested):
                work.save(file)
                saved = time.monotonic()
            if watch.requested and not ended:
                raise watch.reason("maximum likelihood")
    return work.rows


@dataclasses.dataclass
class _Work:
    """The state of one training; ``mean`` holds the averaged weights, ``replicas`` the model's own sample."""

    networks: Energy
    mean: Energy
    optimizer: torch.optim.Optimizer
    rng: Generator
    replicas: State | None = None
    rows: list[dict[str, float]] = dataclasses.field(default_factory=list)

    def save(self, path: Path) -> None:
        assert self.replicas is not None
        content = {name: getattr(self, name).state_dict() for name in ("networks", "mean", "optimizer")}
        content |= {"rng": self.rng.get_state(), "replicas": self.replicas._asdict(), "rows": self.rows}
        buffer = io.BytesIO()
        torch.save(content, buffer)
        path.parent.mkdir(parents=True, exist_ok=True)
        with filesystem.replacing(path) as handle:
            handle.write(buffer.getvalue())

    def restore(self, path: Path) -> None:
        content = torch.load(path, weights_only=True)
        for name in ("networks", "mean", "optimizer"):
            getattr(self, name).load_state_dict(content[name])
        self.rng.set_state(content["rng"])
        self.replicas, self.rows = State(**content["replicas"]), content["rows"]


def _updates(work: _Work, dynamics, frames, minutes, steps, rate, average, moves) -> Iterator[dict[str, float]]:
    """One row an update; the averaged weights are put in place at the end."""
    networks, mean, optimizer, rng = work.networks, work.mean, work.optimizer, work.rng
    positions, cumulative = frames.positions, np.cumsum(frames.probabilities)
    health = _health(frames)

    def data(count: int) -> Tensor:
        point = torch.rand(count, generator=rng, dtype=torch.float64).numpy() * cumulative[-1]
        index = np.minimum(np.searchsorted(cumulative, point), len(positions) - 1)
        return torch.from_numpy(np.array(positions[np.sort(index)], np.float32))

    def share() -> float:
        """Of the budget, that is used."""
        return max(step / steps if steps else 0.0, seconds / (60 * minutes) if minutes else 0.0)

    if work.replicas is None:
        work.replicas = dynamics.start(data(REPLICAS), rng)
        for _ in range(WARM_UP * moves // MOVES):
            work.replicas = dynamics.step(work.replicas, rng)
    state = work.replicas
    step, seconds = (int(work.rows[-1]["step"]), work.rows[-1]["seconds"]) if work.rows else (0, 0.0)
    began, used = time.monotonic() - seconds, share()
    while used < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * used)) * min(1.0, STEADY / group.get("gap", STEADY))
        for _ in range(moves):
            state = dynamics.step(state, rng)
        state = _replaced(state, data, dynamics, rng, health)
        gap = (networks(data(2 * REPLICAS)).mean() - networks(state.positions).mean()) / frames.kT
        if not torch.isfinite(gap):
            raise FloatingPointError("relative entropy: the energy of replicas is not finite; use a shorter time step")
        for group in optimizer.param_groups:  # stored with the rest of the optimizer
            square = float(gap.detach()) ** 2
            group["gap"] = math.sqrt(0.9 * group.get("gap", math.sqrt(square)) ** 2 + 0.1 * square) + 1e-9
        optimizer.zero_grad()
        gap.backward()
        torch.nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            weight = min(average, step / (step + 10))
            for kept, now in zip(mean.parameters(), networks.parameters(), strict=True):
                kept.lerp_(now, 1 - weight)
        seconds = time.monotonic() - began
        used = share()
        work.replicas = state
        work.rows.append({"step": step, "seconds": seconds, "gap": float(gap.detach()), "used": used})
        yield work.rows[-1]
    networks.load_state_dict(mean.state_dict())


def _health(frames: Frames) -> Monitor:
    """What tells a replica that broke apart: its bonds and velocities, by those of frames."""
    some = np.linspace(0, len(frames) - 1, min(len(frames), 200)).astype(int)
    return Monitor(frames.beads, torch.from_numpy(np.array(frames.positions[some], np.float32)), frames.temperature)


def _replaced(
    state: State, data: Callable[[int], Tensor], dynamics: Propagator, rng: Generator, health: Monitor
) -> State:
    """Replicas that went astray start anew from a frame: a single broken one would be all that the gradient sees."""
    good = torch.stack([torch.isfinite(part.reshape(len(part), -1)).all(1) for part in state if part is not None]).all(
        0
    )
    good &= health.good(state)
    if good.all():
        return state
    fresh = dynamics.start(data(int((~good).sum())), rng)
    parts = []
    for old, new in zip(state, fresh, strict=True):
        if old is not None and new is not None:
            old = old.clone()
            old[~good] = new
        parts.append(old)
    return State(*parts)
