"""Langevin dynamics with ASE of the force field in this folder: python run_ase.py

Change this script as you like; any ASE optimiser or dynamics works here.
"""

from pathlib import Path

import ase.io
from ase import units
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import LBFGS

from cgsurrogate.models.engines.ase import LENGTH, make_atoms
from cgsurrogate.models.engines.potential import Potential

HERE = Path(__file__).resolve().parent
STEPS, EVERY = 2000, 50

compiled = HERE / "energy_forces.pt2"  # there after: cgsurrogate export MODEL --format ase --format pt2
potential = Potential.load(HERE, compiled if compiled.exists() else None)
start = ase.io.read(HERE / "beads.pdb")
atoms = make_atoms(potential, start.get_positions() / LENGTH)
LBFGS(atoms, logfile=None).run(fmax=1.0, steps=100)  # eV/Angstrom
MaxwellBoltzmannDistribution(atoms, temperature_K=potential.temperature)
dynamics = Langevin(
    atoms,
    timestep=4 * units.fs,
    temperature_K=potential.temperature,
    friction=0.001 / units.fs,
    trajectory=str(HERE / "ase.traj"),
    loginterval=EVERY,
)
dynamics.run(STEPS)
print(f"{STEPS} steps, {atoms.get_potential_energy():.3f} eV: {HERE / 'ase.traj'}")
