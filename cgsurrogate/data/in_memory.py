"""Trajectories that are already in memory, of mdtraj, MDAnalysis or plain arrays, to ``Frames`` of beads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cgsurrogate.core.frames import Frames
from cgsurrogate.data import mapping as maps
from cgsurrogate.data.formats import mdanalysis_files, unit_names
from cgsurrogate.data.formats.sources import Source
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.read import Input, read

Build = str | Callable[[Any], Mapping]
"""A mapping as on the command line, ``ca``, or a function from an mdtraj topology to a ``Mapping``."""


def from_mdtraj(
    trajectories: Any,
    mapping: Build = "backbone",
    *,
    temperature: float,
    forces: Sequence[np.ndarray] = (),
    weights: Sequence[np.ndarray] = (),
    **options: Any,
) -> Frames:
    """Frames from one ``mdtraj.Trajectory`` or several, an unbroken run each.

    Args:
        temperature: K.
        forces: one array (T, A, 3) a run, kJ/mol/nm without constraint forces, or in ``force_unit``.
        weights: one array (T,) a run.
        options: others of ``Input``: dt, begin, end, stride, aggregate, force_unit.

    Raises:
        ValueError: as ``read`` does for files.
    """
    runs = list(trajectories) if isinstance(trajectories, list | tuple) else [trajectories]
    if not runs:
        raise ValueError("expected at least one trajectory, got none")
    if any(run.topology != runs[0].topology for run in runs[1:]):
        raise ValueError("the trajectories have different topologies; map them apart")
    made = []
    for i, run in enumerate(runs):
        times = np.asarray(run.time, float)
        counted = np.array_equal(times, np.arange(run.n_frames))  # what mdtraj makes up where a file has no times
        cells, name = run.unitcell_vectors, f"trajectory {i}"
        made.append(Source(name, run.n_frames, run.n_atoms, None if counted else times, "array", run.xyz, cells))
    return _mapped(runs[0].topology, made, mapping, temperature=temperature, forces=forces, weights=weights, **options)


def from_arrays(
    positions: Sequence[np.ndarray] | np.ndarray,
    topology: Any,
    mapping: Build = "backbone",
    *,
    temperature: float,
    dt: float,
    length_unit: str,
    **options: Any,
) -> Frames:
    """Frames from arrays: (T, A, 3), or several, a run each.

    Args:
        topology: a file, or mdtraj's.
        dt: ps between frames.
        length_unit: of the positions: nm or A.
        options: others of ``Input``; forces and weights are arrays, one a run.
    """
    runs = [positions] if isinstance(positions, np.ndarray) and positions.ndim == 3 else list(positions)
    scale = unit_names.length(length_unit)
    for i, run in enumerate(runs):
        if run.ndim != 3 or run.shape[2] != 3:
            raise ValueError(f"expected positions (T, A, 3) of run {i}, got {run.shape}")
    made = [Source(f"array {i}", len(x), x.shape[1], None, "array", x, scale=scale) for i, x in enumerate(runs)]
    return _mapped(topology, made, mapping, temperature=temperature, dt=dt, **options)


def from_mdanalysis(
    universes: Any, mapping: Build = "backbone", *, temperature: float, no_forces: bool = False, **options: Any
) -> Frames:
    """Frames from one ``MDAnalysis.Universe`` or several of the same atoms, an unbroken run each, read piece by piece.

    Whatever MDAnalysis reads can come in this way. Forces of the trajectory are taken where it has any
    (kJ/mol/Angstrom there).

    Args:
        options: others of ``Input``: dt, begin, end, stride, aggregate, weights (arrays).
    """
    runs = list(universes) if isinstance(universes, list | tuple) else [universes]
    made = [_of_universe(universe, f"universe {i}") for i, universe in enumerate(runs)]
    have = [bool(universe.trajectory.ts.has_forces) for universe in runs]
    if all(have) and not no_forces:
        options["forces"] = [
            Source(f"forces of {run.name}", run.frames, run.atoms, None, "array", _Pieces(u, "forces"), scale=10.0)
            for run, u in zip(made, runs, strict=True)
        ]
        options["force_unit"] = "kJ/mol/A"
    elif any(have) and not no_forces:
        raise ValueError("some universes have forces and some have none; leave all out with no_forces=True")
    return _mapped(mdanalysis_files.topology(runs[0]), made, mapping, temperature=temperature, **options)


def _mapped(topology: Any, runs: list[Source], mapping: Build, **options: Any) -> Frames:
    build = maps.builder(mapping) if isinstance(mapping, str) else mapping
    frames = read(Input(topology, runs, **options), build)
    return frames.with_provenance(mapping=mapping) if isinstance(mapping, str) else frames


class _Pieces:
    """Positions or forces (T, A, 3) of a universe, in its units, read where they are asked for."""

    def __init__(self, universe: Any, name: str):
        self.universe, self.name = universe, name

    def __getitem__(self, frames: slice) -> np.ndarray:
        atoms = self.universe.atoms
        made = [np.array(getattr(atoms, self.name), np.float32) for _ in self.universe.trajectory[frames]]
        return np.stack(made)


def _of_universe(universe: Any, name: str) -> Source:
    trajectory = universe.trajectory
    times, cells = mdanalysis_files.times(trajectory), None
    if mdanalysis_files.cell(trajectory.ts) is not None:
        cells = np.stack([np.array(frame.triclinic_dimensions, float) for frame in trajectory]) / 10
    places = _Pieces(universe, "positions")
    return Source(name, len(trajectory), len(universe.atoms), times, "array", places, cells, scale=0.1)
