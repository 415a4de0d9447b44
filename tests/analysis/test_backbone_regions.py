"""Regions of (phi, psi): what residues are in, with intervals that hold the truth."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as some

from cgsurrogate.analysis import backbone_regions
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import blocks
from cgsurrogate.geometry import measures

ANGLE = some.floats(-180, 180, exclude_min=True)


@given(ANGLE, ANGLE)
def test_a_full_turn_changes_nothing_and_regions_are_where_they_are_said_to_be(phi, psi):
    own = int(backbone_regions.region(np.radians([phi]), np.radians([psi]))[0])
    upper = psi % 360
    strand = (phi < -90 and 50 < upper < 240) or (phi > 160 and psi > 110)
    assert (own == 1) == (strand and not (-160 < phi < -20 and -120 < psi < 50))
    if own == 0:
        assert -160 < phi < -20 and -120 < psi < 50
    if own == 3:
        assert 0 < phi < 160


def test_a_structure_that_stands_still_is_in_one_region_of_each_residue(peptide_pdb):
    import mdtraj

    from cgsurrogate.core import registry

    structure = mdtraj.load_pdb(str(peptide_pdb))
    mapping = registry.build("mappings", "backbone", structure.topology)
    x = mapping.positions(structure.xyz)
    frames = Frames(mapping.beads, np.repeat(x, 400, 0), (200, 200), 1.0, 300.0)
    found = backbone_regions.measure(frames, blocks(frames.lengths), np.random.default_rng(0))
    assert found.residues == tuple(f"ALA {r}" for r in range(2, 7)) and found.shares.value.shape == (5, 4)
    quads = measures.backbone_torsions(mapping.beads)
    for row, residue in zip(found.shares.value, range(1, 6), strict=True):
        angles = measures.dihedrals(x.astype(float), np.array([quads["phi", residue], quads["psi", residue]]))[0]
        assert row[int(backbone_regions.region(angles[:1], angles[1:])[0])] == 1
    assert (found.shares.low <= found.shares.value).all() and (found.shares.value <= found.shares.high).all()


def test_beads_without_a_backbone_have_none():
    beads = Beads(("CA",) * 5, (1,) * 5, (70.0,) * 5, tuple(range(5)), ("ALA",) * 5)
    frames = Frames(beads, np.zeros((4, 5, 3), np.float32), (4,), 1.0, 300.0)
    assert backbone_regions.measure(frames, blocks((4,)), np.random.default_rng(0)) is None
