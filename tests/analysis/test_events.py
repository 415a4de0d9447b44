"""Intervals where little happens: events by hand, and coverage that blocks alone do not have."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from known_chains import frames_of, simulate

from cgsurrogate.analysis import events
from cgsurrogate.analysis.kinetics import transitions
from cgsurrogate.analysis.results import Estimate, LogDifference
from cgsurrogate.core.statistics import blocks, statistical_inefficiency


def test_visits_are_those_counted_by_hand():
    rng = np.random.default_rng(0)
    for _ in range(100):
        frames = frames_of(tuple(rng.integers(1, 12, 3)))
        labels = rng.integers(-1, 3, len(frames))
        found = events.visits(labels, 3, frames)
        for state in range(3):
            entries, exits, dwells = 0, 0, {True: [], False: []}
            for run in frames.runs:
                inside = labels[run] == state
                steps = np.diff(inside.astype(int))
                entries, exits = entries + (steps == 1).sum(), exits + (steps == -1).sum()
                for part in np.split(inside, np.flatnonzero(steps) + 1):
                    dwells[bool(part[0])].append(len(part))
            worth = [2 * sum(d) ** 2 / sum(x * x for x in d) if d else 0 for d in dwells.values()]
            assert (found.entries[state], found.exits[state]) == (entries, exits)
            assert found.inside[state] == sum(dwells[True]) and found.outside[state] == sum(dwells[False])
            assert found.events[state] == pytest.approx(min((entries + exits) / 2, *worth))


def test_many_exponential_visits_count_in_full_and_a_border_crossed_back_and_forth_does_not():
    rng = np.random.default_rng(1)
    matrix = np.array([[0.99, 0.01], [0.03, 0.97]])
    frames = frames_of((50_000,) * 2)
    labels = simulate(rng, matrix, np.array([0.75, 0.25]), 2, 50_000)
    found = events.visits(labels, 2, frames)
    assert (found.events > 0.85 * found.entries).all()
    jitter = np.where(rng.random(len(labels)) < 0.3, 1 - labels, labels)  # now most visits last a frame
    several = np.where(np.convolve(np.abs(np.diff(labels, prepend=labels[0])), np.ones(20), "same") > 0, jitter, labels)
    shaken = events.visits(several, 2, frames)
    assert (shaken.entries > 3 * found.entries).all() and (shaken.events < 1.3 * found.events).all()


def test_the_fewer_events_the_wider_and_none_says_nothing():
    n = np.array([0.0, 0.9, 1.0, 3.0, 10.0, 1e8])
    low, high = events.rate_factors(n)
    assert low[0] == low[1] == 0 and np.isinf(high[:2]).all()
    assert (np.diff(low[2:]) > 0).all() and (np.diff(high[2:]) < 0).all() and low[-1] == pytest.approx(1, abs=0.01)
    found = Estimate(np.full(6, 5.0), np.full(6, 4.9), np.full(6, 5.1))
    times = events.times(found, n)
    assert np.isnan(times.low[:3]).all() and np.isfinite(times.low[3:]).all()
    assert times.high[4] / 5 == pytest.approx(1 / low[4]) and times.low[-1] == 4.9  # blocks where they are wider
    ratio = events.ratios(found, n)
    assert np.isnan(ratio.high[:3]).all() and ratio.high[3] - 5 == pytest.approx(5 - ratio.low[3])
    error = events.seen_error(n)
    assert np.isnan(error[:3]).all() and error[3] > 0.7 and error[-1] == pytest.approx(1e-4)


def test_the_slowest_of_two_uncertain_times_is_between_the_largest_ends():
    found = Estimate(np.array([50.0, 40.0, 5.0]), np.array([48.0, 38.0, 4.9]), np.array([52.0, 42.0, 5.1]))
    many = events.ranked(found, np.array([1000.0, 6.0, 1000.0]))
    assert 45 < many.low[0] < 50 and many.high[0] == pytest.approx(40 / events.rate_factors(6.0)[0])
    assert many.low[1] < 40 and many.high[1] < 55
    few = events.ranked(found, np.array([1000.0, 2.0, 1000.0]))  # the second may be slower than the first
    assert few.high[0] > 100 and np.isnan(few.low[1])
    unknown = events.ranked(Estimate(found.value, np.full(3, np.nan), np.full(3, np.nan)), np.full(3, 100.0))
    assert np.isnan(unknown.low).all() and np.isnan(unknown.high).all()  # one block


@pytest.mark.parametrize("expected", [1.5, 5.0])
def test_a_rare_state_of_few_visits_is_held_by_its_intervals(expected):
    """A state of 2 %, 120 repeats in four runs: 95 -+ 2 % of those that saw it."""
    rng, leave, share = np.random.default_rng(2), 0.01, 0.02
    enter = leave * share / (1 - share)
    matrix, p = np.array([[1 - enter, enter], [leave, 1 - leave]]), np.array([1 - share, share])
    length = round(expected / enter / 4)
    frames, inside, energies = frames_of((length,) * 4), [], []
    for labels in simulate(rng, matrix, p, 120 * 4, length).reshape(120, -1):
        if not labels.any():
            continue  # bounded as if it lasted no longer than what was seen
        cut = blocks(frames.lengths, statistical_inefficiency(labels[:, None].astype(float), frames.runs))
        k = transitions.measure(labels, ("A", "B"), frames, cut, rng)
        inside.append(k.populations.low[1] <= share <= k.populations.high[1])
        truth, held = -frames.kT * np.log(p[1] / p[0]), (k.free_energies.low[1], k.free_energies.high[1])
        energies += [held[0] <= truth <= held[1]] if np.isfinite(held[0]) else []
    assert np.mean(inside) >= 0.91 and (len(energies) < 60 or np.mean(energies) >= 0.9)


def test_differences_of_logarithms_add_both_errors_in_squares():
    reference, own = Estimate(np.array([10.0]), np.array([5.0]), np.array([20.0])), Estimate([30.0], [20.0], [45.0])
    found = LogDifference.of(reference, own)
    assert found.value == pytest.approx(np.log(3)) and found.factor == pytest.approx(2)
    assert found.high - found.value == pytest.approx(np.hypot(np.log(1.5), np.log(2)))
    unknown = LogDifference.of(Estimate([10.0], [np.nan], [20.0]), own)
    assert np.isnan(unknown.value).all() and np.isnan(unknown.low).all()
    assert np.isnan(LogDifference.of(Estimate([10.0], [0.0], [20.0]), own).low).all()


@pytest.fixture(scope="module")
def coverage():
    """The benchmark."""
    path = Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"
    spec = importlib.util.spec_from_file_location("interval_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_errors_of_surfaces_hold_the_truth_also_where_it_was_seldom_seen(coverage):
    """80 repeats: standard errors of 1 % and 2 %; by the spread of blocks alone 80 % above 4 kT."""
    found = coverage.of_surfaces(3, 1200, 3.5, 80, np.random.default_rng(0))
    assert found["surface below 4 kT"].coverage > 0.92 and found["surface above 4 kT"].coverage > 0.87


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("rare, 9 runs", 0.87), ("slow, 3 short runs", 0.87)])
def test_intervals_of_few_events_hold_the_truth(coverage, name, least):
    """40 repeats; by blocks alone the timescales held it in 70 and 84 of 100."""
    case = next(case for case in coverage.CASES if case.name == name)
    for kind, tally in coverage.coverage(case, 40).items():
        assert tally.coverage + 2 * tally.error > 0.92 and tally.coverage > least, (kind, tally.coverage)
