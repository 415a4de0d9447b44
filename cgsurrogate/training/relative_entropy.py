"""Minimum relative entropy (Shell, J. Chem. Phys. 129, 144108 (2008)): what the model samples must look like the data.

    d S_rel / d theta = (<dU/dtheta>_reference - <dU/dtheta>_model) / kT

is the gradient of the log-likelihood of the data. The model's mean is taken over persistent replicas that are moved on
by a few steps of Langevin dynamics with the current energy between two updates (Tieleman, ICML 2008).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.energy import Energy
from cgsurrogate.frames import Frames
from cgsurrogate.health import Health
from cgsurrogate.propagator import Propagator, State
from cgsurrogate.stopping import Stopped, watching

REPLICAS = 128
STEADY = 2.0  # kT; where the gap is larger than that, the weights wait for the replicas
MOVES = 5  # steps of dynamics between updates
WARM_UP = 50  # steps of dynamics before the first update


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
    report: Callable[[float, str], None] = lambda fraction, text: None,
) -> list[dict[str, float]]:
    """Train ``networks``, the part of the energy behind ``dynamics`` that has weights, in place (averaged weights).

    Args:
        moves: steps of ``dynamics`` between two updates; fewer do where a step has Monte Carlo moves.

    Returns:
        rows of step, seconds, and the gap <U>_reference - <U>_model in kT.

    Raises:
        Stopped: a signal came. Nothing is stored: the same call begins again.
    """
    rows: list[dict[str, float]] = []
    with watching() as watch:
        for row in _updates(networks, dynamics, frames, minutes, steps, seed, rate, average, moves):
            rows.append(row)
            if row["step"] % 10 == 0:
                report(min(row["used"], 1.0), "")
            if watch.requested:
                raise Stopped("stopped; the last touch of training begins again with the same command", watch.signal)
    return rows


def _updates(networks, dynamics, frames, minutes, steps, seed, rate, average, moves) -> Iterator[dict[str, float]]:
    """One row an update; the averaged weights are put in place at the end."""
    rng = torch.Generator().manual_seed(seed + 1)
    positions, cumulative = frames.positions, np.cumsum(frames.probabilities)
    health = _health(frames)

    def data(count: int) -> Tensor:
        point = torch.rand(count, generator=rng, dtype=torch.float64).numpy() * cumulative[-1]
        index = np.minimum(np.searchsorted(cumulative, point), len(positions) - 1)
        return torch.from_numpy(np.array(positions[np.sort(index)], np.float32))

    state = dynamics.start(data(REPLICAS), rng)
    for _ in range(WARM_UP * moves // MOVES):
        state = dynamics.step(state, rng)
    mean = copy.deepcopy(networks).requires_grad_(False)
    optimizer = torch.optim.Adam(networks.parameters(), lr=rate, betas=(0.8, 0.99))
    began, step, used = time.monotonic(), 0, 0.0
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
        used = max(step / steps if steps else 0.0, seconds / (60 * minutes) if minutes else 0.0)
        yield {"step": step, "seconds": seconds, "gap": float(gap.detach()), "used": used}
    networks.load_state_dict(mean.state_dict())


def _health(frames: Frames) -> Health:
    """What tells a replica that broke apart: its bonds and velocities, by those of frames."""
    some = np.linspace(0, len(frames) - 1, min(len(frames), 200)).astype(int)
    return Health(frames.beads, torch.from_numpy(np.array(frames.positions[some], np.float32)), frames.temperature)


def _replaced(
    state: State, data: Callable[[int], Tensor], dynamics: Propagator, rng: Generator, health: Health
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
