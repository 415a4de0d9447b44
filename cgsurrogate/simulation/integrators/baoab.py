"""Langevin dynamics by the BAOAB splitting, with optional multiple time steps.

    dx = v dt
    dv = F(x)/m dt - g v dt + sqrt(2 g kT/m) dW

One inner step of length h is exact in each of its parts (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34):

    B   v <- v + h/2 F(x)/m
    A   x <- x + h/2 v
    O   v <- c v + sqrt((1 - c^2) kT/m) R,   c = exp(-g h),   R standard normal
    A   x <- x + h/2 v
    B   v <- v + h/2 F(x)/m

With n > 1 the stiff forces drive the inner steps, and the soft ones act as impulses around every n of them (Tuckerman,
Berne & Martyna, J. Chem. Phys. 97, 1990 (1992); with BAOAB: Lagardere, Aviat & Piquemal, J. Phys. Chem. Lett. 10, 2593
(2019)):

    v <- v + n h/2 F_soft(x)/m;   n inner steps with F_stiff;   v <- v + n h/2 F_soft(x)/m

    symbol   here             meaning, unit
    x, v     state            positions nm, velocities nm/ps
    F        state.memory     forces at x, kJ/mol/nm; (B, N, 3), or (B, 2, N, 3) stiff and soft when n > 1
    m        masses           amu
    h        timestep         ps
    n        outer            inner steps in one step
    g        friction         1/ps; 0 is Newton's equation of motion
    kT       temperature      kJ/mol

In a harmonic well positions are sampled without an error of second order, while the kinetic temperature reads low,
T (1 - (w h)^2 / 4) at the frequency w: judge this method by its configurations.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy, Sum
from cgsurrogate.core.frames import Beads
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.models.evaluation.evaluator import Forces


def build(
    beads: Beads,
    energy: Energy,
    temperature: float,
    timestep: float = 0.002,
    outer: int = 1,
    friction: float = 1.0,
    centre: bool = True,
) -> BAOAB:
    """BAOAB Langevin dynamics of ``energy`` at ``temperature`` (K).

    Args:
        timestep: inner step, ps.
        outer: inner steps in one step; above 1 the soft terms of a ``Sum`` act only every ``outer`` inner steps.
            Impulses resonate with fast bonds near half their period: keep outer * timestep below about a third of it
            (0.004 ps for backbone beads; 0.008 ps heats single replicas).
        friction: 1/ps.
        centre: put the mean position back to the origin at the end of every step. Nothing changes for an energy that is
            blind to shifts, but a molecule that diffuses away would lose digits. False for an external field.
    """
    return BAOAB(beads, energy, temperature, timestep, outer, friction, centre)


class BAOAB(Propagator):
    """Positions, velocities and the forces at the positions make up the state; one force of each sort a (sub)step."""

    mixes_temperatures = True

    def __init__(
        self,
        beads: Beads,
        energy: Energy,
        temperature: float,
        timestep: float,
        outer: int,
        friction: float,
        centre: bool,
    ):
        super().__init__()
        if not timestep > 0 or friction < 0 or not math.isfinite(timestep * friction):
            raise ValueError(
                f"expected a timestep above 0 ps and a friction of at least 0 /ps, got {timestep} and {friction}"
            )
        if outer != int(outer) or outer < 1:
            raise ValueError(f"expected outer as a whole number of inner steps, at least 1, got {outer}")
        self.timestep, self.outer, self.friction, self.centre = timestep, int(outer), friction, centre
        self.temperature, self.lag = temperature, timestep * int(outer)
        self.parts = torch.nn.ModuleList([energy] if self.outer == 1 else _split(energy))
        self.forces = [Forces(part) for part in self.parts]
        masses = torch.tensor(beads.masses, dtype=torch.float64)[:, None]  # (N, 1) amu
        thermal = (units.thermal_energy(temperature) / masses).sqrt()  # (N, 1) nm/ps
        self.decay = math.exp(-friction * timestep)
        constants = {
            "thermal": thermal,
            "noise": thermal * math.sqrt(-math.expm1(-2 * friction * timestep)),
            "kick": timestep / 2 / masses,  # (N, 1) ps/amu
            "two_kicks": timestep / masses,
            "soft_kick": self.lag / 2 / masses,
        }
        for name, value in constants.items():
            self.register_buffer(name, value.to(torch.get_default_dtype()), persistent=False)

    def extra_repr(self) -> str:
        return (
            f"temperature={self.temperature:g} K, timestep={self.timestep:g} ps, outer={self.outer}, "
            f"friction={self.friction:g} /ps, centre={self.centre}"
        )

    @torch.no_grad()
    def start(self, positions: Tensor, rng: Generator) -> State:
        """Velocities from the Maxwell-Boltzmann distribution; forces at (B, N, 3) nm."""
        velocities = self.thermal * _normal(positions, rng)
        found = [force(positions) for force in self.forces]
        felt = [force for _, force in found]
        energy = sum(value for value, _ in found)
        return State(positions, velocities, felt[0] if self.outer == 1 else torch.stack(felt, 1), energy)

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        x, v, memory = state[:3]
        noise = self._noise(state.temperature)
        if self.outer == 1:
            x, v, energy, felt = self._inner(x, torch.addcmul(v, memory, self.kick), noise, rng)
            v.addcmul_(felt, self.kick)
            return state._replace(positions=self._shifted(x), velocities=v, memory=felt, energy=energy)
        stiff, soft = memory.unbind(1)
        v = torch.addcmul(v, soft, self.soft_kick).addcmul_(stiff, self.kick)
        for inner in range(self.outer):
            x, v, energy, stiff = self._inner(x, v, noise, rng)
            # the kick that ends an inner step and the one that begins the next feel the same force
            v.addcmul_(stiff, self.two_kicks if inner < self.outer - 1 else self.kick)
        x = self._shifted(x)
        soft_energy, soft = self.forces[1](x)
        v.addcmul_(soft, self.soft_kick)
        memory = torch.stack((stiff, soft), 1)
        return state._replace(positions=x, velocities=v, memory=memory, energy=energy + soft_energy)

    def _inner(self, x: Tensor, v: Tensor, noise: Tensor, rng: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A, O, A, then stiff energies and forces (all if n = 1) at the new positions; ``v`` may be written over."""
        x = torch.add(x, v, alpha=self.timestep / 2)
        if self.friction:
            v.mul_(self.decay).addcmul_(_normal(x, rng), noise)
        x.add_(v, alpha=self.timestep / 2)
        return x, v, *self.forces[0](x)

    def _noise(self, temperature: Tensor | None) -> Tensor:
        """Spread of the noise in nm/ps, (N, 1), or (B, N, 1) for replicas at (B,) K."""
        if temperature is None:
            return self.noise
        return self.noise * (temperature / self.temperature).sqrt()[:, None, None]

    def _shifted(self, x: Tensor) -> Tensor:
        return x - x.mean(1, keepdim=True) if self.centre else x


def _normal(like: Tensor, rng: Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, dtype=like.dtype, device=like.device)


def _split(energy: Energy) -> tuple[Energy, Energy]:
    """(stiff, soft) terms of a sum; both must exist."""
    if not isinstance(energy, Sum):
        raise ValueError(f"several time steps need a Sum of energies, got {type(energy).__name__}; set outer=1")
    stiff, soft = energy.part(stiff=True), energy.part(stiff=False)
    if not len(stiff.terms) or not len(soft.terms):
        missing = "stiff" if len(soft.terms) else "soft"
        raise ValueError(f"several time steps need stiff and soft terms, the energy has no {missing} one; set outer=1")
    return stiff, soft
