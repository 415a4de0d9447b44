"""Langevin dynamics by the BAOAB splitting: see ``_baoab``."""

from __future__ import annotations

from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads
from cgsurrogate.simulation.integrators._baoab import BAOAB


def build(
    beads: Beads,
    energy: Energy,
    temperature: float,
    timestep: float = 0.002,
    friction: float = 1.0,
    centre: bool = True,
) -> BAOAB:
    """BAOAB Langevin dynamics of ``energy`` at ``temperature`` (K).

    Args:
        timestep: ps.
        friction: 1/ps.
        centre: put the mean position back to the origin at the end of every step. Nothing changes for an energy that is
            blind to shifts, but a molecule that diffuses away would lose digits. False for an external field.
    """
    return BAOAB(beads, energy, temperature, timestep, friction, centre)
