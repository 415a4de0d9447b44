"""One OpenMM context that moves the copies of many molecules at once, each at its own temperature."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import checked_files, units
from cgsurrogate.data.generation import systems, tempering
from cgsurrogate.data.generation.protocol import Protocol
from cgsurrogate.data.generation.systems import WANDERING, Molecule

HOT_KELVIN, HOT_PS = 500.0, 100.0
TIMED = 100  # steps
FASTEST = ("CUDA", "HIP", "OpenCL", "CPU", "Reference")


@dataclasses.dataclass(eq=False)
class State:
    """Where the copies of one run are.

    Attributes:
        positions, velocities: (K, A, 3) nm and nm/ps.
        rungs: (K,) the temperature of each copy, as its place in the ladder.
        exchanges: (2, K - 1) attempts and successes between neighbouring temperatures.
    """

    positions: np.ndarray
    velocities: np.ndarray
    rungs: np.ndarray
    exchanges: np.ndarray


def save_states(path: Path, states: Sequence[State]) -> None:
    arrays = {
        f"{field.name}-{k}": getattr(state, field.name)
        for k, state in enumerate(states)
        for field in dataclasses.fields(State)
    }
    content = io.BytesIO()
    np.savez(content, **arrays)
    checked_files.write_checked(path, content.getvalue())


def load_states(path: Path) -> list[State]:
    """What ``save_states`` wrote.

    Raises:
        ValueError: it is anything else.
    """
    content = checked_files.read_checked(path, "delete this folder of reference data, and make it again")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        fields = [field.name for field in dataclasses.fields(State)]
        return [State(*(arrays[f"{name}-{k}"] for name in fields)) for k in range(len(arrays.files) // len(fields))]


def usable(platform: str | None) -> str:
    """The platform of that name, or the fastest there is.

    Raises:
        ValueError: it is not there.
    """
    import openmm

    names = [openmm.Platform.getPlatform(i).getName() for i in range(openmm.Platform.getNumPlatforms())]
    if platform is not None and platform not in names:
        raise ValueError(f"expected an OpenMM platform out of {', '.join(names)}, got {platform!r}")
    return platform or next(name for name in FASTEST if name in names)


class Engine:
    """Runs of molecules that advance together; ``tempering`` makes a ladder of copies of each.

    Args:
        molecules: one for each run; a molecule may come several times.
    """

    def __init__(self, molecules: Sequence[Molecule], protocol: Protocol, platform: str, threads: int):
        import openmm
        from openmm import app

        self.protocol, self.molecules, self.kelvins = protocol, molecules, np.array(protocol.rungs)
        self._platform = openmm.Platform.getPlatformByName(platform)
        self._properties = {"Threads": str(threads)} if platform == "CPU" else {}
        self.copies = [molecule for molecule in molecules for _ in self.kelvins]
        ends = np.cumsum([len(copy.positions) for copy in self.copies])
        self.slices = [slice(int(end) - len(c.positions), int(end)) for end, c in zip(ends, self.copies, strict=True)]
        field = app.ForceField(*protocol.forcefield)
        self._single: dict[int, Any] = {}
        for molecule in self.copies:
            if id(molecule) not in self._single:
                context = self._context(systems.alone(molecule, field, protocol), openmm.VerletIntegrator(0.001))
                context.setPositions(molecule.positions)
                self._single[id(molecule)] = context
        if len(self.copies) == 1:
            self._begin(systems.alone(molecules[0], field, protocol), np.zeros((1, 3)))
        else:
            self._join(field)

    def _join(self, field: Any) -> None:
        """All copies in one system, in which each feels the forces that it feels alone."""
        for fast in (True, False):
            self._begin(*systems.together(self.copies, field, self.protocol, fast=fast))
            self.context.setPositions(np.concatenate([c.positions + p for c, p in self._placed()]))
            if systems.same_forces(self.context, [self._single[id(copy)] for copy in self.copies], self.slices):
                return
        raise ValueError(
            "many molecules in one system do not feel the forces that each feels alone: this force field has a term "
            "that a cutoff changes; simulate one at a time, --copies 1"
        )

    def _placed(self) -> list[tuple[Molecule, np.ndarray]]:
        return list(zip(self.copies, self._places, strict=True))

    def _begin(self, system: Any, places: np.ndarray) -> None:
        import openmm
        from openmm import unit

        protocol, self._places = self.protocol, places
        arguments = (protocol.temperature * unit.kelvin, protocol.friction / unit.picosecond)
        step = protocol.step * unit.picosecond
        if protocol.tempering:
            self.integrator = tempering.langevin(protocol)
        elif protocol.solvent_every > 1:
            for force in system.getForces():
                force.setForceGroup(1 if "GB" in force.getName() else 0)
            self.integrator = openmm.MTSLangevinIntegrator(*arguments, step, [(1, 1), (0, protocol.solvent_every)])
        else:
            self.integrator = openmm.LangevinMiddleIntegrator(*arguments, step)
        self.context = self._context(system, self.integrator)

    def _context(self, system: Any, integrator: Any) -> Any:
        import openmm

        return openmm.Context(system, integrator, self._platform, self._properties)

    # -- state -------------------------------------------------------------------------------------------------------

    def _positions(self) -> np.ndarray:
        from openmm import unit

        state = self.context.getState(getPositions=True)
        return np.asarray(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))

    def _velocities(self) -> np.ndarray:
        from openmm import unit

        state = self.context.getState(getVelocities=True)
        return np.asarray(state.getVelocities(asNumpy=True).value_in_unit(unit.nanometer / unit.picosecond))

    def _set_temperatures(self, rungs: np.ndarray, kelvin: float | None = None) -> None:
        """``rungs`` (C,), or one temperature for all copies."""
        found = self.kelvins[rungs] if kelvin is None else np.full(len(self.copies), kelvin)
        if self.protocol.tempering:
            each = np.repeat([units.thermal_energy(float(t)) for t in found], [s.stop - s.start for s in self.slices])
            self.integrator.setPerDofVariableByName("kT", np.repeat(each[:, None], 3, 1))
        elif self.protocol.solvent_every > 1:  # a CustomIntegrator, which keeps kT as a variable
            self.integrator.setGlobalVariableByName("kT", units.thermal_energy(float(found[0])))
        else:
            self.integrator.setTemperature(float(found[0]))

    def _reseed(self, seed: int) -> None:
        """Start the random numbers anew; ``reinitialize(preserveState=True)`` would bring the old ones back."""
        state = self.context.getState(getPositions=True, getVelocities=True)
        self.integrator.setRandomNumberSeed(seed)
        self.context.reinitialize()
        self.context.setState(state)

    def prepare(self, seed: int) -> list[State]:
        """Minimise, heat, and cool again: an independent start of every run."""
        import openmm
        from openmm import unit

        self.context.setPositions(np.concatenate([c.positions + place for c, place in self._placed()]))
        openmm.LocalEnergyMinimizer.minimize(self.context, maxIterations=500)
        self._reseed(seed)
        count = len(self.kelvins)
        rungs = np.tile(np.arange(count), len(self.molecules))
        steps = round(HOT_PS / self.protocol.step)
        self._set_temperatures(rungs, HOT_KELVIN)
        self.context.setVelocitiesToTemperature(HOT_KELVIN * unit.kelvin, seed)
        self.integrator.step(steps)
        self._set_temperatures(rungs)
        self.context.setVelocitiesToTemperature(self.protocol.temperature * unit.kelvin, seed)
        self.integrator.step(steps)
        return self._states(rungs, np.zeros((len(self.molecules), 2, count - 1), int))

    def _states(self, rungs: np.ndarray, exchanges: np.ndarray) -> list[State]:
        x, v, count = self._brought_back(), self._velocities(), len(self.kelvins)
        states = []
        for run in range(len(self.molecules)):
            own = range(run * count, (run + 1) * count)
            states.append(
                State(
                    np.stack([x[self.slices[copy]] - self._places[copy] for copy in own]),
                    np.stack([v[self.slices[copy]] for copy in own]),
                    rungs[run * count : (run + 1) * count].copy(),
                    exchanges[run].copy(),
                )
            )
        return states

    def _brought_back(self, *, within: float = 0.0) -> np.ndarray:
        """(atoms, 3) nm; every copy that is farther than ``within`` from its place has been moved back to it."""
        x = self._positions()
        away = [place - x[part].mean(0) for part, place in zip(self.slices, self._places, strict=True)]
        if max(np.abs(away).max(), 0.0) > within:
            for part, move in zip(self.slices, away, strict=True):
                x[part] += move
            self.context.setPositions(x)
        return x

    def seconds_per_ns(self) -> float:
        """Wall time of a ns of all copies, from a few steps after minimisation; the copies are left anywhere."""
        import openmm

        self.context.setPositions(np.concatenate([c.positions + place for c, place in self._placed()]))
        openmm.LocalEnergyMinimizer.minimize(self.context, maxIterations=50)
        self.integrator.step(TIMED // 5)
        began = time.monotonic()
        self.integrator.step(TIMED)
        self._positions()  # waits for the device
        return (time.monotonic() - began) / (TIMED * self.protocol.step) * 1000

    # -- dynamics ----------------------------------------------------------------------------------------------------

    def advance(self, states: Sequence[State], seed: int) -> tuple[list[dict[str, np.ndarray]], list[State]]:
        """One chunk of every run.

        Returns:
            of each run, arrays by temperature (K first): positions (K, F, A, 3) nm, forces (K, F, A, 3) kJ/mol/nm,
            potential (K, F) kJ/mol; and where the runs are now.

        Raises:
            FloatingPointError: something was not finite.
        """
        rungs = np.concatenate([state.rungs for state in states])
        exchanges, rng = np.stack([state.exchanges for state in states]), np.random.default_rng(seed)
        at = np.concatenate([part for state in states for part in state.positions])
        lengths = [part.stop - part.start for part in self.slices]
        self.context.setPositions(at + np.repeat(self._places, lengths, 0))
        self.context.setVelocities(np.concatenate([part for state in states for part in state.velocities]))
        self._reseed(seed)
        self._set_temperatures(rungs)
        frames = []
        for number in range(self.protocol.frames_per_chunk):
            self.integrator.step(self.protocol.steps_per_frame)
            x = self._brought_back(within=WANDERING)
            measured = [self._measured(copy, x) for copy in range(len(self.copies))]
            frames.append([measured[copy] for copy in tempering.by_temperature(rungs, len(self.kelvins))])
            if self.protocol.tempering:
                self._exchange(rungs, np.array([energy for _, _, energy in measured]), exchanges, number, rng)
        return [self._rows(frames, run) for run in range(len(self.molecules))], self._states(rungs, exchanges)

    def _measured(self, copy: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Positions near the origin, and forces and potential of the molecule alone."""
        from openmm import unit

        context, own = self._single[id(self.copies[copy])], x[self.slices[copy]] - self._places[copy]
        context.setPositions(own)
        energy = context.getState(getEnergy=True).getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
        return own, systems.forces_of(context), float(energy)

    def _rows(self, frames: list[list[Any]], run: int) -> dict[str, np.ndarray]:
        count = len(self.kelvins)
        names = ("positions", "forces", "potential")
        rows = {
            name: np.array([[frame[run * count + k][i] for frame in frames] for k in range(count)], np.float32)
            for i, name in enumerate(names)
        }
        if not all(np.isfinite(array).all() for array in rows.values()):
            raise FloatingPointError(
                f"the all-atom simulation {f'of {name} ' if (name := self.molecules[run].name) else ''}gave nan; use a "
                "shorter time step or check the starting structure"
            )
        return rows

    def _exchange(
        self, rungs: np.ndarray, energies: np.ndarray, exchanges: np.ndarray, number: int, rng: np.random.Generator
    ) -> None:
        done = tempering.exchange(rungs, energies, self.kelvins, exchanges, number, rng)
        if not done:
            return
        velocities = self._velocities()
        for cold, hot, low in done:
            ratio = np.sqrt(self.kelvins[low + 1] / self.kelvins[low])
            velocities[self.slices[cold]] *= ratio
            velocities[self.slices[hot]] /= ratio
        self.context.setVelocities(velocities)
        self._set_temperatures(rungs)
