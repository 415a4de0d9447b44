"""Compare two long trajectories that lie on the disk, and print the time and the memory that it takes.

    python benchmarks/memory.py --frames 10000000 --beads 10 --folder /tmp/long

Makes a chain of CA beads whose torsions follow one slow two-state switch, in chunks, as a reference and as one
surrogate of the same size; an existing folder of the same size is used again. Then a child process compares them, and
this process reads its memory from /proc: the part that is its own, and all of it (that includes file pages, which the
system takes back when it needs them).
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import time
from pathlib import Path

import click
import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import FORMAT, MANIFEST, Beads, Frames

CHUNK = 100_000
DT, TEMPERATURE = 10.0, 300.0
BOND, ANGLE, NOISE = 0.38, 2.0, 0.25  # nm, radians, radians
STATES = (0.9, -2.6)  # radians, of every torsion
SLOW = 5_000  # frames, relaxation of the switch


@click.command()
@click.option("--frames", default=1_000_000, show_default=True, help="Frames of each of the two ensembles.")
@click.option("--beads", default=10, show_default=True, help="Beads of the chain.")
@click.option("--runs", default=10, show_default=True, help="Unbroken runs.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the trajectories are kept.")
@click.option("--limit", default=0.0, help="GiB that the memory of its own may take; more is an error.")
def main(frames: int, beads: int, runs: int, folder: Path, limit: float) -> None:
    """Measure time and peak memory of a comparison of two trajectories of FRAMES frames."""
    paths = [make(folder / name, frames, beads, runs, seed) for seed, name in enumerate(("reference", "surrogate"))]
    child = multiprocessing.get_context("spawn").Process(target=run, args=(*paths, folder))
    began = time.time()
    child.start()
    own = watch(child, began)
    result = json.loads((folder / "result.json").read_text())
    size = sum((path / "positions.npy").stat().st_size for path in paths)
    click.echo(f"{frames:,} frames of {beads} beads twice, {size / 2**30:.2f} GiB on the disk")
    click.echo(f"{result['wall']:.0f} s, {result['cpu']:.0f} CPU-s")
    click.echo(f"peak of its own memory {own / 2**30:.2f} GiB; with file pages {result['peak'] / 2**30:.2f} GiB")
    if child.exitcode or (limit and own > limit * 2**30):
        raise SystemExit(f"expected less than {limit:g} GiB and no error (exit {child.exitcode})")


def make(folder: Path, frames: int, beads: int, runs: int, seed: int) -> Path:
    """A folder of frames, written in chunks."""
    lengths = [frames // runs + (k < frames % runs) for k in range(runs)]
    known = filesystem.read_json(folder / MANIFEST) if (folder / MANIFEST).exists() else None
    if known and known["lengths"] == lengths and known["arrays"]["positions"]["shape"] == [frames, beads, 3]:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    path = folder / "positions.npy"
    array = np.lib.format.open_memmap(path, "w+", np.float32, (frames, beads, 3))
    state, start = int(rng.integers(2)), 0
    for length in lengths:
        for first in range(0, length, CHUNK):
            count = min(CHUNK, length - first)
            flips = np.cumsum(rng.random(count) < 1 / (2 * SLOW)) % 2
            states = state ^ flips
            state = int(states[-1])
            array[start : start + count] = chain(states, beads, rng)
            start += count
        click.echo(f"made {start:,} of {frames:,} frames in {folder}")
    array.flush()
    del array
    kind = Beads(
        ("CA",) * beads,
        (0,) * beads,
        (12.0,) * beads,
        tuple(range(beads)),
        ("ALA",) * beads,
        tuple((k, k + 1) for k in range(beads - 1)),
    )
    manifest = {
        "format": FORMAT,
        "dt": DT,
        "temperature": TEMPERATURE,
        "lengths": lengths,
        "arrays": {"positions": {"file": path.name, "sha256": "", "shape": [frames, beads, 3]}},
        "beads": dataclasses.asdict(kind),
        "source": {"made_by": "benchmarks/memory.py"},
    }
    filesystem.write_json(folder / MANIFEST, manifest)
    return folder


def chain(states: np.ndarray, beads: int, rng: np.random.Generator) -> np.ndarray:
    """(t,) states -> (t, beads, 3) nm: fixed bonds and angles with little noise, torsions about those of the state."""
    count = len(states)
    x = np.zeros((count, beads, 3))
    x[:, 1] = [BOND, 0, 0]
    x[:, 2] = x[:, 1] + BOND * np.array([-np.cos(ANGLE), np.sin(ANGLE), 0])
    for k in range(3, beads):
        torsion = np.where(states == 1, STATES[1], STATES[0]) + NOISE * rng.normal(size=count)
        along = x[:, k - 1] - x[:, k - 2]
        along /= np.linalg.norm(along, axis=-1, keepdims=True)
        normal = np.cross(x[:, k - 2] - x[:, k - 3], along)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        side = np.cross(normal, along)
        up, out = np.sin(ANGLE) * np.cos(torsion), np.sin(ANGLE) * np.sin(torsion)
        x[:, k] = x[:, k - 1] + BOND * (-np.cos(ANGLE) * along + up[:, None] * side + out[:, None] * normal)
    return (x + 0.004 * rng.normal(size=x.shape)).astype(np.float32)


def run(reference: Path, surrogate: Path, folder: Path) -> None:
    """In the child: compare, with a line for every stage."""
    from cgsurrogate.comparison.compare import compare

    began = time.time()

    def report(text: str) -> None:
        own, every = (memory(os.getpid()).get(key, 0) / 2**30 for key in ("RssAnon", "VmRSS"))
        print(f"{time.time() - began:6.0f} s  {own:5.2f} GiB own, {every:5.2f} GiB in all  {text}", flush=True)

    comparison = compare(Frames.load(reference), {"surrogate": Frames.load(surrogate)}, report=report)
    report("done")
    print("\n".join(comparison.verdict))
    result = {"wall": time.time() - began, "cpu": time.process_time(), "peak": memory(os.getpid())["VmHWM"]}
    (folder / "result.json").write_text(json.dumps(result))


def watch(child: multiprocessing.process.BaseProcess, began: float) -> int:
    """Bytes of memory of its own (RssAnon) at its peak, looked at twenty times a second."""
    most = 0
    while child.is_alive():
        most = max(most, memory(child.pid or 0).get("RssAnon", 0))
        time.sleep(0.05)
    return most


def memory(pid: int) -> dict[str, int]:
    """{line of /proc/PID/status: bytes}, those given in kB; empty once the process is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {
        key: int(value.split()[0]) * 1024 for key, _, value in (line.partition(":") for line in lines) if "kB" in value
    }


if __name__ == "__main__":
    main()
