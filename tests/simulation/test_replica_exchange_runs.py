"""Simulations with parallel tempering: populations and weights, going on, replicas that fail, and refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Generator
from walks import asked
from wells import COLD, KT, ONE, DoubleWell, Still, Well, exchanging, plain

from cgsurrogate import workflows
from cgsurrogate.comparison.compare import compare
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import registry, temperatures, units
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator, State
from cgsurrogate.core.provenance import EXCHANGE, Provenance
from cgsurrogate.simulation import temperature_ladder
from cgsurrogate.simulation.replica_exchange import ReplicaExchange
from cgsurrogate.simulation.run import simulate
from cgsurrogate.simulation.settings import SimulationSettings
from cgsurrogate.simulation.temperature_ladder import EXCHANGES, PLACE

BARRIER, TILT = 12 * KT, 0.4 * KT
RUNGS = temperatures.geometric(300, 2400, 8)
LADDERS = 60


def run(moves: Propagator, replicas: int, folder: Path | None = None, **changes) -> Frames:
    """From one side: all on the right, which is the less populated one."""
    start = np.zeros((replicas, 1, 3))
    start[..., 0] = 0.2
    settings = {"time": 60.0, "every": 0.6, "temperature": COLD, "seed": 3} | changes
    return simulate(moves, start, ONE, *asked(folder=folder, **settings))


def on_the_right(frames: Frames, first: int) -> np.ndarray:
    """Share of the frames of each run from ``first`` on that are on the right, by weight."""
    shares = []
    for part in frames.runs:
        right = np.asarray(frames.positions[part])[first:, 0, 0] > 0
        shares.append(np.average(right, weights=frames.probabilities[part][first:]))
    return np.array(shares)


@pytest.fixture(scope="module")
def tempered(tmp_path_factory) -> tuple[Frames, Frames, Path]:
    """Frames at the lowest temperature and of all temperatures, and their folder."""
    folder = tmp_path_factory.mktemp("tempered") / "run"
    target = run(exchanging(DoubleWell(BARRIER, TILT), RUNGS, 15), 8 * LADDERS, folder)
    return target, Frames.load(folder / temperature_ladder.ALL), folder


def test_without_tempering_the_barrier_is_not_crossed():
    assert on_the_right(run(plain(DoubleWell(BARRIER, TILT)), 50), 0).mean() > 0.95


def test_with_tempering_the_populations_are_exact(tempered):
    target, _, _ = tempered
    exact = DoubleWell(BARRIER, TILT).right(COLD)
    assert 0.25 < exact < 0.4
    shares = on_the_right(target, 33)
    assert len(shares) == LADDERS
    assert set(target.lengths) == {100}
    error = shares.std(ddof=1) / math.sqrt(LADDERS)
    assert error < 0.04
    assert abs(shares.mean() - exact) < 4 * error


def test_weighted_populations_are_exact(tempered):
    """Also at other temperatures, from the energies that are stored; errors from whole ladders."""
    _, every, folder = tempered
    energies, kelvin = (
        np.load(folder / temperature_ladder.ALL / f"{name}.npy") for name in ("energies", "temperatures")
    )
    well = DoubleWell(BARRIER, TILT)
    assert np.allclose(energies, well(torch.tensor(np.array(every.positions)).double()), atol=1e-3)
    places = np.array([int(np.argmin(abs(np.array(RUNGS) - k))) for k in kelvin])
    right = np.asarray(every.positions)[:, 0, 0] > 0
    late = np.concatenate([np.arange(n) >= 33 for n in every.lengths])
    group = np.repeat(np.array(every.provenance.replicas) // 8, every.lengths)
    for target in (COLD, 700.0):
        w = temperature_ladder.weights(energies[late], places[late], RUNGS, target)
        shares = np.array(
            [[w[group[late] == g].sum(), w[(group[late] == g) & right[late]].sum()] for g in range(LADDERS)]
        )
        value = shares[:, 1].sum() / shares[:, 0].sum()
        error = math.sqrt(np.square(shares[:, 1] - value * shares[:, 0]).sum())
        assert error < 0.03
        assert abs(value - well.right(target)) < 4 * error
    assert every.probabilities[late].sum() > 0.5


def test_weights_of_one_temperature_follow_the_boltzmann_factor(tempered):
    """Frames of a single rung: MBAR is then plain reweighting, exp(-U/kT) over exp(-U/kT')."""
    _, _, folder = tempered
    energies = np.load(folder / temperature_ladder.ALL / "energies.npy")[:500]
    found = temperature_ladder.weights(energies, np.zeros(500, int), RUNGS, 400.0)
    factor = np.exp(-energies / units.thermal_energy(400.0) + energies / KT)
    assert np.allclose(found, factor / factor.sum(), rtol=1e-6)


def test_what_the_frames_say(tempered):
    target, every, folder = tempered
    assert sorted(p.name for p in folder.iterdir()) == [temperature_ladder.ALL, "frames.json", "positions.npy"]
    assert target.weights is None
    assert every.weights is not None
    assert every.lengths == (100,) * (8 * LADDERS)
    assert not target.time_ordered
    assert not every.time_ordered
    found = target.provenance.exchange
    assert found == every.provenance.exchange
    assert found["temperatures"] == pytest.approx(RUNGS)
    assert found["round_trips"] > 10 * LADDERS
    assert all(0.3 < a < 1 for a in found["acceptance"])
    assert found["frames_at_target"] == len(target) == 100 * LADDERS
    assert found["frames_at_target"] < found["effective_frames"] < len(every)
    assert abs(target.provenance.kinetic_temperature / COLD - 1) < 0.05  # of all, scaled to the lowest temperature
    places = [np.load(folder / temperature_ladder.ALL / "temperatures.npy")[part] == COLD for part in every.runs]
    first = [np.asarray(every.positions[part])[cold] for part, cold in zip(every.runs[:8], places[:8], strict=True)]
    order = np.argsort(np.concatenate([np.flatnonzero(cold) for cold in places[:8]]))
    assert np.array_equal(np.concatenate(first)[order], target.positions[target.runs[0]])


# replicas that fail


def short() -> ReplicaExchange:
    return exchanging(DoubleWell(3 * KT), temperatures.geometric(300, 600, 3), 5)


BRIEF = {"time": 6.0, "every": 0.2}


class Failing(ReplicaExchange):
    """Replica 5 is lost at the twentieth exchange, with an energy that its neighbours would want."""

    def step(self, state: State, rng: Generator) -> State:
        state = super().step(state, rng)
        if int(state.ladder[5, EXCHANGES]) >= 20:
            state.positions[5] = float("nan")
            state.energy[5] = -1e6
        return state


def test_a_replica_that_fails_ends_and_the_other_ladders_go_on_unchanged(tmp_path):
    good = short()
    bad = Failing(good.integrator, good.energy, good.temperatures, 5)
    run(good, 12, tmp_path / "good", **BRIEF)
    whole = Frames.load(tmp_path / "good" / temperature_ladder.ALL)
    target = run(bad, 12, tmp_path / "bad", **BRIEF)
    every = Frames.load(tmp_path / "bad" / temperature_ladder.ALL)
    (entry,) = target.provenance.quarantined
    assert (entry.replica, entry.time) == (5, 2.0)
    assert every.lengths == (30,) * 5 + (9,) + (30,) * 6
    assert not np.isnan(every.positions).any()
    assert np.isfinite(every.weights).all()
    for replica in {*range(12)} - {3, 4, 5}:
        assert np.array_equal(every.positions[every.runs[replica]], whole.positions[whole.runs[replica]])
    counts = np.bincount(target.provenance.ladders, target.lengths, minlength=4)
    assert list(counts[[0, 2, 3]]) == [30, 30, 30]
    assert counts[1] in (9, 30)  # the lowest place of its ladder was its own, or not
    places = np.load(tmp_path / "bad" / temperature_ladder.ALL / "temperatures.npy")
    both = np.stack([places[every.runs[replica]][9:] for replica in (3, 4)])
    assert (both[0] != both[1]).all()
    assert len(set(both.ravel())) == 2  # they keep the two places that are left


def test_a_frozen_replica_is_taken_out_of_the_exchanges():
    """Whether or not its state has become safe again."""
    seen = []

    class Breaking(Still):
        def step(self, state: State, rng: Generator) -> State:
            seen.append(state.ladder[:, PLACE].clone())
            x = state.positions.clone()
            if len(seen) == 4:
                x[1] = float("nan")
            return state._replace(positions=x)

    moves = ReplicaExchange(Breaking(), Well(), (300.0, 310.0, 320.0), 1)
    frames = simulate(moves, np.zeros((6, 1, 3), np.float32), ONE, SimulationSettings(12.0, 1.0, COLD))
    assert [entry.replica for entry in frames.provenance.quarantined] == [1]
    assert all(int(places[1]) == -1 for places in seen[4:])
    assert all(int(places.min()) == 0 for places in seen[:4])


def test_a_hot_replica_is_judged_by_its_own_temperature():
    """A replica at eight times the temperature is healthy there, and would be frozen at the lowest."""
    moves = exchanging(DoubleWell(3 * KT), (300.0, 9000.0))
    hot = run(moves, 8, time=6.0, every=0.2)
    assert not hot.provenance.quarantined
    assert run(plain(DoubleWell(3 * KT), 9000.0), 8, time=6.0, every=0.2).provenance.quarantined


# time


def test_neither_timescales_nor_lagged_pairs_are_made_of_them(peptide_frames, tmp_path):
    rng = np.random.default_rng(0)
    x = np.concatenate([np.asarray(peptide_frames.positions)] * 6)
    x = (x + rng.normal(0, 0.002, x.shape)).astype(np.float32)
    plain = Frames(peptide_frames.beads, x, (120, 120), 1.0, 300.0)
    mixed = Frames(peptide_frames.beads, x, (120, 120), 1.0, 300.0, provenance=Provenance(mixed_by=EXCHANGE))
    comparison = compare(plain, {"plain": plain, "mixed": mixed}, settings=ComparisonSettings(cvs=("gyration",)))
    known = {e.name: e for e in comparison.ensembles}
    assert known["plain"].timescales is not None
    assert known["mixed"].timescales is None
    assert any("exchanging replicas" in note for note in known["mixed"].notes)
    assert registry.build("cvs", "tica", mixed).lag is None
    with pytest.raises(ValueError, match="no time order"):
        workflows.make_stepper(mixed, tmp_path / "stepper")
    assert not (tmp_path / "stepper").exists()


# refusals


@pytest.mark.parametrize(
    ("text", "words"),
    [*((text, "lowest:highest:number") for text in ("300:450", "a:b:c", "300:450:6:7", "300:450:2.5", "", "300::6")),
     ("450:300:6", "lower to a higher"), ("300:300:6", "lower"), ("300:450:1", "at least 2"), ("-5:450:3", "above 0"),
     ("300:inf:3", "at most"), ("300:nan:3", "at most")],
)  # fmt: skip
def test_text_that_is_no_ladder(text, words):
    with pytest.raises(ValueError, match=words):
        temperatures.parse(text, 310.0)


def test_ladders_have_one_ratio():
    rungs = temperatures.parse(":450:6", 300.0)
    assert rungs == pytest.approx(temperatures.parse("300:450:6", 0.0))
    assert (rungs[0], rungs[-1], len(rungs)) == pytest.approx((300, 450, 6))
    assert np.ptp(np.diff(np.log(rungs))) < 1e-12


def test_replicas_that_do_not_fill_ladders_and_other_refusals(tmp_path):
    with pytest.raises(ValueError, match=r"10 replicas.*ladders of 3.*use 9 or 12"):
        run(short(), 10, tmp_path / "new", **BRIEF)
    with pytest.raises(ValueError, match=r"2 replicas.*use 3$"):
        run(short(), 2, tmp_path / "new", **BRIEF)
    with pytest.raises(ValueError, match="lowest temperature of the ladder, 300 K, got 310"):
        run(short(), 12, tmp_path / "new", **(BRIEF | {"temperature": 310.0}))
    assert not (tmp_path / "new").exists()

    class Single(Still):
        mixes_temperatures = False

    with pytest.raises(ValueError, match="runs at one temperature"):
        ReplicaExchange(Single(), Well(), (300.0, 400.0))
    for rungs in ((300.0,), (300.0, 300.0), (0.0, 300.0), (400.0, 300.0)):
        with pytest.raises(ValueError, match="rising"):
            ReplicaExchange(Still(), Well(), rungs)
    for period in (0, 1.5):
        with pytest.raises(ValueError, match="whole number of steps"):
            ReplicaExchange(Still(), Well(), (300.0, 400.0), period)


def test_the_words_warn_of_gaps_in_the_ladder():
    def words(acceptance: list[float], trips: int) -> list[str]:
        rungs = [300.0, 400.0, 500.0]
        return temperature_ladder.sentences(
            {"temperatures": rungs, "acceptance": acceptance, "round_trips": trips, "effective_frames": 70.0}
        )

    assert len(words([0.3, 0.4], 5)) == 1
    assert "400 and 500 K" in words([0.3, 0.02], 5)[1]
    assert "longer" in words([0.3, 0.4], 0)[1]
