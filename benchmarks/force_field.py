"""Speed of simulating and training a force field: against size and batch, against the machine, and against others.

Seconds are those of the processor, of one thread; on a GPU (``--device cuda``), of the clock. Everything that is
compared takes its turn in every round; figures are medians of the rounds.

    python benchmarks/force_field.py                                          # synthetic chains, random weights
    python benchmarks/force_field.py --model FORCE_FIELD --start FRAMES --pdb protein.pdb
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import _peers
import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Sum, forces
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.models.evaluation import native
from cgsurrogate.models.evaluation.evaluator import Forces
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.run import pick_starts

AMINO = ("ALA", "GLY", "LEU", "SER", "VAL")


def chain(count: int, network: str) -> tuple[Sum, Frames]:
    """A chain of ``count`` beads, one a residue: fitted priors and a network with random weights."""
    from cgsurrogate.core import bead_types

    rng = np.random.default_rng(0)
    names = [AMINO[i % len(AMINO)] for i in range(count)]
    bonds = tuple((i, i + 1) for i in range(count - 1))
    types = tuple(bead_types.number(name, "CA") for name in names)
    beads = Beads(("CA",) * count, types, (100.0,) * count, tuple(range(count)), tuple(names), bonds)
    steps = rng.normal([1.0, 0.0, 0.0], 1.0, (200, count, 3))
    steps *= rng.normal(0.38, 0.005, (200, count, 1)) / np.linalg.norm(steps, axis=-1, keepdims=True)
    frames = Frames(beads, np.cumsum(steps, 1).astype(np.float32), (200,), 1.0, 300.0)
    priors = [registry.build("priors", name, beads) for name in registry.kinds("priors")]
    for prior in priors:
        prior.fit(frames)
    name, options = registry.parse(network)
    torch.manual_seed(0)
    built = registry.build("networks", name, beads, **options)
    with torch.no_grad():
        for weight in built.parameters():
            weight.add_(0.02 * torch.randn(weight.shape))
    return Sum(*priors, built), frames


def stepping(energy: Energy, frames: Frames, x: Tensor) -> Callable[[], object]:
    """A call that takes one step of 4 fs of the batch further."""
    moves = registry.build("integrators", "baoab", frames.beads, energy, frames.temperature, timestep=0.004)
    moves, rng = moves.to(x.device), torch.Generator(x.device).manual_seed(0)
    start = state = moves.start(x, rng)
    count = 0

    def step() -> None:
        nonlocal state, count
        state, count = moves.step(state if count % 50 else start, rng), count + 1  # a chain made up may not be stable

    return step


def now(device: str) -> float:
    """Seconds of this process; on another device, of the clock when it has done all that it was asked."""
    if device == "cpu":
        return process_time()
    torch.cuda.synchronize()
    return perf_counter()


def training(frames: Frames, network: nn.Module, batch: int, device: str) -> Callable[[], object]:
    """A call that makes one step of force matching with ``batch`` frames, for forces that are all zero."""
    network = network.requires_grad_(True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.0)
    x = torch.tensor(pick_starts(frames, batch, np.random.default_rng(0)), device=device)

    def step() -> None:
        optimizer.zero_grad()
        forces(network, x, create_graph=True)[1].square().mean().backward()
        optimizer.step()

    return step


class Work(TorchDispatchMode):
    """Counts floating-point operations of matrix products, and bytes that all operations read and write."""

    PRODUCTS = ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_")

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes = self.calls = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = [t for t in (*args, out) if isinstance(t, Tensor)]
            self.calls += 1
            self.bytes += sum(t.untyped_storage().nbytes() if 0 in t.stride() else t.nbytes for t in tensors)
            name = func.overloadpacket.__name__
            if name in self.PRODUCTS:
                two = [t for t in args if isinstance(t, Tensor)][-2:]
                self.operations += 2 * two[0].numel() * two[1].shape[-1]
        return out


def machine(device: str) -> dict[str, Callable[[], object]]:
    a, large = torch.randn(1024, 1024, device=device), torch.randn(1 << 24, device=device)
    out, other = torch.empty_like(a), torch.empty_like(large)
    return {"matmul": lambda: torch.mm(a, a, out=out), "copy": lambda: other.copy_(large)}


def measured(
    calls: dict[object, Callable[[], object]], seconds: float, rounds: int, device: str = "cpu"
) -> dict[object, float]:
    """Seconds a call, the median of rounds in which every call takes its turn."""
    times: dict[object, list[float]] = {key: [] for key in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for key, call in calls.items():
            begin, count = now(device), 0
            while not count or now(device) - begin < seconds:
                call()
                count += 1
            times[key].append((now(device) - begin) / count)
    return {key: statistics.median(value) for key, value in times.items()}


def feasible(energy: Energy, x: Tensor, batch: int, memory: float, limit: float) -> str:
    """Why a batch is left out, judged by a single replica; empty if it is not."""
    if batch * x[0].nbytes * 400 > memory * 2**30:
        return "memory"
    evaluate = Forces(energy)
    evaluate(x[:8])
    begin = process_time()
    evaluate(x[:8])
    return "time" if (process_time() - begin) / 8 * batch > limit else ""


def work_of(energy: Energy, x: Tensor) -> Work:
    """What the forces take without compiled code, which nobody could look into."""
    library, native.library = native.library, lambda *_, **__: None
    try:
        evaluate = Forces(energy)
        evaluate(x)
        with Work() as work:
            evaluate(x)
    finally:
        native.library = library
    return work


def share(energy: Sum, frames: Frames, x: Tensor) -> dict[str, Callable[[], object]]:
    """Calls that evaluate each term alone, all together by autograd and by ``Forces``, and a whole step."""
    alone = {type(term).__name__.lower(): Forces(term) for term in energy.terms}
    terms = {name: partial(evaluate, x) for name, evaluate in alone.items()}
    whole, plain = Forces(energy), Forces(energy)
    library, native.library = native.library, lambda *_, **__: None
    plain(x)
    native.library = library
    return terms | {
        "all": lambda: whole(x),
        "without compiled code": lambda: plain(x),
        "autograd": lambda: forces(energy, x),
        "step": stepping(energy, frames, x),
    }


@click.command()
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="A trained force field; needs --start.")
@click.option("--start", type=click.Path(exists=True, path_type=Path), help="Frames of the same beads.")
@click.option("--network", default="residues", show_default=True, help="Kind and options, for synthetic chains.")
@click.option("--sizes", default="5,10,30,50,100,200,500", show_default=True, help="Beads of synthetic chains.")
@click.option("--batches", default="1,10,100,1000,4096", show_default=True, help="Replicas.")
@click.option("--pdb", type=click.Path(exists=True, path_type=Path), help="All-atom structure for OpenMM.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--peers/--no-peers", default=True, show_default=True, help="Also measure other programs.")
@click.option("--seconds", default=0.3, show_default=True, help="A measurement in each round.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--memory", default=2.0, show_default=True, help="GiB that a batch may take.")
@click.option("--limit", default=10.0, show_default=True, help="Seconds that a step may take.")
def main(model, start, network, sizes, batches, pdb, device, peers, seconds, rounds, memory, limit) -> None:
    """Replica-steps a CPU-second, shares of the terms, training, limits of the machine, and other programs."""
    torch.set_num_threads(1)
    if (model is None) != (start is None):
        raise click.UsageError("--model and --start go together")
    numbers = [int(b) for b in batches.split(",")]
    systems = {f"chain of {n}": chain(int(n), network) for n in sizes.split(",") if n}
    if model is not None:
        frames = Frames.load(start)
        systems = {f"{model.parent.name}, {len(frames.beads)} beads": (Model.load(model).module, frames), **systems}
    for energy, _ in systems.values():
        energy.eval().requires_grad_(False).to(device)
    starts = {
        name: torch.tensor(pick_starts(frames, max(*numbers, 100), np.random.default_rng(0)), device=device)
        for name, (_, frames) in systems.items()
    }
    limits = measured(machine(device), seconds, rounds, device)
    peak, band = 2 * 1024**3 / limits["matmul"], 8 * (1 << 24) / limits["copy"]
    click.echo(f"{device}, one thread: matrix products {peak / 1e9:.0f} GFLOP/s, copies {band / 1e9:.1f} GB/s")
    _table(systems, starts, numbers, seconds, rounds, memory, limit)
    _shares(systems, starts, seconds, rounds, peak, band)
    _training(systems, seconds, rounds, device)
    if peers and device == "cpu":
        _others(systems, starts, pdb, seconds, rounds)


def _table(systems, starts, numbers, seconds, rounds, memory, limit) -> None:
    """Replica-steps a CPU-second."""
    click.echo("\nreplica-steps a CPU-second (BAOAB, 4 fs)\nreplicas" + "".join(f"{b:>12}" for b in numbers))
    for name, (energy, frames) in systems.items():
        reasons = {b: feasible(energy, starts[name], b, memory, limit) for b in numbers}
        calls = {b: stepping(energy, frames, starts[name][:b]) for b in numbers if not reasons[b]}
        times = measured(calls, seconds, rounds, starts[name].device.type)
        cells = [reasons[b] or f"{b / times[b]:,.0f}" for b in numbers]
        click.echo(f"{name}\n        " + "".join(f"{cell:>12}" for cell in cells))


def _shares(systems, starts, seconds, rounds, peak, band) -> None:
    click.echo("\n100 replicas: ms of every term alone, of all at once, by autograd, of a step; and the limits")
    for name, (energy, frames) in systems.items():
        x = starts[name][:100] if len(frames.beads) <= 200 else starts[name][:10]
        times = measured(share(energy, frames, x), seconds, rounds, x.device.type)
        click.echo(f"{name}, {len(x)} replicas: " + ", ".join(f"{key} {1e3 * t:.3g}" for key, t in times.items()))
        work = work_of(energy, x)
        compute, move = work.operations / peak, work.bytes / band
        click.echo(
            f"    without compiled code {work.operations / 1e6:.1f} MFLOP of products ({compute * 1e3:.2f} ms at "
            f"peak), {work.calls} operations on {work.bytes / 1e6:.0f} MB ({move * 1e3:.2f} ms as copies);"
        )
        click.echo(
            f"    reached {compute / times['all']:.0%} of peak, {(compute + move) / times['all']:.0%} of products and "
            f"copies one after the other; {times['autograd'] / times['all']:.1f} times as fast as autograd, "
            f"{times['without compiled code'] / times['all']:.1f} times as without compiled code"
        )


def _training(systems, seconds, rounds, device) -> None:
    smallest = min(systems.values(), key=lambda two: abs(len(two[1].beads) - 10))
    energy, frames = smallest
    calls = {"training": training(frames, energy.terms[-1], 512, device)}
    (time,) = measured(calls, seconds, rounds, device).values()
    energy.requires_grad_(False)
    click.echo(f"\nforce matching, {len(frames.beads)} beads, batch 512: {512 / time:,.0f} frames a CPU-second")


def _others(systems, starts, pdb, seconds, rounds) -> None:
    name, (energy, frames) = min(systems.items(), key=lambda item: abs(len(item[1][1].beads) - 10))
    x = starts[name][:100]
    evaluate = Forces(energy)
    calls = {"this force field": lambda: evaluate(x), "step": stepping(energy, frames, x)}
    found = _peers.torchmd_net(x.numpy())
    atoms = _peers.openmm(pdb) if pdb else "no --pdb was given"
    calls |= {key: call for key, call in found.items() if not isinstance(call, str)}
    if not isinstance(atoms, str):
        calls["openmm"] = atoms[0]
    times = measured(calls, seconds, rounds)
    click.echo(f"\nenergies and forces of 100 replicas, {name}")
    for key in ("this force field", *found):
        text = found.get(key)
        if not isinstance(text, str):
            ratio = times[key] / times["this force field"]
            text = f"{100 / times[key]:,.0f} a CPU-second, {ratio:.1f} times the time"
        click.echo(f"    {key}: {text}")
    ours = 100 * 4e-6 / times["step"] * 86400
    click.echo(f"simulated ns a day, {name}, all 100 replicas together: {ours:,.0f}")
    if isinstance(atoms, str):
        click.echo(f"    openmm: {atoms}")
    else:
        theirs = atoms[1] / times["openmm"] * 86400
        click.echo(f"    openmm ({atoms[2]}): {theirs:,.0f}; ratio {ours / theirs:.0f}")


if __name__ == "__main__":
    main()
