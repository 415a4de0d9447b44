"""All-atom trajectories -> ``Frames`` of beads, in pieces; what was mapped is kept on the disk where it is much."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import disk_arrays, filesystem, limits, units
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.data import atomic_forces, constraints, frame_weights, validation
from cgsurrogate.data.formats import arrays, topologies, unit_names
from cgsurrogate.data.formats.sources import Reader, Source, load_topology, sources
from cgsurrogate.data.generation.accounts import known_mixing, known_speed
from cgsurrogate.data.map_runs import map_runs
from cgsurrogate.data.mapping import Mapping

AGGREGATIONS = ("auto", "basic", "optimal")

Report = Callable[[int, int | None], None]
"""Called with frames done and frames in all."""


@dataclasses.dataclass(frozen=True)
class Input:
    """All-atom trajectories, what belongs to them, and what of them is wanted.

    Attributes:
        topology: PDB, mmCIF, GRO, PSF, prmtop or what MDAnalysis reads, with the atoms of the trajectories in their
            order; or mdtraj's.
        trajectories: XTC, TRR, DCD, Amber NetCDF, mdtraj HDF5, H5MD, LAMMPS dump, PDB with several models; or
            coordinates in nm as ``file.npy`` or ``file.npz:name``, (T, A, 3) or one run a row, (R, T, A, 3). Each file
            is an unbroken run. A ``Source`` stands for itself.
        temperature: K.
        dt: ps between frames; overrides what a file states, needed where it states nothing (DCD, PDB, arrays).
        forces: without constraint forces; one file a trajectory, ``.npy`` or ``.npz:name``, (T, A, 3) kJ/mol/nm, or
            TRR, NetCDF or H5MD with forces; or one array for all, one run a row. Without, those in the trajectories.
        weights: likewise, (T,), or ``COLVAR:column`` of PLUMED, one file a run. A suffix declares a bias energy,
            ``bias.npz:name:kJ/mol`` or ``COLVAR:bias:kJ/mol``; a weight is then exp(bias / kT).
        begin: ps, by the times of the file, or from 0 where ``dt`` is given.
        end: likewise; the last frame that is kept.
        stride: keep every n-th frame.
        aggregate: how forces of atoms become those of beads: ``basic``, over rigid groups; ``optimal``, with the least
            variance; ``auto``, optimal where there are forces. Where that gains nothing, the basic one stays.
        no_forces: leave out the forces that are in the trajectory files.
        force_unit: of forces whose file does not say it: kJ/mol/nm, kJ/mol/A, kcal/mol/A, eV/A, hartree/bohr.
        length_unit: of positions whose file does not say it, and of arrays: nm, A, pm, bohr.
        recover: take the whole frames of files that are cut short; what is left out is noted in the provenance.
        energies: as ``weights``, the potential energy of every frame with its unit, ``file.npz:name:kJ/mol``, also
            ``energy.xvg:Potential`` of GROMACS. Only ``read_sampled`` reads them.
        bias: likewise, bias energies of every frame in every window of umbrella sampling, (T, K) a run, or
            ``COLVAR:column,column:kJ/mol``.
        windows: of each run, the number of its window, a column of ``bias``.
    """

    topology: Any
    trajectories: Sequence[str | Path | Source]
    temperature: float
    dt: float | None = None
    forces: Sequence[Any] = ()
    weights: Sequence[Any] = ()
    begin: float | None = None
    end: float | None = None
    stride: int = 1
    aggregate: str = "auto"
    no_forces: bool = False
    force_unit: str | None = None
    length_unit: str | None = None
    recover: bool = False
    energies: Sequence[Any] = ()
    bias: Sequence[Any] = ()
    windows: Sequence[int] = ()

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATIONS:
            expected = ", ".join(AGGREGATIONS)
            raise ValueError(f"expected an aggregation of forces out of {expected}, got {self.aggregate!r}")
        if self.no_forces and self.forces:
            raise ValueError("forces were given and are to be left out; give --forces or --no-forces, not both")
        if not self.trajectories:
            raise ValueError("expected at least one trajectory, got none")
        if self.stride < 1:
            raise ValueError(f"expected a stride of at least 1 frame, got {self.stride}")
        units.thermal_energy(self.temperature)  # refuses what is no temperature
        limits.above_zero("the time between frames", self.dt, "ps", 1e15)
        for name, value in (("begin", self.begin), ("end", self.end)):
            if value is not None and not abs(value) <= 1e15:
                raise ValueError(f"expected {name} as a time in ps, at most 1e15, got {value}")


@dataclasses.dataclass(frozen=True, eq=False)
class Sampled:
    """Mapped frames and their energies.

    Attributes:
        atoms: of the topology, whose energies these are.
        energies: (T,) kJ/mol, or None.
        bias: (T, K) kJ/mol in every window, or None.
    """

    frames: Frames
    atoms: int
    energies: np.ndarray | None = None
    bias: np.ndarray | None = None


def read(given: Input, build: Callable[[Any], Mapping], report: Report = lambda done, total: None) -> Frames:
    """Read trajectories and map them; ``build`` makes the mapping from an mdtraj topology.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: anything that does not fit; the line says what was expected, what came, and the remedy.
    """
    return read_sampled(given, build, report).frames


def read_sampled(given: Input, build: Callable[[Any], Mapping], report: Report = lambda done, total: None) -> Sampled:
    """As ``read``, with the energies and the bias of the frames that are kept."""
    files = [spec for spec in given.trajectories if isinstance(spec, str | Path)]
    structure = load_topology(given.topology) if isinstance(given.topology, str | Path) else given.topology
    arrays_ = [*given.forces, *frame_weights.arrays_of((*given.weights, *given.energies, *given.bias))]
    ordered = _in_order(given.trajectories, arrays_) if files else given.trajectories
    mapping, runs = _mapping_and_runs(given, build, ordered, structure)
    step = validation.runs(runs, structure.n_atoms, given.dt)
    windows = [_window(run, step, given) for run in runs]
    noise, about = dict[str, Any](), dict[str, Any]()
    forces = atomic_forces.of_runs(given.forces, runs, structure.n_atoms, unit=given.force_unit, ignore=given.no_forces)
    if forces is None and given.aggregate == "optimal":
        raise ValueError("the optimal aggregation needs forces; give them with --forces")
    kT, by_time = units.thermal_energy(given.temperature), given.dt is None
    weights = frame_weights.of_runs(given.weights, runs, kT, by_time=by_time) if given.weights else None
    energies, bias = (
        frame_weights.energies(specs, runs, kT, by_time=by_time, windows=specs is given.bias) if specs else None
        for specs in (given.energies, given.bias)
    )
    with Reader() as reader:
        if forces is not None and (rigid := constraints.violated(reader, structure, mapping, runs, windows)):
            if given.forces:
                raise ValueError(f"{constraints.words(rigid)}; leave --forces out, or constrain bonds to hydrogen only")
            warnings.warn(f"{constraints.words(rigid)}; they are left out", stacklevel=2)
            forces = None
        if forces is not None:
            atomic_forces.covered(forces, windows)
            mapping, noise, about = atomic_forces.aggregated(
                reader, given.aggregate, mapping, structure, forces, weights, windows
            )
        positions = disk_arrays.empty((sum(map(len, windows)), len(mapping.beads), 3))
        map_runs(structure, mapping, list(zip(runs, windows, strict=True)), positions, report)
        mapped = None
        if forces is not None:
            mapped = disk_arrays.empty(positions.shape)
            atomic_forces.map_all(reader, mapping, structure, forces, windows, mapped)
    frames = Frames(
        beads=mapping.beads,
        positions=positions,
        lengths=tuple(len(window) for window in windows),
        dt=step * given.stride,
        temperature=float(given.temperature),
        forces=mapped,
        weights=_kept(weights, windows),
        provenance=Provenance(
            topology=Path(given.topology).name if isinstance(given.topology, str | Path) else "",
            trajectories=tuple(Path(run.name).name for run in runs),
            ns_per_day=known_speed(files),
            mixed_by=known_mixing(files),
            aggregate="" if forces is None else noise.get("used", "basic"),
            mean_square_force=noise,
            left_out=tuple(run.left_out for run in runs if run.left_out),
            notes={"atomic_forces": about} if about else {},
        ),
    )
    return Sampled(frames, structure.n_atoms, _kept(energies, windows), _kept(bias, windows))


def _kept(values: list[np.ndarray] | None, windows: list[range]) -> np.ndarray | None:
    """What belongs to the wanted frames of all runs, one after the other."""
    if values is None:
        return None
    return np.concatenate([part[_slice(window)] for part, window in zip(values, windows, strict=True)])


def _mapping_and_runs(
    given: Input, build: Callable[[Any], Mapping], ordered: Sequence[Any], structure: Any
) -> tuple[Mapping, list[Source]]:
    with ThreadPoolExecutor(1) as pool:  # the process that parses reads headers meanwhile
        found = pool.submit(_runs, given, ordered, structure)
        try:
            return _built(build, structure, given.topology), found.result()
        finally:
            del found  # an error in it would keep this frame, and with it what was unpacked


def _runs(given: Input, ordered: Sequence[Any], structure: Any) -> list[Source]:
    """What the trajectories hold; a unit of length that is given is that of no file that states another one."""
    length_unit = given.length_unit
    runs = [source for spec in ordered for source in sources(spec, structure, length_unit, recover=given.recover)]
    for run in runs if length_unit else ():
        if run.length_unit and not np.isclose(unit_names.length(run.length_unit), unit_names.length(length_unit or "")):
            raise ValueError(
                f"{run.name} holds positions in {run.length_unit}, --length-unit says {length_unit}; leave it out"
            )
    return runs


def _built(build: Callable[[Any], Mapping], structure: Any, topology: Any) -> Mapping:
    """The mapping; what hinders it is a fault of the topology, and the line says of which."""
    try:
        with topologies.many_objects():
            return build(structure)
    except ValueError as error:
        if not isinstance(topology, str | Path) or str(topology) in str(error):
            raise
        raise ValueError(f"{topology}: {error}") from None


def _slice(frames: range) -> slice:
    return slice(frames.start, frames.stop, frames.step)


def _window(run: Source, step: float, given: Input) -> range:
    """The wanted frames of a run, whose frames are ``step`` ps apart."""
    zero = 0.0 if given.dt is not None or run.times is None else float(run.times[0])
    slack = 1e-3  # of a frame: times are stored in single precision
    first = 0 if given.begin is None else max(0, int(np.ceil((given.begin - zero) / step - slack)))
    last = run.frames if given.end is None else min(run.frames, int(np.floor((given.end - zero) / step + slack)) + 1)
    window = range(first, last, given.stride)
    if len(window) < 2:
        until = zero + (run.frames - 1) * step
        raise ValueError(
            f"{run.name} (from {zero:g} to {until:g} ps, every {step:g} ps) leaves {len(window)} frame(s) between the "
            "chosen begin and end, at this stride; a run needs at least two"
        )
    return window


def _in_order(trajectories: Sequence[Any], specs: Sequence[Any]) -> list[Any]:
    """The trajectories as given; but in the order of their numbers where one array serves all of them, a row each.

    A shell sorts ``walker_10`` before ``walker_2``; rows of an array are counted by number.
    """
    given = list(trajectories)
    shared = len(given) > 2 and any(
        arrays.is_array(spec) and arrays.load(spec).shape[:1] == (len(given),) for spec in specs
    )
    if not shared:
        return given

    ordered = sorted(given, key=filesystem.natural)
    if ordered == given or sorted(map(str, given)) != [str(spec) for spec in given]:
        return given
    moved = next(i for i, (old, new) in enumerate(zip(given, ordered, strict=True)) if old != new)
    warnings.warn(
        f"one array holds a row for each of {len(given)} trajectories: they are taken in the order of their numbers, "
        f"{Path(ordered[moved]).name} before {Path(given[moved]).name}; if that is wrong, give one array a trajectory",
        stacklevel=3,
    )
    return ordered
