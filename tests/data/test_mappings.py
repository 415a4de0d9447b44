"""Mappings: the chemistry of each."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cgsurrogate.core import bead_types, registry
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.geometry import bond_graph

CUSTOM = """
# side chains at their centre of mass
each CA = name CA
each SC = name CB   # one carbon
cap = resname ACE and not element H
"""


def names(mapping: Mapping) -> list[str]:
    return [f"{r}:{n}" for r, n in zip(mapping.beads.residue_names, mapping.beads.names, strict=True)]


@pytest.mark.parametrize("kind", ["ca", "backbone", "heavy"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
def test_forces_that_follow_from_beads_alone_are_given_back(peptide, kind, seed, scale):
    """Bead positions p = W x and an energy V(p): the forces on atoms are W^T f, and they map to f."""
    mapping = registry.build("mappings", kind, peptide.topology)
    f = scale * np.random.default_rng(seed).normal(size=(2, len(mapping.beads), 3))
    atoms = np.einsum("na,tnd->tad", mapping.weights.toarray(), f)
    np.testing.assert_allclose(mapping.forces(atoms), f, rtol=1e-5, atol=1e-5 * scale)


def test_ca_is_a_chain_of_alpha_carbons(peptide):
    mapping = registry.build("mappings", "ca", peptide.topology)
    assert names(mapping) == ["ALA:CA"] * 5
    assert mapping.beads.bonds == ((0, 1), (1, 2), (2, 3), (3, 4))
    length = np.linalg.norm(np.diff(mapping.positions(peptide.xyz)[0], axis=0), axis=-1)
    assert np.all((length > 0.36) & (length < 0.40))


def test_backbone_keeps_caps_and_beta_carbons(peptide):
    mapping = registry.build("mappings", "backbone", peptide.topology)
    alanine = ["ALA:N", "ALA:CA", "ALA:CB", "ALA:C", "ALA:O"]
    assert names(mapping) == ["ACE:CH3", "ACE:C", "ACE:O", *alanine * 5, "NME:N", "NME:C"]
    assert bead_types.OTHER not in mapping.beads.types
    bonds = set(mapping.beads.bonds)
    assert len(bonds) == len(mapping.beads) - 1
    assert {(0, 1), (1, 2), (1, 3), (3, 4), (4, 5), (4, 6), (6, 7), (6, 8)} <= bonds


def test_heavy_is_all_but_hydrogens(peptide):
    mapping = registry.build("mappings", "heavy", peptide.topology)
    heavy = [atom.index for atom in peptide.topology.atoms if atom.element.symbol != "H"]
    assert mapping.weights.toarray().argmax(1).tolist() == heavy
    assert len(mapping.beads.bonds) == len(heavy) - 1


def test_custom_beads_stand_at_the_centre_of_mass(peptide, atoms, tmp_path):
    (tmp_path / "beads.txt").write_text(CUSTOM)
    mapping = registry.build("mappings", "custom", peptide.topology, file=str(tmp_path / "beads.txt"))
    assert names(mapping) == ["ACE:cap", *["ALA:CA", "ALA:SC"] * 5]
    cap = peptide.topology.select("resname ACE and not element H")
    mass = np.array([peptide.topology.atom(i).element.mass for i in cap])
    centre = np.einsum("a,tad->td", mass / mass.sum(), atoms[:, cap])
    np.testing.assert_allclose(mapping.positions(atoms)[:, 0], centre, atol=1e-6)
    assert mapping.beads.types[0] == bead_types.OTHER and mapping.beads.types[1] == bead_types.number("ALA", "CA")


@pytest.mark.parametrize(
    "text, message",
    [
        ("CA = name CA\nnonsense\n", "line 2: expected name = selection"),
        ("# only a comment\n", "holds no bead"),
        ("A = name CA and (\n", "line 1: expected a selection of mdtraj"),
        ("A = name XYZ\n", "line 1: 'name XYZ' selects no atom"),
        ("A = name CA\n\nB = name CA CB\n", "line 3: atom ALA2-CA is already in the bead of line 1"),
        ("A = resid 1 and name CA\nH = resid 1 and name HA\n", "may be rigid; put them in one bead"),
    ],
)
def test_a_wrong_selection_is_one_line_that_names_it(peptide, tmp_path, text, message):
    path = tmp_path / "beads.txt"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        registry.build("mappings", "custom", peptide.topology, file=str(path))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_custom_without_its_file_says_so(peptide, tmp_path):
    with pytest.raises(FileNotFoundError, match="none"):
        registry.build("mappings", "custom", peptide.topology, file=str(tmp_path / "absent.txt"))
    with pytest.raises(ValueError, match="file="):
        registry.build("mappings", "custom", peptide.topology)


# chemistry


def test_neighbouring_alpha_carbons_are_bonded_and_a_disulfide_is_no_shortcut():
    """CA-CB-SG-SG-CB-CA, closed to a ring by two peptide bonds on one side only."""
    chain = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (6, 7), (7, 3)]  # CA C N CA and CB S S CB in between
    bonded = [[b for a, b in [*chain, *[(j, i) for i, j in chain]] if a == atom] for atom in range(8)]
    assert bond_graph.contract([(0,), (3,)], bonded) == ((0, 1),)
    only_bridge = [[b for b in others if {a, b} != {1, 2}] for a, others in enumerate(bonded)]
    far = [(0,), (3,), (1,), (2,)]
    assert (0, 1) not in bond_graph.contract([*far, (5,)], only_bridge)


def test_a_topology_without_bonds_gets_standard_ones(peptide):
    import mdtraj

    bare = peptide.topology.copy()
    bare._bonds = []
    assert isinstance(bare, mdtraj.Topology) and not bare.n_bonds
    with_bonds = registry.build("mappings", "ca", peptide.topology)
    assert registry.build("mappings", "ca", bare).beads == with_bonds.beads
    assert not bare.n_bonds  # the caller's topology is left alone


def test_an_unbonded_chain_says_how_to_help(peptide):
    cut = peptide.topology.copy()
    cut._bonds = [bond for bond in cut.bonds if {bond[0].name, bond[1].name} != {"C", "N"}]
    with pytest.raises(ValueError, match=r"not bonded.*CONECT"):
        registry.build("mappings", "ca", cut)


def test_a_missing_atom_is_named(peptide):
    missing = peptide.topology.subset([a.index for a in peptide.topology.atoms if str(a) != "ALA3-CA"])
    for kind in ("ca", "backbone"):
        with pytest.raises(ValueError, match="ALA3 has no atom CA"):
            registry.build("mappings", kind, missing)


def test_water_is_left_out_and_water_alone_is_an_error(peptide):
    import mdtraj
    from mdtraj.core import element

    def wet(topology):
        residue = topology.add_residue("HOH", topology.add_chain())
        oxygen = topology.add_atom("O", element.oxygen, residue)
        topology.add_bond(oxygen, topology.add_atom("H1", element.hydrogen, residue))
        return topology

    mapping = registry.build("mappings", "heavy", wet(peptide.topology.copy()))
    assert mapping.beads == registry.build("mappings", "heavy", peptide.topology).beads
    with pytest.raises(ValueError, match="protein"):
        registry.build("mappings", "ca", wet(mdtraj.Topology()))


def test_two_chains_are_not_bonded_to_each_other(peptide):
    double = peptide.topology.join(peptide.topology)
    beads = registry.build("mappings", "ca", double).beads
    assert len(beads) == 10 and (4, 5) not in beads.bonds and len(beads.bonds) == 8
    assert beads.residues == tuple(range(10))


def test_a_mapping_refuses_biased_forces_and_another_topology(peptide, atoms):
    mapping = registry.build("mappings", "ca", peptide.topology)
    with pytest.raises(ValueError, match="identity"):
        Mapping(mapping.beads, mapping.weights, 2 * mapping.force_weights)
    with pytest.raises(ValueError, match="sum to one"):
        Mapping(mapping.beads, 2 * mapping.weights, mapping.force_weights / 2)
    with pytest.raises(ValueError, match="topology"):
        mapping.positions(atoms[:, :-1])
