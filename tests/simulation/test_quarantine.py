"""A replica that is lost is set aside, and the others go on bitwise unchanged: whatever moves them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import walks
from known_molecule import BEADS, KELVIN, exact, integrator, known, mixed
from torch import Generator

from cgsurrogate import workflows
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation.parallel import simulate_parts
from cgsurrogate.simulation.replica_exchange import ReplicaExchange
from cgsurrogate.simulation.run import simulate
from cgsurrogate.simulation.settings import RunOptions, SamplerSettings, SimulationSettings, Spread
from cgsurrogate.simulation.temperature_ladder import ALL
from cgsurrogate.testing import samples
from cgsurrogate.workflows.stability import simulate_stably

LOST, REPLICAS, FRAMES = 6, 12, 12
WHEN = 5  # steps, then it fails


class Spoiled(Propagator):
    """Steps of ``inner``, but for replicas that fail in one of them."""

    def __init__(self, inner: Propagator, what: str, replicas: tuple[int, ...] = (LOST,)):
        super().__init__()
        self.inner, self.what, self.replicas = inner, what, list(replicas)
        self.lag, self.temperatures = inner.lag, inner.temperatures

    def start(self, positions: torch.Tensor, rng: Generator) -> State:
        self.done = 0
        return self.inner.start(positions, rng)

    def step(self, state: State, rng: Generator) -> State:
        state, self.done = self.inner.step(state, rng), self.done + 1
        if self.done != WHEN:
            return state
        x, v = state.positions.clone(), None if state.velocities is None else state.velocities.clone()
        if self.what == "hot" and v is not None:
            v[self.replicas] = 1e4
        elif self.what == "far":
            x[self.replicas] *= 1e3
        else:
            x[self.replicas] = float("nan")
        return state._replace(positions=x, velocities=v)

    def notes(self, state: State, known: Provenance) -> Provenance:
        return self.inner.notes(state, known)


def ladder(moves: str | None = None) -> Propagator:
    inner = integrator("baoab") if moves is None else mixed(integrator("baoab"), moves, 1)
    return ReplicaExchange(inner, known(), (KELVIN, 1.3 * KELVIN), 2).double()


ENGINES: dict[str, Callable[[], Propagator]] = {
    **{kind: functools.partial(integrator, kind) for kind in registry.kinds("integrators")},
    **{name: functools.partial(lambda name: mixed(integrator("baoab"), name, 1), name)
       for name in ("pivot", "uniform", "block", "independence")},
    "all moves, overdamped": lambda: mixed(integrator("overdamped"), "all", 2),
    "ladder": ladder,
    "ladder and moves": lambda: ladder("all"),
}  # fmt: skip
STEPPERS = registry.kinds("steppers")


def starts() -> np.ndarray:
    return exact(REPLICAS, 3).float().numpy()


def run(moves: Propagator, x: np.ndarray, beads=BEADS, folder: Path | None = None) -> Frames:
    settings = SimulationSettings(FRAMES * moves.lag, moves.lag, KELVIN, seed=2)
    done = simulate(moves, x, beads, settings, RunOptions(folder))
    return done if folder is None or moves.temperatures is None else Frames.load(folder / ALL)


def check(whole: Frames, lost: Frames, unchanged: set[int]) -> None:
    """The replica ends before it failed; those of ``unchanged`` are the same to the bit."""
    (entry,) = lost.provenance.quarantined
    assert entry.replica == LOST
    runs = dict(zip(lost.provenance.replicas, lost.runs, strict=True))
    assert runs[LOST].stop - runs[LOST].start == WHEN - 1
    for replica in sorted(unchanged):
        same = np.array_equal(whole.positions[whole.runs[replica]], lost.positions[runs[replica]])
        assert same, f"replica {replica} has changed"
    assert np.isfinite(lost.positions).all()


@pytest.mark.parametrize("what", ["nan", "far", "hot"])
@pytest.mark.parametrize("name", ENGINES)
def test_a_lost_replica_changes_no_other(name, what, tmp_path):
    """But for those on the same ladder, which have lost a partner."""
    whole = run(ENGINES[name](), starts(), folder=tmp_path / "whole")
    moves = Spoiled(ENGINES[name](), what)
    lost = run(moves, starts(), folder=tmp_path / "lost")
    size = 1 if moves.temperatures is None else len(moves.temperatures)
    check(whole, lost, {r for r in range(REPLICAS) if r // size != LOST // size})


@pytest.mark.parametrize("what", ["nan", "far"])
@pytest.mark.parametrize("kind", STEPPERS)
def test_a_lost_replica_changes_no_other_rollout(kind, what):
    """Of a wild stepper, whose proposals often collide and are drawn again."""
    frames = dataclasses.replace(samples.frames(600, shake=0.005), lengths=(300, 300), dt=2.0)
    torch.manual_seed(0)
    stepper = registry.build("steppers", kind, frames.beads, lag=4.0)
    stepper.calibrate(frames)
    with torch.no_grad():
        for weight in stepper.parameters():
            weight.add_(0.3 * torch.randn(weight.shape))
    x = np.array(frames.positions[:: len(frames) // REPLICAS][:REPLICAS])
    whole, lost = (run(moves, x, frames.beads) for moves in (stepper, Spoiled(stepper, what)))
    check(whole, lost, set(range(REPLICAS)) - {LOST})


def test_a_lost_replica_changes_no_other_in_several_processes(tmp_path):
    """It is the first of the second part."""
    settings = SimulationSettings(FRAMES * 0.003, 0.003, KELVIN, seed=2)
    done = []
    with walks.here():
        for name in ("whole", "lost"):
            inner = mixed(integrator("baoab"), "all", 1)
            moves = OfPart(inner) if name == "lost" else inner
            done.append(simulate_parts(moves, starts(), BEADS, settings, RunOptions(tmp_path / name, spread=Spread(2))))
    check(*done, set(range(REPLICAS)) - {LOST})


class OfPart(Spoiled):
    """Fails in the second of two parts alone, which is known by where its first replica begins."""

    def __init__(self, inner: Propagator):
        super().__init__(inner, "nan", (0,))

    def start(self, positions: torch.Tensor, rng: Generator) -> State:
        second = np.allclose(positions[0].numpy(), starts()[LOST], atol=1e-6)
        self.replicas = [0] if second else []
        return super().start(positions, rng)


def test_a_lost_replica_changes_no_other_at_half_the_time_step(tmp_path, monkeypatch):
    """First all fail at the usual step, then one of twelve, which is kept to where it failed."""

    def make(model, start, out, settings, report):
        name, options = registry.parse(settings.sampler.integrator or "baoab:timestep=0.004")
        moves = registry.build("integrators", name, BEADS, known(), KELVIN, **options).double()
        if out.parent.name == "lost":
            moves = Spoiled(moves, "nan")
        if settings.sampler.integrator is None:
            moves = Spoiled(moves, "nan", tuple(range(REPLICAS // 2)))
        settings = SimulationSettings(settings.time, settings.every, KELVIN, seed=2)
        return simulate(moves, starts(), BEADS, settings, RunOptions(out))

    monkeypatch.setattr(workflows, "make_simulation", make)
    done = []
    for name in ("whole", "lost"):
        folder = tmp_path / name
        folder.mkdir()
        record = folder / "length.json"
        filesystem.write_json(record, {})
        settings = SimulationSettings(FRAMES * 0.004, 0.004, replicas=REPLICAS, sampler=SamplerSettings())
        simulate_stably(None, None, folder / "out", settings, record)
        assert filesystem.read_json(record)["halvings"] == 1
        done.append(Frames.load(folder / "out"))
    check(*done, set(range(REPLICAS)) - {LOST})
