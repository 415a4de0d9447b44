"""Provenance on the disk: what is written comes back, and what earlier versions wrote means the same."""

from __future__ import annotations

import json

import pytest

from cgsurrogate.core.provenance import Provenance, Quarantined


def test_json_gives_back_what_was_said_and_nothing_else():
    known = Provenance(
        mapping="ca",
        trajectories=("a.xtc", "b.xtc"),
        physical_time=False,
        mixed_by="exchanging replicas",
        monte_carlo={"pivot": {"attempts": 4}},
        replicas=(0, 2),
        quarantined=(Quarantined(1, 8.0, "bond"),),
        too_close=(0, 2, 0.1),
        training_notes=("overfitting", "one-step check"),
        notes={"made for": "a test"},
    )
    text = json.dumps(known.to_dict())
    assert Provenance.from_dict(json.loads(text)) == known
    assert "ladders" not in text and Provenance().to_dict() == {}
    assert str(known.quarantined[0]) == "replica 1 after 8 ps (bond)"


@pytest.mark.parametrize(
    ("done", "words"),
    [
        ({"turns": {"steps": 5, "never_turned": 1}}, "Monte Carlo pivot moves"),
        ({"jumps": {"never_jumped": 1}}, "Monte Carlo independence moves"),
        ({"turns": {}, "jumps": {}}, "Monte Carlo pivot and independence moves"),
        ({"turns": {}, "exchange": {"temperatures": [300, 350]}}, "exchanging replicas"),
        ({}, "exchanging replicas"),
    ],
)
def test_folders_of_earlier_versions_mean_the_same(done, words):
    known = Provenance.from_dict({"time_ordered": False, "physical_time": False, "aggregate": None, **done})
    assert known.mixed_by == words and not known.physical_time and not known.notes
    assert len(known.monte_carlo) == sum(name in done for name in ("turns", "jumps"))
    assert all(not moves or moves["never_moved"] == 1 for moves in known.monte_carlo.values())
    assert Provenance.from_dict(done).mixed_by == ""
    assert Provenance.from_dict({"made by": "hand", "of": "it"}) == Provenance(made_by="hand", notes={"of": "it"})


def test_a_note_is_no_field():
    with pytest.raises(ValueError, match="wall_seconds of a provenance are fields"):
        Provenance(notes={"wall_seconds": 3.0})
