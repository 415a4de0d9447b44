"""Kernel estimates against pymbar and known densities; ends, circles, weights, blanks and error bars."""

import logging
import math
import warnings

import numpy as np
import pytest
from known_chains import histogram_of
from scipy.stats import norm, vonmises

from cgsurrogate.analysis.free_energy import kernel_density, surfaces
from cgsurrogate.core.statistics import kish

LINE = surfaces.Grid(("x",), (np.linspace(-5, 5, 101),), (False,))
CIRCLE = surfaces.Grid(("phi",), (np.linspace(-np.pi, np.pi, 101),), (True,))
MIDDLES = (LINE.edges[0][1:] + LINE.edges[0][:-1]) / 2


def histogram(values, grid, weights=None, lengths=None):
    values = values.reshape(len(values), -1)
    return histogram_of(values, lengths or (len(values),), grid, weights=weights, smooth=True)


def density(counts):
    """(bins,) of the whole sample, per unit of the axes."""
    return counts.smooth.sum(0, dtype=float) / counts.weights.sum(dtype=float)


@pytest.fixture(scope="module")
def pymbar_fes():
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    pymbar = pytest.importorskip("pymbar")

    def estimate(x, log_weights, kind, where, **parameters):
        """(bins,) free energy in kT above its lowest, by pymbar, of a single state reweighted."""
        made = pymbar.FES(np.zeros((1, len(x))), np.array([len(x)]))
        made.generate_fes(-log_weights, x, fes_type=kind, **parameters)
        return made.get_fes(where, reference_point="from-lowest")["f_i"]

    return estimate


def test_histogram_and_kernel_agree_with_pymbar_under_weights(pymbar_fes):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-1.5, 0.4, 3000), rng.normal(1, 0.7, 3000)])
    log_weights = 0.5 * x - 0.1 * x**2
    surface = surfaces.surface(counts := histogram(x, LINE, np.exp(log_weights)), 1.0, rng)
    filled = counts.probability > 0
    known = pymbar_fes(
        x, log_weights, "histogram", MIDDLES[filled], histogram_parameters={"bin_edges": [LINE.edges[0]]}
    )
    np.testing.assert_allclose(surface.free_energy[filled], known, atol=1e-5)
    width = {"kde_parameters": {"bandwidth": counts.bandwidths[0]}}
    seen = np.isfinite(surface.kernel) & (surface.kernel < 6)
    known = pymbar_fes(x, log_weights, "kde", MIDDLES, **width)
    assert np.abs(surface.kernel - (known - known.min()))[seen].max() < 0.02


def test_two_dimensions_are_the_sum_of_one_gaussian_a_frame():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4000, 2)) * [0.5, 1.0] + [[1.0, 0.0]]
    weights = rng.random(4000)
    edges = np.linspace(-5, 5, 51)
    grid = surfaces.Grid(("a", "b"), (edges, edges), (False, False))
    counts = histogram(x, grid, weights)
    middles = (edges[1:] + edges[:-1]) / 2
    where = np.stack(np.meshgrid(middles, middles, indexing="ij")).reshape(2, -1)
    direct = np.zeros(where.shape[1])
    for (a, b), w in zip(x, weights / weights.sum(), strict=True):
        direct += w * norm.pdf(where[0], a, counts.bandwidths[0]) * norm.pdf(where[1], b, counts.bandwidths[1])
    known = np.isfinite(density(counts))
    np.testing.assert_allclose(density(counts)[known], direct[known], atol=0.02 * direct.max())


def test_silvermans_rule_for_a_normal_distribution():
    x = np.random.default_rng(2).normal(0, 0.8, 10_000)
    weights = np.random.default_rng(3).exponential(size=10_000)
    assert histogram(x, LINE).bandwidths[0] == pytest.approx(0.9 * 0.8 * 10_000**-0.2, rel=0.03)
    assert histogram(x, LINE, weights).bandwidths[0] == pytest.approx(0.9 * 0.8 * kish(weights) ** -0.2, rel=0.05)
    # two wells far apart do not make it wide
    two = np.concatenate([x[:5000] * 0.2 - 3, x[5000:] * 0.2 + 3])
    assert histogram(two, LINE).bandwidths[0] < 0.2


def test_on_a_circle_the_estimate_does_not_know_where_the_circle_was_cut():
    x = np.random.default_rng(4).vonmises(0.0, 4.0, 20_000)
    one, other = histogram(x, CIRCLE), histogram(x + math.pi, CIRCLE)
    np.testing.assert_allclose(density(other), np.roll(density(one), 50), rtol=0.02, atol=0.002)
    middles = (CIRCLE.edges[0][1:] + CIRCLE.edges[0][:-1]) / 2
    assert np.abs(density(other) - vonmises.pdf(middles - math.pi, 4.0)).max() < 0.05
    assert np.nansum(density(one)) * (middles[1] - middles[0]) == pytest.approx(1, abs=0.01)
    surface = surfaces.surface(other, 2.5, np.random.default_rng(0))
    assert surface.kernel[0] == pytest.approx(surface.kernel[-1], abs=0.1)


def test_at_the_end_of_the_range_nothing_leaks_out():
    """A flat density between the edges stays flat up to them; without a correction it would halve at the end."""
    x = np.random.default_rng(5).uniform(0, 1, 50_000)
    counts = histogram(x, surfaces.Grid(("x",), (np.linspace(0, 1, 101),), (False,)))
    assert np.abs(density(counts) - 1).max() < 0.1 and density(counts).mean() == pytest.approx(1, abs=0.01)


def test_what_lies_outside_makes_no_spike_at_the_end():
    rng = np.random.default_rng(6)
    inside = rng.normal(0, 0.5, 2000)
    far = np.concatenate([inside, np.full(1000, 30.0)])
    counts = histogram(far, LINE)
    assert counts.outside == pytest.approx(1 / 3) and np.isnan(density(counts)[-1])
    assert counts.probability[-1] == pytest.approx(1 / 3)
    everything = histogram(np.full(100, 30.0), LINE)
    assert np.isnan(everything.smooth).all() and np.isnan(surfaces.surface(everything, 1.0, rng).kernel).all()


def test_blank_far_from_every_sample_and_nowhere_else():
    x = np.random.default_rng(7).normal(size=5000) * 0.3
    counts = histogram(x, LINE)
    gap = np.abs(MIDDLES[:, None] - x).min(1)
    blank = np.isnan(density(counts))
    width = counts.bandwidths[0]
    assert (
        blank[gap > (kernel_density.REACH + 0.2) * width].all()
        and not blank[gap < (kernel_density.REACH - 0.2) * width].any()
    )
    surface = surfaces.surface(counts, 2.5, np.random.default_rng(0))
    assert np.isnan(surface.kernel[blank]).all() and np.isnan(surface.kernel_error[blank]).all()
    assert np.nanmin(surface.kernel) == 0 and np.isfinite(surface.kernel_error[~blank]).mean() > 0.9


def test_error_bars_of_the_kernel_cover_its_mean():
    """Around the expectation of the estimate (its bias is the price of its smoothness): 90 to 98 in 100."""
    rng, inside, found = np.random.default_rng(8), [], []
    width = histogram(rng.normal(size=1500), LINE).bandwidths[0]
    mean = norm.pdf(MIDDLES, 0, math.hypot(1, width))
    seen = mean > 0.02
    for _ in range(60):
        counts = histogram(rng.normal(size=1500), LINE, lengths=(100,) * 15)
        surface = surfaces.surface(counts, 1.0, rng)
        off = np.log(density(counts) / mean)
        inside.append(np.abs(off)[seen] < 1.96 * surface.kernel_error[seen])
        found.append(np.nanmedian(surface.kernel_error[seen] / surface.error[seen]))
    assert 0.90 <= np.mean(inside) <= 0.98
    assert np.median(found) < 0.8  # smoother than the histogram


def test_a_variable_of_few_values_has_no_kernel_estimate_and_says_so_without_a_warning():
    """A share of four windows takes five values: a histogram shows them, a density between them would be made up."""
    rng = np.random.default_rng(5)
    values = rng.integers(0, 5, (2000, 1)) / 4
    grid = surfaces.Grid.over(values, ("share",), None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = surfaces.surface(histogram(values, grid, lengths=(1000, 1000)), 2.5, rng)
    assert np.isnan(found.kernel).all() and np.isfinite(found.free_energy).sum() == 5
