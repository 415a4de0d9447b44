"""All-atom reference data with OpenMM: independent runs of one or many molecules, continued where they stopped.

Every run starts from its own snapshot of a hot simulation, so that runs are independent. Runs advance together, a
chunk at a time, so that a generation stopped early is balanced; as many as pay are in one OpenMM system. A chunk on the
disk is complete; after a kill a run goes on from the end of its last chunk, with a random seed that follows from
(seed, runs that advance together, chunk).
"""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.core.interrupts import Watch
from cgsurrogate.core.provenance import EXCHANGE
from cgsurrogate.data.generation.accounts import record_speed
from cgsurrogate.data.generation.engine import Engine, load_states, save_states, usable
from cgsurrogate.data.generation.protocol import Protocol
from cgsurrogate.data.generation.sequences import Peptide, structure
from cgsurrogate.data.generation.system_files import write_system_file
from cgsurrogate.data.generation.systems import Molecule

RECORD = "reference.json"
FORMAT = 2
SYSTEMS, MEMBERS = "systems", "members.json"
ARRAYS = ("positions", "forces", "potential")
ATOMS = {"CPU": 400, "Reference": 400}  # atoms in one system that pay: Born radii cost the square; elsewhere ``MANY``
MANY = 50_000

Report = Callable[[float, float, float], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One run of one molecule, and the folders of its temperatures."""

    molecule: Molecule
    number: int
    folders: tuple[Path, ...]

    @property
    def key(self) -> str:
        return "-".join(filter(None, (self.molecule.name, f"run{self.number}")))


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """Runs that advance together in one OpenMM system, for good; their states are in one file a chunk."""

    folder: Path
    runs: tuple[Run, ...]

    def state(self, chunk: int) -> Path:
        return self.folder / f"{chunk:05d}.state"

    @property
    def chunks(self) -> int:
        """How many are complete."""
        return len(list(self.folder.glob("*.state")))


def generate(
    source: str | Path | Sequence[Peptide],
    out: str | Path,
    protocol: Protocol,
    *,
    only: tuple[int, ...] = (),
    copies: int | None = None,
    platform: str | None = None,
    threads: int = 1,
    report: Report = lambda done, total, speed: None,
) -> list[Path]:
    """Simulate into ``out`` and return its trajectories ``run0.xtc``, each with ``run0.forces.npy`` beside it.

    Args:
        source: a PDB file, or peptides, each of which gets a folder of its name in ``out``.
        only: numbers of the runs to advance here (for several processes or a job array); all by default.
        copies: molecules in one system; by default as many as pay.
        report: called after each chunk with ns done, ns in all, ns/day, of all runs together.

    Raises:
        RuntimeError: OpenMM is not installed.
        ValueError: the folder was made with other settings, or something that cannot be simulated.
    """
    try:
        import openmm  # noqa: F401
    except ImportError:
        raise RuntimeError(
            "generating reference data needs OpenMM; install it with: pip install 'cgsurrogate[openmm]'"
        ) from None
    out, platform = Path(out), usable(platform)
    if only and max(only) >= protocol.runs:
        raise ValueError(f"there are {protocol.runs} runs, counted from 0; got {max(only)}")
    molecules = molecules_of(source, protocol)
    out.mkdir(parents=True, exist_ok=True)
    _same_settings(out / RECORD, _settings(source, protocol))
    for molecule in molecules:
        _write_topology(out / molecule.name, molecule)
    every = [_run(out, molecule, number, protocol) for number in range(protocol.runs) for molecule in molecules]
    wanted = [run for run in every if not only or run.number in only]
    groups, paths = _groups(out, every, wanted, protocol, copies or _that_pay(platform)), []
    with contextlib.ExitStack() as held:
        for group in groups:
            held.enter_context(filesystem.locked(group.folder))
        _advance(groups, protocol, platform, threads, report)
        for group in groups:
            paths += [path for run in group.runs for path in collect(run, group.chunks, protocol)]
    write_system_file(out, [molecule.name for molecule in molecules], protocol)
    return sorted(paths, key=filesystem.natural)


def molecules_of(source: str | Path | Sequence[Peptide], protocol: Protocol) -> list[Molecule]:
    """What is simulated: the one of a PDB file, or peptides, centred."""
    from openmm import app, unit

    def positions(found: Any) -> np.ndarray:
        x = np.array(found.value_in_unit(unit.nanometer), float)
        return np.asarray(x - x.mean(0))

    if isinstance(source, str | Path):
        try:
            pdb = app.PDBFile(str(source))
        except Exception as error:  # whatever a parser of others raises
            raise ValueError(f"{source}: OpenMM cannot read it ({filesystem.first_line(error)})") from None
        return [Molecule("", pdb.topology, positions(pdb.positions))]
    field, made = app.ForceField(*protocol.forcefield), []
    for peptide in source:
        topology, found = structure(peptide, field)
        made.append(Molecule(peptide.name, topology, positions(found)))
    return made


def _settings(source: str | Path | Sequence[Peptide], protocol: Protocol) -> dict[str, Any]:
    about = {**dataclasses.asdict(protocol), "format": FORMAT}
    about.update(forcefield=list(protocol.forcefield), tempering=list(protocol.tempering or ()))
    if isinstance(source, str | Path):
        return {**about, "structure": filesystem.sha256(source)}
    return {**about, "sequences": [peptide.name for peptide in source]}


def _same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to continue a folder that was made with other settings; length, runs and sequences may grow."""
    free = {"nanoseconds", "runs", "sequences"}
    if path.exists():
        before = filesystem.read_json(path)
        changed = [k for k in settings if k not in free and before.get(k) != settings[k]]
        changed += [k for k in ("sequences", "structure") if (k in before) != (k in settings) and k not in changed]
        if changed:
            shown = ", ".join(f"{k}: {before.get(k)} there, {settings.get(k)} now" for k in changed)
            raise ValueError(f"{path.parent} was made with other settings ({shown}); choose another folder")
    filesystem.write_json(path, settings)


def _write_topology(folder: Path, molecule: Molecule) -> None:
    from openmm import app, unit

    folder.mkdir(parents=True, exist_ok=True)
    with filesystem.renaming(folder / "topology.pdb") as temporary, open(temporary, "w") as handle:
        app.PDBFile.writeFile(molecule.topology, molecule.positions * unit.nanometer, handle, keepIds=True)


def _run(out: Path, molecule: Molecule, number: int, protocol: Protocol) -> Run:
    endings = [f"-{kelvin:g}K" for kelvin in protocol.tempering or ()] or [""]
    return Run(molecule, number, tuple(out / molecule.name / f"run{number}{ending}" for ending in endings))


def _that_pay(platform: str) -> Callable[[Run], float]:
    """What share of one system a run takes: together some 400 atoms pay on a CPU."""
    budget = ATOMS.get(platform, MANY)
    return lambda run: len(run.molecule.positions) * len(run.folders) / budget if run.molecule.connected else 1.0


def _groups(
    out: Path, every: list[Run], wanted: list[Run], protocol: Protocol, share: int | Callable[[Run], float]
) -> list[Group]:
    """Those on the disk that have wanted runs, and new ones for runs that are in none."""
    known, groups, taken = {run.key: run for run in every}, [], set()
    for path in sorted((out / SYSTEMS).glob(f"*/{MEMBERS}"), key=filesystem.natural):
        keys = filesystem.read_json(path)["runs"]
        if fewer := [key for key in keys if key not in known]:
            raise ValueError(f"{out} was begun with {fewer[0]} as well, which moves with others; ask for it again")
        runs = tuple(known[key] for key in keys)
        taken |= set(keys)
        if any(run in wanted for run in runs):
            groups.append(Group(path.parent, runs))
    waiting = [run for run in wanted if run.key not in taken]
    while waiting:
        sizes = [1 / max(1, share // len(run.folders)) if isinstance(share, int) else share(run) for run in waiting]
        count = max(1, int(np.searchsorted(np.cumsum(sizes), 1 + 1e-9, "right")))
        runs, waiting = tuple(waiting[:count]), waiting[count:]
        group = Group(out / SYSTEMS / runs[0].key, runs)
        group.folder.mkdir(parents=True, exist_ok=True)
        filesystem.write_json(group.folder / MEMBERS, {"runs": [run.key for run in runs]})
        groups.append(group)
    return groups


def _advance(groups: list[Group], protocol: Protocol, platform: str, threads: int, report: Report) -> None:
    """All groups to their last chunk; those that are behind first."""
    per_chunk = protocol.frames_per_chunk * protocol.every / 1000
    copies = {group: sum(len(run.folders) for run in group.runs) for group in groups}
    began, made, total = time.monotonic(), 0.0, sum(copies.values()) * protocol.chunks * per_chunk
    engines: dict[Group, Engine] = {}
    watch = Watch()  # notes no signal by itself, so that one ends the chunk at once, but where this is no main thread
    done = {group: group.chunks for group in groups}
    while (chunk := min(done.values())) < protocol.chunks:
        if watch.requested:
            raise watch.reason("the generation")
        group = next(group for group in groups if done[group] == chunk)
        if group not in engines:
            engines[group] = Engine([run.molecule for run in group.runs], protocol, platform, threads)
            if made == 0:
                report(_ns(done, copies, protocol), total, copies[group] * 86400 / engines[group].seconds_per_ns())
        started = time.monotonic()
        _one_chunk(engines[group], group, chunk, protocol)
        seconds = (time.monotonic() - started) / copies[group]
        for folder in (folder for run in group.runs for folder in run.folders):
            record_speed(folder, per_chunk, seconds, EXCHANGE if protocol.tempering else "")
        done[group] += 1
        made += per_chunk * copies[group]
        report(_ns(done, copies, protocol), total, made / (time.monotonic() - began) * 86400)


def _ns(done: dict[Group, int], copies: dict[Group, int], protocol: Protocol) -> float:
    """ns of all copies in complete chunks."""
    per_chunk = protocol.frames_per_chunk * protocol.every / 1000
    return sum(min(count, protocol.chunks) * copies[group] for group, count in done.items()) * per_chunk


def _one_chunk(engine: Engine, group: Group, chunk: int, protocol: Protocol) -> None:
    if chunk == 0:
        states = engine.prepare(chunk_seed(protocol, group.runs[0], -1))
    else:
        states = load_states(group.state(chunk - 1))
    rows, states = engine.advance(states, chunk_seed(protocol, group.runs[0], chunk))
    for run, own in zip(group.runs, rows, strict=True):
        for rung, folder in enumerate(run.folders):
            folder.mkdir(parents=True, exist_ok=True)
            for name in ARRAYS:
                filesystem.write_npy(folder / f"{chunk:05d}.{name}.npy", own[name][rung])
    save_states(group.state(chunk), states)  # last: it marks the chunk of all runs as complete
    if chunk:
        group.state(chunk - 1).write_bytes(b"")  # only the newest is needed


def chunk_seed(protocol: Protocol, run: Run, chunk: int) -> int:
    """Of the random numbers of the runs that advance together, of which ``run`` is the first."""
    name = int.from_bytes(run.molecule.name.encode()[:32], "big")
    words = (protocol.seed, run.number, chunk + 1, *([name] if name else []))
    return int(np.random.SeedSequence(words).generate_state(1)[0] % (2**31 - 1)) + 1


def collect(run: Run, chunks: int, protocol: Protocol) -> list[Path]:
    """Join the first chunks of one run into XTC, forces and potential energies, at each temperature."""
    import mdtraj

    paths = []
    for folder in run.folders:
        parts = {
            name: np.concatenate([np.load(folder / f"{i:05d}.{name}.npy") for i in range(chunks)]) for name in ARRAYS
        }
        positions, path = parts.pop("positions"), folder.with_name(f"{folder.name}.xtc")
        times = np.arange(1, len(positions) + 1, dtype=np.float32) * protocol.every
        with filesystem.renaming(path, ".xtc") as temporary, mdtraj.open(str(temporary), "w") as handle:
            handle.write(positions, time=times)
        for name, array in parts.items():
            filesystem.write_npy(folder.with_name(f"{folder.name}.{name}.npy"), array)
        paths.append(path)
    return paths
