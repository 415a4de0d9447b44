"""Replica exchange (parallel tempering): replicas exchange temperatures, so that they cross barriers while hot.

Replicas come in ladders of K, one at each temperature. Every so many steps neighbours in a ladder try to exchange their
temperatures (Sugita & Okamoto, Chem. Phys. Lett. 314, 141 (1999)), with probability

    min(1, exp[(1/kT_i - 1/kT_j) (U_i - U_j)])

and velocities scaled by sqrt(T_new/T_old). Pairs (0,1), (2,3), ... and (1,2), (3,4), ... take turns, which brings
replicas up and down faster than drawing the pairs (Syed et al., J. R. Stat. Soc. B 84, 321 (2022)). Positions stay
where they are: a replica of the batch is continuous in space and moves in temperature. Ladders do not feel each other.

In a harmonic system of d degrees of freedom the mean acceptance is 2 I_x(d/2, d/2), x = b_2/(b_1 + b_2), with b_1 > b_2
the inverse temperatures and I the regularised incomplete beta function.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation import temperature_ladder
from cgsurrogate.simulation.temperature_ladder import COUNTS, END, EXCHANGES, PLACE, TRIPS

USUAL_PERIOD = 25  # steps between exchanges; 0.1 ps at 4 fs


class ReplicaExchange(Propagator):
    """``period`` steps of a propagator at several temperatures and then one exchange make one step.

    Args:
        integrator: steps each replica at its own ``State.temperature``.
        energy: the potential energy that ``integrator`` samples; asked only where that does not hand over its own.
        temperatures: K, rising; the lowest is the target.
        period: steps between exchanges.
    """

    temperatures: tuple[float, ...]
    kelvin: Tensor  # (K,) the same

    def __init__(
        self, integrator: Propagator, energy: Energy, temperatures: Sequence[float], period: int = USUAL_PERIOD
    ):
        super().__init__()
        if not integrator.mixes_temperatures:
            raise ValueError(
                f"{type(integrator).__name__} runs at one temperature; replica exchange needs an integrator that reads "
                "State.temperature and sets mixes_temperatures"
            )
        kelvin = [float(t) for t in temperatures]
        if len(kelvin) < 2 or not kelvin[0] > 0 or any(b <= a for a, b in itertools.pairwise(kelvin)):
            raise ValueError(f"expected at least 2 rising temperatures in kelvin, got {kelvin}")
        if period != int(period) or period < 1:
            raise ValueError(f"expected a whole number of steps between exchanges, at least 1, got {period}")
        self.integrator, self.energy, self.period = integrator, energy, int(period)
        self.temperatures, self.lag = tuple(kelvin), integrator.lag * int(period)
        self.register_buffer("kelvin", torch.tensor(kelvin, dtype=torch.float64), persistent=False)

    def extra_repr(self) -> str:
        kelvin = ", ".join(f"{t:.6g}" for t in self.temperatures)
        return f"temperatures={kelvin} K, period={self.period}"

    @torch.no_grad()
    def start(self, positions: Tensor, rng: Generator) -> State:
        """Replica r begins at rung r modulo K; velocities are those of its temperature."""
        count = len(self.temperatures)
        temperature_ladder.check_replicas(len(positions), count)
        state = self.integrator.start(positions, rng)
        table = torch.zeros(len(positions), COUNTS + 2 * (count - 1), dtype=torch.int64, device=positions.device)
        table[:, PLACE] = torch.arange(len(positions)) % count
        table[:, END] = torch.where(table[:, PLACE] == 0, 0, -1)  # a round trip begins at the bottom
        warm = state._replace(temperature=torch.full_like(positions[:, 0, 0], self.integrator.temperature))
        return self._at(self._with_energy(warm), table)

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        for _ in range(self.period):
            state = self.integrator.step(state, rng)
        return self.exchange(self._with_energy(state), rng)

    def notes(self, state: State, known: Provenance) -> Provenance:
        return self.integrator.notes(state, known)

    def exchange(self, state: State, rng: Generator) -> State:
        """Neighbours in each ladder exchange temperatures, or do not; replicas that were taken out take no part."""
        assert state.ladder is not None and state.energy is not None
        table, count = state.ladder, len(self.temperatures)
        number = len(table) // count
        rank = torch.where(table[:, PLACE] < 0, count, table[:, PLACE]).reshape(number, count)
        order = rank.argsort(1) + torch.arange(number, device=table.device)[:, None] * count  # (L, K) from cold to hot
        first = int(table[0, EXCHANGES]) % 2 if count > 2 else 0
        chance = torch.rand((number, count // 2), generator=rng, dtype=torch.float64, device=table.device)
        low, high = order[:, first : count - 1 : 2], order[:, first + 1 :: 2]  # (L, P) replicas
        places = table[low, PLACE], table[high, PLACE]
        beta = 1 / (units.BOLTZMANN * self.kelvin)
        energy = state.energy.to(torch.float64)
        exponent = (beta[places[0]] - beta[places[1]]) * (energy[low] - energy[high])
        both = (places[0] >= 0) & (places[1] >= 0)
        done = both & (chance[:, : low.shape[1]].log() < exponent)  # not where an energy is nan
        table = table.clone()
        next_to = both & (places[1] - places[0] == 1)  # across a rung that was taken out nothing is counted
        pair = COUNTS + places[0].clamp(0, count - 2)
        table[low, pair] += next_to
        table[low, pair + count - 1] += next_to & done
        table[low, PLACE], table[high, PLACE] = torch.where(done, places[1], places[0]), torch.where(done, *places)
        table[:, EXCHANGES] += 1
        bottom, top = table[:, PLACE] == 0, table[:, PLACE] == count - 1
        table[:, TRIPS] += bottom & (table[:, END] == 1)
        table[:, END] = torch.where(top & (table[:, END] == 0), 1, torch.where(bottom, 0, table[:, END]))
        return self._at(state, table)

    def _at(self, state: State, table: Tensor) -> State:
        """The state at the temperatures of its places, with its velocities scaled to them."""
        kelvin = self.kelvin[table[:, PLACE].clamp_min(0)].to(state.positions.dtype)
        assert state.temperature is not None
        scale = (kelvin / state.temperature).sqrt()[:, None, None]
        velocities = None if state.velocities is None else state.velocities * scale
        return state._replace(velocities=velocities, temperature=kelvin, ladder=table)

    def _with_energy(self, state: State) -> State:
        return state if state.energy is not None else state._replace(energy=self.energy(state.positions))
