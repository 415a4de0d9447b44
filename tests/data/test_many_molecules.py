"""Many molecules in one all-atom system, structures from sequences, and ladders of temperatures."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from cgsurrogate.core import units
from cgsurrogate.core.provenance import EXCHANGE
from cgsurrogate.data import molecules, system_file
from cgsurrogate.data.generation import sequences, systems, tempering
from cgsurrogate.data.generation.engine import Engine, load_states
from cgsurrogate.data.generation.openmm import generate
from cgsurrogate.data.generation.protocol import Protocol
from cgsurrogate.data.generation.sequences import Peptide
from cgsurrogate.data.generation.systems import Molecule
from cgsurrogate.data.mapping import builder

openmm = pytest.importorskip("openmm")
app = pytest.importorskip("openmm.app")
pytest.importorskip("PeptideBuilder")

SHORT = Protocol(runs=1, nanoseconds=0.0016, every=0.4, chunk=0.8)
pytestmark = pytest.mark.usefixtures("short_preparation")
LADDER = dataclasses.replace(SHORT, tempering=(300.0, 310.0, 321.0))


@pytest.fixture(scope="module")
def peptides():
    field = app.ForceField(*SHORT.forcefield)
    made = []
    for peptide in (Peptide("GK"), Peptide("A", "ace-nme")):
        topology, positions = sequences.structure(peptide, field)
        made.append(Molecule(peptide.name, topology, np.array(positions.value_in_unit(openmm.unit.nanometer))))
    return made


# -- sequences -------------------------------------------------------------------------------------------------------


def test_caps_are_those_of_the_force_field_and_residues_are_left_handed(peptides):
    """The CORN rule: looking from H to CA, CO, R, N read clockwise."""
    names = [[residue.name for residue in one.topology.residues()] for one in peptides]
    assert names == [["GLY", "LYS"], ["ACE", "ALA", "NME"]]
    for one in peptides:
        for residue in one.topology.residues():
            at = {atom.name: one.positions[atom.index] for atom in residue.atoms()}
            if "CB" in at:
                ca = at["CA"]
                assert np.dot(np.cross(at["N"] - ca, at["C"] - ca), at["CB"] - ca) > 0
    ends = {atom.name for atom in peptides[0].topology.atoms()}
    assert {"OXT", "H2", "H3"} <= ends  # charged


def test_sequences_are_read_from_lines_and_from_fasta(tmp_path):
    plain, fasta = tmp_path / "plain.txt", tmp_path / "some.fasta"
    plain.write_text("gpav # a comment\n\nACE-AK-NME\n")
    fasta.write_text(">one\nGP\nAV\n>two\nAK\n")
    assert sequences.read(plain) == [Peptide("GPAV"), Peptide("AK", "ace-nme")]
    assert sequences.read(fasta, "ace-nme") == [Peptide("GPAV", "ace-nme"), Peptide("AK", "ace-nme")]


@pytest.mark.parametrize(
    ("text", "line"), [("GPB\n", "residue 3 is 'B'"), ("\n", "no sequence"), ("AK\nAK\n", "AK is given twice")]
)
def test_what_is_no_sequence_is_one_line(text, line, tmp_path):
    path = tmp_path / "sequences.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=line):
        sequences.read(path)


# -- many in one system ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fast", [True, False])
def test_forces_in_one_system_are_those_of_each_molecule_alone(fast, peptides):
    field = app.ForceField(*SHORT.forcefield)
    copies = [*peptides, *peptides]
    system, places = systems.together(copies, field, SHORT, fast=fast)

    def context(system, x):
        made = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
        made.setPositions(x)
        return made

    whole = systems.forces_of(
        context(system, np.concatenate([c.positions + p for c, p in zip(copies, places, strict=True)]))
    )
    alone = [systems.forces_of(context(systems.alone(one, field, SHORT), one.positions)) for one in copies]
    np.testing.assert_allclose(whole, np.concatenate(alone), atol=0.01 + 1e-5 * np.abs(whole).max())
    gaps = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert gaps[~np.eye(4, dtype=bool)].min() > 3 * max(one.reach for one in copies) / 2


def test_an_implicit_solvent_of_another_form_is_kept_as_it_is(peptides):
    """HCT has the parameters of OBC2 and other formulas: the forces tell."""
    for solvent, wanted in (("hct", "CustomGBForce"), ("obc2", "GBSAOBCForce")):
        protocol = dataclasses.replace(SHORT, forcefield=("amber14-all.xml", f"implicit/{solvent}.xml"))
        engine = Engine(peptides, protocol, "CPU", 1)
        system = engine.context.getSystem()
        names = {type(system.getForce(i)).__name__ for i in range(system.getNumForces())}
        assert names & {"CustomGBForce", "GBSAOBCForce"} == {wanted}


def test_a_molecule_that_wanders_is_brought_back_and_moves_on_as_it_was(peptides):
    engine = Engine(peptides, SHORT, "CPU", 1)
    states = engine.prepare(3)
    x = engine._positions()
    x[engine.slices[1]] += [5.0, 0.0, 0.0]
    engine.context.setPositions(x)
    back = engine._brought_back(within=2.0)
    for part, place in zip(engine.slices, engine._places, strict=True):
        assert np.abs(back[part].mean(0) - place).max() < 1e-6
    shape = x[engine.slices[1]] - x[engine.slices[1]].mean(0)
    np.testing.assert_allclose(back[engine.slices[1]] - back[engine.slices[1]].mean(0), shape, atol=1e-9)
    assert [state.positions.shape[0] for state in states] == [1, 1]


def test_peptides_are_generated_and_mapped_from_their_system_file(tmp_path):
    given = [Peptide("GK"), Peptide("A", "ace-nme")]
    paths = generate(given, tmp_path, SHORT, platform="CPU")
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["ACE-A-NME/run0.xtc", "GK/run0.xtc"]
    found = {one.name: one for one in system_file.load(tmp_path / "system.toml").molecules}
    assert set(found) == {"GK", "ACE-A-NME"}
    frames = molecules.read(found["GK"], builder("backbone"))
    assert len(frames) == 4 and frames.forces is not None and frames.time_ordered and frames.provenance.ns_per_day > 0
    again = generate([*given, Peptide("AG")], tmp_path, SHORT, platform="CPU")  # another one may come later
    assert len(again) == 3 and len(system_file.load(tmp_path / "system.toml").molecules) == 3


# -- tempering -------------------------------------------------------------------------------------------------------


def test_exchange_keeps_the_joint_distribution_of_two_levels():
    """Copies of a system of two levels, each drawn from its own temperature: exchange leaves the populations."""
    rng, gap, kelvins = np.random.default_rng(0), 4.0, np.array([300.0, 500.0, 800.0])
    upper = 1 / (1 + np.exp(gap / np.array([units.thermal_energy(t) for t in kelvins])))
    ladders = 20_000
    levels, counted = rng.random((ladders, 3)) < upper, np.zeros((ladders, 2, 2), int)
    rungs = np.tile(np.arange(3), ladders)
    for number in range(4):
        tempering.exchange(rungs, gap * levels.ravel(), kelvins, counted, number, rng)
    at = levels.ravel()[tempering.by_temperature(rungs, 3)].reshape(-1, 3).mean(0)
    assert np.abs(at - upper).max() < 5 * np.sqrt(0.25 / ladders)
    assert (rungs.reshape(-1, 3) != np.arange(3)).any() and (counted[:, 0].sum(0) == 2 * ladders).all()
    assert (np.sort(rungs.reshape(-1, 3), 1) == np.arange(3)).all()


def test_each_copy_has_the_temperature_of_its_place():
    """Harmonic springs to fixed points: <k x^2> and <m v^2> are kT of each copy."""
    kelvins, count, k = (300.0, 500.0), 400, 1000.0
    integrator = tempering.langevin(dataclasses.replace(SHORT, tempering=kelvins, friction=20.0))
    system, spring = openmm.System(), openmm.CustomExternalForce(f"{k / 2}*(x^2+y^2+z^2)")
    for i in range(2 * count):
        system.addParticle(12.0)
        spring.addParticle(i)
    system.addForce(spring)
    integrator.setRandomNumberSeed(1)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("CPU"), {"Threads": "1"})
    context.setPositions(np.zeros((2 * count, 3)))
    each = np.repeat([units.thermal_energy(t) for t in kelvins], count)
    integrator.setPerDofVariableByName("kT", np.repeat(each[:, None], 3, 1))
    integrator.step(500)
    sums = np.zeros((2, 2))
    for _ in range(60):
        integrator.step(40)
        state = context.getState(getPositions=True, getVelocities=True)
        x, v = (np.array(a._value) for a in (state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True)))
        sums += [(k * x**2).reshape(2, -1).mean(1), (12.0 * v**2).reshape(2, -1).mean(1)]
    wanted = np.array([units.thermal_energy(t) for t in kelvins])
    np.testing.assert_allclose(sums / 60, [wanted, wanted], rtol=0.03)  # errors of the means: 0.5 %


def test_a_ladder_is_stored_by_temperature_and_known_to_have_no_time_order(tmp_path):
    paths = generate([Peptide("A", "ace-nme")], tmp_path, LADDER, platform="CPU")
    assert [path.name for path in paths] == ["run0-300K.xtc", "run0-310K.xtc", "run0-321K.xtc"]
    (one,) = system_file.load(tmp_path / "system.toml").molecules
    assert [group.temperature for group in one.groups] == [300, 310, 321] and one.temperature == 300
    (state,) = load_states(tmp_path / "systems" / "ACE-A-NME-run0" / "00001.state")
    assert sorted(state.rungs) == [0, 1, 2] and state.exchanges[0].sum() == 4
    cold = dataclasses.replace(one, groups=one.groups[:1])
    frames = molecules.read(cold, builder("backbone"))
    assert not frames.time_ordered and EXCHANGE in frames.out_of_order


def test_a_ladder_goes_on_where_it_stopped(tmp_path):
    """In two commands the same frames as in one: temperatures, velocities and random numbers are in the state."""
    given, longer = [Peptide("A", "ace-nme")], dataclasses.replace(LADDER, nanoseconds=0.0032)
    generate(given, tmp_path / "whole", longer, platform="CPU")
    for protocol in (LADDER, longer):
        generate(given, tmp_path / "parts", protocol, platform="CPU")
    for name in ("run0-300K.potential.npy", "run0-321K.potential.npy"):
        found, wanted = (np.load(tmp_path / part / "ACE-A-NME" / name) for part in ("parts", "whole"))
        assert found.shape == wanted.shape == (8,)
        np.testing.assert_allclose(found[:4], wanted[:4], rtol=1e-4)
    last = Path("systems", "ACE-A-NME-run0", "00003.state")
    states = [load_states(tmp_path / part / last)[0] for part in ("parts", "whole")]
    assert (states[0].exchanges[0] == states[1].exchanges[0]).all()


def test_runs_that_move_together_are_asked_for_together(tmp_path):
    """Two molecules share a system, so one of them alone cannot go on."""
    given = [Peptide("GK"), Peptide("A", "ace-nme")]
    generate(given, tmp_path, SHORT, platform="CPU")
    with pytest.raises(ValueError, match=r"begun with ACE-A-NME-run0 as well"):
        generate(given[:1], tmp_path, SHORT, platform="CPU")
