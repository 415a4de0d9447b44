"""How fast trajectories are read and mapped, beside mdtraj's own reading of the same files, topology and all.

    python benchmarks/reading_speed.py TOPOLOGY TRAJECTORY [--dt PS] [--repeats N]
    python benchmarks/reading_speed.py --solvated FOLDER

Both read the file once in turn, N times; the figures are medians, and the ratio is the median of the ratios of each
pair, so that other work on the machine weighs on both. ``--solvated`` first writes a system of the size of a solvated
protein to FOLDER (about 30,000 atoms, as XTC and DCD) and takes that. Reading stands for what ``map`` does after its
programs are loaded: the topology, the mapping, every check, and the positions of the beads. CPU-seconds, on Linux, are
those of mdtraj's reading, and of the process that maps and of the one that parses, which run side by side.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np

from cgsurrogate.core import registry
from cgsurrogate.data import examples
from cgsurrogate.data.formats import parsing
from cgsurrogate.data.read import Input, read

WATERS, FRAMES = 10_000, 500
PIECE = 200  # frames that mdtraj reads at a time


def solvated(folder: Path) -> list[Path]:
    """A peptide in a box of water that moves at random, as PDB, XTC and DCD."""
    folder.mkdir(parents=True, exist_ok=True)
    found, rng = mdtraj.load(str(examples.find("pentalanine").topology)), np.random.default_rng(0)
    water = mdtraj.Topology()
    chain = water.add_chain()
    for _ in range(WATERS):
        residue = water.add_residue("HOH", chain)
        for name, element in (("O", "O"), ("H1", "H"), ("H2", "H")):
            water.add_atom(name, mdtraj.element.get_by_symbol(element), residue)
    place = rng.uniform(0, 7, (WATERS, 1, 3)) + rng.normal(0, 0.05, (WATERS, 3, 3))
    xyz = np.concatenate([found.xyz[0] + 3, place.reshape(-1, 3)])
    moved = (xyz + np.cumsum(rng.normal(0, 0.002, (FRAMES, 1, 3)), 0)).astype("f4")
    moved = (moved + rng.normal(0, 0.003, moved.shape)).astype("f4")
    made = mdtraj.Trajectory(moved, found.topology.join(water), time=np.arange(FRAMES))
    made.unitcell_vectors = np.tile(np.eye(3, dtype="f4") * 7, (FRAMES, 1, 1))
    for name in ("system.xtc", "system.dcd"):
        made.save(str(folder / name))
    made[0].save(str(folder / "system.pdb"))
    return [folder / name for name in ("system.pdb", "system.xtc", "system.dcd")]


def theirs(pdb: Path, path: Path) -> int:
    topology = mdtraj.load_topology(str(pdb))
    return sum(len(part) for part in mdtraj.iterload(str(path), chunk=PIECE, top=topology))


def clocks() -> np.ndarray:
    """Seconds of the wall, and CPU-seconds of this process and of those that parse, by Linux's clocks of processes."""
    parsers = [process.pid for _, process, _ in parsing._idle]
    return np.array(
        [time.perf_counter(), time.process_time(), sum(time.clock_gettime(~pid << 3 | 2) for pid in parsers)]
    )


def seconds(do: Any) -> np.ndarray:
    begin = clocks()
    do()
    return clocks() - begin


def measure(pdb: Path, path: Path, dt: float | None, repeats: int) -> str:
    topology = mdtraj.load_topology(str(pdb))
    build = registry.builder("mappings", "backbone")
    given = Input(pdb, [path], 300, dt)
    frames = len(read(given, build))  # both have it in memory then, and the process that parses is there
    theirs(pdb, path)
    pairs = np.array(
        [(seconds(lambda: theirs(pdb, path)), seconds(lambda: read(given, build))) for _ in range(repeats)]
    )
    size, (theirs_s, ours_s) = path.stat().st_size / 1e6, np.median(pairs, 0)
    share = pairs[:, 0, 0] / pairs[:, 1, 0]
    return (
        f"| {path.name} | {topology.n_atoms:,} | {frames:,} | {size:.3g} | {theirs_s[0]:.3g} | {ours_s[0]:.3g} | "
        f"{np.median(share):.2f} ({share.min():.2f} to {share.max():.2f}) | "
        f"{theirs_s[1]:.3g} | {ours_s[1]:.3g} + {ours_s[2]:.3g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("topology", nargs="?", type=Path)
    parser.add_argument("trajectories", nargs="*", type=Path)
    parser.add_argument("--dt", type=float)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--solvated", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    topology, files = given.topology, given.trajectories
    if given.solvated:
        topology, *files = solvated(given.solvated)
    print(
        "| file | atoms | frames | MB | mdtraj, s | read and mapped, s | share of mdtraj's speed (pairs) | "
        "mdtraj, CPU-s | mapping + parsing, CPU-s |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for path in files:
        print(measure(topology, path, given.dt or (1.0 if path.suffix == ".dcd" else None), given.repeats), flush=True)


if __name__ == "__main__":
    main()
