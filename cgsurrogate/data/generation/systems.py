"""OpenMM systems: one molecule alone, and many in one system so far apart that none feels another.

OpenMM's CPU platform is bound by overhead for a peptide: several in one system take half the time of the same one after
the other. Inside the cutoff, which no molecule exceeds, a reaction field of dielectric 1 leaves Coulomb's law as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from cgsurrogate.data.generation.protocol import Protocol

PER_RESIDUE, ENDS = 0.4, 1.6  # nm: an extended chain is no longer
WANDERING = 2.0  # nm that a molecule may leave its place before it is brought back
TOLERANCE = 2e-3  # of the root mean square force
OFFSET = 0.009  # nm, between the radius of an atom and that of its Born sphere, as in OpenMM's implicit/obc2.xml


@dataclasses.dataclass(frozen=True, eq=False)
class Molecule:
    """What is simulated.

    Attributes:
        name: of its folder; empty where there is one molecule.
        topology: of OpenMM.
        positions: (A, 3) nm, a starting structure.
    """

    name: str
    topology: Any
    positions: np.ndarray

    @property
    def reach(self) -> float:
        """nm, more than any two of its atoms can be apart."""
        return float(PER_RESIDUE * self.topology.getNumResidues() + ENDS)

    @property
    def connected(self) -> bool:
        """Whether all atoms hang together, so that none can drift away from the others."""
        root = list(range(self.topology.getNumAtoms()))

        def find(i: int) -> int:
            while root[i] != i:
                root[i] = i = root[root[i]]
            return i

        for bond in self.topology.bonds():
            root[find(bond.atom1.index)] = find(bond.atom2.index)
        return len({find(i) for i in range(len(root))}) == 1


def alone(molecule: Molecule, field: Any, protocol: Protocol) -> Any:
    """A System of one molecule without any cutoff."""
    return _create(field, molecule.topology, protocol)


def _create(field: Any, topology: Any, protocol: Protocol, cutoff: float | None = None) -> Any:
    from openmm import app, unit

    method: dict[str, Any] = {"nonbondedMethod": app.NoCutoff}
    if cutoff is not None:
        method = {"nonbondedMethod": app.CutoffNonPeriodic, "nonbondedCutoff": cutoff * unit.nanometer}
    return field.createSystem(
        topology,
        constraints=app.HBonds,
        hydrogenMass=protocol.hydrogen_mass * unit.amu,
        removeCMMotion=False,
        **method,
    )


def together(
    molecules: Sequence[Molecule], field: Any, protocol: Protocol, *, fast: bool = True
) -> tuple[Any, np.ndarray]:
    """One System of all molecules in turn, and the places (M, 3) nm of their centres.

    Args:
        fast: replace an implicit solvent that looks like OBC2 by OpenMM's own; whether it is shows in the forces.
    """
    import openmm
    from openmm import app, unit

    cutoff = max(molecule.reach for molecule in molecules)
    spacing = 2 * cutoff + 2 * WANDERING
    side = int(np.ceil(len(molecules) ** (1 / 3)))
    grid = np.stack(np.unravel_index(np.arange(len(molecules)), (side,) * 3), -1)
    places = (grid - (side - 1) / 2) * spacing
    joined = app.Modeller(molecules[0].topology, molecules[0].positions * unit.nanometer)
    for molecule in molecules[1:]:
        joined.add(molecule.topology, molecule.positions * unit.nanometer)
    system = _create(field, joined.topology, protocol, cutoff)
    for index, force in reversed(list(enumerate(system.getForces()))):
        if isinstance(force, openmm.NonbondedForce):
            force.setReactionFieldDielectric(1.0)
        elif fast and isinstance(force, openmm.CustomGBForce) and (faster := _obc(force, cutoff)) is not None:
            system.removeForce(index)
            system.addForce(faster)
    return system, places


def _obc(force: Any, cutoff: float) -> Any | None:
    """The same as OpenMM's own GBSAOBCForce, several times as fast; None if it is of another form."""
    import openmm

    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    if names != ["charge", "or", "sr"]:
        return None
    known = {
        force.getGlobalParameterName(i): force.getGlobalParameterDefaultValue(i)
        for i in range(force.getNumGlobalParameters())
    }
    made = openmm.GBSAOBCForce()
    made.setSoluteDielectric(known.get("soluteDielectric", 1.0))
    made.setSolventDielectric(known.get("solventDielectric", 78.5))
    made.setNonbondedMethod(made.CutoffNonPeriodic)
    made.setCutoffDistance(cutoff)
    for i in range(force.getNumParticles()):
        charge, radius, scaled = force.getParticleParameters(i)
        made.addParticle(charge, radius + OFFSET, scaled / radius)
    return made


def same_forces(joint: Any, single: Sequence[Any], slices: Sequence[slice]) -> bool:
    """Whether the forces on every molecule in a joint context are those in a context of its own."""
    whole = forces_of(joint)
    for context, part in zip(single, slices, strict=True):
        wanted = forces_of(context)
        if np.abs(whole[part] - wanted).max() > TOLERANCE * (1 + np.sqrt((wanted**2).mean())):
            return False
    return True


def forces_of(context: Any) -> np.ndarray:
    """(A, 3) kJ/mol/nm."""
    from openmm import unit

    state = context.getState(getForces=True)
    per_length = unit.kilojoule_per_mole / unit.nanometer
    return np.asarray(state.getForces(asNumpy=True).value_in_unit(per_length))
