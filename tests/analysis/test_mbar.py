"""Weights of biased simulations give back a known density; their effective number, and what is said of bad ones."""

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from cgsurrogate.analysis import mbar
from cgsurrogate.analysis.free_energy import surfaces
from cgsurrogate.core import units
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import blocks

ONE = Beads(("CA",), (0,), (1.0,), (0,), ("ALA",))
T = 300.0
KT = units.thermal_energy(T)
EDGES = np.linspace(-2, 2, 21)
WELL = surfaces.Grid(("x",), (EDGES,), (False,))
FINE = np.linspace(-2, 2, 4001)


def well(x):
    """A double well in kT, barrier 6, the right side 1 higher."""
    return 6 * (x * x - 1) ** 2 + 0.5 * x


def exact():
    z = np.array([quad(lambda x: np.exp(-well(x)), a, b)[0] for a, b in pairwise(EDGES)])
    return z / z.sum()


def draw(rng, number, bias):
    """Independent samples of the well under a bias in kT."""
    p = np.exp(-well(FINE) - bias(FINE))
    return rng.choice(FINE, number, p=p / p.sum()) + rng.uniform(-5e-4, 5e-4, number)


def frames_of(lengths, weights):
    return Frames(ONE, np.zeros((sum(lengths), 1, 3), np.float32), lengths, 1.0, T, weights=weights)


def test_a_sample_without_barrier_reweights_to_the_double_well_and_its_intervals_cover():
    """A bias of minus most of the barrier; 90 to 98 of 100 intervals hold the exact difference, bins and all."""
    rng, p, wells, bins = np.random.default_rng(0), exact(), [], []

    def bias(x):
        return -4 * (x * x - 1) ** 2

    left = np.arange(20) < 10
    truth = -KT * math.log(p[left].sum() / p[~left].sum())
    seen = p > 0.01
    for _ in range(250):
        x = draw(rng, 2000, bias)
        frames = frames_of((500,) * 4, mbar.from_bias(KT * bias(x), T))
        counts = surfaces.count(x[:, None], frames, WELL, blocks(frames.lengths))
        between = surfaces.difference(counts, left, ~left, KT, rng)
        wells.append(between.low <= truth <= between.high)
        surface = surfaces.surface(counts, KT, rng)
        bins.append(np.abs(np.log(surface.probability / p) * KT)[seen] < 1.96 * surface.error[seen])
    assert 0.90 <= np.mean(wells) <= 0.985 and 0.90 <= np.mean(bins) <= 0.98


@pytest.fixture(scope="module")
def umbrellas():
    """(biases (K, T) kJ/mol, counts, x) of harmonic windows along the well."""
    rng = np.random.default_rng(1)
    centres, counts = np.linspace(-1.6, 1.6, 9), np.array([1500, 2000, 1000, 2500, 1500, 1500, 2000, 1000, 2000])
    x = np.concatenate([draw(rng, n, lambda y, c=c: 10 * (y - c) ** 2) for c, n in zip(centres, counts, strict=True)])
    return KT * 10 * (x - centres[:, None]) ** 2, counts, x


def test_umbrella_windows_give_back_the_double_well_within_errors(umbrellas):
    biases, counts, x = umbrellas
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        weights = mbar.mbar(biases, counts, T)
    assert weights.mean() == pytest.approx(1) and weights.min() > 0
    frames = frames_of(tuple(int(n) for n in counts), weights)
    table = surfaces.count(x[:, None], frames, WELL, blocks(frames.lengths))
    surface, p = surfaces.surface(table, KT, np.random.default_rng(0)), exact()
    seen = p > 1e-4
    off = KT * np.log(surface.probability / p)[seen]
    assert np.abs(off).max() < 0.25 * KT  # a bin of p = 1e-4 would hold two of 15,000 unbiased frames
    assert (np.abs(off) < 3 * surface.error[seen]).mean() > 0.95
    unweighted = np.histogram(x, EDGES)[0] / len(x)
    assert np.abs(np.log(unweighted / p))[seen].max() > 2  # the windows alone say nothing


def test_mbar_of_one_state_is_the_exponential_and_of_no_bias_is_uniform(umbrellas):
    biases, counts, _ = umbrellas
    one = biases[3:4, : counts[0]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(mbar.mbar(one, counts[:1], T), mbar.from_bias(one[0], T), rtol=1e-6)
    none = np.zeros((2, 10))
    np.testing.assert_allclose(mbar.mbar(none, np.array([4, 6]), T), 1.0)
    # a constant in a bias changes nothing
    shifted = biases + np.arange(len(counts))[:, None]
    np.testing.assert_allclose(mbar.mbar(shifted, counts, T), mbar.mbar(biases, counts, T), rtol=1e-4)


def test_effective_number_of_weights():
    assert mbar.effective(np.full(50, 3.0)) == pytest.approx(50)
    assert mbar.effective(np.r_[np.ones(10), np.zeros(90)]) == pytest.approx(10)
    # weights exp(s z) of a normal z are worth exp(-s^2) of the frames
    z = np.random.default_rng(2).normal(size=400_000)
    assert mbar.effective(np.exp(0.7 * z)) / len(z) == pytest.approx(math.exp(-0.49), rel=0.02)


def test_huge_biases_do_not_overflow_and_bad_weights_are_pointed_out():
    weights = mbar.from_bias(np.array([1e6, 1e6 - 1.0, 1e6 - 2.0]), T)
    assert np.isfinite(weights).all() and weights[0] / weights[1] == pytest.approx(math.exp(1 / KT))
    with pytest.warns(UserWarning, match="worth 1 of 1000 frames"):
        mbar.from_bias(np.r_[100.0, np.zeros(999)], T)


def test_windows_that_do_not_meet_are_pointed_out():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(c, 0.05, 300) for c in (-1, 1)])
    biases = KT * 200 * (x - np.array([[-1.0], [1.0]])) ** 2
    with pytest.warns(UserWarning, match="2 groups"):
        mbar.mbar(biases, np.array([300, 300]), T)


def test_wrong_input_is_one_clear_line():
    with pytest.raises(ValueError, match=r"one finite bias in kJ/mol a frame"):
        mbar.from_bias(np.array([0.0, np.nan]), T)
    with pytest.raises(ValueError, match=r"counts that sum to T, got \(2, 5\)"):
        mbar.mbar(np.zeros((2, 5)), np.array([2, 2]), T)
    with pytest.raises(ValueError, match="bias of state 1 is not finite at frame 3"):
        biases = np.zeros((2, 5))
        biases[1, 3] = np.inf
        mbar.mbar(biases, np.array([2, 3]), T)
