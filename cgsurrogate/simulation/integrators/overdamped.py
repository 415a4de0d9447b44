"""Overdamped (Brownian) dynamics by the limit method of BAOAB at high friction.

    dx = F(x)/(m g) dt + sqrt(2 kT/(m g)) dW

    x <- x + h F(x)/(m g) + sqrt(2 h kT/(m g)) (R + R')/2

where the average of the old and the new noise makes the sampled density exact to second order in h, at one force
a step (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34, section 3). Exact for a harmonic well.

    symbol   here             meaning, unit
    x        state            positions, nm
    R, R'    state.memory     standard normal noise of the last and of this step, (B, N, 3)
    F                         force, kJ/mol/nm
    m        masses           amu
    h        timestep         ps
    g        friction         1/ps
    kT       temperature      kJ/mol

There are no velocities, so its time is that of diffusion: h/(m g) is what counts.
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


def build(
    beads: Beads,
    energy: Energy,
    temperature: float,
    timestep: float = 0.0002,
    friction: float = 100.0,
    centre: bool = True,
) -> Overdamped:
    """Overdamped dynamics of ``energy`` at ``temperature`` (K).

    Args:
        timestep: ps.
        friction: 1/ps.
        centre: put the mean position back to the origin at the end of every step; False for an external field.
    """
    return Overdamped(beads, energy, temperature, timestep, friction, centre)


class Overdamped(Propagator):
    """Positions and the last noise make up the state."""

    mixes_temperatures = True

    def __init__(
        self, beads: Beads, energy: Energy, temperature: float, timestep: float, friction: float, centre: bool
    ):
        super().__init__()
        if not timestep > 0 or not friction > 0 or not math.isfinite(timestep * friction):
            raise ValueError(f"expected a timestep (ps) and a friction (/ps) above 0, got {timestep} and {friction}")
        self.energy, self.centre, self.lag = energy, centre, timestep
        self.forces = Forces(energy)
        self.temperature, self.friction = temperature, friction
        mobility = timestep / (friction * torch.tensor(beads.masses, dtype=torch.float64)[:, None])  # (N, 1) ps^2/amu
        spread = (2 * units.thermal_energy(temperature) * mobility).sqrt()  # (N, 1) nm
        self.register_buffer("mobility", mobility.to(torch.get_default_dtype()), persistent=False)
        self.register_buffer("spread", spread.to(torch.get_default_dtype()), persistent=False)

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature:g} K, timestep={self.lag:g} ps, friction={self.friction:g} /ps, "
            f"centre={self.centre}"
        )

    def start(self, positions: Tensor, rng: Generator) -> State:
        return State(positions, None, _normal(positions, rng))

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        x, _, old = state[:3]
        new = _normal(x, rng)
        _, felt = self.forces(x)
        kelvin = state.temperature
        spread = self.spread if kelvin is None else self.spread * (kelvin / self.temperature).sqrt()[:, None, None]
        x = torch.addcmul(x, felt, self.mobility).addcmul_(old + new, spread, value=0.5)
        x = x - x.mean(1, keepdim=True) if self.centre else x
        return state._replace(positions=x, memory=new, energy=None)  # the force was that of the old positions


def _normal(like: Tensor, rng: Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)
