"""Starts that are no frames: the extended chain has the model's bonds, angles and hands; a file gives its atoms."""

import numpy as np
import pytest
import torch

from cgsurrogate import workflows
from cgsurrogate.core import registry
from cgsurrogate.core.energy import Sum
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.model import Model
from cgsurrogate.simulation import initial_structures
from cgsurrogate.simulation.settings import SimulationSettings

STIFF = ("bonds", "angles", "impropers")


@pytest.fixture
def energy(peptide_frames):
    terms = Sum(*(registry.build("priors", name, peptide_frames.beads) for name in (*STIFF, "dihedrals")))
    for term in terms.terms:
        term.fit(peptide_frames)
    return terms


def test_the_extended_chain_has_the_geometry_of_the_model(peptide_frames, energy):
    beads = peptide_frames.beads
    x = torch.from_numpy(np.stack([initial_structures.extended(beads, energy), peptide_frames.positions.mean(0)]))
    cosine, _ = Dihedrals(len(beads), Molecule.of(beads).dihedrals)(x)
    assert float(cosine[0].max()) < np.cos(np.radians(160))
    rows = Molecule.of(beads).bonds
    lengths = (x[:, rows[:, 1]] - x[:, rows[:, 0]]).norm(dim=2)
    assert torch.allclose(lengths[0], lengths[1], rtol=0.05)
    bends = Cosines(len(beads), Molecule.of(beads).angles)(x).acos()
    assert float((bends[0] - bends[1]).abs().max()) < np.radians(15)
    hands = torch.atan2(*Dihedrals(len(beads), Molecule.of(beads).impropers)(x)[::-1])
    assert float((hands[0] - hands[1]).abs().max()) < np.radians(15)
    ends = [i for i, name in enumerate(beads.names) if name == "CA"]
    assert float((x[0, ends[-1]] - x[0, ends[0]]).norm()) > 0.34 * (len(ends) - 1)  # it is long
    assert float(x[0].mean(0).abs().max()) < 1e-5


def test_a_structure_file_gives_its_beads(peptide, peptide_pdb, peptide_frames):
    x = initial_structures.from_structure(peptide_frames.beads, peptide_pdb)
    wanted = registry.build("mappings", "backbone", peptide.topology).positions(peptide.xyz)[0]
    assert np.allclose(x, wanted - wanted.mean(0), atol=1e-4)


def test_a_file_of_another_molecule_and_none_are_refused(tmp_path, peptide, peptide_frames, energy):
    peptide.atom_slice(peptide.topology.select("resid 0 to 2")).save(str(tmp_path / "short.pdb"))
    with pytest.raises(ValueError, match=r"no atom .* in residue 4"):
        initial_structures.from_structure(peptide_frames.beads, tmp_path / "short.pdb")
    with pytest.raises(FileNotFoundError, match="expected a structure file"):
        initial_structures.from_structure(peptide_frames.beads, tmp_path / "none.pdb")
    with pytest.raises((FileNotFoundError, ValueError), match="none"):
        workflows.starting_frames(Model(energy, peptide_frames.beads, 300.0, {}), str(tmp_path / "none"))


def test_a_simulation_starts_from_the_extended_chain_by_its_name(tmp_path, peptide_frames, energy):
    model = Model(energy, peptide_frames.beads, 300.0, {})
    start = workflows.starting_frames(model, "extended")
    assert np.array_equal(start.positions[0], initial_structures.extended(peptide_frames.beads, energy))
    out = workflows.make_simulation(model, start, tmp_path / "out", SimulationSettings(0.02, 0.02, replicas=3))
    gap = np.linalg.norm(out.positions[:, 1:] - out.positions[:, :-1], axis=2)
    assert np.isfinite(gap).all()
    assert len(out) == 3
