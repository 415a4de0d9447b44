"""All-atom reference data with OpenMM: several independent runs, positions and forces, continued where they stopped.

Every run starts from its own snapshot of a hot simulation, so that runs are independent. Runs advance together, a
chunk at a time, so that a generation stopped early is balanced. A chunk on the disk is complete; after a kill the run
goes on from the end of its last chunk, with a random seed that follows from (seed, run, chunk).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem, units
from cgsurrogate.data.generation.protocol import Protocol

HOT_KELVIN, HOT_PS = 500.0, 100.0
SPEED = "speed.json"  # how fast a run was made: written in its folder, found again when the run is read


def chunk_seed(protocol: Protocol, run: int, chunk: int) -> int:
    return int(np.random.SeedSequence((protocol.seed, run, chunk + 1)).generate_state(1)[0] % (2**31 - 1)) + 1


class Engine:
    """One OpenMM context that serves every run of a protocol in turn."""

    def __init__(self, topology: Any, positions: Any, protocol: Protocol, platform: str | None, threads: int):
        import openmm
        from openmm import app, unit

        self.protocol, self.start = protocol, positions
        field = app.ForceField(*protocol.forcefield)
        system = field.createSystem(
            topology,
            nonbondedMethod=app.NoCutoff,
            constraints=app.HBonds,
            hydrogenMass=protocol.hydrogen_mass * unit.amu,
            removeCMMotion=False,
        )
        arguments = (protocol.temperature * unit.kelvin, protocol.friction / unit.picosecond)
        step = protocol.step * unit.picosecond
        if protocol.solvent_every > 1:
            for force in system.getForces():
                force.setForceGroup(1 if "GB" in force.getName() else 0)
            groups = [(1, 1), (0, protocol.solvent_every)]
            self.integrator = openmm.MTSLangevinIntegrator(*arguments, step, groups)
        else:
            self.integrator = openmm.LangevinMiddleIntegrator(*arguments, step)
        names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
        name = platform or next(n for n in ("CUDA", "HIP", "OpenCL", "CPU", "Reference") if n in names)
        properties = {"Threads": str(threads)} if name == "CPU" else {}
        self.platform = name
        self.context = openmm.Context(system, self.integrator, openmm.Platform.getPlatformByName(name), properties)
        self.constraints = [system.getConstraintParameters(i)[:2] for i in range(system.getNumConstraints())]

    def _reseed(self, seed: int) -> None:
        """Start the random numbers anew; ``reinitialize(preserveState=True)`` would bring the old ones back."""
        state = self.context.getState(getPositions=True, getVelocities=True)
        self.integrator.setRandomNumberSeed(seed)
        self.context.reinitialize()
        self.context.setState(state)

    def _set_temperature(self, temperature: float) -> None:
        if self.protocol.solvent_every > 1:  # a CustomIntegrator, which keeps kT as a variable
            self.integrator.setGlobalVariableByName("kT", units.thermal_energy(temperature))
        else:
            self.integrator.setTemperature(temperature)

    def prepare(self, run: int) -> None:
        """Minimise, heat, and cool again: the independent start of a run."""
        import openmm
        from openmm import unit

        protocol = self.protocol
        self.context.setPositions(self.start)
        openmm.LocalEnergyMinimizer.minimize(self.context, maxIterations=500)
        self._reseed(chunk_seed(protocol, run, -1))
        for temperature in (HOT_KELVIN, protocol.temperature):
            self._set_temperature(temperature)
            self.context.setVelocitiesToTemperature(temperature * unit.kelvin, chunk_seed(protocol, run, -1))
            self.integrator.step(round(HOT_PS / protocol.step))

    def advance(self, seed: int) -> dict[str, np.ndarray]:
        """One chunk: positions (F, A, 3) nm, forces (F, A, 3) kJ/mol/nm, potential (F,) kJ/mol."""
        from openmm import unit

        self._reseed(seed)
        rows: dict[str, list[Any]] = {"positions": [], "forces": [], "potential": []}
        per_length = unit.kilojoule_per_mole / unit.nanometer
        for _ in range(self.protocol.frames_per_chunk):
            self.integrator.step(self.protocol.steps_per_frame)
            state = self.context.getState(getPositions=True, getForces=True, getEnergy=True)
            rows["positions"].append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
            rows["forces"].append(state.getForces(asNumpy=True).value_in_unit(per_length))
            rows["potential"].append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole))
        chunk = {name: np.asarray(values, np.float32) for name, values in rows.items()}
        if not all(np.isfinite(array).all() for array in chunk.values()):
            raise FloatingPointError(
                "the all-atom simulation gave nan; use a shorter time step or check the starting structure"
            )
        return chunk

    def save_state(self, path: Path) -> None:
        import openmm

        state = self.context.getState(getPositions=True, getVelocities=True)
        filesystem.write_text(path, openmm.XmlSerializer.serialize(state))

    def load_state(self, path: Path) -> None:
        import openmm

        self.context.setState(openmm.XmlSerializer.deserialize(path.read_text()))


def generate(
    pdb: str | Path,
    out: str | Path,
    protocol: Protocol,
    *,
    only: tuple[int, ...] = (),
    platform: str | None = None,
    threads: int = 1,
    report: Callable[[float, float, float], None] = lambda done, total, speed: None,
) -> list[Path]:
    """Simulate into ``out`` and return its trajectories ``run0.xtc``, each with ``run0.forces.npy`` beside it.

    Args:
        only: indices of the runs to advance here (for several processes or a job array); all by default.
        report: called after each chunk with ns done, ns in all, ns/day.
    """
    try:
        from openmm import app
    except ImportError:
        raise RuntimeError(
            "generating reference data needs OpenMM; install it with: pip install 'cgsurrogate[openmm]'"
        ) from None
    out = Path(out)
    settings = {**dataclasses.asdict(protocol), "structure": filesystem.sha256(pdb)}
    settings["forcefield"] = list(protocol.forcefield)
    structure = app.PDBFile(str(pdb))
    runs = only or tuple(range(protocol.runs))
    if max(runs) >= protocol.runs:
        raise ValueError(f"there are {protocol.runs} runs, counted from 0; got {max(runs)}")
    engine = Engine(structure.topology, structure.positions, protocol, platform, threads)
    out.mkdir(parents=True, exist_ok=True)
    _same_settings(out / "reference.json", settings)
    with open(out / "topology.pdb", "w") as handle:
        app.PDBFile.writeFile(structure.topology, structure.positions, handle, keepIds=True)

    per_chunk = protocol.frames_per_chunk * protocol.every / 1000
    total, began, made = len(runs) * protocol.chunks * per_chunk, time.monotonic(), 0.0
    for chunk in range(protocol.chunks):
        for run in runs:
            folder = out / f"run{run}"
            if (folder / f"{chunk:05d}.state.xml").exists():
                continue
            folder.mkdir(exist_ok=True)
            if chunk == 0:
                engine.prepare(run)
            else:
                engine.load_state(folder / f"{chunk - 1:05d}.state.xml")
            started = time.monotonic()
            for name, array in engine.advance(chunk_seed(protocol, run, chunk)).items():
                filesystem.write_npy(folder / f"{chunk:05d}.{name}.npy", array)
            engine.save_state(folder / f"{chunk:05d}.state.xml")  # last: it marks the chunk as complete
            record_speed(folder, per_chunk, time.monotonic() - started)
            if chunk:
                (folder / f"{chunk - 1:05d}.state.xml").write_text("")  # only the newest state is needed
            made += per_chunk
            done = per_chunk * (chunk * len(runs) + runs.index(run) + 1)
            report(done, total, made / (time.monotonic() - began) * 86400)
    return [collect(out, run, protocol) for run in runs]


def collect(out: Path, run: int, protocol: Protocol) -> Path:
    """Join the complete chunks of one run into XTC, forces and potential energies."""
    import mdtraj

    folder = out / f"run{run}"
    count = len(list(folder.glob("*.state.xml")))
    if not count:
        raise FileNotFoundError(f"{folder} holds no complete chunk yet; generate it first")
    parts = {
        name: np.concatenate([np.load(folder / f"{i:05d}.{name}.npy") for i in range(count)])
        for name in ("positions", "forces", "potential")
    }
    positions, path = parts.pop("positions"), out / f"run{run}.xtc"
    times = np.arange(1, len(positions) + 1, dtype=np.float32) * protocol.every
    with filesystem.renaming(path, ".xtc") as temporary, mdtraj.open(str(temporary), "w") as handle:
        handle.write(positions, time=times)
    for name, array in parts.items():
        filesystem.write_npy(out / f"run{run}.{name}.npy", array)
    return path


def record_speed(run: Path, nanoseconds: float, seconds: float) -> None:
    """Add to the account of a run, whose folder this is: what was simulated, and the wall time that it took."""
    path = run / SPEED
    before = filesystem.read_json(path) if path.is_file() else {"nanoseconds": 0.0, "seconds": 0.0}
    sums = {"nanoseconds": before["nanoseconds"] + nanoseconds, "seconds": before["seconds"] + seconds}
    filesystem.write_json(path, sums)


def known_speed(trajectories: Sequence[str | Path]) -> float | None:
    """ns a day of one process, over all of ``folder/run0.xtc``, ...; None where one of them has no account."""
    accounts = [Path(spec).with_suffix("") / SPEED for spec in trajectories]
    if not accounts or not all(path.is_file() for path in accounts):
        return None
    found = [filesystem.read_json(path) for path in accounts]
    seconds = sum(one["seconds"] for one in found)
    return sum(one["nanoseconds"] for one in found) / seconds * 86400 if seconds > 0 else None


def _same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Refuse to continue a folder that was made with other settings; length and number of runs may grow."""
    if path.exists():
        before = filesystem.read_json(path)
        free = {"nanoseconds", "runs"}
        changed = [k for k in settings if k not in free and before.get(k) != settings[k]]
        if changed:
            shown = ", ".join(f"{k}: {before.get(k)} there, {settings[k]} now" for k in changed)
            raise ValueError(f"{path.parent} was made with other settings ({shown}); choose another folder")
    filesystem.write_json(path, settings)
