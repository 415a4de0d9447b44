"""All-atom trajectories -> ``Frames`` of beads, in pieces: only mapped beads stay in memory."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import units
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.data import force_aggregation as aggregation
from cgsurrogate.data import validation
from cgsurrogate.data.formats import arrays
from cgsurrogate.data.formats.sources import Reader, Source, load_topology, sources
from cgsurrogate.data.generation.openmm import known_speed
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups
from cgsurrogate.geometry.periodic import Unwrap

AGGREGATIONS = ("auto", "basic", "optimal")
SAMPLE = 5000  # frames from which the optimal aggregation is found
PIECE = 500  # frames of forces at a time
GAIN = 0.99  # of the mean squared force of the basic aggregation, below which the optimal one is taken


Report = Callable[[int, int | None], None]
"""Called with frames done and frames in all."""


@dataclasses.dataclass(frozen=True)
class Input:
    """All-atom trajectories, what belongs to them, and what of them is wanted.

    Attributes:
        topology: PDB, mmCIF, GRO, PSF or prmtop, with the atoms of the trajectories in their order.
        trajectories: XTC, TRR, DCD, Amber NetCDF, mdtraj HDF5, PDB with several models; or coordinates in nm as
            ``file.npy`` or ``file.npz:name``, (T, A, 3) or one run a row, (R, T, A, 3). Each file is an unbroken run.
        temperature: K.
        dt: ps between frames; overrides what a file states, needed where it states nothing (DCD, PDB, arrays).
        forces: one file a trajectory, ``.npy`` or ``.npz:name``, (T, A, 3) kJ/mol/nm without constraint forces; or
            one array for all, one run a row.
        weights: likewise, (T,). A suffix declares a bias energy, ``bias.npz:name:kJ/mol``; a weight is then
            exp(bias / kT).
        begin: ps, by the times of the file, or from 0 where ``dt`` is given.
        end: likewise; the last frame that is kept.
        stride: keep every n-th frame.
        aggregate: how forces of atoms become those of beads: ``basic``, over rigid groups; ``optimal``, with the least
            variance; ``auto``, optimal where there are forces. Where that gains nothing, the basic one stays.
    """

    topology: str | Path
    trajectories: Sequence[str | Path]
    temperature: float
    dt: float | None = None
    forces: Sequence[str | Path] = ()
    weights: Sequence[str | Path] = ()
    begin: float | None = None
    end: float | None = None
    stride: int = 1
    aggregate: str = "auto"

    def __post_init__(self) -> None:
        if self.aggregate not in AGGREGATIONS:
            expected = ", ".join(AGGREGATIONS)
            raise ValueError(f"expected an aggregation of forces out of {expected}, got {self.aggregate!r}")
        if self.aggregate == "optimal" and not self.forces:
            raise ValueError("the optimal aggregation needs forces; give them with --forces")
        if not self.trajectories:
            raise ValueError("expected at least one trajectory, got none")
        if self.stride < 1:
            raise ValueError(f"expected a stride of at least 1 frame, got {self.stride}")
        units.thermal_energy(self.temperature)  # refuses what is no temperature


def read(given: Input, build: Callable[[Any], Mapping], report: Report = lambda done, total: None) -> Frames:
    """Read trajectories and map them; ``build`` makes the mapping from an mdtraj topology.

    Raises:
        FileNotFoundError: a file that does not exist.
        ValueError: anything that does not fit; the line says what was expected, what came, and the remedy.
    """
    structure = load_topology(given.topology)
    mapping = build(structure)
    ordered = _in_order(given.trajectories, [*given.forces, *given.weights])
    runs = [source for spec in ordered for source in sources(spec, structure)]
    step = validation.runs(runs, structure.n_atoms, given.dt)
    windows = [_window(run, step, given) for run in runs]
    counts, noise = [run.frames for run in runs], dict[str, Any]()
    forces = arrays.split(given.forces, counts, (structure.n_atoms, 3), "forces") if given.forces else None
    weights = kept = None
    if given.weights:
        kT = units.thermal_energy(given.temperature)
        weights = arrays.frame_weights(given.weights, arrays.split(given.weights, counts, (), "weights"), kT)
        kept = np.concatenate([part[_slice(window)] for part, window in zip(weights, windows, strict=True)])
    if forces is not None:
        mapping, noise = _aggregated(given.aggregate, mapping, structure, forces, weights, windows)
    positions, mapped_forces = _map_all(structure, mapping, runs, windows, forces, report)
    return Frames(
        beads=mapping.beads,
        positions=positions,
        lengths=tuple(len(window) for window in windows),
        dt=step * given.stride,
        temperature=float(given.temperature),
        forces=mapped_forces,
        weights=kept,
        provenance=Provenance(
            topology=Path(given.topology).name,
            trajectories=tuple(Path(run.name).name for run in runs),
            ns_per_day=known_speed(given.trajectories),
            aggregate="" if forces is None else noise.get("used", "basic"),
            mean_square_force=noise,
        ),
    )


def _map_all(
    structure: Any,
    mapping: Mapping,
    runs: list[Source],
    windows: list[range],
    forces: list[np.ndarray] | None,
    report: Report,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Beads of every run one after the other: (T, N, 3) nm and, with forces, (T, N, 3) kJ/mol/nm."""
    total = sum(len(window) for window in windows)
    positions = np.empty((total, len(mapping.beads), 3), np.float32)
    mapped = np.empty_like(positions) if forces is not None else None
    used = _heavy_atoms(structure, mapping)
    few = mapping.of_atoms(used)
    part = structure.subset(used)
    bonds, labels = _atom_groups.bonds(part), [str(atom) for atom in part.atoms]
    unwrap, done = Unwrap(len(used), bonds), 0
    with Reader() as reader:
        for number, (run, window) in enumerate(zip(runs, windows, strict=True)):
            start = done
            for xyz, cells in reader.blocks(run, used, window):
                left = window[done - start :]
                validation.finite(run.name, xyz, left, labels, "coordinates")
                xyz = unwrap(xyz, cells)
                if done == start:
                    validation.scale(run.name, xyz[0], bonds, labels)
                validation.whole(run.name, xyz, bonds, labels, left)
                positions[done : done + len(xyz)] = few.positions(xyz)
                done += len(xyz)
                report(done, total)
            if done - start != len(window):
                raise ValueError(
                    f"{run.name} gave {done - start} frames where {len(window)} were expected; is it damaged?"
                )
            if forces is not None and mapped is not None:
                all_labels = [str(atom) for atom in structure.atoms]
                for at in range(0, len(window), PIECE):
                    chosen = window[at : at + PIECE]
                    piece = np.asarray(forces[number][_slice(chosen)])
                    validation.finite(f"forces of {run.name}", piece, chosen, all_labels, "forces")
                    mapped[start + at : start + at + len(piece)] = mapping.forces(piece)
    return positions, mapped


def _heavy_atoms(structure: Any, mapping: Mapping) -> np.ndarray:
    """Indices of the atoms that are read: heavy atoms of mapped chains and whatever else is mapped."""
    mapped = np.asarray(mapping.weights.any(0))
    chains = {structure.atom(int(i)).residue.chain.index for i in np.flatnonzero(mapped)}
    protein = {residue.index for residue in _atom_groups.protein_residues(structure)}
    heavy = [
        mapped[atom.index]
        or (not _atom_groups.is_hydrogen(atom) and atom.residue.index in protein and atom.residue.chain.index in chains)
        for atom in structure.atoms
    ]
    return np.flatnonzero(heavy)


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


def _aggregated(
    aggregate: str,
    mapping: Mapping,
    structure: Any,
    forces: list[np.ndarray],
    weights: list[np.ndarray] | None,
    windows: list[range],
) -> tuple[Mapping, dict[str, Any]]:
    """The mapping with the wanted aggregation, and the noise of each kind on frames that the optimum was not made from.

    The optimum is found from four fifths of some frames of every run. Where it gains nothing on the last fifth, as when
    every heavy atom is a bead, the basic aggregation stays.
    """
    every = max(1, sum(len(window) for window in windows) // SAMPLE)
    atoms = np.flatnonzero(aggregation.connected(mapping, structure))  # without water
    rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for number, window in enumerate(windows):
        taken = np.array(window[::every])
        pieces = [forces[number][taken[at : at + PIECE]][:, atoms] for at in range(0, len(taken), PIECE)]
        part = np.concatenate(pieces).astype(np.float32)
        share = np.ones(len(part)) if weights is None else np.asarray(weights[number][taken], float)
        good = np.isfinite(part).all((1, 2)) & np.isfinite(share)  # others are refused where they are mapped
        rows.append((part[good], share[good], np.flatnonzero(good) >= max(1, len(part) * 4 // 5)))
    sample, share, last = (np.concatenate(parts) for parts in zip(*rows, strict=True))
    if not share[~last].sum() > 0 or not share[last].sum() > 0:
        return mapping, {}
    best, noise = aggregation.noise(
        mapping.of_atoms(atoms), structure.subset(atoms), sample[~last], sample[last], (share[~last], share[last])
    )
    used = "optimal" if aggregate != "basic" and noise["optimal"] < GAIN * noise["basic"] else "basic"
    if used == "optimal":
        spread = np.zeros_like(mapping.force_weights)
        spread[:, atoms] = best.force_weights
        mapping = dataclasses.replace(mapping, force_weights=spread)
    return mapping, {**noise, "used": used}


def _in_order(trajectories: Sequence[str | Path], specs: Sequence[str | Path]) -> list[str | Path]:
    """The trajectories as given; but in the order of their numbers where one array serves all of them, a row each.

    A shell sorts ``walker_10`` before ``walker_2``; rows of an array are counted by number.
    """
    given = list(trajectories)
    shared = len(given) > 2 and any(arrays.load(spec).shape[:1] == (len(given),) for spec in specs)
    if not shared:
        return given

    def natural(spec: str | Path) -> list[int | str]:
        return [int(piece) if piece.isdigit() else piece for piece in re.split(r"(\d+)", str(spec))]

    ordered = sorted(given, key=natural)
    if ordered == given or sorted(map(str, given)) != [str(spec) for spec in given]:
        return given
    moved = next(i for i, (old, new) in enumerate(zip(given, ordered, strict=True)) if old != new)
    warnings.warn(
        f"one array holds a row for each of {len(given)} trajectories: they are taken in the order of their numbers, "
        f"{Path(ordered[moved]).name} before {Path(given[moved]).name}; if that is wrong, give one array a trajectory",
        stacklevel=3,
    )
    return ordered
