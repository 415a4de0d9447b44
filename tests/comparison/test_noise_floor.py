"""Distances by every divergence: exact answers, intervals, floors, and how often they judge right."""

import math

import numpy as np
import pytest
from known_chains import autoregressive, frames_of, histogram_of

from cgsurrogate.analysis.free_energy import divergences, populations, surfaces
from cgsurrogate.comparison import noise_floor
from cgsurrogate.core.statistics import blocks, statistical_inefficiency


def test_jensen_shannon_of_equal_disjoint_and_known_probabilities():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(5)
    p, q = rng.dirichlet(np.ones(50), 2)
    assert divergences.jensen_shannon(p, p) == 0
    assert divergences.jensen_shannon([1, 0], [0, 1]) == pytest.approx(math.sqrt(math.log(2)))
    assert (
        divergences.jensen_shannon(p, q)
        == pytest.approx(jensenshannon(p, q))
        == pytest.approx(divergences.jensen_shannon(q, p))
    )


def gaussian(rng, runs, length, shift=0.0, columns=1, slow=0):
    """(runs * length, columns) with a mean of its own in every run when ``slow`` is positive."""
    x = rng.normal(size=(runs, length, columns)) + shift
    return (x + slow * rng.normal(size=(runs, 1, columns))).reshape(-1, columns)


def judged(rng, runs, length, *, shift=0.0, training=False, slow=0.0, columns=1, longer=1):
    """One comparison of two independent samples, the second ``longer`` times as many runs and shifted."""

    def sample(number, shift=0.0):
        values = gaussian(rng, number, length, shift, columns, slow)
        inefficiency = statistical_inefficiency(values, frames_of((length,) * number).runs)
        return values, (length,) * number, inefficiency

    values, lengths, inefficiency = sample(runs)
    grid = surfaces.Grid.over(values, ("a", "b")[:columns], None)
    reference = [histogram_of(values, lengths, grid, inefficiency)]
    other = [histogram_of(*(s := sample(runs * longer, shift))[:2], grid, s[2])]
    beside = [histogram_of(*sample(runs)[:2], grid, inefficiency)] if training else None
    return noise_floor.distance(other, reference, noise_floor.floor(reference, beside, rng), rng)


@pytest.mark.parametrize(
    ("runs", "length", "options"),
    [
        (8, 300, {}),
        (1, 2400, {}),
        (8, 200, {"training": True}),
        (12, 60, {"slow": 1.0}),
        (8, 60, {"slow": 1.0, "training": True}),
    ],
)
def test_two_samples_of_one_distribution_are_within_the_noise_about_95_times_in_100(runs, length, options):
    """Whole runs, one run cut in blocks, training beside reference, and runs that each see their own part."""
    rng = np.random.default_rng(6)
    repeats = 150
    within = sum(judged(rng, runs, length, **options).within for _ in range(repeats))
    # 95 % give or take four standard errors of 150 draws, and a few per cent for a floor made from few runs
    assert 0.86 <= within / repeats <= 1.0
    beyond = sum(not judged(rng, runs, length, shift=1.5, **options).within for _ in range(20))
    assert beyond >= 15


@pytest.mark.slow
def test_the_floor_is_what_an_independent_sample_of_the_same_size_shows():
    rng = np.random.default_rng(7)
    cases = (({}, 0.1), ({"training": True}, 0.1), ({"columns": 2}, 0.1), ({"slow": 1.0}, 0.3))
    for options, tolerance in cases:  # runs that each see their own part leave the typical figure itself uncertain
        found = [judged(rng, 10, 200, **options) for _ in range(25)]
        value, floor = (np.median([getattr(d, f) for d in found]) for f in ("value", "floor"))
        assert floor == pytest.approx(value, rel=tolerance), options


def test_a_longer_sample_is_closer_and_stays_within():
    rng = np.random.default_rng(8)
    same, longer = (np.median([judged(rng, 8, 200, longer=n).value for _ in range(20)]) for n in (1, 20))
    assert longer < same


def test_the_interval_holds_the_value_and_has_the_width_of_repetitions():
    rng = np.random.default_rng(9)
    found = [judged(rng, 16, 200, shift=0.5) for _ in range(60)]
    assert all(d.low <= d.value <= d.high for d in found)
    spread = np.quantile([d.value for d in found], 0.975) - np.quantile([d.value for d in found], 0.025)
    assert 0.6 < np.median([d.high - d.low for d in found]) / spread < 1.7


def test_training_far_from_the_reference_lies_beyond_its_own_floor():
    rng = np.random.default_rng(10)
    values = gaussian(rng, 6, 300)
    grid = surfaces.Grid.over(values, ("a",), None)
    reference = [histogram_of(values, (300,) * 6, grid)]
    training = [histogram_of(gaussian(rng, 6, 300, shift=0.4), (300,) * 6, grid)]
    floor = noise_floor.floor(reference, training, rng)
    assert floor.typical == pytest.approx(noise_floor.mean_distance(training, reference))
    assert floor.high < floor.typical and "training" in floor.note
    assert floor.p(floor.typical) < 0.05


def test_a_mean_over_torsions_is_the_mean_of_their_distances():
    rng = np.random.default_rng(11)
    grid = surfaces.Grid.over(gaussian(rng, 1, 100), ("a",), None)
    first, second, third = (histogram_of(gaussian(rng, 1, 100, s), (100,), grid) for s in (0, 0.3, 0.6))
    separate = [noise_floor.mean_distance([x], [first]) for x in (second, third)]
    assert noise_floor.mean_distance([second, third], [first, first]) == pytest.approx(np.mean(separate))


KT = frames_of((1,)).kT


def line(probability, edges, periodic=False, effective=1000.0):
    """A reference of known probabilities."""
    grid = surfaces.Grid(("x",), (np.asarray(edges, float),), (periodic,))
    return surfaces.BlockHistogram(grid, np.array([probability], np.float32), np.zeros(1, int), 0.0, effective, KT)


def test_every_measure_is_zero_for_the_same_and_never_negative():
    rng = np.random.default_rng(12)
    p, q = rng.dirichlet(np.ones(30), 2)
    for divergence in divergences.DIVERGENCES.values():
        for periodic in (False, True):
            reference = line(q, np.linspace(0, 1, 31), periodic)
            known = reference.probability
            assert divergence.function(known, known, reference) == pytest.approx(0, abs=1e-7), divergence.name
            assert 0 < divergence.function(p, known, reference) <= divergence.most
            both = divergence.function(np.stack([p, known]), known, reference)
            assert both.shape == (2,) and both[0] == pytest.approx(divergence.function(p, known, reference))


def test_kl_divergence_of_known_probabilities_and_of_an_empty_bin():
    from scipy.stats import entropy

    rng = np.random.default_rng(13)
    p, q = rng.dirichlet(np.ones(30) * 5, 2)
    found = divergences.kullback_leibler(p, q, line(q, np.arange(31), effective=1e7))
    assert found == pytest.approx(entropy(q, p), rel=1e-4)
    # an empty bin costs as much as one independent frame makes of it: n / 2 frames expected, 1 / 2 of one counted
    n = 99.0
    half = divergences.kullback_leibler(
        np.array([1.0, 0.0]), np.array([0.5, 0.5]), line([0.5, 0.5], np.arange(3), effective=n)
    )
    ours = 0.5 / (n + 1)
    assert half == pytest.approx(0.5 * math.log(0.5 / (1 - ours)) + 0.5 * math.log(0.5 / ours), rel=1e-5)
    assert half < math.log(n + 1)


def test_wasserstein_on_the_line_agrees_with_scipy_and_is_a_shift():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(14)
    p, q = rng.dirichlet(np.ones(40), 2)
    edges = np.linspace(-1, 3, 41)
    middles = (edges[1:] + edges[:-1]) / 2
    known = wasserstein_distance(middles, middles, p, q)
    assert divergences.wasserstein(p, q, line(q, edges)) == pytest.approx(known, rel=1e-5)
    bump = np.exp(-0.5 * ((middles - 0.5) / 0.2) ** 2)
    bump /= bump.sum()
    assert divergences.wasserstein(np.roll(bump, 5), bump, line(bump, edges)) == pytest.approx(0.5, rel=1e-3)


def test_wasserstein_on_a_circle_takes_the_short_way_and_is_the_cost_of_transport():
    """Against the linear programme over all pairs with the shorter arc as cost."""
    from scipy.optimize import linprog

    bins, rng = 12, np.random.default_rng(15)
    edges = np.linspace(-np.pi, np.pi, bins + 1)
    width = edges[1] - edges[0]
    apart = np.abs(np.arange(bins)[:, None] - np.arange(bins))
    cost = np.minimum(apart, bins - apart) * width
    rows, columns = np.kron(np.eye(bins), np.ones(bins)), np.kron(np.ones(bins), np.eye(bins))
    for _ in range(5):
        p, q = rng.dirichlet(np.ones(bins) * 0.5, 2)
        exact = linprog(cost.ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q])).fun
        assert divergences.wasserstein(p, q, line(q, edges, True)) == pytest.approx(exact, abs=1e-6)
    first, last = np.eye(bins)[0], np.eye(bins)[-1]
    assert divergences.wasserstein(first, last, line(last, edges, True)) == pytest.approx(width)
    assert divergences.wasserstein(first, last, line(last, edges)) == pytest.approx((bins - 1) * width)


def test_free_energy_error_is_blind_to_a_shift_and_looks_only_where_the_reference_is():
    q = np.array([0.4, 0.3, 0.2, 0.099, 0.001])
    reference = line(q, np.arange(6), effective=1e9)
    p = q * [1, 2, 1, 1, 50]  # the last bin lies above 4 kT
    found = divergences.free_energy_error(p / p.sum(), reference.probability, reference)
    weight, error = q[:4] / q[:4].sum(), np.array([0, math.log(2), 0, 0])
    assert found == pytest.approx(KT * math.sqrt(weight @ (error - weight @ error) ** 2), rel=1e-4)
    known = reference.probability
    scaled = known * [1, 1, 1, 1, 0.1]  # the same within the region, up to the shift
    assert divergences.free_energy_error(scaled / scaled.sum(), known, reference) == pytest.approx(0, abs=1e-5)


def test_population_error_is_the_share_in_the_wrong_state():
    frames = frames_of((60,))
    one, other = (populations.state_histogram(np.arange(60) % 3 % n, 3, frames, blocks((60,))) for n in (3, 2))
    assert noise_floor.mean_distance([other], [one], divergences.POPULATIONS) == pytest.approx(1 / 3, abs=1e-6)


def by_every_measure(rng, runs, length, training, shift=0.0):
    """{divergence: Distance} of one independent sample to another, both correlated."""

    def sample(shift=0.0):
        return autoregressive(rng, runs, length, math.exp(-0.1))[:, None] + shift, (length,) * runs

    first = sample()
    inefficiency = statistical_inefficiency(first[0], frames_of(first[1]).runs)
    grid = surfaces.Grid.over(first[0], ("x",), None, bins=50)
    samples = [first, sample(shift), *([sample()] if training else [])]
    counted = [[histogram_of(*s, grid, inefficiency)] for s in samples]
    cut = blocks(first[1], inefficiency)
    labels = [np.digitize(s[0][:, 0], (-0.7, 0.7)) for s in samples]
    states = [[populations.state_histogram(one, 3, frames_of(first[1]), cut)] for one in labels]
    result = {}
    for name, divergence in divergences.DIVERGENCES.items():
        reference, own, *beside = states if name == "populations" else counted
        bound = noise_floor.floor(reference, beside[0] if beside else None, rng, divergence)
        result[name] = noise_floor.distance(own, reference, bound, rng, divergence)
    return result


@pytest.mark.parametrize(("runs", "length", "training"), [(1, 4000, False), (10, 400, False), (10, 400, True)])
@pytest.mark.slow
def test_each_measure_judges_correlated_samples_of_one_distribution_within_about_95_in_100(runs, length, training):
    rng, repeats = np.random.default_rng(16), 60
    found = [by_every_measure(rng, runs, length, training) for _ in range(repeats)]
    for name in divergences.DIVERGENCES:
        # three standard errors of 60 draws below 95 in 100; all 60 within happens by chance
        assert np.mean([d[name].within for d in found]) >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / repeats), name
        middle = np.median([d[name].p for d in found])
        assert 0.2 < middle < 0.85, (name, middle)
    shifted = [by_every_measure(rng, runs, length, training, shift=0.8) for _ in range(15)]
    for name in divergences.DIVERGENCES:
        assert np.mean([not d[name].within for d in shifted]) >= 0.6, name


def test_p_says_the_same_as_the_verdict_and_falls_with_the_distance():
    rng = np.random.default_rng(17)
    for training in (False, True):
        for shift in (0.0, 0.2, 0.4, 1.0):
            for one in by_every_measure(rng, 8, 300, training, shift).values():
                assert one.within == (one.p >= 0.05) and 0 < one.p <= 1
    bound = noise_floor.Floor(0.1, 0.5, 101, "", np.linspace(0, 0.5 / 0.95, 101))
    steps = [bound.p(v) for v in (0.0, 0.1, 0.3, 0.5, 0.51, 9.0)]
    assert steps == sorted(steps, reverse=True) and steps[3] == pytest.approx(0.05) and steps[-1] == 1 / 102


def test_a_single_block_gives_no_floor_and_no_p():
    one = line([0.5, 0.5], np.arange(3))
    rng = np.random.default_rng(18)
    for divergence in divergences.DIVERGENCES.values():
        found = noise_floor.distance([one], [one], noise_floor.floor([one], None, rng, divergence), rng, divergence)
        assert found.value == pytest.approx(0, abs=1e-7) and not found.judged and math.isnan(found.p)
