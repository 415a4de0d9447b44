"""Frames to standard trajectory files that VMD, mdtraj and anyone's script read, and back."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import bead_types, filesystem
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.data import validation
from cgsurrogate.data.formats.sources import Reader, Source, load_topology, sources
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.read import Input, read
from cgsurrogate.geometry import measures

SUFFIXES = (".xtc", ".dcd", ".trr", ".nc")
PIECE = 2000  # frames at a time


def export(frames: Frames, path: str | Path, *, split_runs: bool = False) -> list[Path]:
    """Write a trajectory and, beside it, a PDB of the first frame with bonds as CONECT records.

    In one file the runs follow one another and the time starts again at zero with each, which is how ``load_any`` finds
    them (DCD holds no times, so it keeps no runs). XTC rounds positions to 0.001 nm.

    Args:
        path: ``traj.xtc``, ``.dcd``, ``.trr`` or ``.nc``; the PDB is ``traj.pdb``.
        split_runs: write ``traj.0.xtc``, ``traj.1.xtc``, ... instead, a run each.

    Returns:
        The files: trajectories, then the PDB.

    Raises:
        ValueError: another ending, or positions that are not finite.
        Busy: another process writes files of this stem.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"expected a file that ends in {', '.join(SUFFIXES)}, got {path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    made = {path: frames.runs}
    if split_runs:
        made = {path.with_name(f"{path.stem}.{i}{path.suffix}"): (run,) for i, run in enumerate(frames.runs)}
    pdb = path.with_suffix(".pdb")
    with filesystem.locked(path.parent, path.stem):
        for name, runs in made.items():
            _write(name, frames, runs)
        filesystem.write_text(pdb, pdb_text(frames.beads, np.asarray(frames.positions[0])))
    return [*made, pdb]


def _write(path: Path, frames: Frames, runs: tuple[slice, ...]) -> None:
    """All pieces of the runs into one file, which appears when it is whole."""
    import mdtraj

    kind = path.suffix.lower()
    unit = 10 if kind in (".dcd", ".nc") else 1  # Angstrom, nm
    with filesystem.renaming(path, kind) as temporary, mdtraj.open(str(temporary), "w") as handle:
        for run in runs:
            for start in range(run.start, run.stop, PIECE):
                stop = min(start + PIECE, run.stop)
                xyz = np.ascontiguousarray(frames.positions[start:stop], np.float32)
                if not np.isfinite(xyz).all():
                    raise ValueError(f"positions are not finite in frames {start} to {stop}; nothing was written")
                times = ((np.arange(start, stop) - run.start) * frames.dt).astype(np.float32)
                handle.write(xyz * unit, **({} if kind == ".dcd" else {"time": times}))


def chains(beads: Beads) -> tuple[int, ...]:
    """The chain of each bead: a new one begins where a residue is not bonded to the one before it."""
    joined = {
        beads.residues[j] for i, j in beads.bonds if abs(beads.residues[j] - beads.residues[i]) == 1
    }  # i < j and residues never fall, so this is the later residue
    begins = [now not in joined and now != before for before, now in itertools.pairwise(beads.residues)]
    return tuple(np.cumsum([0, *begins]).tolist())


def pdb_text(beads: Beads, positions: np.ndarray) -> str:
    """One model in PDB format; positions (N, 3) nm."""
    shown = positions * 10
    if np.abs(shown).max() >= 9999 / 10:
        shown = shown - shown.mean(0)
    lines, parts = [], chains(beads)
    for i, name in enumerate(beads.names):
        element = name[0] if beads.types[i] != bead_types.OTHER and name[:1] in "CNOS" else ""
        label = f"{name:<4}" if len(name) >= 4 else f" {name:<3}"
        place = "".join(f"{x:8.3f}" for x in shown[i])
        lines.append(
            f"ATOM  {(i + 1) % 100000:>5} {label[:4]} {beads.residue_names[i][:3]:>3} {chr(65 + parts[i] % 26)}"
            f"{(beads.residues[i] + 1) % 10000:>4}    {place}  1.00  0.00          {element:>2}"
        )
        if i + 1 == len(parts) or parts[i + 1] != parts[i]:
            lines.append("TER")
    both = sorted({*beads.bonds, *((j, i) for i, j in beads.bonds)})
    lines += [f"CONECT{i + 1:>5}{j + 1:>5}" for i, j in both if len(beads) < 100000]
    return "\n".join([*lines, "END", ""])


def beads_from_topology(topology: Any) -> Beads:
    """Beads as a PDB shows them; masses are those of the elements, since a PDB holds no others."""
    atoms = list(topology.atoms)
    names = [bead_types.canonical(atom.residue.name) for atom in atoms]
    known = [bead_types.number(atom.residue.name, atom.name) for atom in atoms]
    masses = [atom.element.mass if atom.element is not None and atom.element.mass > 0 else 12.0 for atom in atoms]
    return Beads(
        names=tuple(atom.name for atom in atoms),
        types=tuple(known),
        masses=tuple(map(float, masses)),
        residues=tuple(atom.residue.index for atom in atoms),
        residue_names=tuple(names),
        bonds=tuple(sorted({(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds})),
    )


def load_any(
    path: str | Path | list[str | Path],
    topology: str | Path | None = None,
    *,
    like: Frames | None = None,
    dt: float | None = None,
    temperature: float | None = None,
    build: Callable[[Any], Mapping] | None = None,
    recover: bool = False,
) -> Frames:
    """Frames from trajectories of beads, or from all-atom trajectories.

    Args:
        path: one file or several.
        topology: the PDB; by default the one beside the first trajectory with the same stem.
        like: frames whose beads and temperature hold here too.
        build: the mapping of all-atom trajectories.
        recover: take the whole frames of files that are cut short.

    Raises:
        FileNotFoundError, ValueError: as for ``read``; or the beads are others than those of ``like``.
    """
    paths = list(path) if isinstance(path, list | tuple) else [path]
    top = Path(topology) if topology is not None else Path(paths[0]).with_suffix(".pdb")
    if topology is None and not top.is_file():
        raise FileNotFoundError(f"expected a topology beside {paths[0]}, at {top}; give it with -s")
    structure = load_topology(top)
    kelvin = temperature if temperature is not None else like.temperature if like is not None else None
    if kelvin is None:
        raise ValueError(f"the temperature of {paths[0]} is not known; give it in kelvin with -T")
    if build is None:
        beads = beads_from_topology(structure) if like is None else like.beads
        if not _same_beads(structure, beads):
            raise ValueError(
                f"{top} has {structure.n_atoms} atoms, the reference {len(beads)} beads, and the mapping "
                "between them is not known; map the trajectory first: cgsurrogate map"
            )
        return _beads_as_they_are(paths, structure, beads, kelvin, dt, recover)
    frames = read(Input(top, paths, kelvin, dt, no_forces=True, recover=recover), build)
    if like is not None and (frames.beads.names, frames.beads.types) != (like.beads.names, like.beads.types):
        raise ValueError(f"{top} gives other beads than the reference; is it the same molecule and mapping?")
    return frames


def _same_beads(structure: Any, beads: Beads) -> bool:
    found = [(a.name, bead_types.canonical(a.residue.name)[:3]) for a in structure.atoms]
    wanted = [(n, r[:3]) for n, r in zip(beads.names, beads.residue_names, strict=True)]
    return found == wanted


def _beads_as_they_are(
    paths: list[str | Path], structure: Any, beads: Beads, temperature: float, dt: float | None, recover: bool
) -> Frames:
    """Trajectories whose atoms are the beads. A time that goes back begins a new run."""
    files = [source for spec in paths for source in sources(spec, structure, recover=recover)]
    runs = [run for file in files for run in _runs(file)]
    step = validation.runs(runs, len(beads), dt)
    parts: list[np.ndarray] = []
    bonds = np.array(beads.bonds, int).reshape(-1, 2)
    with Reader() as reader:
        for file in files:
            done = 0
            for xyz, _ in reader.blocks(file, np.arange(file.atoms), range(file.frames)):
                validation.finite(file.name, xyz, range(done, file.frames), beads.names, "coordinates")
                if not done and len(bonds) and np.median(measures.distances(xyz[:1], bonds)) > 0.9:
                    raise ValueError(
                        f"{file.name}: bonded beads are too far apart for nm; divide the coordinates by 10"
                    )
                done += len(xyz)
                parts.append(xyz)
    return Frames(
        beads=beads,
        positions=np.concatenate(parts),
        lengths=tuple(run.frames for run in runs),
        dt=step,
        temperature=float(temperature),
        provenance=Provenance(
            trajectories=tuple(Path(file.name).name for file in files),
            left_out=tuple(file.left_out for file in files if file.left_out),
        ),
    )


def _runs(file: Source) -> list[Source]:
    """The runs of a file, as far as their atoms, frames and times go."""
    if file.times is None:
        return [file]
    times = np.split(file.times, np.flatnonzero(np.diff(file.times) < 0) + 1)
    return [dataclasses.replace(file, frames=len(part), times=part) for part in times]
