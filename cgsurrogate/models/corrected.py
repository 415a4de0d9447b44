"""A time-stepper that is corrected by a force field while it runs: its jumps relaxed, or accepted and rejected.

Both are propagators around a propagator, and keep all that they know in the state; so whatever simulates, stops and
continues a stepper does the same with them. Both pull towards the distribution of the force field, which pays only
where that is better than the stepper's own.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.propagator import Propagator, State, Stepper
from cgsurrogate.core.provenance import Provenance


class Relaxed(Propagator):
    """After each jump, a few steps of an integrator of the force field, with velocities drawn anew.

    This repairs what the force field puts right within ``steps`` steps: bonds, angles, contacts. Populations of slow
    states stay those of the jumps. The time of the relaxation is not counted: ``lag`` is that of the jump.

    Around a ``Metropolised`` stepper both leave the distribution of the force field invariant, the integrator to its
    own accuracy in the time step; the short runs free replicas at places that the stepper hardly ever proposes.
    """

    def __init__(self, stepper: Propagator, integrator: Propagator, steps: int):
        super().__init__()
        if steps != int(steps) or steps < 1:
            raise ValueError(f"expected a whole number of relaxation steps, at least 1, got {steps}")
        self.stepper, self.integrator, self.steps = stepper, integrator, int(steps)

    @property
    def lag(self) -> float:  # type: ignore[override]
        return self.stepper.lag

    def extra_repr(self) -> str:
        return f"steps={self.steps}, {_about(self.stepper)}, {_about(self.integrator)}"

    def start(self, positions: Tensor, rng: Generator) -> State:
        return self.stepper.start(positions, rng)

    def step(self, state: State, rng: Generator) -> State:
        jumped = self.stepper.step(state, rng)
        moving = self.integrator.start(jumped.positions, rng)
        for _ in range(self.steps):
            moving = self.integrator.step(moving, rng)
        return jumped._replace(positions=moving.positions)

    def notes(self, state: State, known: Provenance) -> Provenance:
        known = self.stepper.notes(state, known)
        own = {"kind": "relax", "steps": self.steps, "relaxation": self.steps * self.integrator.lag}
        return dataclasses.replace(known, correction={**known.correction, **own, **known.correction})


class Metropolised(Propagator):
    """Jumps of a stepper as proposals, accepted so that the distribution of the energy is left invariant.

    From x the stepper proposes x' with the density q(z'|z) of its encoding z, that is q(z'|z) / V(x') per volume of
    positions, V = |dx / dz|. Accepting x' with the probability (Metropolis et al. 1953; Hastings 1970)

        min(1, exp(-(U(x') - U(x)) / kT)  (q(z|z') / V(x)) / (q(z'|z) / V(x')))

    leaves exp(-U / kT) invariant wherever the proposals can go. Proposals come from ``Stepper.propose``: nothing that
    collides is drawn again, because that would change their density by a share that is not known; the energy rejects
    it. One whose energy or density is not finite is rejected.

    A rejected proposal is a jump that never happened: **the chain has no physical time**.

    The state's ``memory`` counts, for each replica, accepted proposals and all of them, (B, 2).
    """

    def __init__(self, stepper: Stepper, energy: Energy, temperature: float):
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"expected a temperature above 0 K, got {temperature}")
        self.stepper, self.energy, self.temperature = stepper, energy, temperature

    @property
    def lag(self) -> float:  # type: ignore[override]
        return self.stepper.lag

    def extra_repr(self) -> str:
        return f"temperature={self.temperature:g} K, {_about(self.stepper)}"

    def start(self, positions: Tensor, rng: Generator) -> State:
        if self.stepper.start(positions, rng).memory is not None:
            raise ValueError("a stepper with a memory knows no density of the way back: it cannot be metropolised")
        return State(positions, None, torch.zeros(len(positions), 2, dtype=torch.float64, device=positions.device))

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        x, counts = state.positions, state.memory
        proposed = self.stepper.propose(State(x), rng).positions
        uniform = torch.rand(len(x), generator=rng, dtype=torch.float64, device=x.device)
        moved = (proposed != x).flatten(1).any(1)
        accepted = moved & (uniform.log() < self.log_acceptance(x, proposed))  # False where that is nan
        counts = counts + torch.stack([accepted, torch.ones_like(accepted)], 1)
        return state._replace(positions=torch.where(accepted[:, None, None], proposed, x), memory=counts)

    def log_acceptance(self, now: Tensor, proposed: Tensor) -> Tensor:
        """Log of the ratio above for two (B, N, 3) nm -> (B,)."""
        return self.log_weight(now, proposed) - self.log_weight(proposed, now)

    def log_weight(self, now: Tensor, proposed: Tensor) -> Tensor:
        """(B,) log of the Boltzmann factor of a proposal over its density given ``now``, up to a constant.

        It is also the log importance weight of the proposal for the distribution of the force field.
        """
        lag = now.new_full((len(now),), self.lag)
        density = self.stepper.log_density(self.stepper.encode(now), self.stepper.encode(proposed), lag)
        boltzmann = -self.energy(proposed).double() / units.thermal_energy(self.temperature)
        return boltzmann + self.stepper.log_volume(proposed).double() - density.double()

    def notes(self, state: State, known: Provenance) -> Provenance:
        accepted, proposed = state.memory.T.cpu()  # type: ignore[union-attr]
        about = {
            "kind": "metropolis",
            "acceptance": float(accepted.sum() / proposed.sum().clamp(min=1)),
            "never_moved": int((accepted == 0).sum()),
        }
        why = "rejected jumps take no time"
        return dataclasses.replace(known, correction=about, physical_time=False, why_not_physical=why)


def _about(propagator: Propagator) -> str:
    """Its kind and options in words: a simulation that goes on must find them as they were."""
    kind = type(propagator)
    recipe = getattr(propagator, "recipe", None)
    return f"{kind.__module__}.{kind.__qualname__}({propagator.extra_repr()}) of {recipe}"
