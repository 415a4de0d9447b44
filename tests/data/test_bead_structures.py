"""Beads from a sequence alone are those of the all-atom molecule."""

import numpy as np
import pytest

from cgsurrogate.data.bead_structures import of_file, of_sequence
from cgsurrogate.data.generation import sequences
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
            assert of_sequence(peptide, builder(mapping))[0] == builder(mapping)(topology).beads, (mapping, sequence)


def test_it_stands_extended_and_left_handed():
    beads, x = of_sequence(Peptide("GAVKW"), builder("backbone"))
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


def test_a_structure_file_has_the_beads_that_mapping_it_gives(peptide, peptide_pdb):
    mapping = builder("backbone")(peptide.topology)
    beads, x = of_file(peptide_pdb, builder("backbone"))
    wanted = mapping.positions(peptide.xyz)[0]
    assert beads == mapping.beads
    np.testing.assert_allclose(x, wanted - wanted.mean(0), atol=1e-6)


@pytest.mark.parametrize(
    "text, said",
    [("", "cannot be read"), ("ATOM      1  N   ALA A   1      xx", "cannot be read"), (None, "there is none")],
)
def test_what_is_no_structure_is_refused(tmp_path, text, said):
    path = tmp_path / "a.pdb"
    if text is not None:
        path.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        of_file(path, builder("backbone"))
