"""The program that parses trajectory files: a process of its own, because a damaged file can crash a parser.

It reads requests, a JSON object a line, from its standard input and answers each with blocks of frames on its standard
output. A block is a line of JSON that states the shapes, then the bytes of the arrays. Nothing but numpy, mdtraj and
h5py is imported here: this file is run by its path.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

KINDS = {".xtc": "xtc", ".trr": "trr", ".dcd": "dcd", ".nc": "netcdf", ".ncdf": "netcdf", ".netcdf": "netcdf"}
KINDS |= {".h5": "hdf5", ".hdf5": "hdf5"}
CHUNK_BYTES = 32 << 20
MEMORY = 16 << 30  # bytes of address space; a damaged header may ask for more than there is

Block = tuple[np.ndarray, np.ndarray | None]  # (n, A, 3) nm; cell vectors as rows (n, 3, 3) nm


def _open(kind: str, path: str) -> Any:
    from mdtraj import formats

    return {
        "xtc": formats.XTCTrajectoryFile,
        "trr": formats.TRRTrajectoryFile,
        "dcd": formats.DCDTrajectoryFile,
        "netcdf": formats.NetCDFTrajectoryFile,
    }[kind](path)


def _block(kind: str, handle: Any, count: int, atoms: np.ndarray) -> Block:
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    if kind in ("xtc", "trr"):
        read = handle.read(count)
        return read[0][:, atoms], read[3]
    if kind == "dcd":
        xyz, lengths, angles = handle.read(count)
    else:
        xyz, _, lengths, angles = handle.read(count)
    xyz = np.asarray(xyz)[:, atoms] / 10  # Angstrom
    if lengths is None or not np.asarray(lengths).all():
        return xyz, None
    return xyz, np.stack(lengths_and_angles_to_box_vectors(*np.asarray(lengths).T / 10, *np.asarray(angles).T), axis=1)


def _hdf5(path: str, first: int, last: int, count: int, atoms: np.ndarray) -> Iterator[Block]:
    """The HDF5 of mdtraj through h5py alone: no pickled attribute is read and no link to another file followed."""
    import h5py
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    with h5py.File(path, "r") as file:
        data = {}
        for name in ("coordinates", "cell_lengths", "cell_angles"):
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                continue
            data[name] = file[name]
            if not isinstance(data[name], h5py.Dataset) or data[name].external or data[name].is_virtual:
                raise ValueError(f"its {name} lie in another file, which is not read")
        if "coordinates" not in data:
            raise ValueError("it holds no data set 'coordinates'; is it a trajectory?")
        for start in range(first, last, count):
            part = slice(start, min(start + count, last))
            cell = None
            if {"cell_lengths", "cell_angles"} <= data.keys():
                sides = np.asarray(data["cell_lengths"][part], float).T, np.asarray(data["cell_angles"][part], float).T
                cell = np.stack(lengths_and_angles_to_box_vectors(*sides[0], *sides[1]), axis=1)
            yield np.asarray(data["coordinates"][part], np.float32)[:, atoms], cell


def blocks(request: dict[str, Any]) -> Iterator[Block]:
    """Frames first, first + stride, ... below last of one file."""
    kind, first, last, stride = (request[k] for k in ("kind", "first", "last", "stride"))
    atoms = np.asarray(request["atoms"], int)
    size = max(1, CHUNK_BYTES // (12 * request["all_atoms"]))
    if kind == "hdf5":
        made = _hdf5(request["path"], first, last, size, atoms)
    else:
        made = _sequence(kind, request["path"], first, last, size, atoms)
    offset = 0
    for xyz, cell in made:
        chosen = slice((-offset) % stride, None, stride)
        offset += len(xyz)
        if len(xyz[chosen]):
            yield xyz[chosen], None if cell is None else cell[chosen]


def _sequence(kind: str, path: str, first: int, last: int, size: int, atoms: np.ndarray) -> Iterator[Block]:
    with _open(kind, path) as handle:
        if first:
            handle.seek(first)
        done = first
        while done < last:
            xyz, cell = _block(kind, handle, min(size, last - done), atoms)
            if not len(xyz):
                raise ValueError(f"it ends after {done} of {last} frames")
            done += len(xyz)
            yield xyz, cell


def main() -> None:
    import resource

    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not mix with the answers
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system can limit it
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    for line in sys.stdin:
        try:
            for xyz, cell in blocks(json.loads(line)):
                xyz = np.ascontiguousarray(xyz, np.float32)
                cell = None if cell is None else np.ascontiguousarray(cell, np.float64)
                header = {"frames": len(xyz), "atoms": xyz.shape[1], "cell": cell is not None}
                out.write(json.dumps(header).encode() + b"\n")
                out.write(xyz.tobytes() + (b"" if cell is None else cell.tobytes()))
            out.write(b'{"end": true}\n')
        except Exception as error:  # every fault of a parser becomes one line in the parent
            text = (str(error).strip().splitlines() or [""])[0] or type(error).__name__
            out.write(json.dumps({"error": text[:300]}).encode() + b"\n")
        out.flush()


if __name__ == "__main__":
    main()
