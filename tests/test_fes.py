"""Histograms, free energies and distances against known densities; coverage of intervals over repeated draws."""

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from cgsurrogate import blocks as blocks_module
from cgsurrogate import fes
from cgsurrogate.blocks import blocks
from cgsurrogate.correlation import statistical_inefficiency
from cgsurrogate.frames import Beads, Frames

ONE = Beads(("CA",), (0,), (1.0,), (0,), ("ALA",))


def frames_of(lengths, weights=None):
    total = sum(lengths)
    return Frames(ONE, np.zeros((total, 1, 3), np.float32), tuple(lengths), 1.0, 300.0, weights=weights)


def counts_of(values, lengths, grid, inefficiency=1.0, weights=None):
    frames = frames_of(lengths, weights)
    return fes.count(values, frames, grid, blocks(lengths, inefficiency))


def potential(x):
    """A double well in kT, barrier 3."""
    return 3 * (x * x - 1) ** 2


EDGES = np.linspace(-2, 2, 21)
WELL = fes.Grid(("x",), (EDGES,), (False,))
FINE = np.linspace(-2, 2, 4001)
DENSITY = np.exp(-potential(FINE)) / np.exp(-potential(FINE)).sum()


def exact():
    z = [quad(lambda x: np.exp(-potential(x)), a, b)[0] for a, b in pairwise(EDGES)]
    return np.array(z) / np.sum(z)


def metropolis(rng, runs, length, step=0.6):
    """(runs * length, 1) correlated samples of the double well, started from the exact density."""
    x = rng.choice(FINE, runs, p=DENSITY)
    out = np.empty((runs, length))
    for k in range(length):
        y = x + rng.normal(size=runs) * step
        accept = (rng.random(runs) < np.exp(np.minimum(0, potential(x) - potential(y)))) & (np.abs(y) < 2)
        x = np.where(accept, y, x)
        out[:, k] = x
    return out.reshape(-1, 1)


def test_free_energy_of_a_double_well_is_minus_kt_log_p_above_its_minimum():
    rng = np.random.default_rng(0)
    values = rng.choice(FINE, 200_000, p=DENSITY)[:, None]
    surface = fes.surface(counts_of(values, (200_000,), WELL), 2.5, rng)
    p = exact()
    seen = p > 0.002
    assert np.nanmin(surface.free_energy) == 0 and surface.outside == 0
    assert np.abs(surface.free_energy - 2.5 * (-np.log(p) + np.log(p.max())))[seen].max() < 0.15
    assert surface.probability.sum() == pytest.approx(1)
    nothing = fes.surface(counts_of(np.full((100, 1), 1.0), (100,), WELL), 2.5, rng)
    assert np.isnan(nothing.free_energy).sum() == 19 and np.isnan(nothing.error).sum() == 19


@pytest.mark.parametrize(("runs", "length", "chains"), [(1, 4000, False), (16, 300, False), (24, 600, True)])
def test_error_bars_cover_the_truth(runs, length, chains):
    """|ln p - ln exact| < 1.96 errors in 90 to 98 of 100 cases, for independent draws and for correlated chains."""
    rng, p, inside, wanted = np.random.default_rng(1), exact(), [], exact() > 0.01
    for _ in range(40 if chains else 120):
        values = metropolis(rng, runs, length) if chains else rng.choice(FINE, runs * length, p=DENSITY)[:, None]
        frames = frames_of((length,) * runs)
        inefficiency = statistical_inefficiency(values, frames.runs)
        surface = fes.surface(counts_of(values, frames.lengths, WELL, inefficiency), 1.0, rng)
        with np.errstate(divide="ignore"):
            inside.append(np.abs(np.log(surface.probability / p))[wanted] < 1.96 * surface.error[wanted])
    assert 0.90 <= np.mean(inside) <= 0.98


def test_weights_recover_the_density_from_a_biased_sample():
    rng = np.random.default_rng(2)
    flat = rng.uniform(-2, 2, (100_000, 1))
    weighted = fes.surface(counts_of(flat, (100_000,), WELL, weights=np.exp(-potential(flat[:, 0]))), 1.0, rng)
    centre = exact() > 0.01
    assert (np.abs(np.log(weighted.probability / exact()))[centre] < 4.5 * weighted.error[centre]).all()
    assert weighted.error[centre].max() < 0.1
    # an error bar knows of the weights: in the wells it is larger than that of as many unweighted samples
    well = exact() > 0.1
    plain = fes.surface(counts_of(rng.choice(FINE, 100_000, p=DENSITY)[:, None], (100_000,), WELL), 1.0, rng)
    assert (weighted.error[well] > plain.error[well]).all()


def test_periodic_axes_do_not_see_whole_turns_and_others_count_what_lies_outside():
    rng = np.random.default_rng(3)
    angles = rng.vonmises(3.0, 2.0, (5000, 2))
    grid = fes.Grid.over(angles, ("phi", "psi"), 2 * math.pi)
    assert grid.shape == (50, 50) and grid.edges[0][0] == -math.pi and grid.edges[0][-1] == math.pi
    first = counts_of(angles, (5000,), grid)
    turned = counts_of(angles + 2 * math.pi * rng.integers(-2, 3, (5000, 2)), (5000,), grid)
    assert fes.divergence(first.probability, turned.probability) < 1e-6 and turned.outside == 0
    # pi itself belongs to a bin
    assert counts_of(np.full((10, 2), np.float32(np.pi)), (10,), grid).probability.sum() == pytest.approx(1)

    line = fes.Grid.over(rng.uniform(0, 1, (1000, 1)), ("x",), None)
    off = counts_of(np.array([[-3.0], [0.5], [0.5], [9.0]]), (4,), line)
    assert off.outside == 0.5 and off.probability[0] == 0.25 and off.probability[-1] == 0.25


def test_the_reference_itself_is_never_outside_although_values_are_float32():
    values = np.random.default_rng(4).normal(size=(10_000, 2)).astype(np.float32)
    grid = fes.Grid.over(values, ("a", "b"), None)
    assert counts_of(values, (10_000,), grid).outside == 0


def test_jensen_shannon_of_equal_disjoint_and_known_probabilities():
    from scipy.spatial.distance import jensenshannon

    rng = np.random.default_rng(5)
    p, q = rng.dirichlet(np.ones(50), 2)
    assert fes.jensen_shannon(p, p) == 0
    assert fes.jensen_shannon([1, 0], [0, 1]) == pytest.approx(math.sqrt(math.log(2)))
    assert fes.jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q)) == pytest.approx(fes.jensen_shannon(q, p))


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
    grid = fes.Grid.over(values, ("a", "b")[:columns], None)
    reference = [counts_of(values, lengths, grid, inefficiency)]
    other = [counts_of(*(s := sample(runs * longer, shift))[:2], grid, s[2])]
    beside = [counts_of(*sample(runs)[:2], grid, inefficiency)] if training else None
    return fes.distance(other, reference, fes.floor(reference, beside, rng), rng)


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


def test_training_far_from_the_reference_raises_the_floor_to_what_it_can_teach():
    rng = np.random.default_rng(10)
    values = gaussian(rng, 6, 300)
    grid = fes.Grid.over(values, ("a",), None)
    reference = [counts_of(values, (300,) * 6, grid)]
    training = [counts_of(gaussian(rng, 6, 300, shift=0.4), (300,) * 6, grid)]
    floor = fes.floor(reference, training, rng)
    assert floor.typical == pytest.approx(fes.mean_distance(training, reference))
    assert floor.high > floor.typical and "training" in floor.note


def test_a_mean_over_torsions_is_the_mean_of_their_distances():
    rng = np.random.default_rng(11)
    grid = fes.Grid.over(gaussian(rng, 1, 100), ("a",), None)
    first, second, third = (counts_of(gaussian(rng, 1, 100, s), (100,), grid) for s in (0, 0.3, 0.6))
    separate = [fes.mean_distance([x], [first]) for x in (second, third)]
    assert fes.mean_distance([second, third], [first, first]) == pytest.approx(np.mean(separate))


@pytest.mark.parametrize(
    ("lengths", "inefficiency"),
    [((5000,), 1), ((5000,), 4000), ((40, 60), 3), ((100,) * 9, 500), ((7,) * 1000, 2), ((1,), 1), ((3, 1, 9000), 10)],
)
def test_blocks_tile_the_frames_and_never_cross_runs(lengths, inefficiency):
    cut = blocks(lengths, inefficiency)
    assert cut.edges[0] == 0 and cut.edges[-1] == sum(lengths) and (np.diff(cut.edges) > 0).all()
    assert len(cut) <= max(2 * blocks_module.MOST_BLOCKS, 1)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    if len(lengths) <= blocks_module.MOST_BLOCKS:
        assert set(starts) <= set(cut.edges)
        assert all(starts[r] <= a < starts[r + 1] for r, a in zip(cut.runs, cut.edges[:-1], strict=True))
    else:
        assert set(cut.edges) <= set(starts)


def test_blocks_say_when_they_are_shorter_than_the_correlation():
    assert blocks((5000, 5000), 100).enough
    assert not blocks((5000, 5000), 3000).enough
    assert not blocks((100,) * 20, 150).enough  # no run is as long as the correlation
