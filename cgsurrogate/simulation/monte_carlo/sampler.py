"""Dynamics mixed with Monte Carlo turns: the equilibrium of an energy many times sooner than by dynamics alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Propagator, State, divisor_near
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.simulation.monte_carlo.block_moves import learned
from cgsurrogate.simulation.monte_carlo.pivot import Turns

KINDS = ("drawn", "near", "window")
WINDOWED = 0.5  # share of the attempts
ATTEMPTS, PERIOD = 10, 5  # the usual ones: about as much time for turns as for dynamics


class Turning(Propagator):
    """``period`` steps of an integrator and then ``attempts`` Monte Carlo turns of each replica make one step.

    Turns leave the Boltzmann distribution at the temperature of each replica invariant, whatever their positions; they
    do not touch velocities, which do not depend on positions in equilibrium. So what the integrator leaves invariant,
    the whole does. Dihedrals jump, so **the chain has no physical time**: ``lag`` counts the dynamics only.

    Args:
        moves: an integrator of the energy; steps each replica at its own ``State.temperature``.
        energy: the potential energy that ``moves`` samples.
        frames: with them, half of the attempts turn a stretch of the chain at once (``windows``).

    ``State.counts`` (B, 6): turns accepted and tried, of each of ``KINDS``.
    """

    def __init__(
        self,
        moves: Propagator,
        energy: Energy,
        beads: Beads,
        attempts: int = ATTEMPTS,
        period: int = PERIOD,
        frames: Frames | None = None,
    ):
        super().__init__()
        for name, value in (("Monte Carlo turns", attempts), ("steps between Monte Carlo turns", period)):
            if value != int(value) or value < 1:
                raise ValueError(f"expected a whole number of {name}, at least 1, got {value}")
        if not hasattr(moves, "temperature"):
            raise ValueError(f"Monte Carlo turns need an integrator with a temperature, got {type(moves).__name__}")
        self.moves, self.attempts, self.period = moves, int(attempts), int(period)
        self.turns = Turns(beads, energy, moves.temperature)
        self.windows = None if frames is None else learned(self.turns, frames)
        self.energies = Forces(self.turns.moving(energy)).energies
        self.temperature, self.lag = moves.temperature, moves.lag * self.period
        self.mixes_temperatures = moves.mixes_temperatures  # type: ignore[misc]
        self.spec = getattr(moves, "spec", None)

    def extra_repr(self) -> str:
        return (
            f"turns={self.attempts}, period={self.period}, drawn={self.turns.drawn:g}, "
            f"windows={self.windows is not None}, {type(self.moves).__name__}({self.moves.extra_repr()})"
        )

    def start(self, positions: Tensor, rng: Generator) -> State:
        state = self.moves.start(positions, rng)
        return state._replace(
            counts=torch.zeros(len(positions), 2 * len(KINDS), dtype=torch.int64, device=positions.device)
        )

    def step(self, state: State, rng: Generator) -> State:
        for _ in range(self.period):
            state = self.moves.step(state, rng)
        return self.turned(state, rng)

    @torch.no_grad()
    def turned(self, state: State, rng: Generator) -> State:
        """The state after ``attempts`` turns of each replica; everything but the velocities follows the positions."""
        x, counts = state.positions, state.counts.clone()  # type: ignore[union-attr]
        kelvin = x.new_full((len(x),), self.temperature) if state.temperature is None else state.temperature
        rows = torch.arange(len(x), device=x.device)
        beta, energy = 1 / (units.BOLTZMANN * kelvin), self.energies(x)
        for _ in range(self.attempts):
            proposed, ratio, kind = self.propose(x, rng)
            value = self.energies(proposed)
            chance = torch.rand(len(x), generator=rng, dtype=x.dtype, device=x.device)
            accepted = chance.log() < beta * (energy - value) + ratio  # False where that is nan
            x = torch.where(accepted[:, None, None], proposed, x)
            energy = torch.where(accepted, value, energy)
            counts[rows, 2 * kind] += accepted
            counts[rows, 2 * kind + 1] += 1
        fresh = self.moves.start(x, rng)
        return fresh._replace(
            velocities=state.velocities, temperature=state.temperature, ladder=state.ladder, counts=counts
        )

    def propose(self, x: Tensor, rng: Generator) -> tuple[Tensor, Tensor, Tensor]:
        """A turn of each replica, (B,) log of the factor of its acceptance, and (B,) which of ``KINDS`` it is."""
        if self.windows is not None and float(torch.rand((), generator=rng, device=x.device)) < WINDOWED:
            proposed, ratio = self.windows.propose(x, rng)
            return proposed, ratio, torch.full((len(x),), 2, device=x.device)
        proposed, ratio, drawn = self.turns.propose(x, rng)
        return proposed, ratio, torch.where(drawn, 0, 1)

    def notes(self, state: State, known: Provenance) -> Provenance:
        accepted, tried = state.counts[:, ::2], state.counts[:, 1::2]  # type: ignore[index]
        done, all_ = accepted.sum(0).tolist(), tried.sum(0).tolist()
        about: dict[str, Any] = {
            "attempts": self.attempts,
            "steps": self.period,
            "acceptance": sum(done) / max(sum(all_), 1),
            "never_turned": int((accepted.sum(1) == 0).sum()),
        }
        about |= {f"acceptance_{k}": n / m for k, n, m in zip(KINDS, done, all_, strict=True) if m}
        known = self.moves.notes(state, known)
        return dataclasses.replace(
            known,
            monte_carlo={**known.monte_carlo, "pivot": about},
            mixed_by="Monte Carlo pivot moves",
            physical_time=False,
            why_not_physical="Monte Carlo moves take no time",
        )


def sentence(about: dict[str, Any]) -> str:
    """What the notes of a simulation say of its turns, for people."""
    stuck = f", {about['never_turned']} replica(s) never turned" if about["never_turned"] else ""
    words = {"drawn": "of those drawn anew", "near": "of those near the old value", "window": "of whole stretches"}
    each = ", ".join(f"{about[f'acceptance_{k}']:.0%} {words[k]}" for k in KINDS if f"acceptance_{k}" in about)
    return f"Monte Carlo turns: {about['acceptance']:.0%} accepted ({each}){stuck}; no physical time"


def usual_period(steps: int) -> int:
    """The divisor of the steps between frames that is nearest to ``PERIOD`` in ratio."""
    return divisor_near(steps, PERIOD)
