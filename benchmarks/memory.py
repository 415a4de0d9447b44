"""How much memory of its own a stage takes as the frames grow: mapping, training, comparing.

    python benchmarks/memory.py --stage train-stepper --frames 100000 --times 1 --times 4 --times 16 --folder /tmp/long
    python benchmarks/memory.py --frames 10000000 --beads 10 --folder /tmp/long

Makes a chain of CA beads whose torsions follow one slow two-state switch, in chunks, with forces that are noise, as a
reference and, to compare, as one surrogate of the same size; or, to map, a DCD of twenty alanines (100 heavy atoms)
with an array of forces. What a folder holds already is used again. A child process then does the stage, and this
process reads its memory from /proc: the part that is its own (``RssAnon``), and all of it (that includes file pages,
which the system takes back when it needs them). ``imported`` is what the child has once its modules are imported.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import FORMAT, MANIFEST, Beads, Frames

CHUNK = 100_000
DT, TEMPERATURE = 10.0, 300.0
BOND, ANGLE, NOISE = 0.38, 2.0, 0.25  # nm, radians, radians
STATES = (0.9, -2.6)  # radians, of every torsion
SLOW = 5_000  # frames, relaxation of the switch
STAGES = ("compare", "map", "train-energy", "train-stepper")
RESIDUES = 20  # of the molecule that is mapped
MIB = 1 << 20


@click.command()
@click.option("--stage", type=click.Choice(STAGES), default="compare", show_default=True)
@click.option("--frames", default=1_000_000, show_default=True, help="Frames of each ensemble.")
@click.option("--times", multiple=True, type=int, help="Times as many frames; repeatable, a row each.  [default: 1]")
@click.option("--beads", default=10, show_default=True, help="Beads of the chain.")
@click.option("--runs", default=10, show_default=True, help="Unbroken runs.")
@click.option("--steps", default=40, show_default=True, help="Of training.")
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the trajectories are kept.")
@click.option("--limit", default=0.0, help="GiB that the memory of its own may take; more is an error.")
def main(
    stage: str, frames: int, times: tuple[int, ...], beads: int, runs: int, steps: int, folder: Path, limit: float
) -> None:
    """Measure time and peak memory of a stage at FRAMES frames, and at more of them."""
    rows: list[dict[str, Any]] = []
    for count in [frames * factor for factor in times or (1,)]:
        at = folder / f"{count}-{beads}" if times else folder
        names = {"compare": ("reference", "surrogate"), "map": ("atoms",)}.get(stage, ("reference",))
        maker = make_atoms if stage == "map" else make
        paths = [maker(at / name, count, beads, runs, seed) for seed, name in enumerate(names)]
        child = multiprocessing.get_context("spawn").Process(target=run, args=(stage, paths, at, steps))
        began = time.time()
        child.start()
        own = watch(child)
        if child.exitcode:
            raise SystemExit(f"the stage ended with exit code {child.exitcode}")
        size = sum(file.stat().st_size for path in paths for file in path.iterdir())
        rows.append({**json.loads((at / "result.json").read_text()), "frames": count, "size": size, "own": own})
        rows[-1]["wall"] = time.time() - began
    click.echo(
        f"\n| {stage}: frames | on the disk, MiB | imported, MiB | peak, MiB | peak with pages, MiB | CPU-s | s |"
    )
    click.echo("|" + "---|" * 7)
    for row in rows:
        sizes = [row[key] / MIB for key in ("size", "imported", "own", "peak")]
        figures = " | ".join(f"{one:,.0f}" for one in (*sizes, row["cpu"], row["wall"]))
        click.echo(f"| {row['frames']:,} | {figures} |")
    if limit and max(row["own"] for row in rows) > limit * 2**30:
        raise SystemExit(f"expected less than {limit:g} GiB")


def make(folder: Path, frames: int, beads: int, runs: int, seed: int) -> Path:
    """A folder of frames with forces, written in chunks."""
    lengths = [frames // runs + (k < frames % runs) for k in range(runs)]
    known = filesystem.read_json(folder / MANIFEST) if (folder / MANIFEST).exists() else None
    if known and known["lengths"] == lengths and known["arrays"].get("forces", {}).get("shape") == [frames, beads, 3]:
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    shape = (frames, beads, 3)
    names = ("positions", "forces")
    array, forces = (np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, shape) for name in names)
    state, start = int(rng.integers(2)), 0
    for length in lengths:
        for first in range(0, length, CHUNK):
            count = min(CHUNK, length - first)
            flips = np.cumsum(rng.random(count) < 1 / (2 * SLOW)) % 2
            states = state ^ flips
            state = int(states[-1])
            array[start : start + count] = chain(states, beads, rng)
            forces[start : start + count] = 100 * rng.standard_normal((count, beads, 3), np.float32)
            start += count
        click.echo(f"made {start:,} of {frames:,} frames in {folder}")
    del array, forces
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
        "arrays": {
            name: {"file": f"{name}.npy", "sha256": filesystem.sha256(folder / f"{name}.npy"), "shape": list(shape)}
            for name in names
        },
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


def make_atoms(folder: Path, frames: int, beads: int, runs: int, seed: int) -> Path:
    """``top.pdb``, ``run.dcd`` and ``forces.npy`` of a stretched chain of alanines, heavy atoms, with noise."""
    import mdtraj

    if (folder / "forces.npy").exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    topology, chain = mdtraj.Topology(), None
    chain = topology.add_chain()
    for number in range(RESIDUES):
        residue = topology.add_residue("ALA", chain, resSeq=number + 1)
        for name in ("N", "CA", "C", "O", "CB"):
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    topology.create_standard_bonds()
    unit = np.array([[0, 0, 0], [0.12, 0.08, 0], [0.24, 0, 0], [0.24, -0.12, 0], [0.12, 0.16, 0.13]])
    middle = (unit[None] + np.arange(RESIDUES)[:, None, None] * [0.36, 0, 0]).reshape(-1, 3)
    mdtraj.Trajectory(middle[None], topology).save_pdb(str(folder / "top.pdb"))
    rng, size = np.random.default_rng(seed), 10_000
    xyz = np.asarray(middle + 0.005 * rng.normal(size=(size, *middle.shape)), np.float32)
    pushes = np.asarray(300 * rng.normal(size=xyz.shape), np.float32)
    forces = np.lib.format.open_memmap(folder / "making.npy", "w+", np.float32, (frames, *middle.shape))
    with mdtraj.formats.DCDTrajectoryFile(str(folder / "run.dcd"), "w") as file:
        for start in range(0, frames, size):
            count = min(size, frames - start)
            file.write(10 * xyz[:count])
            forces[start : start + count] = pushes[:count]
    del forces
    (folder / "making.npy").rename(folder / "forces.npy")
    return folder


def run(stage: str, paths: list[Path], folder: Path, steps: int) -> None:
    """In the child: do the stage, with a line for every part of it."""
    import cgsurrogate.workflows.study  # noqa: F401, what a command imports
    from cgsurrogate.training import lightning_task  # noqa: F401

    began, imported = time.time(), memory(os.getpid()).get("RssAnon", 0)

    def report(text: str) -> None:
        own, every = (memory(os.getpid()).get(key, 0) / MIB for key in ("RssAnon", "VmRSS"))
        if text:
            print(f"{time.time() - began:6.0f} s  {own:6.0f} MiB own, {every:6.0f} MiB in all  {text}", flush=True)

    {"compare": compare, "map": map_atoms, "train-energy": train, "train-stepper": train}[stage](
        stage, paths, folder, steps, report
    )
    report("done")
    peak = memory(os.getpid())["VmHWM"]
    result = {"wall": time.time() - began, "cpu": time.process_time(), "peak": peak, "imported": imported}
    (folder / "result.json").write_text(json.dumps(result))


def compare(stage: str, paths: list[Path], folder: Path, steps: int, report: Any) -> None:
    from cgsurrogate.comparison.compare import compare as compared

    first, second = map(Frames.load, paths)
    print("\n".join(compared(first, {"surrogate": second}, report=report).verdict))


def train(stage: str, paths: list[Path], folder: Path, steps: int, report: Any) -> None:
    import torch

    from cgsurrogate import workflows
    from cgsurrogate.training.settings import EnergySettings, StepperSettings

    torch.set_num_threads(1)
    shutil.rmtree(folder / "model", ignore_errors=True)
    kind, make_model = (
        (EnergySettings, workflows.make_energy)
        if stage == "train-energy"
        else (StepperSettings, workflows.make_stepper)
    )
    make_model(  # type: ignore[operator]
        Frames.load(paths[0]), folder / "model", kind(steps=steps), report=lambda fraction, text: report(text)
    )


def map_atoms(stage: str, paths: list[Path], folder: Path, steps: int, report: Any) -> None:
    from cgsurrogate.cli.map import command

    atoms = paths[0]
    options = ["-s", atoms / "top.pdb", "-f", atoms / "run.dcd", "--forces", atoms / "forces.npy", "--dt", DT]
    options += ["-T", TEMPERATURE, "--mapping", "ca", "-o", folder / "mapped", "--force", "-q"]
    command.main([str(one) for one in options], standalone_mode=False)


def watch(child: multiprocessing.process.BaseProcess) -> int:
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
