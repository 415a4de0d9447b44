"""A force field in OpenMM, in ASE and as a graph: the package's own numbers, the laws of dynamics, refusals."""

from __future__ import annotations

import copy

import energy_contract as contract
import known_molecule as known
import numpy as np
import pytest
import torch

from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.energy import Sum, forces
from cgsurrogate.models.engines import compiled
from cgsurrogate.models.engines.potential import RECORD, Potential, deviations
from cgsurrogate.models.model import Model

KINDS = registry.kinds("networks")
KELVIN = 300.0


def model(kind: str) -> Model:
    """All priors, fitted, and a network that is awake."""
    torch.manual_seed(0)
    priors, beads = contract.priors(), contract.peptide()
    network = registry.build("networks", kind, beads)
    with torch.no_grad():
        network.output.weight.normal_(0, 0.1, generator=torch.Generator().manual_seed(1))
    return Model(Sum(*priors, network), beads, KELVIN)


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    return model(request.param).save(tmp_path_factory.mktemp(request.param) / "force-field")


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return model("residues").save(tmp_path_factory.mktemp("one") / "force-field")


def exact(folder, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energies and forces by autograd, all in float64."""
    value, force = forces(Model.load(folder).module.double(), torch.from_numpy(x))
    return value.numpy(), force.numpy()


# -- the door ----------------------------------------------------------------------------------------------------------
def test_a_potential_gives_the_numbers_of_float64_wherever_the_molecule_is(folder):
    x = contract.conformations(4).numpy()
    value, force = exact(folder, x)
    for place in (0.0, 1e4):  # nm
        found, pushed = Potential.load(folder)(x + place)
        np.testing.assert_allclose(found, value, rtol=1e-5, atol=1e-2)
        assert np.abs(pushed - force).max() < 1e-5 * np.abs(force).max()
    assert found.dtype == pushed.dtype == np.float64


def test_deviations_are_those_of_single_precision(folder):
    energy = Model.load(folder).module
    x = contract.conformations(8).numpy()
    off = deviations(Potential.load(folder).evaluate, energy, x)
    assert 0 < off["force"] < 1e-5 * off["force_size"] and 0 <= off["energy"] < 1e-2
    twice = deviations(lambda x: tuple(2 * part for part in forces(energy, x)), energy, x)
    assert twice["force"] == pytest.approx(twice["force_size"], rel=1e-4)


def test_what_is_no_force_field_or_no_molecule_is_refused(one):
    stepper = Model(
        registry.build("steppers", "autoregressive", contract.peptide(), lag=1.0), contract.peptide(), KELVIN
    )
    with pytest.raises(ValueError, match="need a force field"):
        Potential(stepper)
    with pytest.raises(ValueError, match=r"\(B, 12, 3\)"):
        Potential.load(one)(np.zeros((1, 11, 3)))


# -- the graph ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", ["residues", "angles", pytest.param("schnet", marks=pytest.mark.slow)])
def test_a_graph_takes_any_batch_and_needs_no_autograd(kind, tmp_path):
    """In float64, so that it must be exact; also when it is read back from its file."""
    energy = next(t for t in model("schnet" if kind == "schnet" else "residues").module.terms if t.spec.name == kind)
    program = compiled.trace(energy.double(), 12)
    read = torch.export.load(compiled.save(program, tmp_path / "graph.pt2"))
    for batch in (1, 2, 12, 40):  # also as many as there are beads
        x = contract.conformations(batch)
        with torch.no_grad():
            found = read.module()(x)
        for part, true in zip(found, forces(energy, x), strict=True):
            torch.testing.assert_close(part, true, rtol=1e-10, atol=1e-8)


def test_a_package_needs_a_compiler_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda _: None)
    with pytest.raises(compiled.NoCompiler, match="C\\+\\+ compiler"):
        compiled.package(None, tmp_path / "energy.pt2")
    assert not list(tmp_path.iterdir())


def test_a_package_of_other_weights_is_not_run(one, tmp_path, monkeypatch):
    """Nor one that has changed: it holds machine code."""
    ran = []
    monkeypatch.setattr(compiled, "load", lambda path: ran.append(path))
    package = tmp_path / "energy_forces.pt2"
    package.write_bytes(b"code")
    with pytest.raises(ValueError, match="not made of this model"):
        Potential.load(one, package)
    entry = {package.name: {"sha256": filesystem.sha256(package)}}
    for digest, words in (("another", "not made of this model"), (Model.load(one).digest, None)):
        filesystem.write_json(tmp_path / RECORD, {"model": digest, "compiled": entry})
        if words:
            with pytest.raises(ValueError, match=words):
                Potential.load(one, package)
    assert not ran
    Potential.load(one, package)
    assert ran == [package]
    package.write_bytes(b"other code")
    with pytest.raises(ValueError, match="changed"):
        Potential.load(one, package)


@pytest.mark.slow
def test_a_package_is_the_graph(one, tmp_path):
    loaded = Model.load(one)
    path = compiled.package(compiled.trace(loaded.module, len(loaded.beads)), tmp_path / "energy_forces.pt2")
    run = compiled.load(path)
    for batch in (1, 7):
        off = deviations(run, loaded.module, contract.conformations(batch).numpy())
        assert off["force"] < 1e-5 * off["force_size"] and abs(off["offset"]) + off["energy"] < 1e-2


# -- OpenMM ------------------------------------------------------------------------------------------------------------
def context(system, integrator=None):
    openmm = pytest.importorskip("openmm")
    integrator = integrator or openmm.VerletIntegrator(0.0005)
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))


def measured(context, **what):
    """Potential energy, kJ/mol, kinetic energy, and forces (N, 3) kJ/mol/nm."""
    from openmm import unit

    state = context.getState(getEnergy=True, getForces=True, **what)
    kinds = state.getPotentialEnergy(), state.getKineticEnergy()
    force = state.getForces(asNumpy=True).value_in_unit(unit.kilojoule_per_mole / unit.nanometer)
    return *(kind.value_in_unit(unit.kilojoule_per_mole) for kind in kinds), force


@pytest.fixture
def engine():
    openmm = pytest.importorskip("openmm")
    if not hasattr(openmm, "PythonForce"):
        pytest.skip("OpenMM is too old for PythonForce")
    from cgsurrogate.models.engines import openmm as engine

    return engine


def test_openmm_has_the_energy_and_forces_of_every_copy(folder, engine):
    x = contract.conformations(3).numpy()
    value, force = exact(folder, x)
    system = engine.make_system(Potential.load(folder), copies=3)
    assert system.getNumParticles() == 36
    assert [system.getParticleMass(i)._value for i in range(12)] == list(contract.peptide().masses)
    there = context(system)
    there.setPositions(x.reshape(-1, 3))
    energy, _, pushed = measured(there)
    assert energy == pytest.approx(value.sum(), rel=1e-5)
    assert np.abs(pushed.reshape(force.shape) - force).max() < 1e-5 * np.abs(force).max()


def test_openmm_conserves_the_energy_and_minimises(one, engine):
    import openmm

    there = context(engine.make_system(Potential.load(one)))
    there.setPositions(contract.conformations(1).numpy()[0])
    before = measured(there)[0]
    openmm.LocalEnergyMinimizer.minimize(there, maxIterations=50)
    assert measured(there)[0] < before - 1
    there.setVelocitiesToTemperature(KELVIN, 1)
    totals, kinetic = [], []
    for _ in range(20):
        there.getIntegrator().step(20)
        potential, motion, _ = measured(there)
        totals.append(potential + motion), kinetic.append(motion)
    assert np.std(totals) < 0.03 * np.std(kinetic)


def test_the_force_acts_on_some_particles_of_a_larger_system(one, engine):
    """Two molecules between other particles, in any order."""
    import openmm

    potential, x = Potential.load(one), contract.conformations(2).numpy()
    system = openmm.System()
    for _ in range(30):
        system.addParticle(10.0)
    order = np.random.default_rng(0).permutation(30)[:24]
    system.addForce(engine.make_force(potential, order.tolist()))
    there, place = context(system), np.zeros((30, 3))
    place[order] = x.reshape(-1, 3)
    there.setPositions(place)
    energy, _, pushed = measured(there)
    value, force = potential(x)
    assert energy == pytest.approx(value.sum())
    np.testing.assert_allclose(pushed[order], force.reshape(-1, 3))
    assert not pushed[sorted(set(range(30)) - set(order.tolist()))].any()
    with pytest.raises(ValueError, match="multiple of 12"):
        engine.make_force(potential, range(13))


def test_a_system_in_a_file_names_the_model_folder_and_holds_no_weights(one, engine):
    import openmm

    system, x = engine.make_system(Potential.load(one)), contract.conformations(1).numpy()[0]
    text = openmm.XmlSerializer.serialize(system)
    assert len(text) < 4000
    energies = []
    for each in (system, openmm.XmlSerializer.deserialize(text)):
        there = context(each)
        there.setPositions(x)
        energies.append(measured(there)[0])
    assert energies[0] == energies[1]
    with pytest.raises(Exception, match="not be pickled"):
        openmm.XmlSerializer.serialize(engine.make_system(Potential(model("residues"))))


def test_a_topology_has_the_names_and_bonds_of_the_beads(engine):
    beads = contract.peptide()
    topology = engine.make_topology(beads, copies=2)
    assert [atom.name for atom in topology.atoms()] == list(beads.names) * 2
    assert [residue.name for residue in topology.residues()] == ["ALA", "ALA", "NME"] * 2
    bonds = [(a.index, b.index) for a, b in topology.bonds()]
    assert bonds == [*beads.bonds, *((i + 12, j + 12) for i, j in beads.bonds)]
    with pytest.raises(ValueError, match="one copy"):
        engine.make_topology(beads, copies=0)


def test_reporters_and_metadynamics_work(one, engine, tmp_path):
    import mdtraj
    import openmm
    from openmm import app

    potential = Potential.load(one)
    system = engine.make_system(potential)
    turn = openmm.CustomTorsionForce("theta")
    turn.addTorsion(3, 5, 6, 8, [])  # C-N-CA-C
    variable = app.BiasVariable(turn, -np.pi, np.pi, 0.3, periodic=True)
    bias = app.Metadynamics(system, [variable], KELVIN, 10, 1.0, 10)
    integrator = openmm.LangevinMiddleIntegrator(KELVIN, 1.0, 0.002)
    platform = openmm.Platform.getPlatformByName("Reference")
    simulation = app.Simulation(engine.make_topology(potential.beads), system, integrator, platform)
    simulation.context.setPositions(contract.conformations(1).numpy()[0])
    simulation.reporters.append(app.DCDReporter(str(tmp_path / "run.dcd"), 20))
    bias.step(simulation, 100)
    assert bias.getFreeEnergy()._value.min() < 0
    top = mdtraj.Topology.from_openmm(simulation.topology)
    frames = mdtraj.load(str(tmp_path / "run.dcd"), top=top)
    assert frames.n_frames == 5 and np.isfinite(frames.xyz).all()


def test_langevin_dynamics_of_openmm_keeps_the_exact_mean_energy(engine):
    """Of a chain whose Boltzmann distribution is known, begun with samples of it."""
    import openmm
    from openmm import unit

    copies, rounds = 300, 12
    potential = Potential(Model(copy.deepcopy(known.Known()), known.BEADS, known.KELVIN))
    integrator = openmm.LangevinMiddleIntegrator(known.KELVIN, 20.0, 0.002)
    integrator.setRandomNumberSeed(1)
    there = context(engine.make_system(potential, copies), integrator)
    there.setPositions(known.exact(copies).reshape(-1, 3).numpy())
    there.setVelocitiesToTemperature(known.KELVIN, 1)
    energies = []
    for _ in range(rounds):
        there.getIntegrator().step(50)
        x = there.getState(getPositions=True).getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        energies.append(potential(x.reshape(copies, -1, 3))[0] / known.KT)
    mean, variance = known.energy_moments(1.0)
    of_copies = np.mean(energies[4:], 0)
    error = of_copies.std(ddof=1) / np.sqrt(copies)
    assert abs(of_copies.mean() - mean) < 4 * error
    assert error < 0.1 * np.sqrt(variance)


# -- ASE ---------------------------------------------------------------------------------------------------------------
EV, ANGSTROM = 0.010364269656, 10.0  # of a kJ/mol, of a nm


def test_ase_has_the_energy_and_forces_in_its_units(folder):
    pytest.importorskip("ase")
    from cgsurrogate.models.engines.ase import make_atoms

    x = contract.conformations(1).numpy()
    value, force = exact(folder, x)
    atoms = make_atoms(Potential.load(folder), x[0])
    assert atoms.get_potential_energy() == pytest.approx(EV * value[0], rel=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), force[0] * EV / ANGSTROM, atol=2e-5 * np.abs(force).max() * EV / 10)
    assert atoms.get_masses().tolist() == list(contract.peptide().masses)
    atoms.rattle(0.05, seed=1)  # a change is noticed
    moved = exact(folder, atoms.get_positions()[None] / ANGSTROM)
    assert atoms.get_potential_energy() == pytest.approx(EV * moved[0][0], rel=1e-5)


def test_ase_conserves_the_energy_and_minimises(one):
    pytest.importorskip("ase")
    from ase import units
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet
    from ase.optimize import LBFGS

    from cgsurrogate.models.engines.ase import make_atoms

    atoms = make_atoms(Potential.load(one), contract.conformations(1).numpy()[0])
    before = atoms.get_potential_energy()
    LBFGS(atoms, logfile=None).run(fmax=0.5, steps=50)
    assert atoms.get_potential_energy() < before - 0.01
    MaxwellBoltzmannDistribution(atoms, temperature_K=KELVIN, rng=np.random.default_rng(1))
    moves, totals, kinetic = VelocityVerlet(atoms, timestep=0.5 * units.fs), [], []
    for _ in range(20):
        moves.run(20)
        kinetic.append(atoms.get_kinetic_energy()), totals.append(atoms.get_total_energy())
    assert np.std(totals) < 0.03 * np.std(kinetic)
