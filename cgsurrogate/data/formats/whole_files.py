"""Text formats and others that mdtraj reads whole (PDB with several models, mmCIF, GRO, ...), kept while in use."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.data.formats.headers import Header, Refused, cut

TEXT = (".pdb", ".cif", ".mmcif", ".pdbx", ".gro")  # formats that bring their own topology
PICKLED = (".lh5", ".h5", ".hdf5")  # through PyTables, which runs what is pickled in their attributes
GSD = ".gsd"  # of HOOMD: its own topology, numbers of steps where mdtraj wants times, and no units
_kept: dict[tuple[Any, ...], Any] = {}  # the last file


def is_known(path: Path) -> bool:
    """Whether mdtraj reads such files, without running code that they hold."""
    import mdtraj  # noqa: F401
    from mdtraj.formats.registry import FormatRegistry

    ending = path.suffix.lower()
    return ending in FormatRegistry.loaders and ending not in PICKLED


def _load(path: Path, atoms: int) -> Any:
    import mdtraj

    stamp = path.stat()
    key = (str(path), stamp.st_size, stamp.st_mtime_ns, atoms)
    if key not in _kept:
        _kept.clear()
        own = path.suffix.lower() in (*TEXT, GSD)
        _kept[key] = mdtraj.load(str(path), **({} if own or not atoms else {"top": _any_topology(atoms)}))
    return _kept[key]


def _any_topology(atoms: int) -> Any:
    """So many atoms of no kind: coordinates need no more."""
    import mdtraj

    made = mdtraj.Topology()
    residue = made.add_residue("UNK", made.add_chain())
    for _ in range(atoms):
        made.add_atom("X", mdtraj.element.virtual, residue)
    return made


def header(path: Path, atoms: int, folder: str | None) -> tuple[Header, Path]:
    """What a file holds, and where it is.

    Args:
        atoms: of the topology, as some formats do not say it.
        folder: for the whole frames of a file that is cut short; without it, such a file is refused.
    """
    name, left_out = path.suffix.lower(), ""
    whole, promised = _models(path) if name == ".pdb" else _gro_frames(path) if name == ".gro" else (1, 1)
    if whole < promised or (name == ".pdb" and promised > 1 and not _ends(path)):
        left_out = cut(path, whole, promised, folder is not None)
        if not whole or folder is None:
            raise Refused(f"{path} holds no whole frames")
        path = _shortened(path, whole, Path(folder))
    found = _load(path, atoms)
    times = np.asarray(found.time, float)
    counted = np.array_equal(times, np.arange(found.n_frames))  # what mdtraj makes up where a file has no times
    clock, unit = None if counted or name == GSD else times, None if name == GSD else "nm"
    return Header(found.n_frames, found.n_atoms, clock, kind="whole", left_out=left_out, length_unit=unit), path


def _ends(path: Path) -> bool:
    """Whether the last line does: with a line break, or with a word that ends a model."""
    with open(path, "rb") as handle:
        handle.seek(max(0, path.stat().st_size - 81))
        end = handle.read()
    return end.endswith(b"\n") or end.split()[-1] in (b"END", b"ENDMDL")


def _models(path: Path) -> tuple[int, int]:
    """Models that end, and models that begin; 1 and 1 where there are none."""
    begun = ended = 0
    with open(path, "rb") as handle:
        for line in handle:
            begun += line.startswith(b"MODEL ")
            ended += line.startswith(b"ENDMDL")
    return (ended, begun) if begun > 1 else (1, 1)


def _gro_frames(path: Path) -> tuple[int, int]:
    """Whole frames, and frames that begin: a title, a number of atoms, so many lines, and the box."""
    whole = 0
    with open(path, "rb") as handle:
        while title := handle.readline():
            count = handle.readline().strip()
            if not count.isdigit():
                if title.strip() and whole:
                    return whole, whole + 1
                break  # blank lines at the end, or what the parser refuses
            lines = sum(1 for _ in itertools.islice(handle, int(count)))
            box = handle.readline()
            words = box.split()
            whole_line = box.endswith(b"\n") or len({len(word.partition(b".")[2]) for word in words}) == 1
            if lines < int(count) or len(words) not in (3, 9) or not whole_line:
                return whole, whole + 1
            whole += 1
    return max(whole, 1), max(whole, 1)


def _shortened(path: Path, frames: int, folder: Path) -> Path:
    """The first frames of a text file, as another one."""
    made, done = folder / path.name, 0
    with open(path, "rb") as handle, open(made, "wb") as out:
        if path.suffix.lower() == ".pdb":
            for line in handle:
                out.write(line)
                done += line.startswith(b"ENDMDL")
                if done == frames:
                    break
        else:
            for _ in range(frames):
                out.write(handle.readline())
                out.write(count := handle.readline())
                out.writelines(itertools.islice(handle, int(count) + 1))
    return made


def blocks(
    path: str, frames: range, count: int, atoms: np.ndarray, every: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """``count`` frames at a time: (n, len(atoms), 3) nm, and cells (n, 3, 3) nm."""
    found = _load(Path(path), every)
    cells = found.unitcell_vectors
    for at in range(0, len(frames), count):
        part = frames[at : at + count]
        chosen = slice(part.start, part.stop, part.step)
        yield found.xyz[chosen][:, atoms], None if cells is None else cells[chosen]
