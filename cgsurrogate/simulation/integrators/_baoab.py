"""Langevin dynamics by the BAOAB splitting.

    dx = v dt
    dv = F(x)/m dt - g v dt + sqrt(2 g kT/m) dW

One step of length h is exact in each of its parts (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34):

    B   v <- v + h/2 F(x)/m
    A   x <- x + h/2 v
    O   v <- c v + sqrt((1 - c^2) kT/m) R,   c = exp(-g h),   R standard normal
    A   x <- x + h/2 v
    B   v <- v + h/2 F(x)/m

    symbol   here             meaning, unit
    x, v     state            positions nm, velocities nm/ps
    F        state.memory     forces at x, kJ/mol/nm, (B, N, 3)
    m        masses           amu
    h        timestep         ps
    g        friction         1/ps; 0 is Newton's equation of motion, infinite draws v anew in every step
    kT       temperature      kJ/mol

In a harmonic well positions are sampled without an error of second order, while the kinetic temperature reads low,
T (1 - (w h)^2 / 4) at the frequency w: judge this method by its configurations. There x and v are independent at any
stable step, so Monte Carlo moves of x may leave v as it is, and replica exchange may scale it.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.models.evaluation.evaluator import Forces


class BAOAB(Propagator):
    """Positions, velocities and the forces at the positions make up the state; one force a step."""

    mixes_temperatures = True
    thermal: Tensor  # (N, 1) nm/ps, spread of the velocities
    noise: Tensor  # (N, 1) nm/ps, spread of what is drawn in O
    kick: Tensor  # (N, 1) ps/amu, half a step over the mass

    def __init__(
        self, beads: Beads, energy: Energy, temperature: float, timestep: float, friction: float, centre: bool
    ):
        super().__init__()
        if not (timestep > 0 and math.isfinite(timestep)) or not friction >= 0:
            raise ValueError(
                f"expected a timestep above 0 ps and a friction of at least 0 /ps, got {timestep} and {friction}"
            )
        self.timestep, self.friction, self.centre = timestep, friction, centre
        self.temperature, self.lag = temperature, timestep
        self.energy, self.forces = energy, Forces(energy)
        masses = torch.tensor(beads.masses, dtype=torch.float64)[:, None]  # (N, 1) amu
        thermal = (units.thermal_energy(temperature) / masses).sqrt()
        self.decay = math.exp(-friction * timestep)
        constants = {
            "thermal": thermal,
            "noise": thermal * math.sqrt(-math.expm1(-2 * friction * timestep)),
            "kick": timestep / 2 / masses,
        }
        for name, value in constants.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature:g} K, timestep={self.timestep:g} ps, friction={self.friction:g} /ps, "
            f"centre={self.centre}"
        )

    def start(self, positions: Tensor, rng: Generator) -> State:
        """Velocities from the Maxwell-Boltzmann distribution; forces at (B, N, 3) nm."""
        return self.moved(State(positions, self.thermal * _normal(positions, rng)), positions)

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        assert state.velocities is not None and state.memory is not None
        v = torch.addcmul(state.velocities, state.memory, self.kick)
        x = torch.add(state.positions, v, alpha=self.timestep / 2)
        if self.friction:
            v.mul_(self.decay).addcmul_(_normal(x, rng), self._noise(state.temperature))
        x.add_(v, alpha=self.timestep / 2)
        energy, felt = self.forces(x)
        v.addcmul_(felt, self.kick)
        x = x - x.mean(1, keepdim=True) if self.centre else x
        return state._replace(positions=x, velocities=v, memory=felt, energy=energy)

    @torch.no_grad()
    def moved(self, state: State, positions: Tensor) -> State:
        energy, felt = self.forces(positions)
        return state._replace(positions=positions, memory=felt, energy=energy)

    def _noise(self, temperature: Tensor | None) -> Tensor:
        """Spread of the noise in nm/ps, (N, 1), or (B, N, 1) for replicas at (B,) K."""
        if temperature is None:
            return self.noise
        return self.noise * (temperature / self.temperature).sqrt()[:, None, None]


def _normal(like: Tensor, rng: Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)
