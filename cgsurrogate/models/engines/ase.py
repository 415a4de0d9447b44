"""A force field in ASE: a calculator of energy and forces, in eV and Angstrom as everywhere in ASE."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes

from cgsurrogate.models.engines.potential import Potential

ENERGY = units.kJ / units.mol  # eV of a kJ/mol
LENGTH = units.nm  # Angstrom of a nm


class ForceField(Calculator):
    """Energy and forces of one molecule whose beads are the atoms; a box has no influence."""

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012

    def __init__(self, potential: Potential, **options: Any):
        super().__init__(**options)
        self.potential = potential

    def calculate(
        self, atoms: Atoms | None = None, properties: Any = ("energy",), system_changes: Any = all_changes
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        values, forces = self.potential(self.atoms.get_positions()[None] / LENGTH)
        energy = float(values[0]) * ENERGY
        self.results = {"energy": energy, "free_energy": energy, "forces": forces[0] * (ENERGY / LENGTH)}


def make_atoms(potential: Potential, positions: np.ndarray) -> Atoms:
    """The beads at (N, 3) nm, with the masses of the beads and the calculator.

    A bead has the symbol of the atom it is named after (CA and CB are C), or X.
    """
    names, masses = potential.beads.names, potential.beads.masses
    symbols = [name[0] if name[:1] in ("C", "N", "O", "S") else "X" for name in names]
    return Atoms(symbols, np.asarray(positions) * LENGTH, masses=masses, calculator=ForceField(potential))
