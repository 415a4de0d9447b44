"""Maximum likelihood stops and goes on: with a budget of steps, bit for bit as if nothing had happened."""

from __future__ import annotations

import os
import signal

import energy_contract as contract
import pytest
import torch
from torch import Generator
from training.test_force_field import whole, with_forces

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Prior, Sum
from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.training.force_field import train_energy
from cgsurrogate.training.objectives import maximum_likelihood
from cgsurrogate.training.objectives.maximum_likelihood import CHECKPOINT, fine_tune

STEPS = 8


class Counted(Propagator):
    """An integrator that is killed, or asks to stop, after some steps; its states lie as they may in memory."""

    def __init__(self, inner: Propagator, last: int | None = None, ask: bool = False):
        super().__init__()
        self.inner, self.last, self.ask, self.calls = inner, last, ask, 0

    @property
    def lag(self) -> float:
        return self.inner.lag

    def start(self, positions: torch.Tensor, rng: Generator) -> State:
        return self.inner.start(positions, rng)

    def step(self, state: State, rng: Generator) -> State:
        if self.calls == self.last:
            if not self.ask:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)
        self.calls += 1
        new = self.inner.step(state, rng)
        return new._replace(positions=new.positions.permute(1, 2, 0).contiguous().permute(2, 0, 1))


def fitted() -> Sum:
    energy = whole(contract.peptide())
    for term in energy.terms:
        if isinstance(term, Prior):
            term.fit(with_forces())
    return energy


def integrator(energy: Sum, **how) -> Counted:
    return Counted(registry.build("integrators", "baoab", contract.peptide(), energy, 300.0, timestep=0.001), **how)


def tuned(folder, **how) -> tuple[dict[str, torch.Tensor], Counted, list]:
    energy = fitted()
    networks, moves = Sum(energy.terms[-1]), integrator(energy, **how)
    rows = fine_tune(networks, moves, with_forces(), minutes=None, steps=STEPS, seed=1, moves=1, folder=folder)
    return {name: value.clone() for name, value in networks.state_dict().items()}, moves, rows


@pytest.fixture(scope="module")
def unbroken() -> dict[str, torch.Tensor]:
    return tuned(None)[0]


@pytest.mark.parametrize("ask", [False, True], ids=["killed", "stopped"])
def test_going_on_is_bitwise_the_same(tmp_path, monkeypatch, unbroken, ask):
    monkeypatch.setattr(maximum_likelihood, "SECONDS_BETWEEN_CHECKPOINTS", 3600.0 if ask else 0.0)
    before = signal.getsignal(signal.SIGTERM)
    last = 10 + 2  # the warm-up, and two updates
    with pytest.raises(Stopped if ask else KeyboardInterrupt) as ended:
        tuned(tmp_path, last=last, ask=ask)
    if ask:
        assert "maximum likelihood is saved, the same command continues it" in str(ended.value)
        assert ended.value.signal == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
    weights, moves, rows = tuned(tmp_path)
    assert moves.calls == 10 + STEPS - last - ask  # nothing was done twice
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    assert [row["seconds"] for row in rows] == sorted(row["seconds"] for row in rows)
    for name, value in unbroken.items():
        assert torch.equal(weights[name], value), name


def test_a_finished_one_is_not_done_again(tmp_path, unbroken):
    tuned(tmp_path)
    weights, moves, rows = tuned(tmp_path)
    assert moves.calls == 0
    assert len(rows) == STEPS
    assert all(torch.equal(weights[name], value) for name, value in unbroken.items())


def test_a_whole_training_that_is_killed_in_its_last_part_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(maximum_likelihood, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)

    def trained(folder, **how) -> dict[str, torch.Tensor]:
        energy = whole(contract.peptide())
        train_energy(
            energy, with_forces(), minutes=None, steps=10, folder=folder, likelihood=lambda: integrator(energy, **how)
        )
        return energy.state_dict()

    expected = trained(tmp_path / "unbroken")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "killed", last=13)
    assert (tmp_path / "killed" / CHECKPOINT).exists()
    found = trained(tmp_path / "killed")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
