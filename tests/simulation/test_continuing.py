"""Stops, kills and second calls: whatever moves the replicas, in one process or several, a folder ends the same."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import known_molecule
import numpy as np
import pytest
import torch
import walks
from known_molecule import KELVIN, exact, mixed
from walks import Walk, asked, dying, several
from wells import KT, ONE, DoubleWell, exchanging

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Propagator
from cgsurrogate.core.temperatures import geometric
from cgsurrogate.simulation.parallel import simulate_parts
from cgsurrogate.simulation.run import simulate

STORE, LADDER = "cgsurrogate.simulation.frame_store", "cgsurrogate.simulation.temperature_ladder"
ONE_SIDE = np.tile([0.2, 0.0, 0.0], (12, 1, 1))
SETTINGS = {
    "walk": (walks.starts(6), walks.BEADS, walks.SETTINGS),
    "exchange": (ONE_SIDE, ONE, {"time": 6.0, "every": 0.2, "temperature": 300.0, "seed": 3}),
} | dict.fromkeys(
    ("pivot", "independence"),
    (exact(6).numpy(), known_molecule.BEADS, {"time": 0.3, "every": 0.03, "temperature": KELVIN}),
)


class Weighted(Walk):
    def __init__(self, weight: float):
        super().__init__()
        self.register_buffer("weight", torch.tensor(weight))


def propagator(name: str, other: bool = False) -> Propagator:
    """One of each sort, or another of the sort with one number changed."""
    if name == "walk":
        return Weighted(2.0 if other else 1.0)
    if name == "exchange":
        return exchanging(DoubleWell(3 * KT), geometric(300, 700 if other else 600, 3), 5)
    return mixed(known_molecule.integrator("baoab"), name, 5, 5 if other else 4)


def run(name: str, folder: Path, processes: int, other: bool = False, replicas=None, **changes) -> Frames:
    start, beads, settings = SETTINGS[name]
    how = asked(folder=folder, checkpoint_every=0, processes=processes, **(settings | changes))
    with walks.here():
        return simulate_parts(propagator(name, other), start[:replicas], beads, *how)


def content(folder: Path) -> dict[str, bytes]:
    """Every file, but for the wall time that it took, and the checksum that follows from it."""
    time = rb'"wall_seconds": [0-9.e+-]+|^ "checksum": "[0-9a-f]+"'
    return {name: re.sub(time, b"", data, flags=re.M) for name, data in walks.content(folder).items()}


samplers = pytest.mark.parametrize("name", SETTINGS)
processes = pytest.mark.parametrize("number", [1, 2])


@processes
@samplers
def test_going_on_after_a_kill_is_bitwise_the_same(tmp_path, name, number):
    whole = run(name, tmp_path / "whole", number)
    moves, (start, beads, settings) = propagator(name), SETTINGS[name]
    if number == 1:
        assert np.array_equal(whole.positions, simulate(propagator(name), start, beads, *asked(**settings)).positions)
    steps = number * round(settings["time"] / moves.lag)
    for calls in (0, 7, steps - 1):
        folder = tmp_path / str(calls)
        with dying(type(moves), calls), pytest.raises(KeyboardInterrupt):
            run(name, folder, number)
        with dying(type(moves), steps - calls):  # nothing is done twice
            run(name, folder, number)
        assert content(folder) == content(tmp_path / "whole")


@processes
@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("walk", f"{STORE}.write_runs"),
        ("walk", "cgsurrogate.core.frames.Frames.save"),
        ("exchange", f"{LADDER}.assemble"),
        ("exchange", "cgsurrogate.core.frames.Frames.save"),
        ("walk", f"{STORE}.remove"),
        ("exchange", f"{STORE}.remove"),
    ],
)
def test_a_kill_while_the_frames_are_assembled(tmp_path, monkeypatch, name, where, number):
    def die(*_):
        raise KeyboardInterrupt

    run(name, tmp_path / "whole", number)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(where, die)
        run(name, tmp_path / "parts", number)
    with dying(type(propagator(name)), 0):
        run(name, tmp_path / "parts", number)
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


@processes
def test_frames_that_another_process_finishes_just_before_are_taken(tmp_path, monkeypatch, number):
    made = []

    @contextlib.contextmanager
    def late(folder):
        monkeypatch.undo()
        run("walk", folder, number)
        made.append((folder / "positions.npy").stat().st_mtime_ns)
        with filesystem.locked(folder):
            yield

    monkeypatch.setattr(filesystem, "locked", late)
    run("walk", tmp_path / "run", number)
    assert made == [(tmp_path / "run" / "positions.npy").stat().st_mtime_ns]


@processes
@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("walk", {"seed": 5}, "seed: 4 there, 5 now"),
        ("walk", {"time": 21.0}, "time: 20.0 there, 21.0 now"),
        ("walk", {"every": 2.0}, "every"),
        ("walk", {"temperature": 310.0}, "temperature: 300.0 there, 310.0 now"),
        ("walk", {"replicas": 5}, "replicas: 6 there, 5 now"),
        ("walk", {"other": True}, r"propagator\.weights"),
        ("walk", {"processes": 3}, r"begun with \d process\(es\), not 3"),
        ("exchange", {"other": True}, r"propagator\.options.*600 K.*700 K"),
        ("pivot", {"other": True}, r"pivot\(drawn=0.5\): 4 every 5 steps there"),
    ],
)
def test_other_settings_are_refused_and_touch_nothing(tmp_path, name, changes, words, finished, number):
    if finished:
        run(name, tmp_path, number)
    else:
        with dying(type(propagator(name)), 3), pytest.raises(KeyboardInterrupt):
            run(name, tmp_path, number)
    before = content(tmp_path)
    with pytest.raises(ValueError, match=words):
        run(name, tmp_path, **({"processes": number} | changes))
    assert content(tmp_path) == before


SCRIPT = """
import sys
from walks import Walk, several
from cgsurrogate.core.interrupts import Stopped
try:
    several(sys.argv[1], Walk(wait=0.01), processes=int(sys.argv[2]), time=600.0)
except Stopped as stopped:
    sys.exit(128 + stopped.signal)
"""


def waiting(until) -> None:
    deadline = time.monotonic() + 120
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("number", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGTERM])
def test_a_real_process_is_killed_and_goes_on(tmp_path, sent, number):
    tests, folder = Path(__file__).parents[1], tmp_path / "run"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{tests}:{tests.parent}"}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), str(number)], env=environment)
    block = folder / ("chunks" if number == 1 else "parts/1/chunks") / "00001.npy"
    try:
        waiting(lambda: block.exists() or process.poll() is not None)
        process.send_signal(sent)
        code = process.wait(120)
    finally:
        process.kill()
    assert code == (-sent if sent == signal.SIGKILL else 128 + sent)
    waiting(lambda: not list(folder.glob("parts/*/.lock")))  # the workers noticed, saved and ended
    assert not (folder / "frames.json").exists()
    with walks.here():
        whole = several(tmp_path / "whole", processes=number, time=600.0)
        with dying(Walk, number * 1200 - 1):  # not all is done again
            again = several(folder, processes=number, time=600.0)
    assert np.array_equal(again.positions, whole.positions)
