"""Dynamics mixed with Monte Carlo moves: the equilibrium of an energy many times sooner than by dynamics alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.models.evaluation.evaluator import Forces, terms_of
from cgsurrogate.simulation.monte_carlo.move import Move

ATTEMPTS, PERIOD = 10, 5  # the usual ones: about as much time for moves as for dynamics


@dataclasses.dataclass(frozen=True, eq=False)
class Attempts:
    """``number`` attempts of each replica after every ``period`` steps, each by one of ``moves`` (equal chances)."""

    moves: Sequence[Move]
    number: int = ATTEMPTS
    period: int = PERIOD

    def __post_init__(self) -> None:
        for name, value in (("Monte Carlo attempts", self.number), ("steps between Monte Carlo moves", self.period)):
            if value != int(value) or value < 1:
                raise ValueError(f"expected a whole number of {name}, at least 1, got {value}")


class Tally(NamedTuple):
    """(B,) whole numbers: how many proposals of one kind each replica has accepted, and tried."""

    accepted: Tensor
    tried: Tensor


class HybridSampler(Propagator):
    """Steps of an integrator, with Monte Carlo moves in between; a step is the longest period of the moves.

    Moves leave the Boltzmann distribution of positions at the temperature of each replica invariant. Velocities turn
    with the parts that a move turns, or stay; they must not depend on positions in equilibrium (``Propagator.moved``).
    So what the integrator leaves invariant, the whole does. Positions jump, so **the chain has no physical time**:
    ``lag`` counts dynamics.

    Args:
        integrator: of the energy; steps each replica at its own ``State.temperature``.
        energy: the potential energy that ``integrator`` samples, kJ/mol.
        schedule: which moves, how many, and how often; every period divides the longest.

    ``State.counts`` (B, 2 K) belongs to the K kinds of all moves; ``tallies`` reads it.
    """

    def __init__(self, integrator: Propagator, energy: Energy, schedule: Sequence[Attempts]):
        super().__init__()
        name = type(integrator).__name__
        if not hasattr(integrator, "temperature"):
            raise ValueError(f"Monte Carlo moves need an integrator with a temperature, got {name}")
        if type(integrator).moved is Propagator.moved:
            raise ValueError(
                f"{name} cannot go on from positions that Monte Carlo moves have changed (it has no ``moved``), so the "
                "mixture would not keep the Boltzmann distribution; use an integrator such as baoab"
            )
        self.period = max(group.period for group in schedule)
        if any(self.period % group.period for group in schedule):
            raise ValueError(f"expected periods that divide the longest, got {[group.period for group in schedule]}")
        self.integrator, self.schedule = integrator, tuple(schedule)
        self.moves = nn.ModuleList(move for group in schedule for move in group.moves)
        self.kinds = tuple(kind for group in schedule for move in group.moves for kind in move.kinds)
        if len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"expected every kind of move once, got {', '.join(self.kinds)}")
        changing = ([t for t in terms_of(energy) if any(move.changes(t) for move in g.moves)] for g in schedule)
        self.energies = [Forces(Sum(*terms)).energies for terms in changing]  # the terms that a move can change
        self.temperature, self.lag = integrator.temperature, integrator.lag * self.period
        self.mixes_temperatures = integrator.mixes_temperatures  # type: ignore[misc]

    def extra_repr(self) -> str:
        return ", ".join(
            f"{move.name}({move.extra_repr()}): {group.number} every {group.period} steps"
            for group in self.schedule
            for move in group.moves
        )

    def start(self, positions: Tensor, rng: Generator) -> State:
        counts = torch.zeros(len(positions), 2 * len(self.kinds), dtype=torch.int64, device=positions.device)
        return self.integrator.start(positions, rng)._replace(counts=counts)

    def step(self, state: State, rng: Generator) -> State:
        for step in range(1, self.period + 1):
            state = self.integrator.step(state, rng)
            if any(step % group.period == 0 for group in self.schedule):
                state = self.mixed(state, rng, step)
        return state

    @torch.no_grad()
    def mixed(self, state: State, rng: Generator, step: int = 0) -> State:
        """The state after the moves that are due at a step; all but counts follows the positions."""
        assert state.counts is not None
        x, v, counts = state.positions, state.velocities, state.counts.clone()
        kelvin = x.new_full((len(x),), self.temperature) if state.temperature is None else state.temperature
        beta = 1 / (units.BOLTZMANN * kelvin.double())
        for group, energies in zip(self.schedule, self.energies, strict=True):
            if step % group.period == 0:
                x, v = self._attempts(group, energies, (x, v), beta, counts, rng)
        return self.integrator.moved(state._replace(velocities=v), x)._replace(counts=counts)

    def _attempts(
        self,
        group: Attempts,
        energies: Any,
        at: tuple[Tensor, Tensor | None],
        beta: Tensor,
        counts: Tensor,
        rng: Generator,
    ) -> tuple[Tensor, Tensor | None]:
        """Positions and velocities (B, N, 3) after the attempts of one group; adds to ``counts``."""
        x, v = at
        rows, energy = torch.arange(len(x), device=x.device), energies(x).double()
        for _ in range(group.number):
            which = int(torch.randint(len(group.moves), (), generator=rng, device=x.device)) if group.moves[1:] else 0
            move = group.moves[which]
            proposed, ratio, kind, turn = move.propose(x, rng)
            value = energies(proposed).double()
            chance = torch.rand(len(x), generator=rng, dtype=torch.float64, device=x.device)
            accepted = chance.log() < beta * (energy - value) + ratio  # False where that is nan
            x = torch.where(accepted[:, None, None], proposed, x)
            if v is not None and turn is not None:
                v = torch.where(accepted[:, None, None], turn(v), v)
            energy = torch.where(accepted, value, energy)
            column = 2 * (self.kinds.index(move.kinds[0]) + kind)
            counts[rows, column] += accepted
            counts[rows, column + 1] += 1
        return x, v

    def tallies(self, state: State) -> dict[str, Tally]:
        """By the name of the kind of move."""
        assert state.counts is not None
        return {kind: Tally(*state.counts[:, 2 * k : 2 * k + 2].T) for k, kind in enumerate(self.kinds)}

    def notes(self, state: State, known: Provenance) -> Provenance:
        tallies, about = self.tallies(state), {}
        for group in self.schedule:
            own = {kind: tallies[kind] for move in group.moves for kind in move.kinds}
            accepted = torch.stack([tally.accepted for tally in own.values()])
            tried = sum(int(tally.tried.sum()) for tally in own.values())
            said: dict[str, Any] = {"attempts": group.number, "steps": group.period}
            said["acceptance"] = int(accepted.sum()) / max(tried, 1)
            said["never_moved"] = int((accepted.sum(0) == 0).sum())
            if len(own) > 1:
                shares = {kind: (int(t.accepted.sum()), int(t.tried.sum())) for kind, t in own.items()}
                said |= {f"acceptance_{kind}": done / all_ for kind, (done, all_) in shares.items() if all_}
            for move in group.moves:
                said |= move.about()
            about[group.moves[0].name] = said
        return dataclasses.replace(
            self.integrator.notes(state, known),
            monte_carlo={**known.monte_carlo, **about},
            mixed_by=f"Monte Carlo {' and '.join(about)} moves",
            physical_time=False,
            why_not_physical="Monte Carlo moves take no time",
        )


def sentences(monte_carlo: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """What the provenance of a simulation says of its Monte Carlo moves, a line for each kind, for people."""
    words = {"drawn": "of those drawn anew", "near": "of those near the old value", "block": "of whole stretches"}
    lines = []
    for name, about in monte_carlo.items():
        stuck = f", {about['never_moved']} replica(s) never moved" if about["never_moved"] else ""
        each = [f"{about[f'acceptance_{k}']:.0%} {said}" for k, said in words.items() if f"acceptance_{k}" in about]
        inside = f" ({', '.join(each)})" if each else ""
        lines.append(f"Monte Carlo {name} moves: {about['acceptance']:.1%} accepted{inside}{stuck}; no physical time")
    return lines
