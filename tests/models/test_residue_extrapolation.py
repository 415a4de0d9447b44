"""Scores of molecules that training did not have: low for what its kinds of residues have done, high for all else."""

import numpy as np
import pytest

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.models.model import Model, compose
from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation, fit_residue_extrapolation

NAMES = {"A": "ALA", "G": "GLY", "V": "VAL", "W": "TRP"}
HELIX, SHEET = 0.9, -2.9  # rad, of four CA
OWN = {"ALA": HELIX, "VAL": SHEET, "GLY": HELIX, "TRP": HELIX}


def chain(sequence, turn=OWN, seed=0, count=400, moved=None):
    """CA beads; the torsion about a residue and the next follows from the residue. ``moved`` is one to turn by pi."""
    size, rng, names = len(sequence), np.random.default_rng(seed), tuple(NAMES[letter] for letter in sequence)
    types = tuple(bead_types.number(name, "CA") for name in names)
    bonds = tuple((i, i + 1) for i in range(size - 1))
    beads = Beads(("CA",) * size, types, (71.0,) * size, tuple(range(size)), names, bonds)
    torsions = np.array([turn[name] for name in names[1:-2]]) + rng.normal(0, 0.15, (count, size - 3))
    if moved is not None:
        torsions[:, moved - 1] += np.pi
    return Frames(beads, placed(torsions).astype(np.float32), (count,), dt=1.0, temperature=300.0)


def placed(torsions, bond=0.38, angle=1.8):
    """(T, Q) rad -> (T, Q + 3, 3) nm."""
    flat = bond * np.array([[0.0, 0, 0], [1, 0, 0], [1 - np.cos(angle), np.sin(angle), 0]])
    x = [np.broadcast_to(place, (len(torsions), 3)) for place in flat]
    for turn in torsions.T:
        along = (x[-1] - x[-2]) / bond
        normal = np.cross(x[-2] - x[-3], along)
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        across = np.cross(normal, along)
        step = -np.cos(angle) * along + np.sin(angle) * (
            np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * normal
        )
        x.append(x[-1] + bond * step)
    return np.stack(x, 1)


@pytest.fixture(scope="module")
def known():
    sequences = ("AAVAAVA", "AVAAVAA", "AAVAVAA", "AVAAAVA", "AAGVAAA", "AGAAVGA")
    return fit_residue_extrapolation([chain(s, seed=k) for k, s in enumerate(sequences)])


def torsions(known, frames):
    """(R,) mean score of the torsions of each residue."""
    return known.bound(frames.beads).channels(frames.positions)[0].mean(0)


def test_a_new_sequence_of_known_residues_that_do_the_same_is_usual(known):
    new = chain("AAVAAAVA", seed=20)
    assert (known.bound(new.beads).score(new.positions) > known.limit).mean() < 0.02


def test_what_a_residue_never_did_scores_far_higher_than_what_it_did(known):
    swapped = {"ALA": SHEET, "VAL": HELIX}
    usual, odd = (torsions(known, chain("AAVAAAVA", turn, seed=21)) for turn in (OWN, swapped))
    assert (odd[1:-2] > 4 * usual[1:-2]).all() and (odd[1:-2] > 1).all()


def test_mirror_images_score_high(known):
    frames = chain("AVAAVAA", seed=22)
    mirrored = frames.positions * np.array([-1, 1, 1], np.float32)
    assert known.bound(frames.beads).channels(mirrored)[0].max(1).mean() > 1


def test_only_residues_beside_a_change_score_higher(known):
    before, after = (torsions(known, chain("AAVAAVAAAVAA", seed=23, moved=moved)) for moved in (None, 9))
    assert after[9] > 1 > 5 * before[9] and np.abs(after - before)[:8].max() < 0.2


def test_longer_chains_than_in_training_have_contacts_that_are_new(known):
    contacts = known.bound(chain("AAVAAVAAAVAA").beads).channels(chain("AAVAAVAAAVAA").positions)[1]
    assert contacts.mean(0).max() > 1.3


def test_a_residue_that_training_did_not_have_is_scored_by_all_others(known):
    new = chain("AAWAAVA", seed=24)
    assert np.isfinite(known.bound(new.beads).score(new.positions)).all()


def test_positions_that_are_not_finite_score_infinite(known):
    frames = chain("AAVAAVA")
    frames.positions[3, 2] = np.nan
    score = known.bound(frames.beads).score(frames.positions)
    assert np.isinf(score[3]).all() and np.isfinite(score[2]).all()


def test_it_is_stored_with_the_model(known, tmp_path):
    frames = chain("AAVAAVA")
    energy = compose(frames.beads, [("priors", "bonds", {})])
    energy.terms[0].fit(frames)
    Model(energy, frames.beads, 300.0, {}, known.bound(frames.beads)).save(tmp_path)
    found = Model.load(tmp_path).extrapolation
    assert isinstance(found, ResidueExtrapolation) and found.digest == known.digest
    assert np.array_equal(found.score(frames.positions), known.bound(frames.beads).score(frames.positions))


def test_one_molecule_is_refused():
    with pytest.raises(ValueError, match="two molecules"):
        fit_residue_extrapolation([chain("AAVAAVA")])
