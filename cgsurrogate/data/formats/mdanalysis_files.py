"""What MDAnalysis reads and others do not (Michaud-Agrawal et al. 2011): TPR, LAMMPS DATA, TRZ, TNG and more.

The package is an extra, imported only where such a file is given.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.data.formats.headers import Header, Refused

HYDROGEN = 4.1  # amu, the most that a repartitioned hydrogen weighs
NEAR = 0.3  # amu from the mass of an element


def _package(path: str | Path, what: str) -> Any:
    try:
        import MDAnalysis
    except ImportError:
        raise Refused(
            f"{path} is not of a kind that is read on its own; {what}, or install MDAnalysis to read more kinds: "
            "pip install 'cgsurrogate[mdanalysis]'"
        ) from None
    return MDAnalysis


def load_topology(path: Path) -> tuple[Any, bool]:
    """An mdtraj topology of any file that MDAnalysis takes for one, and whether the file states its bonds."""
    package = _package(path, "expected PDB, mmCIF, GRO, PSF or prmtop")
    more = {"topology_format": "ITP"} if path.suffix.lower() == ".top" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            universe = package.Universe(str(path), **more)
        except (ValueError, OSError) as error:
            raise ValueError(str(error.__cause__ or error.__context__ or error)) from None
        return topology(universe), _complete(universe)


def topology(universe: Any) -> Any:
    """An mdtraj topology of a universe: names, elements (by names or masses where there are none), bonds."""
    import mdtraj

    made, atoms = mdtraj.Topology(), universe.atoms
    count = len(atoms)
    elements = atoms.elements if hasattr(atoms, "elements") else [""] * count
    masses = atoms.masses if hasattr(atoms, "masses") and not hasattr(atoms, "names") else np.full(count, np.nan)
    names = atoms.names if hasattr(atoms, "names") else [""] * count
    for segment in universe.segments:
        chain = made.add_chain()
        for residue in segment.residues:
            named = str(residue.resname) if hasattr(residue, "resname") else "UNK"
            held = made.add_residue(named, chain, int(residue.resid), str(getattr(segment, "segid", "")))
            for atom in residue.atoms:
                if atom.index != made.n_atoms:
                    raise ValueError("the atoms of the universe are not in the order of its segments and residues")
                name = str(names[atom.index])
                symbol = str(elements[atom.index]) or name.lstrip("0123456789")[:1] or _by_mass(masses[atom.index])
                try:
                    element = mdtraj.element.get_by_symbol(symbol.capitalize())
                except KeyError:
                    element = mdtraj.element.virtual
                made.add_atom(name or f"{symbol}{atom.index + 1}", element, held)
    stated = universe.bonds.indices if hasattr(universe, "bonds") else np.empty((0, 2), int)
    if not _complete(universe):
        made.create_standard_bonds()
        if hasattr(universe, "trajectory") and universe.trajectory.ts.has_positions:
            made.create_disulfide_bonds(np.asarray(atoms.positions) / 10)
    every, there = list(made.atoms), {frozenset((a.index, b.index)) for a, b in made.bonds}
    for i, j in stated:
        if frozenset((int(i), int(j))) not in there:
            made.add_bond(every[int(i)], every[int(j)])
    return made


def _complete(universe: Any) -> bool:
    """Whether a bond that is not stated is none; a PDB states those of CONECT alone."""
    stated = len(universe.bonds) if hasattr(universe, "bonds") else 0
    return bool(stated >= 0.4 * len(universe.atoms))


def _by_mass(mass: float) -> str:
    """The symbol of the element with this mass; ``VS`` for none."""
    import mdtraj

    if not mass > 0:
        return "VS"
    if mass < HYDROGEN:
        return "H"
    known = [mdtraj.element.Element.getByAtomicNumber(number) for number in range(1, 93)]
    near = min(known, key=lambda element: abs(element.mass - mass))
    return str(near.symbol) if abs(near.mass - mass) < NEAR else "VS"


def times(trajectory: Any) -> np.ndarray | None:
    """(frames,) ps, or None where neither the trajectory knows its spacing nor each frame its time, as those of TNG."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        step, start = float(trajectory.dt), float(trajectory[0].time)
        if not any("no dt information" in str(one.message) for one in said):
            return start + step * np.arange(len(trajectory))
        stated = "time" in trajectory[0].data
        return np.array([float(frame.time) for frame in trajectory]) if stated else None


def cell(step: Any) -> np.ndarray | None:
    """(3, 3) Angstrom, or None without a periodic box."""
    periodic = step.dimensions is not None and np.all(step.dimensions[:3] > 0)
    return np.array(step.triclinic_dimensions, float) if periodic else None


def _trajectory(path: str | Path, atoms: int) -> Any:
    package = _package(path, "expected XTC, TRR, DCD, NetCDF, HDF5, H5MD, LAMMPS dump, PDB or npy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return package.coordinates.core.get_reader_for(str(path))(str(path), **({"n_atoms": atoms} if atoms else {}))


def header(path: Path, atoms: int) -> Header:
    """What a trajectory holds; ``atoms`` of the topology, as some formats do not say it."""
    with _trajectory(path, atoms) as held:
        first = held[0]
        forces = np.ones(len(held), bool) if first.has_forces else None
        return Header(
            len(held),
            int(held.n_atoms),
            times(held),
            kind="mdanalysis",
            positions=bool(first.has_positions),
            forces=forces,
            length_unit="A",
            force_unit="kJ/mol/A" if first.has_forces else None,
        )


def blocks(
    path: str, content: str, frames: range, count: int, atoms: np.ndarray, every: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """``count`` frames at a time, in Angstrom or kJ/mol/Angstrom: (n, len(atoms), 3), and cells (n, 3, 3)."""
    with _trajectory(path, every) as held:
        for at in range(0, len(frames), count):
            part, made, cells = frames[at : at + count], [], []
            for step in held[part.start : part.stop : part.step]:
                made.append(np.array(getattr(step, content)[atoms], np.float32))
                cells.append(cell(step))
            whole = [each for each in cells if each is not None]
            yield np.stack(made), np.stack(whole) if len(whole) == len(made) and content == "positions" else None
