"""What a simulation still remembers of its starts is dropped, as much as was asked for or as it says, and told."""

import dataclasses

import numpy as np
import pytest
from known_chains import autoregressive, frames_of

from cgsurrogate.comparison.burn_in import without_burn_in
from cgsurrogate.comparison.settings import ComparisonSettings

REPLICAS, LENGTH = 24, 400
LABELS = ("TIC 1", "TIC 2", "TIC 3")


def simulation(**known):
    """Replicas that forget the far places where they started with a memory of ten frames, or 20 ps."""
    rng = np.random.default_rng(0)
    noise = autoregressive(rng, 3 * REPLICAS, LENGTH, 0.9).reshape(REPLICAS, 3, LENGTH)
    start = rng.choice([-4.0, 4.0], (REPLICAS, 3, 1)) * 0.9 ** np.arange(LENGTH)
    values = (noise + start).transpose(0, 2, 1).reshape(-1, 3)
    return frames_of((LENGTH,) * REPLICAS).with_provenance(**known), values


def cut(frames, values, wanted=None):
    return without_burn_in(frames, values, LABELS, wanted, np.random.default_rng(1))


def test_a_simulation_loses_what_remembers_the_starts_and_says_so():
    frames, values = simulation(simulation={"seed": 0}, physical_time=False)
    kept, left, (note,) = cut(frames, values)
    lost = LENGTH - kept.lengths[0]
    assert 10 < lost <= 100 and set(kept.lengths) == {LENGTH - lost} and len(left) == len(kept)
    assert np.array_equal(left[: LENGTH - lost], values[lost:LENGTH])
    assert note.startswith(f"the first {2 * lost} ps of its own time of each of its 24 replicas (")
    assert note.endswith("in which they still remember the frames that they started from")


def test_other_frames_lose_what_is_asked_for_and_no_more():
    frames, values = simulation()
    assert cut(frames, values) == (frames, values, ())
    kept, _, (note,) = cut(frames, values, 50.0)
    assert set(kept.lengths) == {LENGTH - 25} and note.endswith("(6.2% of its frames) were dropped, as asked")
    kept, _, (note,) = cut(frames, values, 700.0)
    assert set(kept.lengths) == {LENGTH // 2} and "of 24 that are shorter than twice that, only the first half" in note
    with pytest.raises(ValueError, match="a burn-in of 800 ps leaves nothing of runs of at most 800 ps"):
        cut(frames, values, 800.0)
    known, values = simulation(simulation={"seed": 0})
    assert cut(known, values, 0.0) == (known, values, ())


def test_weighted_frames_and_exchanging_replicas_lose_nothing():
    frames, values = simulation(simulation={"seed": 0}, exchange={"temperatures": [300, 350]})
    assert cut(frames, values, 50.0) == (frames, values, ())
    weighted = dataclasses.replace(simulation(simulation={"seed": 0})[0], weights=np.ones(len(frames)))
    assert cut(weighted, values) == (weighted, values, ())


def test_frozen_replicas_and_memory_that_does_not_end_are_loud():
    frames, values = simulation(simulation={"seed": 0})
    still = np.repeat(values[::LENGTH], LENGTH, 0)
    kept, _, notes = cut(frames, still)
    assert notes[0].startswith("24 of its 24 replicas never move: each is one structure over and over")
    assert notes[1].startswith("the starts still explain 100% of the variance of TIC") and len(kept) == len(frames) / 2
    assert "by chance up to" in notes[1] and "simulate longer" in notes[1] and len(notes) == 3
    assert cut(frames_of((LENGTH,) * REPLICAS), still)[2] == notes[:1]


@pytest.mark.parametrize("wrong", ["other", -1, "nan", "inf", 1e300])
def test_a_wrong_burn_in_is_one_clear_line(wrong):
    with pytest.raises(ValueError, match=r"--burn-in auto, or ps from 0 to .*, got"):
        ComparisonSettings(burn_in=wrong)
