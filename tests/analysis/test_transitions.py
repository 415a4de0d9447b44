"""Transitions between cores by hand and against exact rates; states that a user names."""

import numpy as np
import pytest
from known_chains import double_well, frames_of, simulate

from cgsurrogate.analysis.kinetics import state_definitions, transitions
from cgsurrogate.core.statistics import blocks

TWO = np.array([[0.98, 0.02], [0.05, 0.95]])
SHARE = np.array([5, 2]) / 7


def test_visits_go_from_core_to_core_and_never_across_runs():
    """Run 1: none, A, none, A, B, B, none, A; run 2: B, B, none."""
    labels = np.array([-1, 0, -1, 0, 1, 1, -1, 0, 1, 1, -1])
    dwells = transitions.dwell_times(labels, frames_of((8, 3)))
    assert dwells.state.tolist() == [0, 1, 0, 1] and dwells.run.tolist() == [0, 0, 0, 1]
    assert dwells.steps.tolist() == [3, 3, 0, 2]  # up to the next core, or to the last frame of the run
    assert dwells.left.tolist() == [True, True, False, False]
    assert dwells.entered.tolist() == [True, True, True, False]
    assert transitions.counts(dwells, 2).tolist() == [[0, 1], [1, 0]]
    assert transitions.frames_in_states(dwells, 2).tolist() == [3, 5]
    nothing = transitions.dwell_times(np.full(11, -1), frames_of((8, 3)))
    assert len(nothing) == 0 and not transitions.counts(nothing, 2).any()


def test_rates_of_a_known_chain_lie_within_their_intervals():
    """1 in N steps leaves: 600 repeats, two rates; a right 95 % interval covers in 93.7 to 96.3 % (two sigma)."""
    rng, inside = np.random.default_rng(0), []
    truth = np.array([TWO[0, 1], TWO[1, 0]]) / 0.002  # a frame is 2 ps = 0.002 ns
    paths = simulate(rng, TWO, SHARE, 600 * 4, 250).reshape(600, -1)
    for path in paths:
        dwells = transitions.dwell_times(path, frames_of((250,) * 4))
        found = transitions.rates(transitions.counts(dwells, 2), transitions.frames_in_states(dwells, 2) * 0.002)
        low, high = (np.array([end[0, 1], end[1, 0]]) for end in (found.low, found.high))
        inside.append((low <= truth) & (truth <= high))
    assert 0.92 <= np.mean(inside) <= 0.98


def test_a_rate_that_was_never_seen_has_an_upper_bound():
    found = transitions.rates(np.array([[0, 0], [0, 0]]), np.array([100.0, 0.0]))
    assert found.value[0, 1] == found.low[0, 1] == 0
    assert found.high[0, 1] == pytest.approx(0.0251, rel=0.01)  # chi^2(0.975, 1 degree of freedom) / 2 / 100
    assert np.isnan(found.value[1]).all() and np.isnan(found.value[0, 0])


def test_rates_between_cores_of_a_double_well_are_the_exact_flux():
    """Transition path theory: the flux of reactive paths over the time that the last core was A."""
    x, matrix, stationary = double_well()
    core = np.where(x < -0.6, 0, np.where(x > 0.6, 1, -1))
    between = np.flatnonzero(core < 0)
    committor = (core == 1).astype(float)
    inner = np.eye(len(between)) - matrix[np.ix_(between, between)]
    committor[between] = np.linalg.solve(inner, matrix[np.ix_(between, np.flatnonzero(core == 1))].sum(1))
    flux = (stationary * (core == 0)) @ (matrix @ committor)
    exact = flux / (stationary @ (1 - committor))  # 1 / frame; the well is symmetric
    path = simulate(np.random.default_rng(1), matrix, stationary, 20, 20_000)
    dwells = transitions.dwell_times(core[path], frames_of((20_000,) * 20))
    seen, steps = transitions.counts(dwells, 2), transitions.frames_in_states(dwells, 2)
    events = seen[0, 1] + seen[1, 0]
    assert events > 1000
    assert events / steps.sum() == pytest.approx(exact, rel=3.5 / np.sqrt(events))
    sides = transitions.dwell_times((x[path] > 0).astype(int), frames_of((20_000,) * 20))
    assert transitions.counts(sides, 2).sum() > 1.5 * events  # without cores, recrossings count


def test_survival_is_that_of_kaplan_and_meier():
    """Stays of 1, 2, 2+, 4, 5+ steps (+ not seen to end), by hand."""
    steps, left = np.array([1, 2, 2, 4, 5]), np.array([True, True, False, True, False])
    dwells = transitions.DwellTimes(np.zeros(5, int), np.zeros(5, int), steps, np.ones(5, bool), left)
    grid, curves = transitions.survival(dwells, 2)
    assert grid.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.allclose(curves[0], [1, 1, 0.8, 0.6, 0.6, 0.3]) and np.isnan(curves[1]).all()


def test_survival_of_a_chain_is_geometric_though_runs_end():
    path = simulate(np.random.default_rng(2), TWO, SHARE, 3000, 60)
    grid, curves = transitions.survival(transitions.dwell_times(path, frames_of((60,) * 3000)), 2)
    good = grid <= 40
    for state, stay in enumerate((0.98, 0.95)):
        assert np.allclose(curves[state, good], stay ** (np.maximum(grid[good] - 1, 0)), atol=0.03)


def test_weights_bring_back_the_populations_of_the_unbiased_density():
    """Gaussian sample, weights to a shifted Gaussian: the share above 1 is known; 300 repeats."""
    from scipy.stats import norm

    rng, inside, truth = np.random.default_rng(4), [], norm.sf(1, loc=0.7)
    for _ in range(300):
        x = rng.normal(size=2000)
        frames = frames_of((500,) * 4, weights=np.exp(0.7 * x))
        k = transitions.measure((x > 1).astype(int), ("low", "high"), frames, blocks(frames.lengths, 1), rng)
        inside.append(k.populations.low[1] < truth < k.populations.high[1])
    assert 0.90 <= np.mean(inside) <= 0.98
    assert np.isnan(k.rates.value).all() and np.isnan(k.counts).all() and "no time order" in k.notes[0]


def test_notes_say_what_the_transitions_do_not_allow():
    labels = np.repeat([0, 1, 0], 50)
    k = transitions.measure(labels, ("A", "B", "C"), frames_of((150,)), blocks((150,), 10), np.random.default_rng(5))
    assert any("no frame is in C" in n for n in k.notes)
    assert any("A and B (1 there, 1 back)" in n for n in k.notes)
    assert k.populations.value[2] == 0 and 0.5 < k.populations.high[2] < 0.7  # four fifteenths, unseen
    assert np.isnan(k.free_energies.value[2]) and np.isnan(k.rates.value[2]).all()
    fast = np.arange(150) % 2
    unphysical = frames_of((150,)).with_provenance(physical_time=False)
    own = transitions.measure(fast, ("A", "B"), unphysical, blocks((150,), 1), np.random.default_rng(5))
    assert any("fewer than three frames" in n for n in own.notes) and any("not physical time" in n for n in own.notes)
    apart = transitions.measure(np.repeat([0, 1], 50), ("A", "B"), frames_of((50, 50)), blocks((50, 50), 9),
                          np.random.default_rng(5))  # fmt: skip
    assert any("no transition was seen between A and B" in n for n in apart.notes)
    assert any("fewer than 3 visits, with entry and exit, to A (1), B (1)" in n for n in k.notes)
    with pytest.raises(ValueError, match="one state a frame"):
        transitions.measure(labels[:5], ("A",), frames_of((150,)), blocks((150,), 1), np.random.default_rng(5))


def test_states_are_parsed_and_the_first_match_wins():
    state = state_definitions.parse("helix = phi 2<-30 & helix>0.6")
    assert state.name == "helix" and str(state) == "helix=phi 2<-30&helix>0.6"
    assert state_definitions.parse(str(state)) == state
    columns = {"phi 2": np.radians([-60.0, -60, 10, -29]), "helix": np.array([0.9, 0.1, 0.9, 0.9])}
    found = state_definitions.labels([state, state_definitions.parse("left=PHI 2<0")], columns, angles=("phi 2",))
    assert found.tolist() == [0, 1, -1, 1] and found.dtype == np.int8


NOT_STATES = "RMSD<0.2; =RMSD<0.2; a=RMSD; a=RMSD<; a=RMSD<x; a=0.1<RMSD<0.2; a=RMSD<=0.2; a=<1; a=; a=b<1&; a=b<nan"


@pytest.mark.parametrize("text", NOT_STATES.split("; "))
def test_a_state_that_is_not_written_well_gets_one_clear_line(text):
    with pytest.raises(ValueError, match=r"expected a state as NAME=VARIABLE<NUMBER") as error:
        state_definitions.parse(text)
    assert "\n" not in str(error.value)


def test_states_are_checked_against_the_reference():
    columns = {"RMSD": np.linspace(0.05, 0.9, 100), "helix": np.linspace(0, 1, 100)}
    good = state_definitions.parse_all(["folded=RMSD<0.2", "unfolded=RMSD>0.5"])
    state_definitions.check(good, columns)
    with pytest.raises(ValueError, match="did you mean 'RMSD'"):
        state_definitions.labels(state_definitions.parse_all(["folded=RSMD<0.2"]), columns)
    with pytest.raises(ValueError, match="there are RMSD, helix"):
        state_definitions.check(state_definitions.parse_all(["folded=Q>0.2"]), columns)
    with pytest.raises(ValueError, match=r"no frame of the reference is in deep=RMSD<0.01 \(RMSD is 0.05 to 0.9\)"):
        state_definitions.check(state_definitions.parse_all(["deep=RMSD<0.01"]), columns)
    with pytest.raises(ValueError, match=r"overlap in \d+ of 100 frames"):
        state_definitions.check(state_definitions.parse_all(["folded=RMSD<0.2", "coil=RMSD>0.1"]), columns)
    with pytest.raises(ValueError, match="'a' twice"):
        state_definitions.parse_all(["a=RMSD<0.2", "a=RMSD>0.5"])


def test_a_single_state_is_compared_with_what_it_leaves():
    columns = {"RMSD": np.array([0.1, 0.3, 0.6])}
    both = state_definitions.with_complement(state_definitions.parse_all(["folded=RMSD<0.2"]), columns)
    assert [str(state) for state in both] == ["folded=RMSD<0.2", "not folded=RMSD>0.2"]
    np.testing.assert_array_equal(state_definitions.labels(both, columns), (0, 1, 1))
    for texts in (["all=RMSD<9"], ["a=RMSD<0.2&RMSD>0.05"], ["a=RMSD<0.2", "b=RMSD>0.5"]):
        given = state_definitions.parse_all(texts)
        assert state_definitions.with_complement(given, columns) == given
