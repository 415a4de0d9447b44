"""Commands that are stopped at chosen instants and said again until they are done, beside undisturbed ones.

Each command is forked from a process that has imported everything, so that a kill meets its work and not the imports.
Checkpoints come every ``OFTEN`` seconds, not every minute, so that a training or simulation of seconds has several.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import importlib
import io
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

OFTEN = 0.3  # s between checkpoints
LATE = 6.0  # s for which a command that was asked to stop may go on to its usual end
ORPHANS = 30.0  # s for which a process may outlive its command, on a busy machine
PATIENCE = 600.0  # s after which a command is taken to hang
GENTLE = (signal.SIGTERM, signal.SIGINT)
IMPORTED = (
    "cgsurrogate.cli",
    "cgsurrogate.comparison.compare",
    "cgsurrogate.data.read",
    "cgsurrogate.report.page",
    "cgsurrogate.report.figures",
    "cgsurrogate.training.lightning_task",
    "cgsurrogate.workflows.study",
    "deeptime.decomposition",
    "deeptime.markov.msm",
    "matplotlib.pyplot",
    "jinja2",
)
UNLIKE = ("log.txt", ".lock")  # files that need not be the same; "seconds" and "began" are taken off the others
FRAMES, CHAIN = "../inputs/frames", "../inputs/force-field"
TRAJECTORIES = "-s ../inputs/topology.pdb -f ../inputs/run0.xtc -f ../inputs/run1.xtc -T 300"
SIMULATE = f"simulate {CHAIN} --start {FRAMES} -q -o out"
INPUTS = {  # by the file or folder that says that they are there
    "topology.pdb": "example alanine-dipeptide -o .",
    "frames": "map -s topology.pdb -f run0.xtc -f run1.xtc -T 300 --stride 4 -q -o frames",
    "few": "map -s topology.pdb -f run0.xtc -f run1.xtc -T 300 --stride 20 -q -o few",
    "force-field": "train energy frames --steps 60 --network residues:width=8 --no-fine-tune -q -o force-field",
    "stepper": "train stepper frames --steps 60 -q -o stepper",
    "simulation": "simulate stepper --start frames --replicas 8 --time 400 -q -o simulation",
    "comparison": "compare few simulation -q -o comparison",
}
RUN = "run"  # its length depends on the speed of the machine, so its ends are not compared
STAGES = {
    "map": f"map {TRAJECTORIES} -q -o out",
    "train-energy": f"train energy {FRAMES} --steps 60 --network residues:width=8 -q -o out",
    "train-stepper": f"train stepper {FRAMES} --steps 40 -q -o out",
    "overdamped": f"{SIMULATE} --replicas 8 --time 0.2 --every 0.004 --integrator overdamped",
    "baoab": f"{SIMULATE} --replicas 8 --time 2 --every 0.04",
    "pivot": f"{SIMULATE} --replicas 8 --time 1.6 --every 0.08 --pivot 2:10",
    "independence": f"{SIMULATE} --replicas 8 --time 0.4 --every 0.02 --independence {FRAMES}",
    "tempering": f"{SIMULATE} --replicas 6 --time 2 --every 0.1 --tempering 300:400:3",
    "rollout": f"simulate ../inputs/stepper --start {FRAMES} --replicas 8 --time 1500 -q -o out",
    "processes": f"{SIMULATE} --replicas 8 --time 2 --every 0.04 --processes 2",
    "compare": "compare ../inputs/few ../inputs/simulation -q -o out",
    "report": "report ../inputs/comparison -o out",
    "export": f"export {FRAMES} --split-runs -o out/trajectory.xtc",
    RUN: f"run {TRAJECTORIES} --minutes 0.1 --replicas 12 --stride 4 -q -o out",  # every phase, none of them long
}


@dataclasses.dataclass(frozen=True)
class Stop:
    """A signal, ``after`` so many seconds, or when the output folder changes.

    That is at the ``change`` of that number, from 1, or when the file ``made`` is there; if it is there before, never.
    """

    number: signal.Signals = signal.SIGKILL
    after: float | None = None
    change: int | None = None
    made: str | None = None


@dataclasses.dataclass(frozen=True)
class End:
    """How a command ended, and how long after it was stopped; None where it ended before.

    ``changes`` counts those that were seen in its folder, where they were looked for.
    """

    code: int
    seconds: float
    said: str
    changes: int
    process: int
    late: float | None = None


class Shell:
    """Runs commands, one at a time; a context manager."""

    def __enter__(self) -> Shell:
        here = Path(__file__).parent
        path = os.pathsep.join((str(here), str(here.parent), os.environ.get("PYTHONPATH", "")))
        self.server = subprocess.Popen(
            [sys.executable, "-c", "import kills; kills.serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path, "MPLBACKEND": "agg"},
        )
        self._hear()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait(60)

    def run(self, words: str, folder: Path, stop: Stop | None = None, watch: bool = False) -> End:
        """One command in ``folder``, to its end or until it is stopped. Its output folder is watched, or not."""
        assert self.server.stdin is not None
        said = folder.with_name(f"{folder.name}.{self.server.pid}.said")
        request = {"words": words.split(), "folder": str(folder), "said": str(said)}
        self.server.stdin.write(json.dumps(request).encode() + b"\n")
        self.server.stdin.flush()
        process, began, changes, sent = int(self._hear()), time.monotonic(), 0, 0.0
        watch = watch or (stop is not None and stop.after is None)
        before = look(folder / "out") if watch else {}
        while not self._ready(0.001 if watch else 0.01):
            if watch and (now := look(folder / "out")) != before:
                before, changes = now, changes + 1
            passed = time.monotonic() - began
            if passed > PATIENCE:
                os.kill(process, signal.SIGKILL)
                raise TimeoutError(f"{words} hangs; it said: {said.read_text()}")
            if stop is not None and not sent and _due(stop, passed, changes, folder / "out"):
                os.kill(process, stop.number)
                sent = time.monotonic()
        code, ended = int(self._hear()), time.monotonic()
        return End(code, ended - began, said.read_text(), changes, process, ended - sent if sent else None)

    def _ready(self, seconds: float) -> bool:
        return bool(select.select([self.server.stdout], [], [], seconds)[0])

    def _hear(self) -> bytes:
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert line, "the process that commands are forked from has died"
        return line


def _due(stop: Stop, passed: float, changes: int, out: Path) -> bool:
    if stop.made is not None:
        return (out / stop.made).exists()
    if stop.change is not None:
        return changes >= stop.change
    return passed >= (stop.after or 0.0)


def serve() -> None:
    """Fork a command for each line of the input; print its process, and how it ended. Runs in a process of its own."""
    for name in IMPORTED:
        importlib.import_module(name)
    from cgsurrogate.training import lightning_task
    from cgsurrogate.workflows import simulate

    lightning_task.SAVE_SECONDS = OFTEN
    simulate.RunOptions = functools.partial(simulate.RunOptions, checkpoint_every=OFTEN)
    signal.pthread_sigmask(signal.SIG_BLOCK, GENTLE)  # until a command can be ended by them
    print("ready", flush=True)
    while line := sys.stdin.readline():
        process = os.fork()
        if not process:
            _become(**json.loads(line))
            return
        print(process, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


def _become(words: list[str], folder: str, said: str) -> None:
    """The command, as one that was just started: the leader of a session, to which all that it starts belongs."""
    from cgsurrogate import cli

    os.setsid()
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    written = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(written, 1)
    os.dup2(written, 2)
    sys.argv = ["cgsurrogate", *words]
    for number in GENTLE:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, GENTLE)
    cli.main()


def look(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file of a folder that may be written to: its node, size and time."""
    found: dict[str, tuple[int, int, int]] = {}
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with contextlib.suppress(OSError):
                        about = entry.stat(follow_symlinks=False)
                        found[entry.path] = (about.st_ino, about.st_size, about.st_mtime_ns)
    return found


def started_by(process: int) -> list[int]:
    """Processes that live in the session of a command, itself left out."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
            if int(session) == process and int(path.parent.name) != process and state != "Z":
                found.append(int(path.parent.name))
    return found


def content(folder: Path) -> dict[str, str]:
    """The sha256 of every file in a folder, without wall times, dates and the checksums of them; no lock and no log."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in UNLIKE)
    return {str(path.relative_to(folder)): hashlib.sha256(_bare(path)).hexdigest() for path in paths}


def _bare(path: Path) -> bytes:
    data = path.read_bytes()
    if path.name == "metrics.csv":
        rows = [line.split(",") for line in data.decode().splitlines()]
        column = rows[0].index("seconds")
        return "\n".join(",".join(row[:column] + row[column + 1 :]) for row in rows).encode()
    if path.suffix == ".json":
        return re.sub(rb'"(wall_seconds|began|checksum)": ("[^"]*"|[0-9.e+-]+)', b"", data)
    if path.suffix == ".pt":
        import torch

        stored = torch.load(io.BytesIO(data.partition(b"\n")[2]), weights_only=True)
        return b"\n".join(_walk(stored))
    return data


def _walk(value: Any) -> Iterator[bytes]:
    """All that a stored state holds, but for the seconds."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key != "seconds":
                yield repr(key).encode()
                yield from _walk(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _walk(one)
    else:
        yield value.numpy().tobytes() if hasattr(value, "numpy") else repr(value).encode()


def prepare(shell: Shell, folder: Path, stages: Iterable[str]) -> None:
    """The inputs of these stages, in ``folder/inputs``, where they are not there yet."""
    inputs = folder / "inputs"
    inputs.mkdir(parents=True, exist_ok=True)
    needed = {name for stage in stages for name in INPUTS if f"../inputs/{name}" in STAGES[stage]}
    for name, words in reversed(INPUTS.items()):
        if name in needed:
            needed |= INPUTS.keys() & words.split()
    for name, words in INPUTS.items():
        if name in needed and not (inputs / name).exists():
            end = shell.run(words, inputs)
            assert not end.code, f"{words}: {end.said}"


def met(end: End, stop: Stop) -> bool:
    """Whether a stop met a command at work, which must then have ended as it should.

    Else it was done, or the signal came before or after all work, where nothing is caught; a shell calls that 143, too.
    """
    gentle = stop.number != signal.SIGKILL
    lost = gentle and end.late is not None and ("Exception ignored" in end.said or (not end.code and end.late > LATE))
    assert not lost, f"{stop.number.name} was lost, and the command went on for {end.late} s: {end.said}"
    if not end.code or (gentle and end.code == -stop.number and "Traceback" not in end.said):
        return False
    expected = -stop.number if stop.number == signal.SIGKILL else 128 + stop.number
    assert end.code == expected, f"ends with {end.code}, not {expected}: {end.said}"
    if gentle:
        lines = [line for line in end.said.splitlines() if re.match("Stopped|Error|Traceback|[A-Za-z.]*Error:", line)]
        assert len(lines) == 1 and lines[0].startswith(f"Stopped: stopped by {stop.number.name}"), end.said
    return True


def orphaned(process: int) -> float:
    """Seconds until all has ended that a command had started which is no more."""
    began = time.monotonic()
    while left := started_by(process):
        assert time.monotonic() - began < ORPHANS, f"processes {left} outlive their command"
        time.sleep(0.05)
    return time.monotonic() - began


def disturbed(shell: Shell, words: str, folder: Path, plan: Sequence[Stop]) -> tuple[int, float]:
    """A command that is stopped as planned, said again each time, and at last left alone.

    After every second stop it is said again at once, beside what the one before has left running.

    Returns:
        How many stops met it at work, and the seconds for which a process outlived it, at most.
    """
    folder.mkdir()
    count, longest, kept = 0, 0.0, dict[str, str]()
    for number, stop in enumerate(plan):
        if stop.made is not None and (folder / "out" / stop.made).exists():
            continue
        end = shell.run(words, folder, stop)
        count += met(end, stop)
        if not end.code:
            break
        kept = finished(folder / "out")
        if number % 2 == 0:
            longest = max(longest, orphaned(end.process))
        assert kept.items() <= finished(folder / "out").items(), "what was finished has changed"
    end = shell.run(words, folder)
    assert not end.code, f"{words} ends with {end.code}: {end.said}"
    assert kept.items() <= finished(folder / "out").items(), "what was finished has changed"
    longest = max(longest, orphaned(end.process))
    left = [str(path) for path in folder.rglob("*.tmp*")]
    assert not left, f"left behind: {left}"
    refuse_repeated(folder)
    return count, longest


def refuse_repeated(folder: Path) -> None:
    """No step may stand twice in the rows of a training."""
    for path in folder.rglob("metrics.csv"):
        steps = [line.split(",")[0] for line in path.read_text().splitlines()]
        assert len(set(steps)) == len(steps), f"{path} repeats rows: {steps}"


def finished(out: Path) -> dict[str, str]:
    """The sha256 of arrays and weights that a manifest beside them says are whole, in the folders of a run."""
    whole = [path.parent for name in ("frames.json", "model.json") for path in out.glob(f"*/{name}")]
    files = [path for folder in whole for path in folder.glob("*") if path.suffix in (".npy", ".safetensors")]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def undisturbed(shell: Shell, words: str, folder: Path) -> tuple[End, dict[str, str]]:
    """A command without a stop, watched, and what it leaves."""
    folder.mkdir()
    end = shell.run(words, folder, watch=True)
    assert not end.code, f"{words}: {end.said}"
    return end, content(folder / "out")


def stops(end: End, number: int, seed: int) -> list[Stop]:
    """Half at instants drawn from the time that the command takes, half at changes of its folder."""
    rng = random.Random(seed)
    changes = rng.sample(range(1, end.changes + 1), min(end.changes, number // 2))
    found = [Stop(change=k) for k in changes]
    found += [Stop(after=rng.uniform(0, end.seconds)) for _ in range(number - len(changes))]
    rng.shuffle(found)
    return found
