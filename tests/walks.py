"""A propagator without physics, and simulations of it: for tests of all that surrounds the steps."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.core.task_board import Told
from cgsurrogate.simulation import parallel
from cgsurrogate.simulation.parallel import simulate_parts
from cgsurrogate.simulation.run import simulate
from cgsurrogate.simulation.settings import Limits, RunOptions, SamplerSettings, SimulationSettings, Spread

BEADS = Beads(("CA",) * 3, (0,) * 3, (12.0,) * 3, (0, 1, 2), ("ALA",) * 3, ((0, 1), (1, 2)))
LAG = 0.5
SETTINGS = {"time": 20.0, "every": 1.0, "temperature": 300.0, "seed": 4}


class Walk(Propagator):
    """Bounded noise around where it began, with a memory; fails on demand, or waits in every step.

    ``fail`` is (replica, time in ps, what fails).
    """

    lag = LAG

    def __init__(self, fail: tuple[int, float, str] | None = None, wait: float = 0.0, heat: bool = True):
        super().__init__()
        self.fail, self.wait, self.heat, self.calls = fail, wait, heat, 0

    def extra_repr(self) -> str:
        return "walk"

    def start(self, positions: Tensor, rng: Generator) -> State:
        velocities = torch.randn(positions.shape, generator=rng) * 0.45 if self.heat else None
        memory = torch.cat([positions, torch.zeros_like(positions[:, :1])], 1)  # where it began, and a clock
        return State(positions, velocities, memory)

    def step(self, state: State, rng: Generator) -> State:
        self.calls += 1
        time.sleep(self.wait)
        noise = torch.randn(state.positions.shape, generator=rng)
        memory = state.memory.clone()
        memory[:, -1] += LAG
        x = memory[:, :-1] + 0.7 * (state.positions - memory[:, :-1]) + 0.005 * noise
        v = None if state.velocities is None else 0.5 * state.velocities + 0.39 * noise
        if self.fail is not None:
            replica, when, what = self.fail
            if replica < len(x) and memory[replica, -1, 0] >= when:
                target = v if what == "hot" else x
                target[replica] = {"nan": float("nan"), "broken": x[replica] * 3, "hot": 1e3}[what]
        return State(x, v, memory)


def starts(replicas: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    chain = np.array([[0, 0, 0], [0.15, 0, 0], [0.2, 0.14, 0]])
    return (chain + 0.01 * rng.normal(size=(replicas, 3, 3))).astype(np.float32)


def asked(**values: Any) -> tuple[SimulationSettings, RunOptions]:
    """Settings and options from all of their fields, those of what is inside them included."""
    kinds = SimulationSettings, RunOptions, Limits, SamplerSettings, Spread
    known = [{f.name: values.pop(f.name) for f in dataclasses.fields(kind) if f.name in values} for kind in kinds]
    assert not values, values
    inside = {"limits": Limits(**known[2]), "sampler": SamplerSettings(**known[3])}
    return SimulationSettings(**known[0], **inside), RunOptions(**known[1], spread=Spread(**known[4]))


@contextlib.contextmanager
def dying(kind: type[Propagator], calls: int) -> Iterator[None]:
    """All propagators of a class together are dead after so many steps: an exception that nothing in there catches."""
    step, left = kind.step, iter(range(calls))

    def limited(self: Propagator, state: State, rng: Generator) -> State:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return step(self, state, rng)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "step", limited)
        yield


@contextlib.contextmanager
def here() -> Iterator[None]:
    """Parts run in this process, one after the other."""

    def run_tasks(tasks, board, hear, *_):
        for name, task in copy.deepcopy(tasks).items():
            task(lambda *told, name=name: hear(name, Told(*told)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "run_tasks", run_tasks)
        yield


def run(
    propagator: Propagator | None = None,
    folder: Path | None = None,
    replicas: int = 4,
    known: Provenance | None = None,
    **changes: Any,
) -> Frames:
    how = asked(folder=folder, **(SETTINGS | changes))
    return simulate(propagator or Walk(), starts(replicas), BEADS, *how, known)


def several(folder: Path, moves: Walk | None = None, *, replicas: int = 5, known=None, **changes: Any) -> Frames:
    """The same in two processes."""
    how = asked(folder=folder, **({"checkpoint_every": 0.05, "processes": 2} | SETTINGS | changes))
    return simulate_parts(moves or Walk(), starts(replicas), BEADS, *how, known)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def interrupted(folder: Path, calls: int, kind: type[Walk] = Walk, fail=None, **changes: Any) -> None:
    """Leave a folder as a kill in the middle of a step leaves it."""
    with dying(kind, calls), pytest.raises(KeyboardInterrupt):
        run(kind(fail), folder, checkpoint_every=0, **changes)
