"""Copies of a molecule that exchange temperatures (Sugita and Okamoto, Chem. Phys. Lett. 314, 141 (1999))."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgsurrogate.core import units
from cgsurrogate.data.generation.protocol import Protocol


def by_temperature(rungs: np.ndarray, count: int) -> np.ndarray:
    """(C,) which copy is at each temperature, ladder by ladder of ``count`` copies.

    >>> by_temperature(np.array([1, 0, 0, 1]), 2)
    array([1, 0, 2, 3])
    """
    first = np.arange(0, len(rungs), count)[:, None]
    return np.asarray((first + np.argsort(rungs.reshape(-1, count), 1)).ravel())


def exchange(
    rungs: np.ndarray,
    energies: np.ndarray,
    kelvins: np.ndarray,
    counted: np.ndarray,
    number: int,
    rng: np.random.Generator,
) -> list[tuple[int, int, int]]:
    """Neighbouring temperatures of each ladder change places, or not, by Metropolis; even and odd pairs in turn.

    Args:
        rungs: (C,) the temperature of each copy, as its place in the ladder; changed in place.
        energies: (C,) kJ/mol of each copy.
        kelvins: (K,) the ladder.
        counted: (ladders, 2, K - 1) attempts and successes; counted in place.
        number: of the exchange.

    Returns:
        (copy that was cold, copy that was hot, place of the lower temperature) of every success.
    """
    beta = np.array([1 / units.thermal_energy(float(kelvin)) for kelvin in kelvins])
    order, done = by_temperature(rungs, len(kelvins)).reshape(-1, len(kelvins)), []
    for ladder, copies in enumerate(order):
        for low in range(number % 2, len(kelvins) - 1, 2):
            cold, hot = int(copies[low]), int(copies[low + 1])
            counted[ladder, 0, low] += 1
            if np.log(rng.random()) < (beta[low] - beta[low + 1]) * (energies[cold] - energies[hot]):
                counted[ladder, 1, low] += 1
                rungs[cold], rungs[hot] = low + 1, low
                done.append((cold, hot, low))
    return done


def langevin(protocol: Protocol) -> Any:
    """The middle scheme of Zhang et al. (J. Phys. Chem. A 123, 6056 (2019)), with a temperature for every atom."""
    import openmm

    made = openmm.CustomIntegrator(protocol.step)
    made.addGlobalVariable("a", float(np.exp(-protocol.friction * protocol.step)))
    made.addGlobalVariable("b", float(np.sqrt(1 - np.exp(-2 * protocol.friction * protocol.step))))
    made.addPerDofVariable("kT", units.thermal_energy(protocol.temperature))
    made.addPerDofVariable("free", 0)
    made.addUpdateContextState()
    made.addComputePerDof("v", "v + dt*f/m")
    made.addConstrainVelocities()
    made.addComputePerDof("x", "x + 0.5*dt*v")
    made.addComputePerDof("v", "a*v + b*sqrt(kT/m)*gaussian")
    made.addComputePerDof("x", "x + 0.5*dt*v")
    made.addComputePerDof("free", "x")
    made.addConstrainPositions()
    made.addComputePerDof("v", "v + (x-free)/dt")
    return made
