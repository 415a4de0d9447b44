"""A force field in OpenMM, by ``openmm.PythonForce``: no plugin, and all of OpenMM around it.

Integrators, thermostats, reporters, minimisation, metadynamics and further forces work as for any other system. Many
copies of the molecule may share one System. They do not feel one another, and their energies are computed together,
which is far faster than one by one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from cgsurrogate.core.frames import Beads
from cgsurrogate.models.engines.potential import Potential

INSTALL = "needs OpenMM 8.4 or newer; install it with: pip install 'cgsurrogate[openmm]'"


class Computation:
    """What the PythonForce calls: the positions of all copies -> their energy, kJ/mol, and forces, kJ/mol/nm."""

    def __init__(self, potential: Potential):
        self.potential, self.count = potential, len(potential.beads)

    def __call__(self, state: Any) -> tuple[float, np.ndarray]:
        from openmm import unit

        x = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        values, forces = self.potential(x.reshape(-1, self.count, 3))
        return float(values.sum()), forces.reshape(-1, 3)


def make_force(potential: Potential, particles: Iterable[int] | None = None) -> Any:
    """An ``openmm.PythonForce``, to be added to a System.

    Args:
        particles: those that are the beads, a multiple of them for several copies; all of the System if None.

    Raises:
        RuntimeError: there is no OpenMM that has this force.
        ValueError: the particles are no whole number of molecules.
    """
    openmm = _openmm()
    chosen = None if particles is None else list(particles)
    if chosen is not None and (not chosen or len(chosen) % len(potential.beads)):
        raise ValueError(f"expected a multiple of {len(potential.beads)} particles, got {len(chosen)}")
    force = openmm.PythonForce(Computation(potential))
    if chosen is not None:
        force.setParticles(chosen)
    force.setName("cgsurrogate")
    return force


def make_system(potential: Potential, copies: int = 1) -> Any:
    """An ``openmm.System`` of so many copies of the molecule, one after another, without a box and constraints."""
    openmm = _openmm()
    system = openmm.System()
    for mass in potential.beads.masses * _some(copies):
        system.addParticle(mass)
    system.addForce(make_force(potential))
    return system


def make_topology(beads: Beads, copies: int = 1) -> Any:
    """An ``openmm.app.Topology``: a chain a copy, with the names, residues and bonds of the beads; no elements."""
    _openmm()
    from openmm.app import Topology

    topology = Topology()
    for _ in range(_some(copies)):
        chain, residue, atoms = topology.addChain(), None, []
        for i, name in enumerate(beads.names):
            if residue is None or beads.residues[i] != beads.residues[i - 1]:
                residue = topology.addResidue(beads.residue_names[i], chain)
            atoms.append(topology.addAtom(name, None, residue))
        for first, second in beads.bonds:
            topology.addBond(atoms[first], atoms[second])
    return topology


def _some(copies: int) -> int:
    if copies < 1:
        raise ValueError(f"expected one copy of the molecule or more, got {copies}")
    return copies


def _openmm() -> Any:
    try:
        import openmm
    except ImportError:
        raise RuntimeError(f"this {INSTALL}") from None
    if not hasattr(openmm, "PythonForce"):
        raise RuntimeError(f"openmm.PythonForce {INSTALL} (this is {openmm.version.short_version})")
    return openmm
