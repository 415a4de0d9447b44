"""Whether memory and open files stay flat while a long piece of work goes on, over all of its processes.

    python benchmarks/flat_resources.py simulate MODEL --start FRAMES --folder /tmp/flat   # 10^7 replica-steps
    python benchmarks/flat_resources.py rollout STEPPER --start FRAMES --folder /tmp/flat  # 10^6 jumps
    python benchmarks/flat_resources.py map --frames 1000000 --folder /tmp/flat

A child process does the work; this one looks at it and at its descendants in /proc: memory of their own (``RssAnon``,
without pages of files) and open files. The first and the last tenth of the time are compared. The first tenth begins
with the work, once modules are imported. Positions wait in memory for the next checkpoint, at most 64 MiB of them.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import click
from memory import MIB, make_atoms, map_atoms, memory

LOOK = 0.2  # s between two looks
FRAMES_KEPT = 100  # of a replica


@click.group(help=__doc__)
def main() -> None:
    pass


def moving(name: str, steps: int, words: str) -> None:
    @main.command(name, help=words)
    @click.argument("model", type=click.Path(exists=True, path_type=Path))
    @click.option("--start", type=click.Path(exists=True, path_type=Path), required=True, help="Frames to start from.")
    @click.option("--replicas", default=1000, show_default=True)
    @click.option("--steps", default=steps, show_default=True, help="Of each replica.")
    @click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the frames go.")
    def command(model: Path, start: Path, replicas: int, steps: int, folder: Path) -> None:
        watch(f"{name}, {replicas * steps:.0e} steps", move, (model, start, replicas, steps, folder / name))


moving("simulate", 10_000, "Dynamics of a force field.")
moving("rollout", 1000, "Jumps of a time-stepper.")


@main.command("map")
@click.option("--frames", default=1_000_000, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), required=True, help="Where the trajectory is made and kept.")
def mapping(frames: int, folder: Path) -> None:
    """Mapping of a trajectory of 100 heavy atoms with forces."""
    atoms = make_atoms(folder / f"atoms-{frames}", frames, 0, 1, 0)
    watch(f"map, {frames:.0e} frames", map_atoms, ("map", [atoms], folder, 0, None))


def move(model: Path, start: Path, replicas: int, steps: int, folder: Path) -> None:
    from cgsurrogate import workflows
    from cgsurrogate.core.frames import Frames
    from cgsurrogate.models.model import Model
    from cgsurrogate.simulation.settings import SimulationSettings

    shutil.rmtree(folder, ignore_errors=True)
    loaded = Model.load(model)
    time_step = workflows.make_propagator(loaded).lag
    every = max(1, steps // FRAMES_KEPT) * time_step
    settings = SimulationSettings(steps * time_step, every, replicas=replicas)
    workflows.make_simulation(loaded, Frames.load(start), folder, settings)


def watch(title: str, work: Any, arguments: tuple[Any, ...]) -> None:
    """Run the work in a child and print how its memory and open files went."""
    context = multiprocessing.get_context("spawn")
    begun = context.Event()
    child = context.Process(target=_begin, args=(begun, work, arguments))
    child.start()
    begun.wait()
    began, seen = time.time(), []
    while child.is_alive():
        every = tree(child.pid or 0)
        own = sum(memory(pid).get("RssAnon", 0) for pid in every) / MIB
        seen.append((own, sum(map(open_files, every)), len(every)))
        time.sleep(LOOK)
    if child.exitcode:
        raise SystemExit(f"the work ended with exit code {child.exitcode}")
    tenth = max(1, len(seen) // 10)
    click.echo(f"{title}: {time.time() - began:.0f} s, {len(seen)} looks")
    click.echo("| tenth of the time | memory of its own, MiB | at most | open files | at most | processes |")
    click.echo("|" + "---|" * 6)
    for name, part in (("first", seen[:tenth]), ("second", seen[tenth : 2 * tenth]), ("last", seen[-tenth:])):
        own, files, processes = zip(*part, strict=True)
        middle = statistics.median(own)
        figures = f"{middle:.0f} | {max(own):.0f} | {statistics.median(files):.0f} | {max(files)} | {max(processes)}"
        click.echo(f"| {name} | {figures} |")


def _begin(begun: multiprocessing.synchronize.Event, work: Any, arguments: tuple[Any, ...]) -> None:
    import torch

    import cgsurrogate.workflows.study  # noqa: F401, what a command imports

    torch.set_num_threads(1)
    begun.set()
    work(*arguments)


def tree(root: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found = [root]
    for process in found:
        found += [pid for pid, parent in parents.items() if parent == process]
    return found


def open_files(pid: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


if __name__ == "__main__":
    main()
