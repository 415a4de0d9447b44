"""Positions and forces of OpenMM, written as each format that holds forces, and read again in kJ/mol/nm."""

import mdtraj
import numpy as np
import pytest
from written_files import write_h5md, write_lammps, write_netcdf, write_trr

from cgsurrogate.core import registry
from cgsurrogate.data.read import Input, read

CA = registry.builder("mappings", "backbone")
KCAL = 41.84  # kJ/mol/nm in kcal/mol/A


@pytest.fixture(scope="module")
def simulated(dipeptide_pdb):
    """(8, 22, 3) nm and kJ/mol/nm of alanine dipeptide in vacuum, frames 0.02 ps apart."""
    openmm = pytest.importorskip("openmm")
    from openmm import app, unit

    pdb = app.PDBFile(str(dipeptide_pdb))
    system = app.ForceField("amber14-all.xml").createSystem(pdb.topology, constraints=app.HBonds)
    integrator = openmm.LangevinMiddleIntegrator(300, 1, 0.002)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(pdb.positions)
    context.setVelocitiesToTemperature(300, 1)
    xyz, forces = [], []
    for _ in range(8):
        integrator.step(10)
        state = context.getState(getPositions=True, getForces=True)
        xyz.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
        forces.append(state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer))
    return np.array(xyz, np.float32), np.array(forces)


# name -> how it is written, and options to read it with; the largest error in kJ/mol/nm of a force on a bead
WAYS = {
    "t.trr": (lambda path, x, f: write_trr(path, x, f.astype("f4")), {}, 0.01),
    "t.nc": (lambda path, x, f: write_netcdf(path, x * 10, f / KCAL), {}, 0.01),
    "t.h5md": (lambda path, x, f: write_h5md(path, x, f, ("nm", "kJ mol-1 nm-1")), {}, 0.01),
    "a.h5md": (lambda path, x, f: write_h5md(path, x * 10, f / KCAL), {}, 0.01),
    "t.lammpstrj": (
        lambda path, x, f: write_lammps(path, x * 10, "id type x y z fx fy fz", f / KCAL),
        {"length_unit": "A", "force_unit": "kcal/mol/A", "dt": 2.0},
        0.01,
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_forces_come_back_as_openmm_gave_them(name, simulated, dipeptide_pdb, tmp_path):
    write, options, error = WAYS[name]
    xyz, forces = simulated
    write(tmp_path / name, xyz, forces)
    frames = read(Input(dipeptide_pdb, [tmp_path / name], 300, aggregate="basic", **options), CA)
    mapping = CA(mdtraj.load_topology(str(dipeptide_pdb)))
    np.testing.assert_allclose(frames.positions, mapping.positions(xyz), atol=2e-6)
    np.testing.assert_allclose(frames.forces, mapping.forces(forces), atol=error)
    assert frames.provenance.notes["atomic_forces"]["likely_unit"] in ("kJ/mol/nm", "kcal/mol/A")


def test_arrays_of_them_do_the_same(simulated, dipeptide_pdb, tmp_path):
    xyz, forces = simulated
    np.savez(tmp_path / "t.npz", x=xyz, f=forces)
    spec = str(tmp_path / "t.npz")
    given = Input(dipeptide_pdb, [f"{spec}:x"], 300, dt=1.0, forces=[f"{spec}:f"], aggregate="basic")
    expected = CA(mdtraj.load_topology(str(dipeptide_pdb))).forces(forces)
    np.testing.assert_allclose(read(given, CA).forces, expected, atol=0.01)
