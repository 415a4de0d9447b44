"""Beads from a sequence alone are those of the all-atom molecule."""

import numpy as np
import pytest

from cgsurrogate.data.generation import sequences
from cgsurrogate.data.generation.bead_structures import bead_structure
from cgsurrogate.data.generation.sequences import Peptide
from cgsurrogate.data.mapping import builder
from cgsurrogate.geometry import measures

pytest.importorskip("PeptideBuilder")


@pytest.mark.parametrize("caps", ["none", "ace-nme"])
def test_beads_are_those_of_the_peptide_with_all_its_hydrogens(caps):
    app = pytest.importorskip("openmm.app")
    import mdtraj

    field = app.ForceField("amber14-all.xml")
    for sequence in ("ACDEFGHIKL", "MNPQRSTVWY", "PG"):
        peptide = Peptide(sequence, caps)
        topology = mdtraj.Topology.from_openmm(sequences.structure(peptide, field)[0])
        for mapping in ("ca", "backbone", "backbone_sidechain", "heavy"):
            assert bead_structure(peptide, builder(mapping))[0] == builder(mapping)(topology).beads, (mapping, sequence)


def test_it_stands_extended_and_left_handed():
    beads, x = bead_structure(Peptide("GAVKW"), builder("backbone"))
    assert x.shape == (len(beads), 3) and np.abs(x.mean(0)).max() < 1e-6
    quads = measures.backbone_torsions(beads)
    for (kind, residue), quad in quads.items():
        wanted = {"phi": sequences.PHI, "psi": sequences.PSI}[kind]
        assert abs(np.degrees(measures.dihedrals(x[None].astype(float), np.array([quad]))[0, 0]) - wanted) < 1, residue
    at = {(r, n): x[k] for k, (r, n) in enumerate(zip(beads.residues, beads.names, strict=True))}
    for residue in range(1, 5):
        n, ca, cb, c = (at[residue, name] for name in ("N", "CA", "CB", "C"))
        assert np.cross(n - ca, c - ca) @ (cb - ca) > 0
    lengths = np.linalg.norm(x[[i for i, _ in beads.bonds]] - x[[j for _, j in beads.bonds]], axis=1)
    assert lengths.min() > 0.11 and lengths.max() < 0.17  # nm
