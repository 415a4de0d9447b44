"""What damaged files do: every format that is read or stored, changed at random, thousands of times.

    python benchmarks/fuzz.py --mutations 2000 [FORMAT ...]

A mutation flips one bit, overwrites a run of bytes, cuts the end off, puts bytes in, or swaps two blocks. Reading the
file must end in one line that names it, or in the same numbers, or in a physical check that names file and frame. The
table counts these, and what is none of them:

- told: a topology is read with a line on what is unusual in it.
- unseen: other numbers, which no check of the physics can see. An atom moved by at most 0.05 nm, or by more along a
  sphere around those that it is bonded to, which ``far`` counts among them; positions that moved as a whole are "same".
- WRONG: other numbers without a word that a check should have seen.
- crashes: an exception of another kind, a line that does not name the file, or more than a minute.

It ends with 1 where there are crashes. ``--show`` prints each case that is wrong or crashes.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import io
import re
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import _fuzz_targets as targets
import numpy as np

from cgsurrogate.data.formats import parsing
from cgsurrogate.data.validation import STRETCHED

PATIENCE = 60  # s
PHYSICAL = re.compile(r"nm apart|not finite|can feel|looks like Angstrom|are the coordinates in nm|ps apart")
COLUMNS = ("refused", "same", "physical", "told", "unseen", "far", "WRONG", "crashes")


@dataclasses.dataclass
class Tally:
    """Of one format: how mutations ended, and what the worst of them cost; ``cases`` are lines on the bad ones."""

    ends: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    cases: list[str] = dataclasses.field(default_factory=list)
    slowest: float = 0.0
    memory: int = 0

    def row(self, name: str) -> str:
        done = sum(count for end, count in self.ends.items() if end != "far")
        counts = " | ".join(str(self.ends[column]) for column in COLUMNS)
        return f"| {name} | {done} | {counts} | {self.slowest:.2f} | {self.memory / 1e6:.0f} |"


class Slow(Exception):
    """Nothing came of it for too long."""


def mutate(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """A kind of damage, in words, and what it makes of the bytes."""
    kind = ("flip", "overwrite", "cut", "insert", "swap")[rng.choice(5, p=(0.4, 0.2, 0.1, 0.15, 0.15))]
    size = len(data)
    early = rng.random() < 0.3  # headers are small, and most of the harm
    at = int(rng.integers(min(size, 600) if early else size))
    run = int(min(2 ** rng.integers(1, 10), size))
    made = bytearray(data)
    if kind == "flip":
        made[at] ^= 1 << int(rng.integers(8))
    elif kind == "overwrite":
        made[at : at + run] = rng.bytes(len(made[at : at + run]))
    elif kind == "cut":
        del made[at:]
    elif kind == "insert":
        made[at:at] = rng.bytes(run)
    else:
        other = int(rng.integers(size))
        first, second = sorted((at, other))
        run = min(run, second - first, size - second)
        made[first : first + run], made[second : second + run] = data[second : second + run], data[first : first + run]
    return f"{kind} at {at} of {size}", bytes(made)


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    def end(*_: object) -> None:
        raise Slow(f"no end after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ended(path: Path, read: Any, expected: targets.Numbers) -> tuple[str, str]:
    """How reading ended, and a line on it."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _patience():
            warnings.simplefilter("ignore")
            found = read()
    except (ValueError, FileNotFoundError) as error:
        line = str(error)
        if path.name not in line and path.parent.name not in line:
            return "crashes", f"the line does not name the file: {line[:200]}"
        if len(line) > 1500:
            return "crashes", f"a line of {len(line)} characters: {line[:200]}"
        return ("physical" if PHYSICAL.search(line) else "refused"), line
    except Exception as error:
        return "crashes", f"{type(error).__name__}: {str(error)[:200]}"
    return compared(expected, found)


def compared(expected: targets.Numbers, found: targets.Numbers) -> tuple[str, str]:
    """Whether what was read is what was written."""
    if set(found.get("told", ())) - set(expected.get("told", ())):
        return "told", ""
    if found.keys() != expected.keys():
        return "WRONG", f"{sorted(found.keys() ^ expected.keys())}"
    other = [name for name in expected if not _same(expected[name], found[name])]
    if not other:
        return "same", ""
    if other == ["positions"] and found["positions"].shape == expected["positions"].shape:
        moved = found["positions"].astype(float) - expected["positions"]
        moved -= np.median(moved, 1, keepdims=True)
        far = float(np.linalg.norm(moved, axis=-1).max())
        i, j = expected["bonds"].T
        lengths = [np.linalg.norm(x[:, i] - x[:, j], axis=-1) for x in (expected["positions"], found["positions"])]
        change = float(np.abs(lengths[1] - lengths[0]).max())
        if far < 1e-4:
            return "same", "moved as a whole"
        end = "unseen" if change < STRETCHED * 1.3 else "WRONG"  # the bond had an offset of its own from its mean
        return ("far" if end == "unseen" and far > STRETCHED else end), f"moved {far:.3f}, a bond by {change:.3f} nm"
    name = other[0]
    return "WRONG", f"{name}: {_difference(expected[name], found[name])}"


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(two, np.ndarray) and one.shape == two.shape and np.array_equal(one, two, equal_nan=True)
    return bool(one == two)


def _difference(one: Any, two: Any) -> str:
    if isinstance(one, np.ndarray):
        return f"{one.shape}, {np.shape(two)}"
    k = next((k for k, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return f"{one[max(0, k - 30) : k + 40]!r} became {two[max(0, k - 30) : k + 40]!r}"


def _forget_peaks() -> None:
    for process in _processes():
        with contextlib.suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes, the most that this process or that of the parser had since ``_forget_peaks``."""
    found = 0
    for process in _processes():
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/status").read_text()
            found = max(found, int(re.search(r"VmHWM:\s+(\d+)", text)[1]) * 1024)  # type: ignore[index]
    return found


def _processes() -> list[str]:
    return ["self", *(str(process.pid) for _, process, _ in parsing._idle)]


def attacked(name: str, mutations: int, seed: int, folder: Path) -> Tally:
    """So many mutations of one format."""
    path, read = targets.made(name, folder)
    whole, found, tally = path.read_bytes(), read(), Tally()
    assert compared(found, read())[0] == "same", name
    rng = np.random.default_rng([seed, sum(name.encode())])
    _forget_peaks()
    for number in range(mutations):
        what, data = mutate(whole, rng)
        path.write_bytes(data)
        began = time.perf_counter()
        end, line = ended(path, read, found)
        tally.slowest = max(tally.slowest, time.perf_counter() - began)
        tally.memory = max(tally.memory, _peak())
        if end == "far":
            tally.ends["unseen"] += 1
        tally.ends[end] += 1
        if end in ("WRONG", "crashes"):
            tally.cases.append(f"{name} {number} ({what}): {end}: {line}")
    return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=", ".join(targets.TARGETS))
    parser.add_argument("--mutations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="Each case that is wrong or crashes, on standard error.")
    given = parser.parse_args()
    if unknown := set(given.formats) - set(targets.TARGETS):
        parser.error(f"expected formats out of {', '.join(targets.TARGETS)}, got {', '.join(unknown)}")
    print(f"| format | mutations | {' | '.join(COLUMNS)} | slowest, s | memory, MB |")
    print("|---" * (len(COLUMNS) + 4) + "|")
    crashes = 0
    with tempfile.TemporaryDirectory() as folder:
        for name in given.formats or targets.TARGETS:
            tally = attacked(name, given.mutations, given.seed, Path(folder) / "files")
            crashes += tally.ends["crashes"]
            print(tally.row(name), flush=True)
            if given.show:
                print("\n".join(tally.cases), file=sys.stderr, flush=True)
    sys.exit(bool(crashes))


if __name__ == "__main__":
    main()
