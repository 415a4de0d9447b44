"""Free termini, unusual residues, bridges and several chains: which beads there are, and what is said of them."""

import dataclasses
import warnings

import numpy as np
import peptides
import pytest
from mdtraj.core import element

from cgsurrogate import workflows
from cgsurrogate.core import bead_types, registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.data import contents
from cgsurrogate.data.mappings import _atom_groups
from cgsurrogate.geometry.molecule import Molecule

TRIPEPTIDE = ("ALA", "VAL", "SER")
peptide_of = peptides.peptide
KINDS = ("ca", "ca_cb", "backbone", "backbone_sidechain", "martini", "heavy")


def mapped(topology, kind: str):
    return registry.build("mappings", kind, topology)


def named(mapping) -> list[str]:
    return [f"{r}:{n}" for r, n in zip(mapping.beads.residues, mapping.beads.names, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["charged", "neutral"])
@pytest.mark.parametrize("start", ["charged", "neutral"])
def test_every_mapping_takes_free_termini_and_moves_hydrogens_with_their_atom(kind, start, end):
    topology = peptide_of(TRIPEPTIDE, start, end)
    mapping = mapped(topology, kind)
    forces = mapping.force_weights.toarray()
    for a, b in topology.bonds:
        if "H" in (a.element.symbol, b.element.symbol):
            assert np.array_equal(forces[:, a.index], forces[:, b.index]), (a, b)
    assert len(mapping.beads.bonds) >= len(mapping.beads) - 1
    assert ("OXT" in mapping.beads.names) == (kind == "heavy")


@pytest.mark.parametrize("kind", ["backbone", "backbone_sidechain", "heavy"])
def test_the_oxygen_o_is_a_carbonyl_wherever_the_hydrogen_of_a_neutral_end_is(kind):
    """The bead O is the atom without hydrogen, so the bond C-O has one kind of length."""
    for hydroxyl in ("O", "OXT"):
        topology = peptide_of(TRIPEPTIDE, "charged", "neutral", hydroxyl=hydroxyl)
        mapping = mapped(topology, kind)
        last = max(i for i, name in enumerate(mapping.beads.names) if name == "O")
        carbonyl = "OXT" if hydroxyl == "O" else "O"
        assert topology.atom(int(mapping.weights.toarray()[last].argmax())).name == carbonyl
        assert mapping.beads.types[last] == bead_types.number("SER", "O")
        assert [a.name for a in topology.residue(2).atoms][-3:] == ["O", "OXT", "HXT"]  # the given one is left alone


def test_two_beads_a_residue_and_side_chains_at_their_centre_of_mass():
    topology = peptide_of(("ALA", "GLY", "SER", "LYS"))
    assert named(mapped(topology, "ca_cb")) == ["0:CA", "0:CB", "1:CA", "2:CA", "2:CB", "3:CA", "3:CB"]
    mapping = mapped(topology, "backbone_sidechain")
    assert named(mapping)[:10] == ["0:N", "0:CA", "0:CB", "0:C", "0:O", "1:N", "1:CA", "1:C", "1:O", "2:N"]
    side = mapping.beads.names.index("SC")
    row = mapping.weights.toarray()[side]
    oxygen, carbon = 15.999, 12.011
    assert sorted(row[row > 0]) == pytest.approx([carbon / (carbon + oxygen), oxygen / (carbon + oxygen)], abs=1e-4)
    assert mapping.beads.masses[side] == pytest.approx(carbon + oxygen + 3 * 1.008, abs=0.02)


def test_a_plus_is_another_spelling():
    topology = peptide_of(TRIPEPTIDE)
    for spelled, kind in (("ca+cb", "ca_cb"), ("backbone+sidechain", "backbone_sidechain")):
        assert workflows.mapping_builder(spelled)(topology).beads == mapped(topology, kind).beads


def test_what_is_mapped_and_left_out_is_said_in_one_line():
    topology = peptide_of(("ALA", "ASP", "LYS"), "charged", "neutral")
    chain = topology.add_chain()
    for name, atoms in (("HOH", ["O", "H1", "H2"]), ("HOH", ["O", "H1", "H2"]), ("NA", ["Na"]), ("LIG", ["C1", "C2"])):
        residue = topology.add_residue(name, chain)
        for atom in atoms:
            topology.add_atom(atom, element.get_by_symbol("Na" if atom == "Na" else atom[0]), residue)
    (line,) = contents.words(topology, mapped(topology, "backbone"))
    assert line == (
        "mapped: 3 residues in 1 chain (ALA1 (free, charged) to LYS3 (free, neutral)) to 15 beads; left out: 2 water, "
        "1 ion (1 NA), 1 other residue or ligand (1 LIG)"
    ).replace("ALA1", str(topology.residue(0))).replace("LYS3", str(topology.residue(2)))


@pytest.mark.parametrize("name, oxygen", [("HXT", "OXT"), ("HO", "O")])
def test_the_hydrogen_of_a_neutral_end_is_bonded_where_a_reader_left_it_alone(name, oxygen):
    topology = peptide_of(TRIPEPTIDE, "charged", "neutral")
    hydrogen = next(atom for atom in topology.atoms if atom.name == "HXT")
    topology._bonds = [bond for bond in topology.bonds if hydrogen not in (bond[0], bond[1])]
    hydrogen.name = name
    bonded = _atom_groups.neighbours(topology)[hydrogen.index]
    assert [topology.atom(i).name for i in bonded] == [oxygen]
    assert "(free, neutral)" in contents.words(topology, mapped(topology, "backbone"))[0]
    hydrogen.name = "HQ"
    assert any("without a bond" in line and "HQ" in line for line in contents.words(topology, mapped(topology, "ca")))


def test_caps_are_named_and_counted_where_they_are_left_out(peptide):
    said = {kind: contents.words(peptide.topology, mapped(peptide.topology, kind))[0] for kind in ("ca", "backbone")}
    assert "(ACE to NME)" in said["backbone"] and said["backbone"].endswith("left out: no residue")
    assert "left out: 2 caps (1 ACE, 1 NME)" in said["ca"]


def test_two_chains_are_counted_and_apart():
    topology = peptide_of(TRIPEPTIDE, topology=peptide_of(("ALA", "ALA")))
    mapping = mapped(topology, "backbone")
    assert "5 residues in 2 chains" in contents.words(topology, mapping)[0]
    assert len(set(Molecule.of(mapping.beads).parts.tolist())) == 2


@pytest.mark.parametrize("name, plain", [("ASH", "ASP"), ("HIE", "HIS"), ("ASPH", "ASP"), ("CYS2", "CYS")])
def test_protonation_states_share_the_types_of_their_residue(name, plain):
    assert bead_types.canonical(name) == plain


def test_norleucine_is_mapped_and_said_to_have_no_type():
    topology = peptide_of(("ALA", "NLE", "ALA"))
    for kind in KINDS:
        mapping = mapped(topology, kind)
        assert "NLE" in mapping.beads.residue_names
        assert any("without a type of their own: NLE" in line for line in contents.words(topology, mapping))


def test_a_disulfide_says_whether_a_bond_of_beads_holds_it():
    topology = peptide_of(("CYS", "GLY", "ALA", "CYS"))
    sulfur = [atom for atom in topology.atoms if atom.name == "SG"]
    topology.add_bond(*sulfur)
    held = {kind: contents.words(topology, mapped(topology, kind))[1] for kind in KINDS}
    assert {kind for kind, line in held.items() if "held by a bond of beads" in line} == set(KINDS) - {"ca"}
    assert "only a network can keep it closed" in held["ca"]
    molecule = Molecule.of(mapped(topology, "backbone").beads)
    turned = {tuple(row[1:3]) for row in molecule.rotatable[0].tolist()}
    ring = [
        i for i, name in enumerate(molecule.beads.names) if name == "CB" and molecule.beads.residue_names[i] == "CYS"
    ]
    assert tuple(ring) in molecule.beads.bonds and not any(set(pair) == set(ring) for pair in turned)


def test_d_amino_acids_are_found_by_their_coordinates(peptide_frames_of):
    frames = peptide_frames_of("backbone")
    assert contents.mirrored(frames) == () and contents.mirror_words(frames) == ()
    mirror = dataclasses.replace(frames, positions=frames.positions * np.array([-1, 1, 1], np.float32))
    assert len(contents.mirrored(mirror)) == 5
    assert contents.mirror_words(mirror)[0].startswith("D amino acids by their coordinates: ALA 2")


@pytest.fixture
def peptide_frames_of():
    from cgsurrogate.testing import samples

    return samples.peptide_frames


def test_one_bead_of_many_residues_warns_and_names_the_remedy(tmp_path):
    topology, path = peptide_of(TRIPEPTIDE), tmp_path / "beads.txt"
    path.write_text("CA = name CA\n")
    with pytest.warns(UserWarning, match="one bead of 3 atoms in 3 residues.*each CA = name CA"):
        mapping = registry.build("mappings", "custom", topology, file=str(path))
    assert len(mapping.beads) == 1
    path.write_text("each CA = name CA\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(registry.build("mappings", "custom", topology, file=str(path)).beads) == 3


def test_contents_are_kept_with_the_frames(tmp_path):
    topology = peptide_of(TRIPEPTIDE)
    beads = mapped(topology, "ca").beads
    frames = Frames(beads, np.zeros((2, 3, 3), np.float32), (2,), 1.0, 300.0).with_provenance(contents=("a", "b"))
    frames.save(tmp_path / "f")
    assert Frames.load(tmp_path / "f").provenance.contents == ("a", "b")
