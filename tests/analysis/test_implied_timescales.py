"""Timescales of chains that are known exactly, and the Markov state model that serves as baseline."""

import numpy as np
import pytest
from known_chains import CHAIN, blocks_of, calphas, double_well, exact_timescales, frames_of, reversible, simulate

from cgsurrogate.analysis.kinetics import implied_timescales, markov_model
from cgsurrogate.analysis.results import Timescales
from cgsurrogate.comparison import baselines
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import blocks


def test_transitions_are_counted_within_runs_and_blocks_add_up():
    frames = frames_of((4, 3))
    labels = np.array([0, 1, 1, 0, 1, 0, 1])
    counts = markov_model.transition_counts(labels, frames, 1, 2)
    assert counts.sum() == 5
    by_hand = np.zeros((2, 2))
    for a, b in ((0, 1), (1, 1), (1, 0), (1, 0), (0, 1)):
        by_hand[a, b] += 1
    assert np.array_equal(counts[0], by_hand)
    rng = np.random.default_rng(0)
    frames, labels = frames_of((500, 300)), rng.integers(0, 4, 800)
    cut = blocks(frames.lengths, 20)
    for lag in (1, 7, 299):
        table = markov_model.transition_counts(labels, frames, lag, 4, cut)
        assert len(table) == len(cut)
        assert np.array_equal(table.sum(0), markov_model.transition_counts(labels, frames, lag, 4)[0])


def test_the_largest_connected_set_is_found_by_counts():
    counts = np.zeros((5, 5))
    counts[0, 1], counts[1, 0] = 5, 5
    counts[2, 3], counts[3, 4], counts[4, 2] = 9, 9, 9
    counts[1, 2] = 1  # one way only
    assert markov_model.connected(counts).tolist() == [2, 3, 4]


@pytest.mark.parametrize("back", [1, 1e-3, 1e-9, 1e-14])
def test_states_that_are_left_and_hardly_entered_again_keep_a_reversible_estimate(back):
    counts = np.diag(np.full(6, 50.0)) + 100 * np.eye(6, k=1) + back * np.eye(6, k=-1)
    counts[-1, 0] = back
    matrix, stationary = markov_model.transition_matrix(counts)
    assert np.allclose(matrix.sum(1), 1) and stationary.min() > 0
    flow = stationary[:, None] * matrix
    assert np.allclose(flow, flow.T, atol=1e-12)
    assert stationary.argmax() == 5 and stationary[0] < 0.01
    assert np.isfinite(markov_model.implied(counts, 1.0, 2)).all()


def test_transition_counts_do_not_depend_on_the_chunks_and_leave_out_what_has_no_state(monkeypatch):
    rng = np.random.default_rng(8)
    frames, labels = frames_of((40, 3, 90, 7)), rng.integers(-1, 3, 140)
    by_hand = {}
    for lag in (1, 5, 60):
        by_hand[lag] = np.zeros((3, 3))
        for run in frames.runs:
            for now in range(run.start, run.stop - lag):
                if labels[now] >= 0 and labels[now + lag] >= 0:
                    by_hand[lag][labels[now], labels[now + lag]] += 1
    for chunk in (1 << 20, 17, 1):
        monkeypatch.setattr(markov_model, "CHUNK", chunk)
        assert all(
            np.array_equal(markov_model.transition_counts(labels, frames, lag, 3)[0], by_hand[lag]) for lag in by_hand
        )
    for lag in (0, 90):
        with pytest.raises(ValueError, match="lag"):
            markov_model.transition_counts(labels, frames, lag, 3)


def test_counting_takes_little_memory_beside_the_labels():
    import tracemalloc

    labels = np.random.default_rng(9).integers(0, 50, 4_000_000).astype(np.int32)
    frames = frames_of((1_000_000,) * 4)
    tracemalloc.start()
    markov_model.transition_counts(labels, frames, 10, 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3.5e7  # 4 million codes of 8 bytes would already be 3.2e7, and the pairs twice that


def _coverage(repeats, matrix, stationary, position, runs, length, lags, processes, seed):
    """(repeats, L, K) whether the exact timescales lie within the intervals, and the estimates."""
    rng, truth, inside, made = np.random.default_rng(seed), exact_timescales(matrix)[:processes], [], []
    frames = frames_of((length,) * runs)
    for labels in simulate(rng, matrix, stationary, repeats * runs, length).reshape(repeats, -1):
        cut = blocks_of(position[labels], frames)
        times, _ = implied_timescales.timescales(labels, frames, lags, len(matrix), cut, rng, processes=processes)
        inside.append(np.where(np.isfinite(times.low), (times.low < truth) & (truth < times.high), np.nan))
        made.append(times)
    return np.array(inside), made


@pytest.mark.parametrize(("runs", "length"), [(3, 4000), (15, 500)])
def test_intervals_of_timescales_hold_the_truth_of_a_known_chain(runs, length):
    """60 repeats of two lags and two timescales: the standard deviation of the pooled coverage is 2 %."""
    matrix, stationary = reversible(CHAIN)
    inside, made = _coverage(60, matrix, stationary, np.eye(3)[:, :2], runs, length, np.array([2.0, 10.0]), 2, 1)
    assert np.isfinite(inside).all() and 0.90 <= inside.mean() <= 0.98
    scalings = [implied_timescales.time_scaling(a, b) for a, b in zip(made[::2], made[1::2], strict=True)]
    assert 0.86 <= np.mean([c.low < 1 < c.high for c in scalings]) <= 1.0  # 30 pairs: 95 -+ 4 %
    truth = exact_timescales(matrix)
    assert np.allclose(np.median([t.values for t in made], 0), truth, rtol=0.1)


@pytest.mark.slow
def test_intervals_of_timescales_hold_the_truth_of_a_double_well():
    """Fokker-Planck dynamics in 16 bins, the slowest timescale at two lags, 100 repeats: 95 -+ 2 %."""
    x, matrix, stationary = double_well(16)
    inside, made = _coverage(100, matrix, stationary, x, 12, 4000, np.array([10.0, 50.0]), 2, 2)
    assert 0.90 <= inside[:, :, 0].mean() <= 0.98
    assert np.isnan(made[0].values[1, 1])  # the second is far below the longer lag: not a number, rather than noise


def test_the_scaling_of_other_time_units_is_their_factor():
    matrix, stationary = reversible(CHAIN)
    rng = np.random.default_rng(10)
    result = []
    for dt in (8.0, 2.0):
        frames = frames_of((4000,) * 6, dt=dt)
        labels = simulate(rng, matrix, stationary, 6, 4000)
        lags = np.array([1.0, 5.0]) * dt
        result.append(implied_timescales.timescales(labels, frames, lags, 3, blocks_of(labels, frames), rng)[0])
    factor = implied_timescales.time_scaling(*result)
    assert factor.low < 4 < factor.high and factor.high / factor.low < 2
    back = implied_timescales.time_scaling(*result[::-1])
    assert np.allclose([back.value, back.low, back.high], [1 / factor.value, 1 / factor.high, 1 / factor.low])


def test_the_scaling_reads_the_plateau_and_is_none_where_a_timescale_is_unknown():
    lags, unknown = np.array([1.0, 2.0, 4.0, 8.0]), np.full((4, 1), np.nan)

    def times(values, spread=1.1):
        values = np.array(values)[:, None]
        return Timescales(lags, values, values / spread, values * spread, True)

    rising = times([10.0, 50.0, 98.0, 100.0])
    assert implied_timescales.time_scaling(rising, times([7.0] * 4)).value == pytest.approx(98 / 7)
    assert implied_timescales.time_scaling(rising, Timescales(lags, unknown, unknown, unknown, True)) is None
    only = Timescales(lags, rising.values, unknown, unknown, True)
    assert implied_timescales.time_scaling(only, rising) is None


def test_the_plateau_is_the_shortest_lag_from_which_on_the_timescale_is_flat():
    lags, values = np.array([1.0, 2.0, 4.0, 8.0]), np.array([[10.0], [90.0], [98.0], [100.0]])
    times = Timescales(lags, values, values / 1.2, values * 1.2, True)
    found = implied_timescales.plateau(times)
    assert (found.row, found.value) == (1, 90.0) and found.high == pytest.approx(108)
    blank = np.where(np.arange(4)[:, None] == 1, np.nan, times.low)
    assert implied_timescales.plateau(Timescales(lags, values, blank, times.high, True)).row == 2
    assert implied_timescales.plateau(Timescales(lags, values, np.full((4, 1), np.nan), times.high, True)) is None


def test_rates_three_times_too_fast_are_told_on_the_plateau_and_not_at_the_longest_lag():
    lags = np.array([1.0, 2.0, 4.0, 8.0])
    spread = np.array([[1.2], [1.2], [2.0], [4.0]])
    reference = Timescales(lags, np.full((4, 1), 90.0), 90 / spread, 90 * spread, True)
    fast = Timescales(lags, np.full((4, 1), 30.0), 30 / spread, 30 * spread, True)
    found = implied_timescales.log_difference(reference, fast)
    assert found.value == pytest.approx(-np.log(3)) and found.high < 0 and found.factor == pytest.approx(1.2)
    assert found.value - found.low == pytest.approx(np.sqrt(2) * np.log(1.2))
    assert fast.high[3, 0] > reference.low[3, 0]
    coarse = Timescales(lags[1:] * 1.5, fast.values[1:], fast.low[1:], fast.high[1:], True)
    near = implied_timescales.log_difference(reference, coarse)  # its nearest lag
    assert near.low == pytest.approx(found.low)
    unknown = Timescales(lags, fast.values, np.full((4, 1), np.nan), fast.high, True)
    assert implied_timescales.log_difference(reference, unknown) is None
    assert implied_timescales.log_difference(unknown, reference) is None


def test_notes_say_what_the_data_do_not_allow():
    rng = np.random.default_rng(2)
    matrix, stationary = reversible(CHAIN)
    frames = frames_of((200, 200))
    labels = simulate(rng, matrix, stationary, 2, 200)
    cut = blocks(frames.lengths, 20)
    unphysical = frames.with_provenance(physical_time=False)
    times, notes = implied_timescales.timescales(labels, unphysical, np.array([2.0]), 3, cut, rng)
    assert (
        not times.physical and any("not physical" in n for n in notes) and any("slowest relaxation" in n for n in notes)
    )
    none, notes = implied_timescales.timescales(labels, frames, np.array([1e6]), 3, cut, rng)
    assert none is None and "shorter than the shortest lag" in notes[0]
    split = np.repeat([0, 1], 200)  # two runs that never meet
    split[::7] = np.where(split[::7] == 0, 2, 3)
    _, notes = implied_timescales.timescales(split, frames, np.array([2.0]), 4, cut, rng)
    assert any("connected" in n for n in notes)
    slow = np.array([[0.998, 0.002], [0.002, 0.998]])
    labels = np.concatenate([np.repeat([0, 1], 500), np.repeat([1, 0], 500)])
    cut = blocks((1000, 1000), 200)
    _, notes = implied_timescales.timescales(labels, frames_of((1000, 1000)), np.array([2.0]), 2, cut, rng)
    assert any("only 2 transitions along the slowest process" in n for n in notes)
    assert any("no interval: fewer than 3 crossings" in n for n in notes)
    labels = simulate(rng, slow, np.full(2, 0.5), 8, 20_000)
    frames = frames_of((20_000,) * 8)
    assert (
        implied_timescales.timescales(labels, frames, np.array([2.0, 20.0]), 2, blocks_of(labels, frames), rng)[1] == ()
    )


def test_lags_suit_the_time_between_frames_of_each_ensemble():
    reference = frames_of((5000,), dt=2.0)
    lags = implied_timescales.lag_grid(reference, correlation=26.0)
    assert lags[0] >= 2 and lags[-1] <= 2000 and (np.diff(lags) > 0).all() and lags[0] <= 26 <= lags[-1]
    rng = np.random.default_rng(3)
    coarse = frames_of((400,), dt=50.0)
    times, _ = implied_timescales.timescales(rng.integers(0, 3, 400), coarse, lags, 3, blocks((400,), 1), rng)
    assert np.allclose(times.lags % 50, 0) and times.lags[0] == 50


def test_states_are_the_nearest_centres_and_repeat_with_the_seed():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(m, 0.1, (300, 2)) for m in (0.0, 3.0, 6.0)])
    first, again = (markov_model.states(values, np.random.default_rng(5), 3) for _ in range(2))
    assert np.array_equal(first.centres, again.centres)
    labels = first(values)
    nearest = np.linalg.norm(values[:, None] - first.centres, axis=-1).argmin(1)
    assert np.array_equal(labels, nearest) and len(first) == 3


def two_state_molecule(rng, runs, length):
    """A chain of six beads that is straight or bent, jumps as a two-state chain, and shakes."""
    state = simulate(rng, np.array([[0.98, 0.02], [0.04, 0.96]]), np.array([2, 1]) / 3, runs, length)
    straight = np.array([[0.38 * k, 0.05 * (k % 2), 0.03 * k * k] for k in range(6)])
    bent = straight.copy()
    bent[4:] = straight[3] + np.array([[0, 0.38, 0.1], [0.1, 0.7, 0.3]])
    x = np.where(state[:, None, None] == 1, bent, straight) + rng.normal(size=(runs * length, 6, 3)) * 0.01
    return Frames(calphas(6), x.astype(np.float32), (length,) * runs, 2.0, 300.0), state


def test_the_resampled_model_has_the_populations_and_the_timescale_of_its_training_data():
    rng = np.random.default_rng(6)
    training, state = two_state_molecule(rng, 4, 4000)
    made = baselines.resample(training, runs=20, length=3000, lag=4.0, states=10, seed=1)
    assert made.lengths == (3000,) * 20 and made.dt == 4.0 and "states" in made.provenance.made_by
    bent = made.positions[:, 5, 1] - made.positions[:, 3, 1] > 0.3
    assert bent.mean() == pytest.approx(state.mean(), abs=0.04)
    flips = np.mean([np.mean(bent[run][1:] != bent[run][:-1]) for run in made.runs])
    eigenvalue = 0.94**2  # of the two-state chain over two frames
    assert flips == pytest.approx(2 * state.mean() * (1 - state.mean()) * (1 - eigenvalue), rel=0.15)
    # every frame is one of the training frames
    known = {x.tobytes() for x in training.positions}
    assert all(x.tobytes() in known for x in made.positions[::500])
    again = baselines.resample(training, runs=20, length=3000, lag=4.0, states=10, seed=1)
    assert np.array_equal(again.positions, made.positions)


def test_baselines_of_weighted_data_are_drawn_by_weight():
    rng = np.random.default_rng(7)
    frames, state = two_state_molecule(rng, 2, 500)
    weights = np.where(state == 1, 0.0, 1.0)
    weighted = Frames(frames.beads, frames.positions, frames.lengths, 2.0, 300.0, weights=weights)
    for made in (baselines.resample(weighted, runs=5, length=100), baselines.shuffled(weighted)):
        assert (made.positions[:, 5, 1] - made.positions[:, 3, 1] < 0.3).all() and made.weights is None
