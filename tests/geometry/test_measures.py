"""Measures of chains of beads that are no atoms."""

import peptides

from cgsurrogate.core import registry
from cgsurrogate.geometry import measures


def test_torsions_of_backbone_beads_run_along_the_backbone_and_not_through_side_chains():
    topology = peptides.peptide(("ALA", "LYS", "HIE", "GLY", "SER", "VAL"))
    beads = registry.build("mappings", "martini", topology).beads
    labels, quads, pairs = measures.torsion_quads(beads)
    assert {beads.names[i] for i in quads.ravel()} == {"BB"}
    assert [beads.residues[i] for i in quads[0]] == [0, 1, 2, 3]
    assert labels == ("BB torsion 2", "BB torsion 3", "BB torsion 4") and pairs == ((0, 1), (1, 2))


def test_each_of_two_chains_of_backbone_beads_has_torsions_of_its_own():
    topology = peptides.peptide(("ALA",) * 4, topology=peptides.peptide(("SER",) * 5))
    beads = registry.build("mappings", "martini", topology).beads
    assert [stretch.size for stretch in measures.chain(beads)] == [5, 4]
    assert len(measures.torsion_quads(beads)[0]) == 2 + 1
