"""A time-stepper proposes, OpenMM decides: Langevin dynamics of a force field with Metropolis-Hastings jumps between.

    python stepper_proposals.py FORCE-FIELD STEPPER

Every few steps the soft angles q of each copy are drawn anew from the stepper, which knows the density p(q' | q) of its
draws; bonds and stiff angles stay. With the volume element J of internal coordinates a jump is accepted with

    min(1, exp(-(U(x') - U(x)) / kT) J(x') p(q | q') / (J(x) p(q' | q)))

so the ensemble is that of the force field, however good or bad the stepper is; it only decides how soon it is reached.
Velocities stay as they are. Steps are short: at 4 fs velocities along stiff bonds depend on the structure, so that a
jump heats them.
"""

import sys

import numpy as np
import openmm
import torch
from openmm import unit

from cgsurrogate.core.units import thermal_energy
from cgsurrogate.models.engines.openmm import make_system
from cgsurrogate.models.engines.potential import Potential
from cgsurrogate.models.model import Model
from cgsurrogate.workflows import starting_frames

STEP = 0.001  # ps


class Jumps:
    """Metropolis-Hastings jumps of all copies in an OpenMM context."""

    def __init__(self, potential: Potential, stepper, rng: torch.Generator):
        self.potential, self.stepper, self.rng = potential, stepper.eval().requires_grad_(False), rng
        self.soft = int(stepper.soft.sum())  # the first coordinates of the encoding
        self.tried = self.accepted = 0

    def volume(self, x: torch.Tensor) -> torch.Tensor:
        """(B,) logarithm of the volume element: bonds squared times sines of angles."""
        bonds, angles, _ = self.stepper.zmatrix.to_internal(x)
        return 2 * bonds.log().sum(1) + angles.sin().log().sum(1)

    def density(self, now: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        """(B,) nats: log p of the soft angles of ``later``."""
        lag = now.new_full((len(now),), self.stepper.lag)
        return self.stepper.log_density_parts(now, later, lag)[0].sum(1)

    def step(self, x: np.ndarray) -> np.ndarray:
        """(B, N, 3) nm after one jump of each copy, or where it was."""
        before = torch.from_numpy(x).float()
        now = self.stepper.encode(before)
        drawn = self.stepper.draw(now, now.new_full((len(now),), self.stepper.lag), self.rng)
        later = torch.cat([drawn[:, : self.soft], now[:, self.soft :]], 1)
        after = self.stepper.decode(later, before)
        heat = torch.from_numpy(self.potential(after.numpy())[0] - self.potential(x)[0])
        ratio = self.volume(after) - self.volume(before) + self.density(later, now) - self.density(now, later)
        chance = torch.rand(len(x), generator=self.rng, dtype=torch.float64).log()
        accepted = chance < ratio.double() - heat / thermal_energy(self.potential.temperature)
        self.tried, self.accepted = self.tried + len(x), self.accepted + int(accepted.sum())
        return np.where(accepted[:, None, None].numpy(), after.numpy(), x)


def sample(potential: Potential, stepper, x: np.ndarray, rounds: int, steps: int, jumps: bool, seed: int = 1):
    """(rounds, B, N, 3) nm, and the share of jumps that were accepted."""
    integrator = openmm.LangevinMiddleIntegrator(potential.temperature, 1 / unit.picosecond, STEP * unit.picosecond)
    integrator.setRandomNumberSeed(seed)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(make_system(potential, len(x)), integrator, platform)
    context.setPositions(x.reshape(-1, 3))
    context.setVelocitiesToTemperature(potential.temperature, seed)
    moves, kept = Jumps(potential, stepper, torch.Generator().manual_seed(seed)), []
    for _ in range(rounds):
        integrator.step(steps)
        state = context.getState(getPositions=True)
        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer).reshape(x.shape)
        if jumps:
            x = moves.step(x)
            context.setPositions(x.reshape(-1, 3))
        kept.append(x)
    return np.stack(kept), moves.accepted / max(moves.tried, 1)


def main(force_field: str, stepper: str, copies: int = 50, rounds: int = 150, steps: int = 40) -> None:
    torch.set_num_threads(1)
    model = Model.load(force_field)
    potential, start = Potential.load(force_field), starting_frames(model, "extended").positions
    proposals = Model.load(stepper).module.bound(model.beads)
    proposals.lag = proposals.lags[0]  # short jumps are accepted more often
    for jumps in (False, True):
        x, share = sample(potential, proposals, np.repeat(start, copies, 0), rounds, steps, jumps)
        energy = potential(x[rounds // 2 :].reshape(-1, *x.shape[2:]))[0].reshape(-1, copies).mean(0)
        angles = torch.stack([proposals.encode(torch.from_numpy(one).float())[:, : proposals.soft.sum()] for one in x])
        turned = (angles[-1] - angles[0]).cos().mean()
        print(
            f"{'with' if jumps else 'without'} jumps: mean energy {energy.mean():.2f} +- "
            f"{energy.std() / copies**0.5:.2f} kJ/mol, memory of the start {turned:.2f}, accepted {share:.0%}"
        )


if __name__ == "__main__":
    main(*sys.argv[1:3])
