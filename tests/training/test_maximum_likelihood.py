"""Maximum likelihood: samples come to look like the data, broken replicas are replaced, and it goes on bit for bit."""

from __future__ import annotations

import math
import os
import signal

import pytest
import torch
from torch import Generator, Tensor
from toy_energies import CENTRE, Exact, Torsion, contract, error_of, network, toy, whole, with_forces

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Prior, Sum
from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.training import lightning_task
from cgsurrogate.training.force_field import train_energy
from cgsurrogate.training.loop import fit
from cgsurrogate.training.objectives.maximum_likelihood import SETTINGS, WARM_UP, MaximumLikelihood
from cgsurrogate.training.settings import EnergySettings
from cgsurrogate.training.state import CHECKPOINT

STEPS = 8


def test_samples_come_to_look_like_the_data():
    frames = toy()
    learned = network(frames.beads)
    before = error_of(learned)
    settings = SETTINGS.within(None, 150, rate=2e-2)
    history = fit(learned, MaximumLikelihood(Exact(learned), frames), settings)
    assert error_of(learned) < 0.3 * before
    assert history.best == history.rows[-1] and "held_out" not in history.best


@pytest.mark.parametrize("broken", [torch.nan, 50.0])
def test_replicas_that_go_astray_are_replaced(broken):
    class Breaks(Exact):
        """The first bead of the first replica flies away, unless it comes alone, as one that starts anew does."""

        def step(self, state: State, rng: Generator) -> State:
            x = super().step(state, rng).positions.clone()
            if len(x) > 1:
                x[0, 0] = broken
            return State(x)

    class Watched(Energy):
        """Notes the longest bond that it is asked about."""

        def __init__(self, inner: Energy):
            super().__init__()
            self.inner, self.longest = inner, 0.0

        def forward(self, positions: Tensor) -> Tensor:
            self.longest = max(self.longest, float((positions[:, 1] - positions[:, 0]).norm(dim=1).max()))
            return self.inner(positions)

    frames = toy(200)
    inner = network(frames.beads)
    learned = Watched(inner)
    history = fit(learned, MaximumLikelihood(Breaks(inner), frames), SETTINGS.within(None, 3, every=1))
    assert all(math.isfinite(row["train"]) for row in history.rows)
    assert all(torch.isfinite(p).all() for p in learned.parameters())
    assert learned.longest < 1.0  # nm


def test_weights_wait_for_replicas_that_are_left_behind():
    class Stuck(Exact):
        def step(self, state: State, rng: Generator) -> State:
            return State(contract.chain("dihedral", torch.full((len(state.positions),), CENTRE + math.pi)))

    class Depth(Torsion):
        def __init__(self):
            super().__init__()
            self.depth = torch.nn.Parameter(torch.zeros(()))

        def forward(self, positions: Tensor) -> Tensor:
            return self.depth * super().forward(positions)

    def gap(rate: float) -> float:
        learned = Depth()
        settings = SETTINGS.within(None, 100, every=1, rate=rate)
        return -fit(learned, MaximumLikelihood(Stuck(learned), toy(200)), settings).rows[-1]["train"]

    assert 4 < gap(0.1) < gap(0.3) < 2.3 * gap(0.1)  # as the square root of the rate; without waiting, threefold


class Killed(BaseException):
    """The process ends at once, and saves nothing more."""


class Counted(Propagator):
    """An integrator that is killed, or asks to stop, after some steps; its states lie as they may in memory."""

    def __init__(self, inner: Propagator, last: int | None = None, ask: bool = False):
        super().__init__()
        self.inner, self.last, self.ask, self.calls = inner, last, ask, 0

    @property
    def lag(self) -> float:
        return self.inner.lag

    def start(self, positions: Tensor, rng: Generator) -> State:
        return self.inner.start(positions, rng)

    def step(self, state: State, rng: Generator) -> State:
        if self.calls == self.last:
            if not self.ask:
                raise Killed
            os.kill(os.getpid(), signal.SIGTERM)
        self.calls += 1
        new = self.inner.step(state, rng)
        return new._replace(positions=new.positions.permute(1, 2, 0).contiguous().permute(2, 0, 1))


def integrator(energy: Sum, **how) -> Counted:
    return Counted(registry.build("integrators", "baoab", contract.peptide(), energy, 300.0, timestep=0.001), **how)


def tuned(folder, **how) -> tuple[dict[str, Tensor], Counted, tuple]:
    energy = whole(contract.peptide())
    for term in energy.terms:
        if isinstance(term, Prior):
            term.fit(with_forces())
    networks, moves = Sum(energy.terms[-1]), integrator(energy, **how)
    objective, settings = MaximumLikelihood(moves, with_forces()), SETTINGS.within(None, STEPS, seed=1, every=1)
    rows = fit(networks, objective, settings, folder=folder, label="maximum likelihood").rows
    return {name: value.clone() for name, value in networks.state_dict().items()}, moves, rows


@pytest.fixture(scope="module")
def unbroken() -> dict[str, Tensor]:
    return tuned(None)[0]


@pytest.mark.parametrize("ask", [False, True], ids=["killed", "stopped"])
def test_going_on_is_bitwise_the_same(tmp_path, monkeypatch, unbroken, ask):
    monkeypatch.setattr(lightning_task, "SAVE_SECONDS", 3600.0 if ask else 0.0)
    before = signal.getsignal(signal.SIGTERM)
    last = WARM_UP + 2  # and two updates
    with pytest.raises(Stopped if ask else Killed) as ended:
        tuned(tmp_path, last=last, ask=ask)
    if ask:
        assert "maximum likelihood is saved, the same command continues it" in str(ended.value)
        assert ended.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    weights, moves, rows = tuned(tmp_path)
    assert moves.calls == WARM_UP + STEPS - last - ask  # nothing was done twice
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    finished, idle, _ = tuned(tmp_path)
    assert idle.calls == 0  # a finished one is not done again
    for name, value in unbroken.items():
        assert torch.equal(weights[name], value) and torch.equal(finished[name], value), name


def test_a_whole_training_that_is_killed_in_its_last_part_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(lightning_task, "SAVE_SECONDS", 0.0)
    settings = EnergySettings(objective="likelihood", steps=10)

    def trained(folder, **how) -> dict[str, Tensor]:
        energy = whole(contract.peptide())
        train_energy(energy, with_forces(), settings, folder=folder, sampler=lambda: integrator(energy, **how))
        return energy.state_dict()

    expected = trained(tmp_path / "unbroken")
    with pytest.raises(Killed):
        trained(tmp_path / "killed", last=13)
    assert (tmp_path / "killed" / "likelihood" / CHECKPOINT).exists()
    found = trained(tmp_path / "killed")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
