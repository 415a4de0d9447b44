"""Macrostates, first-passage times and the Chapman-Kolmogorov test on chains that are known exactly."""

import dataclasses

import numpy as np
import pytest
from known_chains import CHAIN, blocks_of, double_well, frames_of, reversible, simulate

from cgsurrogate.analysis.kinetics import metastable_states
from cgsurrogate.analysis.results import Estimate
from cgsurrogate.core.statistics import blocks

NAMES = ("populations", "free_energies", "transitions", "mean_first_passage", "rates")


def three_wells():
    """Nine states in three groups of 3 that hop fast within and slowly between; populations 5 : 3 : 2."""
    weight = np.repeat([5.0, 2.0, 3.0], 3)
    hop = np.kron(np.eye(3), np.full((3, 3), 0.2))
    hop[2, 3] = hop[3, 2] = hop[5, 6] = hop[6, 5] = 0.04
    flow = hop * np.minimum(weight[:, None], weight) / weight.max()
    np.fill_diagonal(flow, 0)
    np.fill_diagonal(flow, weight / weight.max() - flow.sum(1))
    return flow / flow.sum(1, keepdims=True), weight / weight.sum()


@pytest.fixture(scope="module")
def wells():
    matrix, stationary = three_wells()
    labels = simulate(np.random.default_rng(0), matrix, stationary, 4, 20_000)
    frames = frames_of((20_000,) * 4)
    return labels, frames, metastable_states.macrostates(labels, frames, 8.0, 9)


def by_hand(cores, lag=2.0):
    names = tuple("ABCDE"[: max(cores) + 1])
    return metastable_states.Macrostates(
        names, np.array(cores, np.int8), np.array(cores, np.int8), lag, np.full(3, np.nan)
    )


def test_slow_groups_are_found_and_named_by_falling_population(wells):
    _, _, found = wells
    assert found.names == ("A", "B", "C") and found.lag == 8.0
    assert found.assignment.tolist() == [0, 0, 0, 2, 2, 2, 1, 1, 1]
    assert (found.timescales[:2] > 40).all() and not found.timescales[2] > 20


def test_the_border_between_two_wells_is_in_no_core():
    x, matrix, stationary = double_well()
    labels = simulate(np.random.default_rng(1), matrix, stationary, 5, 8000)
    found = metastable_states.macrostates(labels, frames_of((8000,) * 5), 20.0, len(x))
    assert len(found) == 2
    assert len(set(found.assignment[x < -0.3])) == 1 and set(found.assignment[x > 0.3]) == {1 - found.assignment[0]}
    outside = x[(found.cores < 0) & (np.abs(x) < 1.3)]
    assert 1 <= len(outside) < 8 and np.abs(outside).max() < 0.5
    assert (found.cores[np.abs(np.abs(x) - 1) < 0.2] >= 0).all()


def test_there_are_no_sets_where_nothing_is_slow_or_time_has_no_order(wells):
    rng = np.random.default_rng(2)
    frames = frames_of((3000, 3000))
    noise = rng.integers(0, 6, 6000)
    assert metastable_states.macrostates(noise, frames, 2.0, 6) is None
    labels, long, _ = wells
    weighted = dataclasses.replace(long, weights=np.ones(len(long)))
    assert metastable_states.macrostates(labels, weighted, 8.0, 9) is None
    assert metastable_states.macrostates(labels, long, 1e6, 9) is None
    assert len(metastable_states.macrostates(labels, long, 8.0, 9, wanted=2)) == 2
    with pytest.raises(ValueError, match="at least 2"):
        metastable_states.macrostates(labels, long, 8.0, 9, wanted=1)


def test_first_passage_times_are_those_of_theory_and_of_deeptime():
    from deeptime.markov.tools.analysis import mfpt

    two = np.array([[0.98, 0.02], [0.05, 0.95]])
    steps = metastable_states.mean_first_passage_times(two, np.array([5, 2]) / 7, np.array([0, 1]), 2)
    assert np.allclose(steps[[0, 1], [1, 0]], [50, 20]) and np.isnan(steps.diagonal()).all()
    _, matrix, stationary = double_well()
    cores = np.full(24, -1)
    cores[3:8], cores[15:22] = 0, 1
    steps = metastable_states.mean_first_passage_times(matrix, stationary, cores, 3)
    for a, b in ((0, 1), (1, 0)):
        origin, target = np.flatnonzero(cores == a), np.flatnonzero(cores == b)
        assert steps[a, b] == pytest.approx(mfpt(matrix, target, origin=origin, mu=stationary), rel=1e-8)
    assert np.isnan(steps[2]).all() and np.isnan(steps[:, 2]).all()


def test_lumped_probabilities_are_those_of_the_chain_in_equilibrium():
    matrix, stationary = three_wells()
    sets = np.array([0, 0, 0, 2, 2, 2, 1, 1, 1])
    powers = metastable_states.lumped(matrix, stationary, sets, 3, 4)
    for k in range(4):
        later = np.linalg.matrix_power(matrix, k + 1)
        for a in range(3):
            for b in range(3):
                joint = stationary[sets == a] @ later[np.ix_(sets == a, sets == b)].sum(1)
                assert powers[k, a, b] == pytest.approx(joint / stationary[sets == a].sum())


def exact(matrix, stationary, found, frames, multiples):
    step = round(found.lag / frames.dt)
    later, count = np.linalg.matrix_power(matrix, step), len(found)
    share = np.bincount(found.assignment, stationary, minlength=count)
    powers = metastable_states.lumped(later, stationary, found.assignment, count, multiples)
    return {
        "populations": share,
        "free_energies": -frames.kT * np.log(share / share[0]),
        "transitions": powers[0],
        "mean_first_passage": metastable_states.mean_first_passage_times(later, stationary, found.cores, count)
        * found.lag,
        "predicted": np.diagonal(powers, axis1=1, axis2=2).T,
    }


def covered(estimate, truth):
    known = np.isfinite(truth) & (estimate.high > estimate.low)
    return np.mean(((estimate.low < truth) & (truth < estimate.high))[known])


@pytest.mark.slow
@pytest.mark.parametrize(("runs", "length"), [(3, 3000), (15, 400)])
def test_intervals_hold_the_exact_numbers_of_a_known_chain(runs, length):
    """120 repeats; 95 % of 120 has a standard deviation of 2 %, and several numbers are pooled in each."""
    matrix, stationary = reversible(CHAIN)
    found, frames, rng = by_hand([0, 1, 2], 4.0), frames_of((length,) * runs), np.random.default_rng(3)
    truth = exact(matrix, stationary, found, frames, metastable_states.MULTIPLES)
    inside = []
    for labels in simulate(rng, matrix, stationary, 120 * runs, length).reshape(120, -1):
        k = metastable_states.measure(found, labels, frames, blocks_of(np.eye(3)[labels, :2], frames), rng)
        estimates = {name: getattr(k, name) for name in truth if name != "predicted"}
        row = [covered(estimate, truth[name]) for name, estimate in estimates.items()]
        inside.append([*row, *(covered(e, truth["predicted"]) for e in (k.check.predicted, k.check.counted))])
    assert ((np.mean(inside, 0) >= 0.90) & (np.mean(inside, 0) <= 0.98)).all()


@pytest.mark.slow
def test_intervals_hold_the_exact_numbers_of_a_double_well():
    """Passages between the cores and populations of the sides; 80 repeats: 95 -+ 2 % when pooled."""
    x, matrix, stationary = double_well(16)
    found = dataclasses.replace(
        by_hand(np.where(x > 0, 1, 0), 10.0), cores=np.where(x < -0.5, 0, np.where(x > 0.5, 1, -1)).astype(np.int8)
    )
    frames, rng = frames_of((4000,) * 12), np.random.default_rng(4)
    truth, inside = exact(matrix, stationary, found, frames, 5), []
    for labels in simulate(rng, matrix, stationary, 80 * 12, 4000).reshape(80, -1):
        k = metastable_states.measure(found, labels, frames, blocks_of(x[labels], frames), rng)
        inside.append(
            [covered(getattr(k, name), truth[name]) for name in ("populations", "free_energies", "mean_first_passage")]
        )
    assert 0.90 <= np.mean(inside) <= 0.98


def test_the_check_finds_a_model_that_forgets_what_it_should_not():
    """Two states that look the same, one fast and one slow to leave: no Markov chain of what is seen."""
    hidden = np.array([[0.7, 0.0, 0.3], [0.0, 0.99, 0.01], [0.2, 0.01, 0.79]])
    matrix, stationary = reversible(hidden)
    seen = np.array([0, 0, 1])[simulate(np.random.default_rng(5), matrix, stationary, 8, 10_000)]
    frames = frames_of((10_000,) * 8)
    k = metastable_states.measure(by_hand([0, 1]), seen, frames, blocks_of(seen, frames), np.random.default_rng(6))
    assert (k.check.counted.low > k.check.predicted.high)[0, 3:].all()
    assert np.allclose(k.check.counted.value[:, 0], k.check.predicted.value[:, 0], atol=0.02)


def test_another_time_between_frames_rounds_the_lag(wells):
    labels, frames, found = wells
    thin = frames_of((6666,) * 4, 6.0)
    picked = np.concatenate([labels[run][: 6666 * 3 : 3] for run in frames.runs])
    k = metastable_states.measure(found, picked, thin, blocks_of(picked, thin), np.random.default_rng(7))
    assert (
        k.lag == 6.0
        and np.array_equal(k.check.lags, 6.0 * np.arange(1, 6))
        and any("lag is 6 ps" in n for n in k.notes)
    )
    full = metastable_states.measure(found, labels, frames, blocks_of(labels, frames), np.random.default_rng(8))
    assert full.lag == 8.0 and not any("lag" in n for n in full.notes)
    off = ~np.eye(3, dtype=bool)
    assert np.allclose(k.mean_first_passage.value[off], full.mean_first_passage.value[off], rtol=0.1)
    coarse = frames_of((400,) * 4, 50.0)
    assert (
        metastable_states.measure(found, labels[:1600], coarse, blocks((400,) * 4, 9), np.random.default_rng(9)).lag
        == 50.0
    )


def test_runs_shorter_than_the_lag_and_weights_give_populations_only(wells):
    labels, frames, found = wells
    short = frames_of((4,) * 100)
    k = metastable_states.measure(found, labels[:400], short, blocks(short.lengths, 2), np.random.default_rng(10))
    assert k.check is k.transitions is k.mean_first_passage is None and np.isnan(k.lag)
    assert any("shorter than the lag" in n for n in k.notes) and np.isfinite(k.populations.low).all()
    weights = np.where(found.assignment[labels] == 0, 0.2, 1.0)
    k = metastable_states.measure(
        found, labels, frames_of(frames.lengths, weights=weights), blocks_of(labels, frames), np.random.default_rng(11)
    )
    share = np.mean(found.assignment[labels] == 0)
    assert k.populations.value[0] == pytest.approx(0.2 * share / (1 - 0.8 * share))
    assert k.populations.low[0] < 0.1 / 0.6 < k.populations.high[0]  # half of the unweighted frames in equilibrium
    assert k.transitions is None and any("time order" in n for n in k.notes)


def test_states_that_are_missing_or_never_left_give_nan_and_a_note(wells):
    _, _, found = wells
    matrix, _ = three_wells()
    within = matrix[:3, :3] / matrix[:3, :3].sum(1, keepdims=True)
    labels = simulate(np.random.default_rng(12), within, np.full(3, 1 / 3), 2, 1000)
    frames, rng = frames_of((1000, 1000)), np.random.default_rng(13)
    k = metastable_states.measure(found, labels, frames, blocks((1000, 1000), 5), rng)
    assert k.populations.value.tolist() == [1, 0, 0] and any("no frame is in B, C" in n for n in k.notes)
    assert np.isnan(k.transitions.value[1:]).all() and k.transitions.value[0, 0] == 1
    assert np.isnan(k.mean_first_passage.value).all() and np.isnan(k.free_energies.value[1:]).all()
    oneway = np.concatenate([labels[:700], labels[:300] + 6])  # one run: A, then C for ever
    k = metastable_states.measure(found, np.tile(oneway, 2), frames, blocks((1000, 1000), 50), rng)
    assert k.counts[0, 1] == 2 and k.counts[1, 0] == 0 and any("not connected both ways" in n for n in k.notes)
    assert np.isnan(k.mean_first_passage.value[0, 1])
    constant = metastable_states.measure(found, np.zeros(2000, int), frames, blocks((1000, 1000), 5), rng)
    assert constant.transitions is None and any("no two states are connected" in n for n in constant.notes)


def test_a_state_is_described_by_means_over_its_core(wells):
    labels, frames, found = wells
    angle = np.where(found.assignment[labels] == 0, np.pi - 0.1, 1.0)
    angle[::2] = np.where(found.assignment[labels[::2]] == 0, -np.pi + 0.1, 1.0)
    columns = {"RMSD": 0.1 + 0.2 * found.assignment[labels], "phi 2": angle}
    texts = metastable_states.describe(found, labels, frames, columns, angles=("phi 2",), units={"RMSD": "nm"})
    assert texts[1] == "RMSD 0.3 nm, phi 2 57°"
    assert texts[0] in ("RMSD 0.1 nm, phi 2 180°", "RMSD 0.1 nm, phi 2 -180°", "RMSD 0.1 nm, phi 2 179°",
                        "RMSD 0.1 nm, phi 2 -179°")  # fmt: skip
    assert metastable_states.describe(found, np.zeros(len(labels), int), frames, columns)[2] == "no frames"


def test_results_repeat_with_the_seed(wells):
    labels, frames, found = wells
    cut = blocks_of(labels, frames)
    a, b = (metastable_states.measure(found, labels, frames, cut, np.random.default_rng(14)) for _ in range(2))
    for name in NAMES:
        assert np.array_equal(getattr(a, name).low, getattr(b, name).low, equal_nan=True)


def test_passages_of_two_ensembles_differ_by_the_logarithm_of_their_ratio(wells):
    labels, frames, found = wells
    cut = blocks_of(labels, frames)
    known = metastable_states.measure(found, labels, frames, cut, np.random.default_rng(15))
    same = metastable_states.log_differences(known, known)
    off = ~np.eye(3, dtype=bool)
    assert np.allclose(same.value[off], 0) and (same.low[off] < 0).all() and (same.high[off] > 0).all()
    assert (same.factor[off] > 1).all() and np.isnan(same.value[~off]).all()
    times = known.mean_first_passage
    slow = dataclasses.replace(
        known, mean_first_passage=Estimate(*(4 * x for x in (times.value, times.low, times.high)))
    )
    assert np.allclose(metastable_states.log_differences(known, slow).value[off], np.log(4))
    bare = dataclasses.replace(known, mean_first_passage=None)
    assert metastable_states.log_differences(known, bare) is None


def test_few_passages_have_no_interval_and_a_note(wells):
    found, frames = wells[2], frames_of((1800,) * 2)
    labels = np.repeat([1, 4, 1, 7, 4, 7] * 2, 300)
    k = metastable_states.measure(found, labels, frames, blocks(frames.lengths, 100), np.random.default_rng(16))
    few = np.isfinite(k.mean_first_passage.value) & np.isnan(k.mean_first_passage.low)
    assert few.any() and any("fewer than 3 times have no interval" in n for n in k.notes)
