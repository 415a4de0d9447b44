"""Trajectories of mdtraj, MDAnalysis and plain arrays give the frames that files give."""

import mdtraj
import numpy as np
import pytest

from cgsurrogate.core import registry
from cgsurrogate.data.in_memory import from_arrays, from_mdanalysis, from_mdtraj

CA = registry.builder("mappings", "ca")


@pytest.fixture
def forces(atoms):
    return np.random.default_rng(3).normal(0, 700, atoms.shape)


@pytest.fixture
def expected(peptide, atoms, forces):
    mapping = CA(peptide.topology)
    return mapping.positions(atoms), mapping.forces(forces)


def test_trajectories_of_mdtraj_are_runs(peptide, atoms, forces, expected):
    run = mdtraj.Trajectory(atoms, peptide.topology, time=np.arange(40) * 2.0)
    options = {"temperature": 300, "aggregate": "basic"}
    frames = from_mdtraj([run, run[:30]], "ca", forces=[forces, forces[:30]], stride=2, **options)
    assert frames.lengths == (20, 15) and frames.dt == 4 and frames.provenance.mapping == "ca"
    np.testing.assert_allclose(frames.positions[:20], expected[0][::2], atol=1e-6)
    np.testing.assert_allclose(frames.forces[20:], expected[1][:30:2], atol=0.01)
    weighted = from_mdtraj(run, CA, weights=[np.arange(1.0, 41)], temperature=300)
    np.testing.assert_array_equal(weighted.weights, np.arange(1.0, 41))
    with pytest.raises(ValueError, match="suggests kcal/mol/A"):
        from_mdtraj(run, "ca", forces=[forces / 41.84], **options)
    with pytest.raises(ValueError, match="39 frames, the trajectory has 40"):
        from_mdtraj(run, "ca", forces=[forces[1:]], **options)


def test_frames_without_times_are_asked_for_them(peptide, atoms):
    run = mdtraj.Trajectory(atoms, peptide.topology)
    with pytest.raises(ValueError, match="--dt"):
        from_mdtraj(run, "ca", temperature=300)
    assert from_mdtraj(run, "ca", temperature=300, dt=3.0).dt == 3


def test_arrays_have_the_unit_that_is_said(peptide, peptide_pdb, atoms, forces, expected):
    for topology, scale, unit in ((peptide.topology, 1, "nm"), (peptide_pdb, 10, "A")):
        frames = from_arrays(
            [atoms * scale] * 2, topology, "ca", temperature=300, dt=1.0, length_unit=unit, forces=[forces] * 2
        )
        np.testing.assert_allclose(frames.positions[40:], expected[0], atol=1e-6)
    with pytest.raises(ValueError, match="Angstrom"):
        from_arrays(atoms * 10, peptide_pdb, "ca", temperature=300, dt=1.0, length_unit="nm")


def test_a_molecule_in_a_box_is_made_whole(peptide, atoms, expected):
    sides = np.full((40, 3), 3.0)
    run = mdtraj.Trajectory(
        (atoms + 0.7) % 3, peptide.topology, np.arange(40) * 2.0, unitcell_lengths=sides, unitcell_angles=0 * sides + 90
    )
    found = from_mdtraj(run, "ca", temperature=300).positions
    np.testing.assert_allclose(found - found[:, :1], expected[0] - expected[0][:, :1], atol=2e-6)


def test_a_universe_gives_positions_forces_and_times(peptide, peptide_pdb, atoms, forces, expected):
    mdanalysis = pytest.importorskip("MDAnalysis")
    universe = mdanalysis.Universe(
        str(peptide_pdb), atoms * 10, forces=forces / 10, dt=2.0, order="fac", dimensions=None
    )
    frames = from_mdanalysis(universe, "ca", temperature=300, aggregate="basic", begin=4, stride=2)
    assert frames.dt == 4 and frames.lengths == (19,)
    np.testing.assert_allclose(frames.positions, expected[0][2::2], atol=2e-6)
    np.testing.assert_allclose(frames.forces, expected[1][2::2], atol=0.02)
    assert frames.beads == from_mdtraj(mdtraj.Trajectory(atoms, peptide.topology), "ca", temperature=300, dt=1).beads
    assert from_mdanalysis(universe, "ca", temperature=300, no_forces=True).forces is None
