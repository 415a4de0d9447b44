"""Histograms, free energies and populations against known densities; coverage of intervals over repeated draws."""

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
from known_chains import frames_of, histogram_of, simulate
from scipy.integrate import quad

from cgsurrogate.analysis.free_energy import populations, surfaces
from cgsurrogate.core import statistics
from cgsurrogate.core import statistics as blocks_module
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.core.statistics import blocks, statistical_inefficiency


def potential(x):
    """A double well in kT, barrier 3."""
    return 3 * (x * x - 1) ** 2


EDGES = np.linspace(-2, 2, 21)
WELL = surfaces.Grid(("x",), (EDGES,), (False,))
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
    surface = surfaces.surface(histogram_of(values, (200_000,), WELL), 2.5, rng)
    p = exact()
    seen = p > 0.002
    assert np.nanmin(surface.free_energy) == 0 and surface.outside == 0
    assert np.abs(surface.free_energy - 2.5 * (-np.log(p) + np.log(p.max())))[seen].max() < 0.15
    assert surface.probability.sum() == pytest.approx(1)
    nothing = surfaces.surface(histogram_of(np.full((100, 1), 1.0), (100,), WELL), 2.5, rng)
    assert np.isnan(nothing.free_energy).sum() == 19 and np.isnan(nothing.error).sum() == 19


@pytest.mark.parametrize(("runs", "length", "chains"), [(1, 4000, False), (16, 300, False), (24, 600, True)])
def test_error_bars_cover_the_truth(runs, length, chains):
    """|ln p - ln exact| < 1.96 errors in 90 to 98 of 100 cases, for independent draws and for correlated chains."""
    rng, p, inside, wanted = np.random.default_rng(1), exact(), [], exact() > 0.01
    for _ in range(40 if chains else 120):
        values = metropolis(rng, runs, length) if chains else rng.choice(FINE, runs * length, p=DENSITY)[:, None]
        frames = frames_of((length,) * runs)
        inefficiency = statistical_inefficiency(values, frames.runs)
        surface = surfaces.surface(histogram_of(values, frames.lengths, WELL, inefficiency), 1.0, rng)
        with np.errstate(divide="ignore"):
            inside.append(np.abs(np.log(surface.probability / p))[wanted] < 1.96 * surface.error[wanted])
    assert 0.90 <= np.mean(inside) <= 0.98


def test_weights_recover_the_density_from_a_biased_sample():
    rng = np.random.default_rng(2)
    flat = rng.uniform(-2, 2, (100_000, 1))
    weighted = surfaces.surface(histogram_of(flat, (100_000,), WELL, weights=np.exp(-potential(flat[:, 0]))), 1.0, rng)
    centre = exact() > 0.01
    assert (np.abs(np.log(weighted.probability / exact()))[centre] < 4.5 * weighted.error[centre]).all()
    assert weighted.error[centre].max() < 0.1
    # an error bar knows of the weights: in the wells it is larger than that of as many unweighted samples
    well = exact() > 0.1
    plain = surfaces.surface(histogram_of(rng.choice(FINE, 100_000, p=DENSITY)[:, None], (100_000,), WELL), 1.0, rng)
    assert (weighted.error[well] > plain.error[well]).all()


def test_periodic_axes_do_not_see_whole_turns_and_others_count_what_lies_outside():
    rng = np.random.default_rng(3)
    angles = rng.vonmises(3.0, 2.0, (5000, 2))
    grid = surfaces.Grid.over(angles, ("phi", "psi"), 2 * math.pi)
    assert grid.shape == (50, 50) and grid.edges[0][0] == -math.pi and grid.edges[0][-1] == math.pi
    first = histogram_of(angles, (5000,), grid)
    turned = histogram_of(angles + 2 * math.pi * rng.integers(-2, 3, (5000, 2)), (5000,), grid)
    assert np.abs(first.probability - turned.probability).sum() < 1e-6 and turned.outside == 0
    # pi itself belongs to a bin
    assert histogram_of(np.full((10, 2), np.float32(np.pi)), (10,), grid).probability.sum() == pytest.approx(1)

    line = surfaces.Grid.over(rng.uniform(0, 1, (1000, 1)), ("x",), None)
    off = histogram_of(np.array([[-3.0], [0.5], [0.5], [9.0]]), (4,), line)
    assert off.outside == 0.5 and off.probability[0] == 0.25 and off.probability[-1] == 0.25


def test_a_usual_reference_is_never_outside_although_values_are_float32():
    values = np.random.default_rng(4).normal(size=(10_000, 2)).astype(np.float32)
    grid = surfaces.Grid.over(values, ("a", "b"), None)
    assert histogram_of(values, (10_000,), grid).outside == 0
    assert [(e[0], e[-1]) for e in grid.edges] == [(c.min(), c.max()) for c in values.T]


@pytest.mark.parametrize(("count", "far"), [(50, 1), (500, 1), (20_000, 8)])
def test_frames_that_lie_far_off_do_not_coarsen_the_bins_and_are_told(count, far):
    """At both ends, 1000 standard deviations away: bins are at most 1.5 times as wide as without them."""
    values = np.random.default_rng(5).normal(size=(count, 1))
    usual = surfaces.Grid.over(values, ("x",), None)
    spoiled = np.concatenate([values, np.full((far, 1), 1000.0), np.full((far, 1), -1000.0)])
    grid = surfaces.Grid.over(spoiled, ("x",), None)
    assert np.ptp(grid.edges[0]) < 1.51 * np.ptp(usual.edges[0])
    assert grid.edges[0][0] <= np.quantile(values, 0.001) and grid.edges[0][-1] >= np.quantile(values, 0.999)
    counted = histogram_of(spoiled, (len(spoiled),), grid, smooth=True)
    assert counted.outside >= 2 * far / len(spoiled) and counted.weights.sum() == pytest.approx(len(spoiled))
    density = np.nansum(counted.smooth) * np.diff(grid.edges[0])[0]
    assert density == pytest.approx(len(spoiled) * (1 - counted.outside), rel=0.02)  # no spike at the edge


def test_a_tenth_of_a_per_cent_is_no_outlier_and_a_constant_has_bins_about_it():
    state = np.r_[np.zeros(9980), np.full(20, 7.0)][:, None] + np.random.default_rng(6).normal(size=(10_000, 1)) * 0.1
    grid = surfaces.Grid.over(state, ("x",), None)
    assert histogram_of(state, (10_000,), grid).outside == 0
    for values in (np.full((100, 1), 2.0), np.r_[np.full(99, 2.0), 3.0][:, None], np.array([[1.0]])):
        edges = surfaces.Grid.over(values, ("x",), None).edges[0]
        assert edges[0] < edges[-1] and edges[0] <= values.min() and edges[-1] >= values.max()


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


def test_groups_of_runs_are_blocks_and_too_few_of_them_are_not_used():
    cut = blocks((5, 3, 4, 9, 2), 1.0, (7, 7, 2, 4, 4))
    assert cut.edges.tolist() == [0, 8, 12, 23] and cut.runs.tolist() == [0, 1, 2] and not cut.enough
    assert len(blocks((500, 300), 1.0, (0, 1))) > 2
    many = blocks((2,) * 900, 1.0, np.arange(900) // 3)
    assert len(many) == blocks_module.MOST_BLOCKS and set(many.edges) <= set(range(0, 1801, 6)) and many.enough


def test_intervals_of_exchanging_replicas_hold_the_truth_only_by_whole_ladders():
    """Frames of a ladder in any order share what their few slow replicas do, and a correlation along them is none."""
    rng, right = np.random.default_rng(4), {True: 0, False: 0}
    lengths, truth, repeats = (50,) * 16, 0.4, 150
    frames = frames_of(lengths)
    grouped = dataclasses.replace(
        frames,
        provenance=Provenance(exchange={"temperatures": [300, 350]}, ladders=(*np.repeat(np.arange(8), 2).tolist(),)),
    )
    assert statistics.groups(frames) is None and statistics.groups(grouped) == tuple(np.repeat(np.arange(8), 2))
    for _ in range(repeats):
        slow = rng.random((8, 3)) < truth  # three replicas that never cross, and hop in and out of the lowest rung
        labels = np.concatenate([one[rng.integers(0, 3, 100)] for one in slow]).astype(int)
        for by_ladder in (True, False):
            cut = blocks(lengths, 1.0, statistics.groups(grouped) if by_ladder else None)
            found, _ = populations.populations(populations.state_histogram(labels, 2, frames, cut), rng)
            right[by_ladder] += found.low[1] <= truth <= found.high[1]
    assert right[True] / repeats > 0.88 and right[False] / repeats < 0.6


def test_blocks_say_when_they_are_shorter_than_the_correlation():
    assert blocks((5000, 5000), 100).enough
    assert not blocks((5000, 5000), 3000).enough
    assert not blocks((100,) * 20, 150).enough  # no run is as long as the correlation


@pytest.mark.parametrize(
    ("matrix", "runs", "length", "repeats"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], 1, 3000, 200),
        ([[0.98, 0.02], [0.04, 0.96]], 4, 1200, 200),
        ([[0.97, 0.03, 0], [0.03, 0.967, 0.003], [0, 0.03, 0.97]], 12, 1000, 100),
    ],
)
def test_intervals_of_populations_and_free_energies_of_a_markov_chain_cover(matrix, runs, length, repeats):
    """One run, four runs, and a third state of a few per cent behind the second: 90 to 98 of 100 intervals."""
    rng, matrix, shares, energies = np.random.default_rng(12), np.array(matrix), [], []
    p = np.linalg.matrix_power(matrix, 100_000)[0]
    everything = simulate(rng, matrix, p, repeats * runs, length)
    frames = frames_of((length,) * runs)
    for labels in everything.reshape(repeats, -1):
        cut = blocks(frames.lengths, statistical_inefficiency(np.eye(len(matrix))[labels], frames.runs))
        population, energy = populations.populations(populations.state_histogram(labels, len(matrix), frames, cut), rng)
        exact_energy = -frames.kT * np.log(p / p[0])
        shares.append((population.low <= p) & (p <= population.high))
        energies.append(((energy.low <= exact_energy) & (exact_energy <= energy.high))[1:])
    assert 0.90 <= np.mean(shares) <= 0.98 and 0.90 <= np.mean(energies) <= 0.98


def test_populations_are_shares_of_all_frames_and_use_weights():
    rng = np.random.default_rng(13)
    labels = np.tile([0, 0, 1, -1, 0, 1, -1, 0], 100)
    frames = frames_of((400, 400))
    population, energy = populations.populations(
        populations.state_histogram(labels, 3, frames, blocks(frames.lengths)), rng
    )
    np.testing.assert_allclose(population.value, [1 / 2, 1 / 4, 0])
    assert energy.value[0] == 0 and energy.value[1] == pytest.approx(frames.kT * math.log(2))
    assert population.low[2] == 0 and 0 < population.high[2] < 0.1 and np.isnan(energy.value[2])
    assert (population.low <= population.value).all() and (population.value <= population.high).all()
    heavy = frames_of((400, 400), weights=np.where(labels == 1, 2.0, 1.0))
    weighted, _ = populations.populations(populations.state_histogram(labels, 2, heavy, blocks(heavy.lengths)), rng)
    np.testing.assert_allclose(weighted.value, [0.4, 0.4])
    single, _ = populations.populations(
        populations.state_histogram(np.array([0]), 2, frames_of((1,)), blocks((1,))), rng
    )
    assert single.value[0] == 1 and np.isfinite(single.low).all()


def test_wrong_labels_are_one_clear_line():
    frames, rng = frames_of((10,)), np.random.default_rng(0)
    cut = blocks(frames.lengths)
    with pytest.raises(ValueError, match=r"whole numbers below 2, one state a frame, got int64 \(10,\), up to 2"):
        populations.populations(populations.state_histogram(np.full(10, 2), 2, frames, cut), rng)
    nowhere, energy = populations.populations(populations.state_histogram(np.full(10, -1), 2, frames, cut), rng)
    assert (nowhere.value == 0).all() and (nowhere.high > 0).all() and np.isnan(energy.value).all()
