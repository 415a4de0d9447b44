"""Several processes: the same as simulations of the parts, also after stops and kills; notes made of all; refusals.

Most of it is about what is put together, for which the parts may run in this process (``here``).
"""

from __future__ import annotations

import copy
import dataclasses
import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import walks
from torch import Generator, Tensor
from walks import BEADS, SETTINGS, Walk, asked, content, dying, run, several, starts
from wells import ONE, DoubleWell, exchanging

from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.campaigns import Share, ShareDone
from cgsurrogate.core.energy import Sum
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.interrupts import Stopped
from cgsurrogate.core.propagator import State
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.simulation import parallel as parts
from cgsurrogate.simulation.parallel import part_seed, simulate_parts
from cgsurrogate.simulation.run import Unstable, simulate
from cgsurrogate.simulation.settings import RunOptions, SamplerSettings, SimulationSettings, Spread

SHARES = (slice(0, 3), slice(3, 5))  # of five replicas in two parts


class Counted(Walk):
    """Counts how often a replica's first bead goes up."""

    def start(self, positions: Tensor, rng: Generator) -> State:
        return super().start(positions, rng)._replace(counts=torch.zeros(len(positions), 2, dtype=torch.int64))

    def step(self, state: State, rng: Generator) -> State:
        new = super().step(state, rng)
        up = new.positions[:, 0, 2] > state.positions[:, 0, 2]
        return new._replace(counts=state.counts + torch.stack((up, torch.ones_like(up)), 1))

    def notes(self, state: State, known: Provenance) -> Provenance:
        up, every = state.counts.sum(0).tolist()
        return dataclasses.replace(known, notes={**known.notes, "ups": {"up": up, "share": up / every}})


def alone(moves: Walk | None = None, **changes) -> list[Frames]:
    """The parts as simulations by themselves."""
    x = starts(5)
    lengths = np.linalg.norm(np.diff(x, axis=1), axis=-1).mean(0)  # bonds are judged by the mean of all
    own = [SETTINGS | changes | {"seed": part_seed(SETTINGS["seed"], k), "bond_lengths": lengths} for k in range(2)]
    return [simulate(moves or Walk(), x[share], BEADS, *asked(**o)) for share, o in zip(SHARES, own, strict=True)]


@pytest.fixture
def here():
    with walks.here():
        yield


# what comes out


def test_parts_are_simulations_with_seeds_of_their_own(tmp_path, here):
    """Positions bit for bit, replicas by their number in the whole, and sums of what was counted."""
    told = []
    fail = (1, 7.5, "hot")  # the second of each part
    known = Provenance(notes={"model": "w"})
    frames = several(tmp_path / "new", Counted(fail), report=lambda *entry: told.append(entry), known=known)
    own = alone(Counted(fail))
    assert np.array_equal(frames.positions, np.concatenate([f.positions for f in own]))
    assert frames.lengths == (20, 7, 20, 20, 7)
    assert [(q.replica, q.time) for q in frames.provenance.quarantined] == [(1, 8.0), (4, 8.0)]
    assert frames.provenance.replicas == (0, 1, 2, 3, 4)
    ups = [f.provenance.notes["ups"] for f in own]
    up = ups[0]["up"] + ups[1]["up"]
    assert frames.provenance.notes["ups"] == {"up": up, "share": up / 200}
    heat = [f.provenance.kinetic_temperature for f in own]
    assert frames.provenance.kinetic_temperature == pytest.approx((heat[0] * 47 + heat[1] * 27) / 74)
    assert frames.provenance.notes["model"] == "w"
    assert frames.provenance.simulation["seed"] == SETTINGS["seed"]
    assert frames.provenance.simulation["processes"] == 2
    assert sorted(content(tmp_path / "new")) == ["frames.json", "positions.npy"]
    words = "; ".join(entry[-1] for entry in told)
    assert "replica 1 quarantined" in words
    assert "replica 4 quarantined" in words
    assert told[-1][0] == told[-1][1] == 20.0


def test_one_process_is_the_plain_simulation(tmp_path):
    expected = run(folder=tmp_path / "plain")
    for number in (None, 1):
        frames = several(tmp_path / str(number), replicas=4, processes=number)
        assert np.array_equal(frames.positions, expected.positions)
        assert min(f.provenance.wall_seconds for f in (frames, expected)) > 0
        assert frames.with_provenance(wall_seconds=expected.provenance.wall_seconds).provenance == expected.provenance


def test_seeds_of_parts_are_all_different():
    seeds = {part_seed(seed, part) for seed in range(30) for part in range(30)}
    assert len(seeds) == 900
    assert max(seeds) < 2**32


def test_ladders_stay_whole_and_their_exchanges_are_added(tmp_path, here):
    """Three ladders in two parts: frames at the lowest temperature, a run a ladder, and counts as of the two parts."""
    rungs = (300.0, 500.0, 800.0)
    moves = exchanging(DoubleWell(5.0), rungs, 2)
    x = np.full((9, 1, 3), 0.1)
    settings = [SimulationSettings(8.0, 0.08, 300.0, seed=seed) for seed in (1, part_seed(1, 0), part_seed(1, 1))]
    frames = simulate_parts(moves, x, ONE, settings[0], RunOptions(tmp_path, spread=Spread(2)))
    own = [simulate(moves, x[:n], ONE, one) for n, one in zip((6, 3), settings[1:], strict=True)]
    assert np.array_equal(frames.positions, np.concatenate([f.positions for f in own]))
    assert frames.provenance.ladders == (0, 1, 2)
    exchange, parts_ = frames.provenance.exchange, [f.provenance.exchange for f in own]
    for key in ("attempts", "round_trips", "frames_at_target"):
        assert np.array_equal(exchange[key], np.sum([p[key] for p in parts_], axis=0)), key
    done = sum(np.multiply(p["attempts"], p["acceptance"]) for p in parts_)
    assert np.allclose(exchange["acceptance"], done / exchange["attempts"])
    assert exchange["exchanges"] == parts_[0]["exchanges"]
    every = Frames.load(tmp_path / "all-temperatures")
    assert every.provenance.replicas == tuple(range(9))
    assert every.weights.sum() == pytest.approx(1.0)


def test_bonds_are_judged_by_the_mean_of_all_starts(tmp_path, monkeypatch):
    cut = {}

    def keep(tasks, *_):
        cut.update(tasks)
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, "run_tasks", keep)
    with pytest.raises(KeyboardInterrupt):
        several(tmp_path, closest=0.05)
    whole = filesystem.read_json(tmp_path / "simulation.json")
    specs = [task.args[0] for task in cut.values()]
    assert [len(spec.first) for spec in specs] == [3, 2]
    for spec in specs:
        assert spec.named["health"] == whole["health"]
        assert float(spec.monitor.closest) == pytest.approx(0.05)
    x = starts(8)
    x[7:] *= 5  # by itself it would be usual
    with pytest.raises(ValueError, match="replica 7: bond"):
        simulate_parts(Walk(), x, BEADS, *asked(folder=tmp_path / "new", processes=4, **SETTINGS))


def test_a_part_without_replicas_leaves_the_others(tmp_path, here):
    lost = Walk((0, 0.0, "nan"))  # the first of each part, and the second part has no other
    frames = several(tmp_path / "one", lost, replicas=3)
    assert frames.lengths == (20,)
    assert frames.provenance.replicas == (1,)
    assert [q.replica for q in frames.provenance.quarantined] == [0, 2]
    for _ in range(2):
        with pytest.raises(Unstable, match="all 2 replicas"):
            several(tmp_path / "none", lost, replicas=2)


# shares, for the jobs of an array


def test_shares_in_any_order_join_to_the_same_bytes(tmp_path, here):
    """Also where one comes twice, and one was killed; before all are done nothing is joined, and nothing is lost."""
    whole = several(tmp_path / "whole", processes=5)
    folder, parts = tmp_path / "shares", {k: Share(k, 3) for k in (1, 2, 3)}
    with pytest.raises(ValueError, match="5 of 5 parts are not done"):
        several(folder, processes=5, join=True)
    assert not folder.exists()
    for k in (3, 1, 3):
        with pytest.raises(ShareDone, match=f"part {k}/3 of .* is done"):
            several(folder, processes=5, share=parts[k])
    assert not (folder / "frames.json").exists()
    with pytest.raises(ValueError, match="2 of 5 parts are not done, the first: part 2"):
        several(folder, processes=5, join=True)
    with dying(Walk, 3), pytest.raises(KeyboardInterrupt):
        several(folder, processes=5, share=parts[2])
    with pytest.raises(ShareDone):
        several(folder, processes=None, share=parts[2])  # the folder knows its number
    with dying(Walk, 0):  # nothing is done again
        joined = several(folder, processes=5, join=True)
    assert np.array_equal(joined.positions, whole.positions)
    assert sorted(content(folder)) == ["frames.json", "positions.npy"]
    with dying(Walk, 0):
        assert np.array_equal(several(folder, processes=None, share=parts[1]).positions, whole.positions), (
            "a job that comes too late"
        )


@pytest.mark.parametrize("spread", [{"share": Share(1, 2)}, {"join": True}])
@pytest.mark.parametrize("number", [None, 1, "auto"])
def test_shares_need_the_number_of_parts(tmp_path, spread, number):
    with pytest.raises(ValueError, match="give --processes N"):
        several(tmp_path / "out", processes=number, **spread)
    assert not (tmp_path / "out").exists()


# stopping and going on


@pytest.mark.slow
def test_stops_and_a_second_command(tmp_path):
    """In one folder, with Ctrl-C: the frames are as if nothing was. ``test_continuing`` kills the command."""
    folder, told = tmp_path / "run", []

    def tell(*entry) -> None:
        told.append(entry)
        for worker in multiprocessing.active_children():
            os.kill(worker.pid, signal.SIGINT)  # a terminal does so; the command decides what it means
        with pytest.raises(filesystem.Busy):
            several(folder, time=300.0)
        if len(told) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Stopped, match=r"stopped by SIGINT; the simulation is saved, the same command") as stopped:
        several(folder, Walk(wait=0.03), report=tell, time=300.0)
    assert stopped.value.signal == signal.SIGINT
    assert told[0][0] < told[2][0] < told[2][1] == 300.0
    assert all(entry[2] > 0 and 100 < entry[3] < 600 for entry in told if entry[0])  # before a step there is no speed
    assert not multiprocessing.active_children()

    frames = several(folder, report=lambda *entry: told.append(entry), time=300.0)
    assert np.array_equal(frames.positions, np.concatenate([f.positions for f in alone(time=300.0)]))
    assert sorted(content(folder)) == ["frames.json", "positions.npy"]
    assert told[-1][0] == told[-1][1]


def test_a_model_with_a_users_file_and_its_number(tmp_path, peptide_frames, monkeypatch, request):
    """``workflow``: what two processes give is what their parts give in this one; the folder knows its number."""
    from cgsurrogate import workflows
    from cgsurrogate.models.model import Model, compose

    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import torch\nfrom cgsurrogate.core.energy import Energy\n\n\n"
        "class Springs(Energy):\n"
        "    def __init__(self, beads, strength):\n"
        "        super().__init__()\n"
        "        self.pairs, self.strength = torch.tensor(beads.bonds), strength\n\n"
        "    def forward(self, x):\n"
        "        d = (x[:, self.pairs[:, 0]] - x[:, self.pairs[:, 1]]).norm(dim=-1)\n"
        "        return self.strength * (d - 0.14).square().sum(1)\n\n\n"
        "def build(beads, strength=3000.0):\n    return Springs(beads, strength)\n"
    )
    beads = peptide_frames.beads
    recipes = [("networks", "./mine.py", {}), ("priors", "repulsion", {})]
    model = Model(compose(beads, recipes), beads, 300.0)
    model.module.terms[1].fit(peptide_frames)

    def simulated(out: str, **changes) -> Frames:
        settings = SimulationSettings(0.4, 0.04, replicas=6, sampler=SamplerSettings(pivot="1:5"))
        spread = Spread(**({"processes": 2} | changes))
        return workflows.make_simulation(model, peptide_frames, Path(out), settings, spread=spread)

    frames = simulated("several")
    assert simulated("several", processes=None).provenance == frames.provenance
    assert simulated("several", processes="auto").provenance == frames.provenance
    with pytest.raises(ValueError, match=r"begun with 2 process\(es\), not 3.*give 2"):
        simulated("several", processes=3)
    request.getfixturevalue("here")
    same = simulated("here")
    assert np.array_equal(frames.positions, same.positions)
    assert frames.provenance.monte_carlo["pivot"] == same.provenance.monte_carlo["pivot"]


# refusals, and how many


def test_what_makes_no_sense_is_refused_and_touches_nothing(tmp_path, monkeypatch):
    for number, words in ((0, "at least 1"), (1.5, "whole number"), ("many", "'auto'"), (6, "give at most 5")):
        with pytest.raises(ValueError, match=words):
            several(tmp_path / "new", processes=number)
    assert not (tmp_path / "new").exists()
    with pytest.raises(ValueError, match="cannot be handed to another process"):
        several(tmp_path / "local", type("Local", (Walk,), {})())


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_the_option_takes_a_number_or_auto(text):
    import click

    from cgsurrogate.cli.simulate import _processes

    assert (_processes("3"), _processes("auto"), _processes(None)) == (3, "auto", None)
    with pytest.raises(click.BadParameter, match="a number of processes or auto"):
        _processes(text)


def test_auto_is_the_cores_of_this_process_and_no_more_than_ladders(tmp_path, here, monkeypatch):
    assert parts.cores() == len(os.sched_getaffinity(0))
    monkeypatch.setattr(parts, "cores", lambda: 4)
    assert several(tmp_path / "a", processes="auto").provenance.simulation["processes"] == 4
    assert several(tmp_path / "b", processes="auto", replicas=3).provenance.simulation["processes"] == 3
    monkeypatch.setattr(parts, "cores", lambda: 1)
    assert "processes" not in several(tmp_path / "c", processes="auto").provenance.simulation


@pytest.mark.parametrize("finished", [False, True])
def test_a_folder_keeps_its_number(tmp_path, here, finished):
    if finished:
        several(tmp_path)
    else:
        with dying(Walk, 3), pytest.raises(KeyboardInterrupt):
            several(tmp_path)
    with pytest.raises(ValueError, match="begun with 2"):
        several(tmp_path, processes=1)
    with pytest.raises(ValueError, match="processes: 2 there"):
        run(folder=tmp_path, replicas=5)
    frames = several(tmp_path, processes=None)
    assert np.array_equal(frames.positions, np.concatenate([f.positions for f in alone()]))


@pytest.mark.parametrize("kind", registry.kinds("integrators"))
def test_what_has_moved_can_be_handed_over(kind, peptide_frames):
    """Constants that were taken for speed stay behind: a copy of a propagator that was used makes the same step."""
    priors = [registry.build("priors", name, peptide_frames.beads) for name in registry.kinds("priors")]
    for prior in priors:
        prior.fit(peptide_frames)
    moves = registry.build("integrators", kind, peptide_frames.beads, Sum(*priors), 300.0, timestep=0.001)
    x = torch.from_numpy(np.array(peptide_frames.positions[:3]))

    def step(moves) -> Tensor:
        rng = Generator().manual_seed(1)
        return moves.step(moves.start(x, rng), rng).positions

    expected = step(moves)
    assert torch.equal(step(copy.deepcopy(moves)), expected)
    assert torch.equal(step(pickle.loads(pickle.dumps(moves))), expected)
