"""The verdict: exact level, honest amounts, and chains whose answers are known."""

import dataclasses
import re

import numpy as np
import pytest

from cgsurrogate.comparison import baselines, damages
from cgsurrogate.comparison.judgement import AGREES, DIFFERS, NOT_APPLICABLE, UNKNOWN
from cgsurrogate.comparison.settings import Tolerances
from cgsurrogate.comparison.verdict import judge as judging
from cgsurrogate.comparison.verdict import permutation, samples, visits
from cgsurrogate.comparison.verdict.judge import Question, judge
from cgsurrogate.comparison.verdict.permutation import Labels, Member
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import statistical_inefficiency
from cgsurrogate.geometry import measures
from cgsurrogate.testing.torsion_chain import TorsionChain

CHAIN = TorsionChain(beads=6, sharpness=4.0, every=20)  # three torsions
LENGTH = 600


def judged(reference: Frames, own: Frames, seed: int = 0, permutations: int = 500):
    cv = registry.build("cvs", "tica", reference)
    memory = tuple(statistical_inefficiency(cv(one)[:, :2], one.runs) for one in (reference, own))
    return judge(reference, own, memory, np.random.default_rng(seed), permutations=permutations)


@pytest.fixture(scope="module")
def truth() -> Frames:
    return CHAIN.simulate(24, LENGTH, seed=1)


def half(truth: Frames) -> tuple[Frames, Frames]:
    return truth.take_runs(range(8)), truth.take_runs(range(8, 24))


# -- the test itself --------------------------------------------------------------------------------------------------


def test_families_of_correlated_figures_reject_as_often_as_they_say():
    rng, low, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        labels = Labels.drawn((6, 14), rng, 199)
        blocks = rng.normal(size=(20, 5)) @ rng.normal(size=(5, 5)) + rng.standard_t(3, size=(20, 1))
        differences = np.abs(labels.differences(permutation.standardised(blocks)[0]))
        found = permutation.test([Member(str(k), differences[:, k]) for k in range(5)])
        low += found.p <= 0.1
    assert abs(low / trials - 0.1) < 3.5 * np.sqrt(0.1 * 0.9 / trials)


def test_geometry_of_many_frames_is_judged_on_no_more_blocks(monkeypatch, truth):
    counts, drawn = [], Labels.drawn.__func__
    monkeypatch.setattr(judging, "MOST_BLOCKS", 50)
    monkeypatch.setattr(judging.Labels, "drawn", classmethod(lambda cls, n, *a: counts.append(n) or drawn(cls, n, *a)))
    first, second = truth.take_runs(range(8)), truth.take_runs(range(8, 16))
    judge(first, second, (1000.0, 1000.0), np.random.default_rng(0), permutations=50)  # few blocks of slow motions
    assert len(counts) == 2 and 40 <= max(counts[1]) <= 60


def test_a_member_is_named_only_if_its_family_rejects():
    labels = Labels.drawn((10, 10), np.random.default_rng(0), 999)
    blocks = np.random.default_rng(1).normal(size=(20, 4))
    blocks[10:, 2] += 3
    differences = np.abs(labels.differences(blocks))
    found = permutation.test([Member(str(k), differences[:, k]) for k in range(4)])
    assert found.members["2"] == found.p < 0.01
    assert min(found.members[k] for k in "013") > 0.05


def test_a_filter_measures_an_amount_and_its_error_where_figures_outnumber_blocks():
    rng = np.random.default_rng(2)
    direction = rng.normal(size=300)
    mixing = rng.normal(size=(300, 300)) / 10
    found, errors = [], []
    for _ in range(60):
        blocks = rng.normal(size=(24, 300)) @ mixing
        blocks[8:] += 0.3 * direction
        labels = Labels.drawn((8, 16), rng, 200)
        scores = permutation.filtered(blocks, direction, rng)
        found.append(labels.differences(scores[:, None])[0, 0])
        errors.append(permutation.standard_error(scores, labels.counts))
    assert np.mean(found) == pytest.approx(0.3, abs=4 * np.std(found) / np.sqrt(60))
    assert 0.7 < np.mean(errors) / np.std(found) < 1.4


def test_families_are_tested_jointly_at_their_level_and_never_harder_than_by_bonferroni():
    rng, low, trials = np.random.default_rng(3), 0, 400
    for _ in range(trials):
        labels = Labels.drawn((6, 10), rng, 199)
        blocks = rng.normal(size=(16, 6)) + rng.normal(size=(16, 1))
        figures = np.abs(labels.differences(blocks))
        members = [Member(str(k), figures[:, k]) for k in range(6)]
        tested = {
            "a": permutation.test(members[:2]),
            "b": permutation.test(members[2:4]),
            "c": permutation.test(members[4:]),
        }
        adjusted = permutation.jointly(tested)
        low += min(adjusted.values()) <= 0.1
        for name, one in tested.items():
            assert one.p - 1e-9 <= adjusted[name] <= max(min(1.0, 3 * one.p + 0.02), max(adjusted.values()))
    assert abs(low / trials - 0.1) < 3.5 * np.sqrt(0.1 * 0.9 / trials)


# -- blocks -----------------------------------------------------------------------------------------------------------


def test_blocks_of_both_are_equally_long_and_hold_equally_many_frames(truth):
    reference, own = half(truth)
    coarse = dataclasses.replace(
        own, positions=own.positions[::3], lengths=tuple(n // 3 for n in own.lengths), dt=3 * own.dt
    )
    pair = samples.paired(reference, coarse, (10.0, 10 / 3))
    assert pair.physical and pair.first.frames.dt == pytest.approx(pair.second.frames.dt)
    sizes = [np.bincount(s.block) for s in pair.samples]
    assert np.mean(sizes[0]) == pytest.approx(np.mean(sizes[1]), rel=0.1)
    for sample, frames in zip(pair.samples, (reference, coarse), strict=True):
        assert sample.block.max() + 1 == sample.count
        owner = np.searchsorted(np.cumsum(frames.lengths), sample.index, side="right")
        for k in range(sample.count):  # runs are longer than blocks here
            assert len(set(owner[sample.block == k])) == 1


def test_short_runs_are_joined_and_a_long_rollout_is_capped(truth):
    reference, own = half(truth)
    short = dataclasses.replace(own, lengths=(20,) * (len(own) // 20))
    pair = samples.paired(reference.take_runs([0]), short, (20.0, 20.0))
    assert pair.first.count == LENGTH // 100
    sizes = np.bincount(pair.second.block)
    assert sizes.min() >= 0.5 * np.median(sizes) and pair.second.count <= max(60, 10 * pair.first.count)


def test_time_that_is_not_physical_gives_blocks_in_frames_and_no_kinetics(truth):
    reference, own = half(truth)
    pair = samples.paired(reference, own.with_provenance(physical_time=False), (10.0, 25.0))
    assert not pair.physical and "physical" in pair.why_not
    assert pair.first.count == pytest.approx(len(reference) / 50, rel=0.1)
    assert pair.second.count == pytest.approx(min(len(own) / 125, 960), rel=0.1)
    sizes = [np.bincount(s.block).mean() for s in pair.samples]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.25)
    found = judged(reference, own.with_provenance(physical_time=False))
    assert {f.mark for f in found.findings if f.family == "kinetics"} == {NOT_APPLICABLE}


def test_visits_are_entries_and_a_quick_return_is_the_same_visit(truth):
    reference, own = (truth.take_runs([k]) for k in range(2))
    pair = samples.paired(reference, own, (10.0, 10.0))
    inside = np.zeros(2 * LENGTH, bool)
    for start in (0, 100, 300):
        inside[start : start + 10] = True
    inside[112:120] = True  # back after two frames
    inside[LENGTH + 5 : LENGTH + 7] = True
    found = visits.count(pair, "it", inside, Labels.drawn(pair.counts, np.random.default_rng(0), 100))
    assert found.seen == (3.0, 1.0) and found.times == (LENGTH, LENGTH)
    assert found.populations == pytest.approx((38 / LENGTH, 2 / LENGTH))
    value, low, high = found.ratio()
    assert value == pytest.approx(2 / 38) and 0 < low < value < high
    fewer, more = found.detectable(3.0)
    assert more > 5 and not fewer > 0


# -- chains with known answers ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_perfect_surrogate_hardly_ever_differs():
    differ = 0
    for seed in range(12):
        both = CHAIN.simulate(18, LENGTH, seed=100 + seed)
        differ += judged(both.take_runs(range(6)), both.take_runs(range(6, 18)), seed).mark == DIFFERS
    assert differ <= 2  # of 12 at 5 %, three or more have a chance of 2 %


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [{"temperature": 360.0}, {"speed": 2.0}, {"wells": (0.63, 0.36, 1e-9)}, {"wells": (0.36, 0.63, 0.02)}],
    ids=["60 K too hot", "rates x 2", "rare wells missing", "populations exchanged"],
)
def test_a_wrong_surrogate_differs(truth, changed):
    wrong = dataclasses.replace(CHAIN, **changed).simulate(16, LENGTH, seed=7)
    found = judged(truth.take_runs(range(16)), wrong)
    assert found.mark == DIFFERS and found.head.startswith("Differs")
    assert min(found.p.values()) <= 0.05


def test_a_mirror_image_and_blurred_torsions_never_pass(truth):
    reference, own = half(truth)
    for wrong in (damages.mirrored(own), damages.blurred(own, 20.0, np.random.default_rng(0))):
        found = judged(reference, wrong)
        assert found.mark == DIFFERS


@pytest.mark.parametrize("physical", [True, False])
def test_a_frozen_surrogate_never_passes(truth, physical):
    reference, own = half(truth)
    frozen = damages.frozen(own, 60, 50, np.random.default_rng(0)).with_provenance(physical_time=physical)
    found = judged(reference, frozen)
    assert found.mark == DIFFERS if physical else found.mark != AGREES
    assert not any(f.mark == AGREES for f in found.findings if f.family != "geometry")


def test_independent_draws_have_right_populations_and_no_rates(truth):
    reference, own = half(truth)
    found = judged(reference, baselines.shuffled(own))
    assert found.mark == DIFFERS and found.p["kinetics"] <= 0.05
    assert all(f.mark != DIFFERS for f in found.findings if f.family in ("geometry", "shape"))


def test_a_hint_of_data_judges_geometry_only_and_says_what_is_needed(truth):
    reference, own = half(truth)
    few = dataclasses.replace(reference.take_runs([0]), positions=reference.positions[:120], lengths=(120,))
    found = judged(few, own)
    assert found.mark == UNKNOWN
    assert all(f.mark == AGREES for f in found.findings if f.name == "bond lengths")
    assert found.blocks[0] < 4
    others = [f for f in found.findings if f.family != "geometry"]
    assert others and all(f.mark == UNKNOWN for f in others)
    assert any("more of the reference" in f.need for f in others)


def test_amounts_are_right_for_damages_of_known_size(truth):
    reference, own = half(truth)
    found = judged(reference, damages.opened(own, 1.5))
    angles = next(f for f in found.findings if f.name == "bond angles")
    assert angles.mark == DIFFERS and angles.low - 1 < 1.5 < angles.high + 1


def test_a_bond_that_is_too_wide_differs_though_its_mean_is_right(truth):
    reference, own = half(truth)
    found = judged(reference, damages.widened(own, (2, 3), 4.0))
    lengths = next(f for f in found.findings if f.name == "bond lengths")
    assert lengths.mark == DIFFERS and lengths.low < 0 < lengths.high
    assert lengths.text.startswith("by how widely they are spread; ")
    assert "bond lengths, by how widely they are spread (p = " in found.head


def test_a_state_visited_often_and_briefly_differs_by_that_and_says_so(truth):
    """Its population is right, and the interval of that holds 1."""
    reference, own = half(truth)
    rng = np.random.default_rng(3)

    def inside(frames: Frames, lasting: int) -> np.ndarray:
        """A tenth of the frames, in visits of so many."""
        found = np.zeros(len(frames), bool)
        for start in range(0, len(frames), 10 * lasting):
            at = start + int(rng.integers(8 * lasting))
            found[at : at + lasting] = True
        return found

    question = Question(named={"mine": (inside(reference, 20), inside(own, 5))})
    found = judge(reference, own, (10.0, 10.0), np.random.default_rng(0), question, permutations=500)
    mine = next(f for f in found.findings if f.name == "mine")
    assert mine.mark == DIFFERS and mine.low < 1 < mine.high
    often = re.match(r"by how often it is visited, x (\S+) \((\S+) to (\S+)\); ", mine.text)
    assert often and 1 < float(often[2]) < float(often[1]) < float(often[3])
    assert 2 < float(often[1]) < 5 and f"mine, {often[0].removesuffix('; ')} (p " in found.head


def test_states_of_the_user_are_judged(truth):
    reference, own = half(truth)
    quads = measures.torsion_quads(reference.beads)[1]
    turns = [measures.dihedrals(np.asarray(one.positions, float), quads) for one in (reference, own)]
    inside = [np.asarray(turn[:, 0] < 0) & (turn[:, 1] > 0) for turn in turns]
    cv = registry.build("cvs", "tica", reference)
    memory = tuple(statistical_inefficiency(cv(one)[:, :2], one.runs) for one in (reference, own))
    question = Question(named={"mine": (inside[0], inside[1])})
    found = judge(reference, own, memory, np.random.default_rng(0), question, permutations=200)
    assert any("mine" in f.name for f in found.findings)


def test_a_tolerance_of_the_user_decides_what_agrees(truth):
    reference, own = half(truth)
    cv = registry.build("cvs", "tica", reference)
    memory = tuple(statistical_inefficiency(cv(one)[:, :2], one.runs) for one in (reference, own))
    marks = []
    for text in ("degrees=0.001", "degrees=30"):
        question = Question(tolerances=Tolerances.parse([text]))
        found = judge(reference, own, memory, np.random.default_rng(0), question, permutations=200)
        marks.append(next(f.mark for f in found.findings if f.name == "bond angles"))
    assert marks == [UNKNOWN, AGREES]
    with pytest.raises(ValueError, match="name of temperature"):
        Tolerances.parse(["warmth=3"])
    with pytest.raises(ValueError, match="above 1"):
        Tolerances.parse(["rates=0.5"])


def test_permutations_dealt_in_parts_are_those_dealt_at_once():
    masks = Labels.drawn((7, 12), np.random.default_rng(3), 130).masks
    order = np.argsort(np.random.default_rng(3).random((130, 19)), 1)[:, :7]
    expected = np.zeros((130, 19), np.float32)
    np.put_along_axis(expected, order, 1.0, 1)
    assert np.array_equal(masks[1:], expected) and np.array_equal(masks[0], np.arange(19) < 7)
