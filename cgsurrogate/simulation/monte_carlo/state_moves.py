"""Dynamics mixed with jumps of many dihedrals and angles at once, between all states that some frames have.

A jump replaces the dihedrals and angles z_b of a stretch b of the molecule, or all of them, by values drawn from a
mixture q that was fitted to frames (``training.groups``), with those of the rest as they are: from q(z_b | rest). It is
accepted (Hastings 1970) with the probability

    min(1, exp(-(U' - U) / kT) J' / J  q(z) / q(z')),

J the product of sin(theta) over angles. So the distribution of the energy is left as it is whatever the frames are;
they decide only how often a jump is accepted. Folded and unfolded states that dynamics seldom connects are in
equilibrium after a few accepted jumps.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.geometry.torsion_moves import Moves
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.simulation.monte_carlo.mixture import Mixture, choose

ATTEMPTS, PERIOD = 10, 5  # of the settings tried, these connect states soonest for the time they take
LEFT_OUT = 0.2  # share of the frames, by whole runs, on which the number of groups is chosen
BLOCK = 4000
WHOLE = 0.5  # share of jumps of all dihedrals and angles


class Jumping(Propagator):
    """``period`` steps of an integrator and then ``attempts`` jumps of each replica make one step.

    Args:
        moves: an integrator of the energy, with or without Monte Carlo turns.
        energy: the potential energy that ``moves`` samples.
        frames: what the jumps are fitted to.

    ``State.counts``: what ``moves`` counts, and then jumps accepted and tried.
    """

    def __init__(
        self, moves: Propagator, energy: Energy, frames: Frames, attempts: int = ATTEMPTS, period: int = PERIOD
    ):
        super().__init__()
        if attempts != int(attempts) or attempts < 1 or period != int(period) or period < 1:
            raise ValueError(f"expected whole numbers of jumps and of steps between them, got {attempts}, {period}")
        if not hasattr(moves, "temperature"):
            raise ValueError(f"jumps need an integrator with a temperature, got {type(moves).__name__}")
        self.moves, self.attempts, self.period = moves, int(attempts), int(period)
        self.turned = Moves(frames.beads)
        self.density = fitted(self.turned, frames)
        self.energies = Forces(energy).energies
        self.temperature, self.lag = moves.temperature, moves.lag * self.period
        self.mixes_temperatures = moves.mixes_temperatures  # type: ignore[misc]
        self.spec = getattr(moves, "spec", None)

    def extra_repr(self) -> str:
        fitted = f"{len(self.density.shares)} groups of likelihood {self.density.fit:.6g}"
        inner = f"{type(self.moves).__name__}({self.moves.extra_repr()})"
        return f"jumps={self.attempts}, period={self.period}, {fitted}, {inner}"

    def start(self, positions: Tensor, rng: Generator) -> State:
        state = self.moves.start(positions, rng)
        return self._counted(state, torch.zeros(len(positions), 2, dtype=torch.int64, device=positions.device))

    def step(self, state: State, rng: Generator) -> State:
        inner, counts = self._parts(state)
        for _ in range(self.period):
            inner = self.moves.step(inner, rng)
        return self.jumped(self._counted(inner, counts), rng)

    @torch.no_grad()
    def jumped(self, state: State, rng: Generator) -> State:
        """The state after ``attempts`` jumps of each replica; velocities stay as they are."""
        inner, counts = self._parts(state)
        x, counts = inner.positions, counts.clone()
        kelvin = x.new_full((len(x),), self.temperature) if inner.temperature is None else inner.temperature
        beta = (1 / (units.BOLTZMANN * kelvin)).double()
        weight = -beta * self.energies(x).double() + self.log_ratio(self.turned.values(x))
        for _ in range(self.attempts):
            z = self.propose(self.turned.values(x), rng)
            proposed = self.turned.placed(x, z.to(x))
            later = -beta * self.energies(proposed).double() + self.log_ratio(z)
            chance = torch.rand(len(x), generator=rng, dtype=torch.float64, device=x.device)
            accepted = chance.log() < later - weight  # False where that is nan
            x = torch.where(accepted[:, None, None], proposed, x)
            weight = torch.where(accepted, later, weight)
            counts += torch.stack((accepted, torch.ones_like(accepted)), 1)
        fresh = self.moves.start(x, rng)
        kept = {"velocities": inner.velocities, "temperature": inner.temperature, "ladder": inner.ladder}
        return self._counted(fresh._replace(**kept, counts=inner.counts), counts)

    def log_ratio(self, z: Tensor) -> Tensor:
        """(B, M) radian -> (B,) ln J - ln q; inf where q is zero, from where no jump begins."""
        z = z.double()
        volume = z[:, self.turned.turns :].sin().clamp(min=1e-12).log().sum(1)
        return torch.where(self.density.covers(z), volume - self.density.log_density(z), torch.inf)

    def propose(self, z: Tensor, rng: Generator) -> Tensor:
        """(B, M) radian: all values drawn anew, or those of a stretch given the others."""
        count = z.shape[1]
        ends = torch.rand(3, len(z), generator=rng, device=z.device)
        first, last = (ends[:2].sort(0).values * count).floor()
        place = torch.cat((torch.arange(self.turned.turns), torch.arange(self.turned.bends))).to(z.device)
        scale = count / max(self.turned.turns, self.turned.bends, 1)
        chosen = (place * scale >= first[:, None]) & (place * scale <= last[:, None]) | (ends[2] < WHOLE)[:, None]
        return torch.where(chosen, self.density.draw_given(z, ~chosen, rng), z.double())

    def _parts(self, state: State) -> tuple[State, Tensor]:
        own = state.counts[:, -2:]  # type: ignore[index]
        rest = state.counts[:, :-2]  # type: ignore[index]
        return state._replace(counts=rest if rest.shape[1] else None), own

    @staticmethod
    def _counted(inner: State, own: Tensor) -> State:
        return inner._replace(counts=own if inner.counts is None else torch.cat((inner.counts, own), 1))

    def notes(self, state: State, known: Provenance) -> Provenance:
        inner, own = self._parts(state)
        accepted, tried = own.double().sum(0).tolist()
        never = int((own[:, 0] == 0).sum())
        steps = self.period * getattr(self.moves, "period", 1)
        about = {"attempts": self.attempts, "steps": steps, "acceptance": accepted / max(tried, 1),
                 "never_jumped": never, "groups": len(self.density.shares)}  # fmt: skip
        known = self.moves.notes(inner, known)
        return dataclasses.replace(
            known,
            monte_carlo={**known.monte_carlo, "independence": about},
            mixed_by="Monte Carlo independence moves",
            physical_time=False,
            why_not_physical="Monte Carlo moves take no time",
        )


def fitted(moves: Moves, frames: Frames) -> Mixture:
    """The mixture of frames that suits runs left out of its fit best."""
    kept, held = ((_values(moves, part), torch.from_numpy(part.probabilities)) for part in frames.split(LEFT_OUT, 0))
    return choose(*kept, moves.turns, held, Generator().manual_seed(0))


def _values(moves: Moves, frames: Frames) -> Tensor:
    """(T, M) radian."""
    blocks = np.array_split(np.arange(len(frames)), -(-len(frames) // BLOCK))
    return torch.cat([moves.values(torch.from_numpy(np.array(frames.positions[b], np.float32))) for b in blocks])


def sentence(about: dict[str, Any]) -> str:
    """What the notes of a simulation say of its jumps, for people."""
    stuck = f", {about['never_jumped']} replica(s) never jumped" if about["never_jumped"] else ""
    return f"jumps between the states of frames: {about['acceptance']:.1%} accepted{stuck}; no physical time"
