"""Published benchmarks: equal samples, disjoint ones, cases by hand, figures that fall with the size of a sample."""

import dataclasses
import math

import numpy as np
import pytest
from known_chains import calphas, two_states
from scipy.spatial.distance import jensenshannon
from scipy.special import logit

from cgsurrogate.analysis.cvs._base import TooSmall
from cgsurrogate.comparison.published import _histograms as shared
from cgsurrogate.comparison.published._metastable import inner_simplex
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import Provenance

COUNT = 8
LN2 = math.log(2)
DISJOINT = {"distance": math.sqrt(LN2), "divergence": LN2}


def spiral(turn, rise, radius, count=COUNT):
    angle = np.deg2rad(turn) * np.arange(count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), rise * np.arange(count)], 1)


HELIX, STRAND = spiral(100, 0.15, 0.23), spiral(200, 0.33, 0.1)


def switching(rng, runs, length, helical=0.5, slow=0.05, noise=0.02, **extra):
    """A chain that switches slowly between helix and strand."""
    state = two_states(rng, runs, length, helical, slow)
    x = np.where(state[:, None, None], HELIX, STRAND)
    x = x + rng.normal(size=x.shape) * noise
    return Frames(calphas(COUNT), x.astype(np.float32), (length,) * runs, 100.0, 300.0, **extra)


def in_helix(frames):
    return np.linalg.norm(frames.positions[:, -1] - frames.positions[:, 0], axis=-1) < 1.5


@pytest.fixture(scope="module")
def reference():
    return switching(np.random.default_rng(0), 6, 800, provenance=Provenance(wall_seconds=100.0))


@pytest.fixture(scope="module")
def benchmarks(reference):
    return {name: registry.build("published", name, reference, **OPTIONS.get(name, {})) for name in KINDS}


KINDS = registry.kinds("published")
FOLDED = {"to": np.asarray(HELIX)}
OPTIONS = {"two_for_one": FOLDED, "fast_folders": FOLDED}


def kind_of(text):
    """ "distance" or "divergence" of a metric, "" for others."""
    return next((kind for kind in DISJOINT if text.startswith(f"Jensen-Shannon {kind}")), "")


@pytest.mark.parametrize("name", KINDS)
def test_the_reference_itself_is_no_distance_away(name, benchmarks, reference):
    values = benchmarks[name](reference)
    for metric, text in benchmarks[name].metrics.items():
        if kind_of(text) or "error" in metric or metric == "decorrelation":
            assert values[metric] == pytest.approx(0, abs=1e-6), metric
    assert values.get("coverage", 1.0) == values.get("covered", 1.0) == values.get("speed-up", 1.0) == 1


@pytest.mark.parametrize("name", KINDS)
def test_a_sample_with_nothing_in_common_is_as_far_as_can_be(name, benchmarks):
    rng = np.random.default_rng(1)
    x = spiral(150, 0.02, 2.0) + rng.normal(size=(500, COUNT, 3)) * 0.002
    far = Frames(calphas(COUNT), x.astype(np.float32), (500,), 100.0, 300.0)
    values = benchmarks[name](far)
    for metric, text in benchmarks[name].metrics.items():
        if kind := kind_of(text):
            most = DISJOINT[kind]
            if metric == "MSM states":  # a frame belongs to the nearest state however far that is
                assert most / 4 < values[metric] <= most + 1e-9
            elif metric == "native contacts":  # none, as the strand has
                assert values[metric] > most / 4
            else:
                assert values[metric] == pytest.approx(most, rel=0.02), metric
    if name == "bioemu":
        assert values["coverage"] == 0 and math.isnan(values["free-energy error"])
    if name == "timewarp":
        assert values["effective samples"] == 0 and values["covered"] == 0


@pytest.mark.parametrize("name", KINDS)
def test_an_independent_sample_comes_closer_the_larger_it_is(name, benchmarks):
    rng = np.random.default_rng(2)
    sizes = (30, 300, 3000)
    rows = [benchmarks[name](switching(rng, 4, n)) for n in sizes]
    for metric, text in benchmarks[name].metrics.items():
        if kind_of(text) or "error" in metric:
            assert rows[0][metric] > rows[2][metric] or metric == "MSM states", metric
            assert rows[2][metric] < 0.35, metric
    wrong = benchmarks[name](switching(rng, 4, 3000, helical=0.9))
    for metric, text in benchmarks[name].metrics.items():
        if kind_of(text) or "error" in metric:
            assert wrong[metric] > rows[2][metric], metric


@pytest.mark.parametrize("name", KINDS)
def test_weights_count(name, benchmarks):
    """Frames of a wrong population, weighted to the right one, come closer than without weights."""
    rng = np.random.default_rng(3)
    wrong = switching(rng, 6, 800, helical=0.9)
    helical = in_helix(wrong)
    weights = np.where(helical, 1 / helical.mean(), 1 / (1 - helical.mean()))
    weighted = Frames(wrong.beads, wrong.positions, wrong.lengths, 100.0, 300.0, weights=weights)
    before, after = benchmarks[name](wrong), benchmarks[name](weighted)
    for metric, text in benchmarks[name].metrics.items():
        if (kind_of(text) or "error" in metric) and "101 x 101" not in text:  # mostly the noise of nearly empty bins
            assert after[metric] < 0.8 * before[metric], metric


@pytest.mark.parametrize("name", KINDS)
def test_a_weighted_or_short_reference_gives_numbers_or_nan_and_says_why(name, benchmarks):
    rng = np.random.default_rng(4)
    for changes in ({"weights": rng.random(400)}, {}):
        frames = switching(rng, 4, 100, **changes)
        if not changes:
            frames = Frames(frames.beads, frames.positions[:40], (10,) * 4, 100.0, 300.0)
        benchmark = registry.build("published", name, frames, **OPTIONS.get(name, {}))
        values = benchmark(frames)
        assert set(values) == set(benchmark.metrics)
        assert any("principal components" in note for note in benchmark.notes)
        for metric, text in benchmark.metrics.items():
            if kind_of(text) and metric != "MSM states":
                assert values[metric] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_thinning_changes_little(name, benchmarks, reference, monkeypatch):
    frames = switching(np.random.default_rng(5), 4, 2000)
    whole = benchmarks[name](frames)
    monkeypatch.setattr(shared, "MOST_FRAMES", 4000)
    few = benchmarks[name](frames)
    for metric, text in benchmarks[name].metrics.items():
        if kind_of(text):
            assert few[metric] == pytest.approx(whole[metric], abs=0.1), metric


# by hand


def four(distance, torsion):
    """Four beads whose ends lie a distance apart (by the torsion about the middle, which decides it)."""
    x = np.zeros((len(torsion), 4, 3))
    x[:, 1] = [0.1, 0, 0]
    x[:, 2] = [0.1, 0, distance]
    x[:, 3, 0], x[:, 3, 1], x[:, 3, 2] = 0.1 - 0.1 * np.cos(torsion), -0.1 * np.sin(torsion), distance
    return Frames(calphas(4), x.astype(np.float32), (len(torsion),), 100.0, 300.0)


def test_torsions_of_mdgen_by_hand():
    """One torsion: the reference in two bins of a hundred, half each; a sample that is in one of them only."""
    both = four(0.3, np.tile([0.5, -1.5], 50))
    one = four(0.3, np.full(100, 0.5))
    benchmark = registry.build("published", "mdgen", both)
    assert np.allclose(np.abs(benchmark.torsions(one)), 0.5, atol=1e-4)
    assert benchmark(one)["torsions"] == pytest.approx(jensenshannon([0.5, 0.5], [1, 0]), abs=1e-6)


def test_pair_distances_of_two_for_one_by_hand():
    """One pair at least three apart, in bins of 0.1 A: 0.305 and 0.315 nm are neighbours, 0.305 and 0.309 are one."""

    def at(*ends):
        x = np.zeros((len(ends), 4, 3))
        x[:, 1, 1] = x[:, 2, 1] = 0.2
        x[:, 2, 0] = 0.1
        x[:, 3, 0] = ends
        return Frames(calphas(4), np.tile(x, (10, 1, 1)).astype(np.float32), (10 * len(ends),), 100.0, 300.0)

    benchmark = registry.build("published", "two_for_one", at(0.305, 0.315))
    assert benchmark(at(0.309, 0.318))["pair distances"] == pytest.approx(0, abs=1e-9)
    assert benchmark(at(0.302))["pair distances"] == pytest.approx(jensenshannon([0.5, 0.5], [1, 0]) ** 2)
    assert benchmark(at(0.455))["pair distances"] == pytest.approx(LN2)


def test_the_free_energy_error_of_bioemu_for_two_basins_of_known_populations(reference):
    """Half and half against four to one: the difference of the energies jumps by about kT ln 4 (exactly, by the odds
    that were drawn) between the basins, and the best shift leaves that over the bins of the smaller one."""
    rng = np.random.default_rng(6)
    benchmark = registry.build("published", "bioemu", reference)
    other = switching(rng, 6, 4000, helical=0.8)
    values, jump = benchmark(other), logit(in_helix(other).mean()) - logit(in_helix(reference).mean())
    bins = benchmark.low.reshape(50, 50).sum(1)
    share = bins[:25].sum() / bins.sum()  # of the bins that count, in one of the basins
    expected = reference.kT / 4.184 * jump * min(share, 1 - share)
    assert values["free-energy error"] == pytest.approx(expected, rel=0.2)
    assert values["coverage"] > 0.9


def test_effective_samples_of_timewarp_for_a_known_process():
    """A two-state chain: its autocorrelation falls by (1 - 2 slow) a frame, 1 + 2 sum of which is known."""
    rng = np.random.default_rng(7)
    slow = 0.1
    frames = switching(rng, 8, 4000, slow=slow, provenance=Provenance(wall_seconds=10.0))
    benchmark = registry.build("published", "timewarp", frames)
    decay = 1 - 2 * slow
    expected = len(frames) * (1 - decay) / (1 + decay)
    values = benchmark(frames)
    assert values["effective samples"] == pytest.approx(expected, rel=0.3)
    assert values["effective samples per second"] == pytest.approx(values["effective samples"] / 10)
    twice = dataclasses.replace(frames, dt=100.0, provenance=Provenance(wall_seconds=5.0))
    assert benchmark(twice)["speed-up"] == pytest.approx(2)
    unknown = Frames(frames.beads, frames.positions, frames.lengths, 100.0, 300.0)
    assert math.isnan(benchmark(unknown)["speed-up"])
    half = frames.positions[in_helix(frames)]
    missed = benchmark(Frames(frames.beads, half, (len(half),), 100.0, 300.0, provenance=Provenance(wall_seconds=10.0)))
    assert missed["effective samples"] == missed["speed-up"] == 0 and 0 < missed["covered"] < 1


def test_decorrelation_of_mdgen_counts_a_slower_clock(reference, benchmarks):
    rng = np.random.default_rng(8)
    same, slower = (switching(rng, 6, 2000, slow=s) for s in (0.05, 0.005))
    assert benchmarks["mdgen"](same)["decorrelation"] < 0.2
    assert benchmarks["mdgen"](slower)["decorrelation"] == pytest.approx(1, abs=0.35)
    stepless = dataclasses.replace(same, dt=100.0, provenance=Provenance(physical_time=False))
    assert math.isnan(benchmarks["mdgen"](stepless)["decorrelation"])


def test_metastable_states_of_mdgen_are_those_of_the_chain(benchmarks, reference):
    """Populations of ten states, summed over those that are helical, are the helical share."""
    benchmark = benchmarks["mdgen"]
    assert benchmark.populations.sum() == pytest.approx(1) and 2 <= len(benchmark.populations) <= 10
    helix = Frames(calphas(COUNT), np.tile(HELIX, (50, 1, 1)).astype(np.float32), (50,), 100.0, 300.0)
    shares = benchmark.states.populations(benchmark.projection(helix), helix.probabilities)
    assert shares.max() == pytest.approx(1)


def test_sets_of_a_nearly_decomposable_chain_are_its_blocks_and_those_of_deeptime():
    from deeptime.markov import pcca

    rng = np.random.default_rng(10)
    member = np.repeat([0, 1, 2], (4, 5, 6))
    rates = rng.random((15, 15)) * np.where(np.equal.outer(member, member), 1, 1e-3)
    flows = rates + rates.T
    stationary = flows.sum(1) / flows.sum()
    matrix = flows / flows.sum(1, keepdims=True)
    found = inner_simplex(matrix, stationary, 3)
    assert len({(a, b) for a, b in zip(found, member, strict=True)}) == 3
    theirs = pcca(matrix, 3, stationary_distribution=stationary).assignments
    assert len({(a, b) for a, b in zip(found, theirs, strict=True)}) == 3
    assert len(set(inner_simplex(matrix, stationary, 20))) == 15


@pytest.mark.parametrize(("name", "beads"), [("mdgen", 3), ("two_for_one", 3), ("bioemu", 2), ("timewarp", 1)])
def test_too_small_a_molecule_is_one_clear_line(name, beads):
    x = np.random.default_rng(9).normal(size=(50, beads, 3)).astype(np.float32)
    with pytest.raises(TooSmall, match=r"needs? "):
        registry.build("published", name, Frames(calphas(beads), x, (50,), 1.0, 300.0))
