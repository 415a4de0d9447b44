"""A campaign of 64 parts whose workers are killed, on every way to run it: all parts are done, with the same bytes.

    python benchmarks/campaign.py [--parts 64] [--workers 2] [--kills 3] [WAY ...]

One simulation of a small force field in 64 parts is run undisturbed by two processes of this machine, and then on each
way: ``local`` and ``dask`` with workers killed by SIGKILL, ``parent`` with the command itself killed and given again,
and ``array`` as four jobs of ``--part k/4`` side by side, two at a time, each kill followed by the same job again, and
``--join``. What is left must be the same to the byte, but for the wall time. Prints a Markdown table; ends with 1 if
anything is not so. ``dask`` needs the extra ``cluster``.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import kills

WAYS = ("local", "dask", "parent", "array")
JOBS = 4
HEAD = "| way | SIGKILLs | wall, s | all done | same bytes |"
MADE = (
    "example alanine-dipeptide -o data",
    "map -s data/topology.pdb -f data/run0.xtc -f data/run1.xtc -T 300 --stride 10 -q -o frames",
    "train energy frames --steps 60 --network residues:width=8 --no-fine-tune -q -o ff",
)


@dataclasses.dataclass
class Bench:
    """Where it happens, and how often what is killed."""

    place: Path
    parts: int
    workers: int
    kills: int
    rng: random.Random

    def words(self, out: str, *more: str) -> list[str]:
        simulated = f"simulate ff --start frames --replicas {2 * self.parts} --time 1.2 --every 0.04 -q"
        return [*simulated.split(), "--processes", str(self.parts), "-o", out, *more]

    def start(self, words: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "cgsurrogate", *words], cwd=self.place)

    def run(self, words: list[str]) -> None:
        assert self.start(words).wait() == 0, words

    def done(self, out: str) -> int:
        """Parts that are noted as done."""
        notes = (self.place / out / "tasks").glob("part *.json")
        count = 0
        for note in notes:
            with contextlib.suppress(OSError):
                count += '"state": "done"' in note.read_text()
        return count


def descendants(process: int) -> Iterator[int]:
    """All processes below one."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(path.read_text().rpartition(")")[2].split()[1])
            below.setdefault(parent, []).append(int(path.parent.name))
    waiting = [process]
    while waiting:
        children = below.get(waiting.pop(), [])
        waiting += children
        yield from children


def at_work(bench: Bench, out: str, process: int) -> list[int]:
    """Workers of a command that have begun with a part and not ended."""
    from cgsurrogate.core.task_board import RUNNING, Board

    board = Board(bench.place / out)
    below = set(descendants(process)) | {process}
    with contextlib.suppress(ValueError, OSError):
        notes = (board.note(name) for name in board.planned())
        return [note.process for note in notes if note.state == RUNNING and note.process in below]
    return []


def spread_kills(bench: Bench, out: str, command: subprocess.Popen[bytes]) -> int:
    """Kill a worker at work whenever a share of the parts is done; how often that was."""
    count = 0
    marks = sorted(bench.rng.sample(range(1, bench.parts * 3 // 4), bench.kills))
    while command.poll() is None and count < len(marks):
        if bench.done(out) >= marks[count] and (found := at_work(bench, out, command.pid)):
            time.sleep(bench.rng.random() * 0.3)
            os.kill(bench.rng.choice(found), signal.SIGKILL)
            count += 1
        time.sleep(0.05)
    assert command.wait() == 0
    return count


def local(bench: Bench, out: str) -> int:
    return spread_kills(bench, out, bench.start(bench.words(out, "--executor", f"local:workers={bench.workers}")))


def dask(bench: Bench, out: str) -> int:
    return spread_kills(bench, out, bench.start(bench.words(out, "--executor", f"dask:workers={bench.workers}")))


def parent(bench: Bench, out: str) -> int:
    words = bench.words(out, "--executor", f"local:workers={bench.workers}")
    marks = sorted(bench.rng.sample(range(1, bench.parts * 3 // 4), bench.kills))
    for mark in marks:
        command = bench.start(words)
        while command.poll() is None and bench.done(out) < mark:
            time.sleep(0.05)
        command.kill()
        command.wait()
    bench.run(words)
    return len(marks)


def array(bench: Bench, out: str) -> int:
    waiting, running, count = [f"{k + 1}/{JOBS}" for k in range(JOBS)], dict[str, subprocess.Popen[bytes]](), 0
    while waiting or running:
        while waiting and len(running) < bench.workers:
            job = waiting.pop(0)
            running[job] = bench.start(bench.words(out, "--executor", "local:workers=1", "--part", job))
        for job, command in list(running.items()):
            if command.poll() is not None:
                assert command.returncode in (0, -signal.SIGKILL), command.returncode
                del running[job]
                if command.returncode:
                    waiting.append(job)
        due = bench.done(out) >= (count + 1) * bench.parts // (bench.kills + 2)
        if count < bench.kills and running and due:
            bench.rng.choice(list(running.values())).kill()
            count += 1
        time.sleep(0.05)
    bench.run(bench.words(out, "--join"))
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"{', '.join(WAYS)}; all by default.")
    parser.add_argument("--parts", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="Of the instants.")
    given = parser.parse_args()
    if unknown := set(given.ways) - set(WAYS):
        parser.error(f"expected ways among {', '.join(WAYS)}, got {', '.join(unknown)}")
    bad = False
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), given.parts, given.workers, given.kills, random.Random(given.seed))
        for words in MADE:
            bench.run(words.split())
        began = time.monotonic()
        bench.run(bench.words("whole", "--executor", f"local:workers={bench.workers}"))
        whole = kills.content(bench.place / "whole")
        print(
            f"{HEAD}\n|---|---|---|---|---|\n| undisturbed | 0 | {time.monotonic() - began:.0f} | yes | |", flush=True
        )
        for way in given.ways or WAYS:
            began = time.monotonic()
            count = globals()[way](bench, way)
            left = kills.content(bench.place / way)
            same = left == whole
            bad |= not same or count < bench.kills
            print(
                f"| {way} | {count} | {time.monotonic() - began:.0f} | {'yes' if 'frames.json' in left else 'NO'} | "
                f"{'yes' if same else 'NO'} |",
                flush=True,
            )
    sys.exit(bad)


if __name__ == "__main__":
    main()
