"""Overdamped (Brownian) dynamics by the limit method of BAOAB at high friction.

    dx = F(x)/(m g) dt + sqrt(2 kT/(m g)) dW

    x <- x + h F(x)/(m g) + sqrt(2 h kT/(m g)) (R + R')/2

where the average of the old and the new noise makes the sampled density exact to second order in h, at one force
a step (Leimkuhler & Matthews, Appl. Math. Res. Express 2013, 34, section 3). Exact for a harmonic well.

    symbol   meaning, unit
    x        positions, nm
    R, R'    standard normal noise of the last and of this step
    F        force, kJ/mol/nm
    m        masses, amu
    h        timestep, ps
    g        friction, 1/ps
    kT       temperature, kJ/mol

What is invariant is a density of x and R *together*: R has a part of x in it, the push of the last step. Whoever moves
x and keeps R, or draws R anew, loses that part, and the next steps run cold. The same chain in other variables has no
such memory: it is BAOAB with a step of sqrt(2 h/g) that draws its velocities anew each time,

    v = sqrt(kT/m) R + sqrt(h/(2 g)) F(x)/m,

and this v is independent of x in a harmonic well, and nearly so elsewhere. So v is what the state carries; Monte Carlo
moves leave it alone, and replica exchange scales it. It is no velocity of the molecule: time is that of diffusion,
h/(m g) is what counts.
"""

from __future__ import annotations

import math

from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads
from cgsurrogate.simulation.integrators._baoab import BAOAB


def build(
    beads: Beads,
    energy: Energy,
    temperature: float,
    timestep: float = 0.0002,
    friction: float = 100.0,
    centre: bool = True,
) -> BAOAB:
    """Overdamped dynamics of ``energy`` at ``temperature`` (K).

    Args:
        timestep: ps.
        friction: 1/ps.
        centre: put the mean position back to the origin at the end of every step; False for an external field.
    """
    if not timestep > 0 or not friction > 0 or not math.isfinite(timestep * friction):
        raise ValueError(f"expected a timestep (ps) and a friction (/ps) above 0, got {timestep} and {friction}")
    moves = BAOAB(beads, energy, temperature, math.sqrt(2 * timestep / friction), math.inf, centre)
    moves.lag = timestep
    return moves
