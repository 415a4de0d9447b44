"""Convergence: halves that agree are told from halves that do not, round trips are counted, wall time is found."""

import math

import known_chains
import numpy as np
import pytest
import torch  # noqa: F401  (the simulation below)
from known_chains import autoregressive
from walks import Walk, interrupted, run

from cgsurrogate.analysis import convergence
from cgsurrogate.analysis.free_energy.surfaces import Grid
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import blocks, statistical_inefficiency
from cgsurrogate.simulation.checkpoint import read


def frames_of(lengths, weights=None, **known):
    return known_chains.frames_of(lengths, 1.0, weights).with_provenance(**known)


def halves(values, lengths, cut=None, weights=None, seed=0):
    values = np.asarray(values, float).reshape(sum(lengths), -1)
    frames = frames_of(lengths, weights)
    grid = Grid.over(values, tuple("ab"[: values.shape[1]]), None, 20)
    cut = cut or blocks(lengths, statistical_inefficiency(values, frames.runs))
    return convergence.halves([(grid, values)], frames, cut, np.random.default_rng(seed))


def test_equal_halves_are_zero_apart_and_disjoint_ones_as_far_as_can_be():
    once = np.random.default_rng(0).normal(size=100)
    own, _ = halves(np.tile(once, 4), (200, 200))
    assert own == 0
    own, floor = halves(np.tile(np.repeat([0.0, 1.0], 500), 2), (1000, 1000), blocks((1000, 1000), 10.0))
    assert own == pytest.approx(math.sqrt(math.log(2))) and floor < own


def test_weights_decide_what_a_half_holds():
    values = np.tile(np.concatenate([np.zeros(100), np.tile([0.0, 1.0], 50)]), 3)
    weights = np.tile(np.concatenate([np.ones(100), np.tile([1.0, 0.0], 50)]), 3)
    cut = blocks((200, 200, 200), 5.0)
    assert halves(values, (200,) * 3, cut)[0] > 0.3
    assert halves(values, (200,) * 3, cut, weights)[0] == 0


def test_runs_in_equilibrium_are_rarely_beyond_the_floor_and_drifting_ones_are():
    rng = np.random.default_rng(1)
    beyond = 0
    for seed in range(100):
        own, floor = halves(autoregressive(rng, 8, 1000, 0.9), (1000,) * 8, seed=seed)
        beyond += own > floor
    assert beyond <= 15
    drift = np.linspace(0, 2, 1000)
    for seed in range(5):
        values = autoregressive(rng, 8, 1000, 0.9) + np.tile(drift, 8)
        own, floor = halves(values, (1000,) * 8, seed=seed)
        assert own > floor


def test_few_blocks_have_no_floor_and_one_frame_no_halves():
    own, floor = halves(
        np.arange(30.0), (30,), blocks((1,), 1.0).__class__(np.array([0, 30]), np.array([0]), 1.0, False)
    )
    assert own > 0 and math.isnan(floor)
    own, _ = halves([1.0], (1,), blocks((1,)))
    assert math.isnan(own)


def test_thinning_long_data_changes_little(monkeypatch):
    values = autoregressive(np.random.default_rng(2), 1, 40_000, 0.9)
    whole = halves(values, (20_000, 20_000))
    monkeypatch.setattr(convergence, "MOST_FRAMES", 8000)
    few = halves(values, (20_000, 20_000))
    assert np.allclose(whole, few, atol=0.03)


def test_round_trips_are_counted_within_runs_only():
    path = [0, 5, 9, 5, 0, 9, 9, 4, 1, 5, 9]  # up, down, up, down, up: two and a half
    values, ends = np.array(path, float), (1.0, 9.0)
    assert convergence.round_trips(values, (slice(0, 11),), ends) == 2
    assert convergence.round_trips(values, (slice(0, 4), slice(4, 11)), ends) == 1  # the first run goes up only
    assert convergence.round_trips(values, tuple(slice(k, k + 1) for k in range(11)), ends) == 0
    assert convergence.round_trips(np.full(11, 5.0), (slice(0, 11),), ends) == 0
    assert convergence.round_trips(values, (slice(0, 11),), (1.0, 1.0)) == 0


def test_the_ends_are_weighted_quantiles():
    values = np.arange(1000.0)
    low, high = convergence.ends(values, frames_of((1000,)))
    assert low == pytest.approx(100, abs=2) and high == pytest.approx(900, abs=2)
    weights = (values < 500).astype(float)
    low, high = convergence.ends(values, frames_of((1000,), weights))
    assert low == pytest.approx(50, abs=2) and high == pytest.approx(450, abs=2)


def test_effective_frames_of_a_known_process_and_of_weights():
    rng = np.random.default_rng(3)
    values = autoregressive(rng, 4, 20_000, 0.8)
    frames = frames_of((20_000,) * 4)
    cut = blocks(frames.lengths, statistical_inefficiency(values[:, None], frames.runs))
    assert convergence.effective(frames, cut) == pytest.approx(80_000 * 0.2 / 1.8, rel=0.15)
    weights = np.repeat([1.0, 0.0], 50)
    assert convergence.effective(frames_of((100,), weights), blocks((100,))) == pytest.approx(50)


def test_all_of_it_for_one_ensemble():
    values = np.tile([0.0, 1.0], 50)[:, None]
    frames = frames_of((100,), simulation={"seed": 1}, wall_seconds=20.0)
    cut = blocks((100,), 2.0)
    made = convergence.measure(frames, values, cut, {"TIC 1": (0.1, 0.2)}, (0.0, 1.0))
    assert made.effective == 50 and made.per_second == 2.5 and made.round_trips == 49
    assert made.halves == {"TIC 1": 0.1} and made.halves_floor == {"TIC 1": 0.2}


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, math.nan),
        ({"wall_seconds": 3}, 3.0),
        ({"wall_seconds": 0.0}, math.nan),
        ({"wall_seconds": 3.0, "ns_per_day": 0.0864}, 5000.0),
    ],
)
def test_wall_time_is_found_where_it_is_noted(known, expected):
    assert convergence.wall_seconds(frames_of((5,), **known)) == pytest.approx(expected, nan_ok=True)


def test_a_simulation_notes_its_wall_time_over_all_pieces(tmp_path, monkeypatch):
    """With a clock that ticks at every look, a continued simulation counts its first piece as well."""
    ticks = iter(range(10**9))
    monkeypatch.setattr("cgsurrogate.simulation.run.monotonic", lambda: float(next(ticks)))
    assert convergence.wall_seconds(run()) > 0
    interrupted(tmp_path, 20)
    before = read(tmp_path / "checkpoint.safetensors")[1].seconds
    assert before > 0
    frames = run(Walk(), tmp_path, checkpoint_every=0)
    once = convergence.wall_seconds(run(folder=tmp_path / "whole", checkpoint_every=0))
    assert before < convergence.wall_seconds(frames) and convergence.wall_seconds(frames) == pytest.approx(
        once, rel=0.2
    )
    assert convergence.wall_seconds(Frames.load(tmp_path)) == convergence.wall_seconds(frames)


def relaxing(rng, replicas, length, decay, away=3.0):
    """(replicas * length, 1): each starts from one of two far frames and forgets it as ``decay`` to the time."""
    noise = autoregressive(rng, replicas, length, decay).reshape(replicas, length)
    start = rng.choice([-away, away], replicas)
    return (noise + start[:, None] * decay ** np.arange(length)).reshape(-1, 1)


def starts(values, replicas, seed=0):
    length = len(values) // replicas
    runs = tuple(slice(k * length, (k + 1) * length) for k in range(replicas))
    return convergence.starts(values, runs, np.random.default_rng(seed))


def test_the_share_that_the_starts_explain_is_that_of_a_known_mixture():
    """Of a coordinate that keeps a share of its variance for ever, and of one that forgets."""
    rng = np.random.default_rng(4)
    basin = rng.normal(size=60)
    values = np.stack([autoregressive(rng, 60, 400, 0.9), rng.normal(size=24_000) * math.sqrt(0.6)], 1)
    values[:, 1] += np.repeat(basin, 400) * math.sqrt(0.4)
    values[::400, 1] = basin
    found = starts(values, 60)
    assert found.coordinate == 1 and found.remembered and found.burn_in == 200
    assert found.explained == pytest.approx(0.4, abs=0.1) and found.by_chance < 0.1
    assert not starts(values[:, :1], 60).remembered


def test_stationary_replicas_keep_their_frames_and_forget_what_they_started_from():
    rng, beyond, dropped = np.random.default_rng(5), 0, []
    for seed in range(40):
        found = starts(autoregressive(rng, 40, 400, 0.8).reshape(-1, 1), 40, seed)
        beyond += found.explained > found.by_chance
        dropped.append(found.burn_in)
    assert beyond <= 6 and np.median(dropped) <= 10 and max(dropped) <= 100


@pytest.mark.parametrize("decay", [0.9, 0.97])
def test_the_burn_in_is_a_few_times_the_memory(decay):
    rng, time = np.random.default_rng(6), -1 / math.log(decay)
    found = [starts(relaxing(rng, 100, 1000, decay), 100, seed).burn_in for seed in range(10)]
    assert time < np.median(found) < 10 * time
    few = [starts(relaxing(rng, 4, 1000, decay, away=20.0), 4).burn_in for _ in range(10)]
    assert time < np.median(few) <= 500


def test_all_replicas_that_drift_together_are_not_settled_before_they_have_arrived():
    values = autoregressive(np.random.default_rng(7), 50, 800, 0.5).reshape(50, 800) + 4 * np.exp(-np.arange(800) / 40)
    assert 80 < starts(values.reshape(-1, 1), 50).burn_in <= 300


def test_frozen_replicas_are_counted_and_explain_all_and_few_frames_say_nothing():
    rng = np.random.default_rng(8)
    still = np.repeat(rng.normal(size=(30, 2)), 50, 0)
    found = starts(still, 30)
    assert found.frozen == 30 and found.explained == pytest.approx(1) and found.burn_in == 25 and found.remembered
    still[: 20 * 50] = rng.normal(size=(1000, 2))
    assert starts(still, 30).frozen == 10
    assert starts(np.ones((30, 2)), 3).frozen == 3
    alone = starts(rng.normal(size=(20, 2)), 20)
    assert alone.frozen == 0 and alone.burn_in == 0 and not alone.remembered
    assert not starts(rng.normal(size=(300, 2)), 3).remembered
