"""Langevin dynamics with OpenMM of the force field in this folder: python run_openmm.py

Change this script as you like; everything of OpenMM works here.
"""

from pathlib import Path

import openmm
from openmm import app, unit

from cgsurrogate.models.engines.openmm import make_system, make_topology
from cgsurrogate.models.engines.potential import Potential

HERE = Path(__file__).resolve().parent
COPIES = 1  # of the molecule, side by side in one System; a hundred take about ten times as long as one
STEPS, EVERY = 5000, 50

compiled = HERE / "energy_forces.pt2"  # there after: cgsurrogate export MODEL --format openmm --format pt2
potential = Potential.load(HERE, compiled if compiled.exists() else None)
topology = make_topology(potential.beads, COPIES)
start = app.PDBFile(str(HERE / "beads.pdb")).getPositions(asNumpy=True).value_in_unit(unit.nanometer)

integrator = openmm.LangevinMiddleIntegrator(potential.temperature, 1 / unit.picosecond, 0.004 * unit.picosecond)
platform = openmm.Platform.getPlatformByName("Reference")  # the beads cost little beside the network
simulation = app.Simulation(topology, make_system(potential, COPIES), integrator, platform)
simulation.context.setPositions([bead for _ in range(COPIES) for bead in start])
simulation.minimizeEnergy(maxIterations=100)
simulation.context.setVelocitiesToTemperature(potential.temperature)
simulation.reporters += [
    app.DCDReporter(str(HERE / "openmm.dcd"), EVERY),
    app.StateDataReporter(
        str(HERE / "openmm.csv"), EVERY, time=True, potentialEnergy=True, temperature=True, speed=True
    ),
]
simulation.step(STEPS)
print(f"{STEPS} steps of {COPIES} molecule(s): {HERE / 'openmm.dcd'}")
