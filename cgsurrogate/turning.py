"""Dynamics mixed with Monte Carlo turns: the equilibrium of an energy many times sooner than by dynamics alone."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Generator, Tensor

from cgsurrogate import units
from cgsurrogate.energy import Energy
from cgsurrogate.fast import Forces
from cgsurrogate.frames import Beads
from cgsurrogate.propagator import Propagator, State
from cgsurrogate.turns import Turns

ATTEMPTS, PERIOD = 10, 5


class Turning(Propagator):
    """``period`` steps of an integrator and then ``attempts`` Monte Carlo turns of each replica make one step.

    Turns leave the Boltzmann distribution at the temperature of each replica invariant, whatever their positions; they
    do not touch velocities, which do not depend on positions in equilibrium. So what the integrator leaves invariant,
    the whole does. Dihedrals jump, so **the chain has no physical time**: ``lag`` counts the dynamics only.

    Args:
        moves: an integrator of the energy; steps each replica at its own ``State.temperature``.
        energy: the potential energy that ``moves`` samples.

    ``State.counts`` (B, 4): turns accepted and tried, of those drawn anew and of those near the old value.
    """

    def __init__(self, moves: Propagator, energy: Energy, beads: Beads, attempts: int = ATTEMPTS, period: int = PERIOD):
        super().__init__()
        for name, value in (("Monte Carlo turns", attempts), ("steps between Monte Carlo turns", period)):
            if value != int(value) or value < 1:
                raise ValueError(f"expected a whole number of {name}, at least 1, got {value}")
        if not hasattr(moves, "temperature"):
            raise ValueError(f"Monte Carlo turns need an integrator with a temperature, got {type(moves).__name__}")
        self.moves, self.attempts, self.period = moves, int(attempts), int(period)
        self.turns = Turns(beads, energy, moves.temperature)
        self.energies = Forces(self.turns.moving(energy)).energies
        self.temperature, self.lag = moves.temperature, moves.lag * self.period
        self.mixes_temperatures = moves.mixes_temperatures  # type: ignore[misc]
        self.recipe = getattr(moves, "recipe", None)

    def extra_repr(self) -> str:
        return (
            f"turns={self.attempts}, period={self.period}, drawn={self.turns.drawn:g}, "
            f"{type(self.moves).__name__}({self.moves.extra_repr()})"
        )

    def start(self, positions: Tensor, rng: Generator) -> State:
        state = self.moves.start(positions, rng)
        return state._replace(counts=torch.zeros(len(positions), 4, dtype=torch.int64, device=positions.device))

    def step(self, state: State, rng: Generator) -> State:
        for _ in range(self.period):
            state = self.moves.step(state, rng)
        return self.turned(state, rng)

    @torch.no_grad()
    def turned(self, state: State, rng: Generator) -> State:
        """The state after ``attempts`` turns of each replica; everything but the velocities follows the positions."""
        x, counts = state.positions, state.counts.clone()  # type: ignore[union-attr]
        kelvin = x.new_full((len(x),), self.temperature) if state.temperature is None else state.temperature
        beta, energy = 1 / (units.BOLTZMANN * kelvin), self.energies(x)
        for _ in range(self.attempts):
            proposed, ratio, drawn = self.turns.propose(x, rng)
            value = self.energies(proposed)
            chance = torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
            accepted = chance.log() < beta * (energy - value) + ratio  # False where that is nan
            x = torch.where(accepted[:, None, None], proposed, x)
            energy = torch.where(accepted, value, energy)
            counts += torch.stack((accepted & drawn, drawn, accepted & ~drawn, ~drawn), 1)
        fresh = self.moves.start(x, rng)
        return fresh._replace(
            velocities=state.velocities, temperature=state.temperature, ladder=state.ladder, counts=counts
        )

    def notes(self, state: State) -> dict[str, Any]:
        far, far_tried, near, near_tried = state.counts.double().sum(0).tolist()  # type: ignore[union-attr]
        accepted = state.counts[:, ::2].sum(1)  # type: ignore[index]
        about = {
            "attempts": self.attempts,
            "steps": self.period,
            "acceptance": (far + near) / max(far_tried + near_tried, 1),
            "acceptance_drawn": far / max(far_tried, 1),
            "acceptance_near": near / max(near_tried, 1),
            "never_turned": int((accepted == 0).sum()),
        }
        inner = self.moves.notes(state)
        why = "Monte Carlo turns take no time"
        return inner | {"turns": about, "physical_time": False, "time_ordered": False, "why_not_physical": why}


def sentence(about: dict[str, Any]) -> str:
    """What the notes of a simulation say of its turns, for people."""
    stuck = f", {about['never_turned']} replica(s) never turned" if about["never_turned"] else ""
    return (
        f"Monte Carlo turns: {about['acceptance']:.0%} accepted ({about['acceptance_drawn']:.0%} of those drawn anew, "
        f"{about['acceptance_near']:.0%} of those near the old value){stuck}; no physical time"
    )


def usual_period(steps: int, wanted: float = PERIOD) -> int:
    """The divisor of a number of steps that is nearest to ``wanted`` in ratio."""
    small = [n for n in range(1, math.isqrt(steps) + 1) if steps % n == 0]
    return min({*small, *(steps // n for n in small)}, key=lambda n: abs(math.log(n / wanted)))
