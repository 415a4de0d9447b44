"""Topologies of every kind come back whole from the process that parses, and several chains are told apart."""

import importlib.util
import subprocess
import sys

import mdtraj
import numpy as np
import pytest

from cgsurrogate.core import registry
from cgsurrogate.data.formats import topologies
from cgsurrogate.data.formats.sources import load_topology
from cgsurrogate.data.read import Input, read

BACKBONE = registry.builder("mappings", "backbone")
THERE = importlib.util.find_spec("MDAnalysis") is not None


@pytest.fixture
def pair(peptide):
    """Two peptides without caps, 2 nm apart, one after the other, in one chain: (1, 100, 3) nm."""
    inner = peptide.atom_slice(peptide.topology.select("resname ALA"))
    topology = inner.topology.join(inner.topology)
    return mdtraj.Trajectory(np.concatenate([inner.xyz, inner.xyz + 2.0], axis=1), topology)


def test_a_topology_is_the_same_after_it_was_sent(peptide):
    back = topologies.unpacked(topologies.packed(peptide.topology))
    assert back == peptide.topology
    assert [a.serial for a in back.atoms] == [a.serial for a in peptide.topology.atoms]
    assert [c.chain_id for c in back.chains] == [c.chain_id for c in peptide.topology.chains]


@pytest.mark.parametrize("boxed", [False, True])
def test_two_chains_of_a_gro_are_two(boxed, pair, tmp_path):
    if boxed:  # the second lies in the next cell: its first atom is near the end of the first one only without the box
        pair.unitcell_vectors = np.eye(3, dtype="f4")[None] * 6.0
    pair.save(str(tmp_path / "t.gro"))
    found = load_topology(tmp_path / "t.gro")
    assert found.n_chains == 2 and [c.n_residues for c in found.chains] == [5, 5]
    np.save(tmp_path / "x.npy", np.concatenate([pair.xyz] * 3))
    frames = read(Input(tmp_path / "t.gro", [tmp_path / "x.npy"], 300, dt=1), BACKBONE)
    assert len(frames.beads) == 50 and not any(i < 25 <= j for i, j in frames.beads.bonds)


def test_one_chain_of_a_gro_stays_one_across_its_box(peptide, tmp_path):
    cell = np.eye(3, dtype="f4")[None] * 3.0
    peptide = mdtraj.Trajectory(np.mod(peptide.xyz, 3.0), peptide.topology)
    peptide.unitcell_vectors = cell
    peptide.save(str(tmp_path / "t.gro"))
    found = load_topology(tmp_path / "t.gro")
    assert found.n_chains == 1 and found.n_bonds == peptide.topology.n_bonds


def test_capped_chains_of_a_gro_are_two(peptide, tmp_path):
    both = mdtraj.Trajectory(
        np.concatenate([peptide.xyz[:1], peptide.xyz[:1] + 4.77], axis=1), peptide.topology.join(peptide.topology)
    )
    both.save(str(tmp_path / "t.gro"))
    found = load_topology(tmp_path / "t.gro")
    assert found.n_chains == 2
    assert {c.residue(0).name for c in found.chains} == {"ACE"} and len(BACKBONE(found).beads) == 2 * len(
        BACKBONE(peptide.topology).beads
    )


def test_chains_are_told_apart_by_bonds_that_are_stated(peptide):
    joined = peptide.topology.join(peptide.topology)
    sent = topologies.packed(joined)
    sent["chain_of_residue"], sent["chain_names"] = np.zeros(joined.n_residues, int), [None]
    found = topologies._in_chains(topologies.unpacked(sent), True, None)
    assert found.n_chains == 2 and found.n_bonds == joined.n_bonds


def test_names_of_protonation_states_are_no_gap(peptide_pdb, tmp_path):
    """A GRO of CHARMM calls histidine HSD, which no table of bonds knows."""
    peptide = mdtraj.load(str(peptide_pdb))
    for residue in peptide.topology.residues:
        residue.name = {"ALA3": "NALA", "ALA4": "CALA"}.get(str(residue), residue.name)
    peptide.save(str(tmp_path / "t.gro"))
    assert load_topology(tmp_path / "t.gro").n_bonds == peptide.topology.n_bonds


def test_a_residue_that_lacks_an_atom_is_told_with_its_file(peptide, atoms, tmp_path):
    keep = [a.index for a in peptide.topology.atoms if str(a) != "ALA3-CA"]
    peptide.atom_slice(keep).save(str(tmp_path / "lacking.pdb"))
    np.save(tmp_path / "x.npy", atoms[:, keep])
    with pytest.raises(ValueError, match=r"lacking.pdb: .*residue ALA3 has no atom CA"):
        read(Input(tmp_path / "lacking.pdb", [tmp_path / "x.npy"], 300, dt=1), BACKBONE)


@pytest.mark.skipif(THERE, reason="MDAnalysis is installed")
def test_what_only_mdanalysis_reads_asks_for_it(peptide_pdb, atoms, tmp_path):
    for name in ("t.tpr", "t.tng"):
        (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"t.tpr .*cgsurrogate\[mdanalysis\]"):
        load_topology(tmp_path / "t.tpr")
    with pytest.raises(ValueError, match=r"t.tng .*cgsurrogate\[mdanalysis\]"):
        read(Input(peptide_pdb, [tmp_path / "t.tng"], 300, dt=1), BACKBONE)


@pytest.mark.skipif(not THERE, reason="MDAnalysis is not installed")
def test_topologies_and_trajectories_through_mdanalysis(peptide, peptide_pdb, atoms, tmp_path):
    import MDAnalysis

    universe = MDAnalysis.Universe(str(peptide_pdb))
    with MDAnalysis.Writer(str(tmp_path / "t.trz"), n_atoms=62) as out:
        for frame in atoms:
            universe.atoms.positions = frame * 10
            universe.trajectory.ts.velocities = np.zeros((62, 3))
            out.write(universe.atoms)
    universe.atoms.write(str(tmp_path / "t.pqr")) if hasattr(universe.atoms, "charges") else None
    frames = read(Input(peptide_pdb, [tmp_path / "t.trz"], 300, dt=1), BACKBONE)
    np.testing.assert_allclose(frames.positions, BACKBONE(peptide.topology).positions(atoms), atol=1e-5)
    (tmp_path / "bad.tpr").write_bytes(b"anything" * 100)
    with pytest.raises(ValueError, match=r"bad.tpr cannot be read as a topology"):
        load_topology(tmp_path / "bad.tpr")


def test_mdanalysis_is_not_imported_by_the_package():
    code = "import cgsurrogate.data.read, cgsurrogate.data.in_memory, sys; sys.exit('MDAnalysis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
