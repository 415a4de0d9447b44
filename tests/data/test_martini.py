"""Beads after Martini: every heavy atom once, centres of mass, and residues that the table does not have."""

import numpy as np
import peptides
import pytest

from cgsurrogate.core import bead_types, registry
from cgsurrogate.core.frames import Beads
from cgsurrogate.data import contents
from cgsurrogate.data.mappings import _atom_groups, martini
from cgsurrogate.geometry.molecule import Molecule

SEQUENCE = ("ALA", "GLY", "SER", "LYS", "HIE", "VAL")


def mapped(topology):
    return registry.build("mappings", "martini", topology)


@pytest.mark.parametrize("sequence", [SEQUENCE, ("ASP", "NLE", "ASH"), ("CYS", "GLY")])
def test_every_heavy_atom_is_in_one_bead_and_every_hydrogen_goes_with_it(sequence):
    topology = peptides.peptide(sequence)
    mapping = mapped(topology)
    heavy = np.array([_atom_groups.is_heavy(atom) for atom in topology.atoms])
    assert ((mapping.weights.toarray() > 0).sum(0) == heavy).all()
    assert (mapping.force_weights.sum(0) == 1).all()
    assert sum(mapping.beads.masses) == pytest.approx(sum(atom.element.mass for atom in topology.atoms), abs=1e-6)


def test_beads_are_those_of_the_table_and_bonded_to_one_molecule():
    mapping = mapped(peptides.peptide(SEQUENCE))
    names = dict.fromkeys(range(len(SEQUENCE)), ())
    for residue, name in zip(mapping.beads.residues, mapping.beads.names, strict=True):
        names[residue] += (name,)
    assert [len(names[r]) - 1 for r in names] == [1, 0, 1, 2, 3, 1]
    assert all(own[0] == "BB" and own[1:] == tuple(f"SC{k}" for k in range(1, len(own))) for own in names.values())
    assert len(set(Molecule.of(mapping.beads).parts.tolist())) == 1


def test_a_bead_stands_at_the_centre_of_mass_of_its_atoms():
    topology = peptides.peptide(SEQUENCE)
    mapping, x = mapped(topology), np.random.default_rng(0).normal(size=(2, topology.n_atoms, 3))
    lysine = [a for a in topology.residue(3).atoms if a.name in ("NZ", "CE")]
    mass = np.array([a.element.mass for a in lysine])
    row = [
        i
        for i, (r, n) in enumerate(zip(mapping.beads.residues, mapping.beads.names, strict=True))
        if (r, n) == (3, "SC2")
    ]
    centre = np.einsum("a,tad->td", mass / mass.sum(), x[:, [a.index for a in lysine]])
    np.testing.assert_allclose(mapping.positions(x)[:, row[0]], centre, atol=1e-6)


def test_beads_of_usual_residues_have_types_of_their_own_and_the_same_in_every_protonation():
    types = mapped(peptides.peptide(SEQUENCE)).beads.types
    assert bead_types.OTHER not in types and len(set(types)) == len(types)
    one, two = (mapped(peptides.peptide(("ALA", name, "ALA"))).beads.types for name in ("ASP", "ASH"))
    assert one == two


def test_an_unknown_side_chain_is_cut_into_beads_of_at_most_four_atoms():
    mapping = mapped(peptides.peptide(("ALA", "NLE", "ALA")))
    beads = [i for i, name in enumerate(mapping.beads.residue_names) if name == "NLE"]
    assert [mapping.beads.names[i] for i in beads] == ["BB", "SC1"]
    assert (mapping.weights.toarray()[beads[1]] > 0).sum() == 4
    bonded = [[1], [0, 2, 3], [1], [1, 4], [3]]
    assert martini._outwards(0, (4, 3, 2, 1), bonded) == (1, 2, 3, 4)


@pytest.mark.parametrize(
    "bonds, said",
    [
        (((0, 1), (1, 2), (2, 3)), False),
        (((0, 1), (1, 2), (1, 3), (2, 3)), False),  # a triangle, as histidine's
        (((0, 1), (1, 2), (2, 3), (0, 3)), True),
        (((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)), True),  # two that share a side, as in tryptophan
    ],
)
def test_rings_of_beads_are_said_but_single_triangles(bonds, said):
    beads = Beads(("BB", "SC1", "SC2", "SC3"), (0,) * 4, (12.0,) * 4, (0,) * 4, ("TRP",) * 4, bonds)
    assert bool(contents._rings(beads)) == said


def test_a_cap_is_one_bead(peptide):
    mapping = mapped(peptide.topology)
    assert mapping.beads.names == ("BB", *("BB", "SC1") * 5, "BB")
    assert len(mapping.beads.bonds) == len(mapping.beads) - 1


def test_the_table_names_each_heavy_atom_of_each_usual_residue_once():
    for residue, side in bead_types._SIDE_CHAINS.items():
        atoms = [atom for bead in martini.table()[residue] for atom in bead]
        assert sorted(atoms) == sorted(side.split())
