"""The program that parses trajectory files: a process of its own, because a damaged file can crash a parser.

It reads requests, JSON objects, from the connection whose number is its argument, and answers each with blocks of
frames. A block is a JSON object that states the shapes, then the bytes of each array. Nothing but numpy, mdtraj and
h5py is imported here: this file is run by its path.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {".xtc": "xtc", ".trr": "trr", ".dcd": "dcd", ".nc": "netcdf", ".ncdf": "netcdf", ".netcdf": "netcdf"}
KINDS |= {".h5": "hdf5", ".hdf5": "hdf5"}
CHUNK_BYTES = 32 << 20
MEMORY = 16 << 30  # bytes of address space; a damaged header may ask for more than there is

Block = tuple[np.ndarray, np.ndarray | None]  # (n, A, 3) nm; cell vectors as rows (n, 3, 3) nm


def _block(kind: str, handle: Any, count: int, atoms: np.ndarray) -> Block:
    read = handle.read(count)
    if kind in ("xtc", "trr"):
        return read[0][:, atoms], read[3]
    sides, angles = read[-2:]
    whole = sides is not None and np.asarray(sides).all()
    return np.asarray(read[0])[:, atoms] / 10, _cell(np.asarray(sides) / 10, angles) if whole else None  # Angstrom


def _cell(sides: Any, angles: Any) -> np.ndarray:
    """(n, 3) nm and (n, 3) degrees -> (n, 3, 3) nm."""
    from mdtraj.utils.unitcell import lengths_and_angles_to_box_vectors

    return np.stack(
        lengths_and_angles_to_box_vectors(*np.asarray(sides, float).T, *np.asarray(angles, float).T), axis=1
    )


def _hdf5(path: str, first: int, last: int, count: int, atoms: np.ndarray) -> Iterator[Block]:
    """The HDF5 of mdtraj through h5py alone: no pickled attribute is read and no link to another file followed."""
    import h5py

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
            periodic = {"cell_lengths", "cell_angles"} <= data.keys()
            cell = _cell(data["cell_lengths"][part], data["cell_angles"][part]) if periodic else None
            yield np.asarray(data["coordinates"][part], np.float32)[:, atoms], cell


def blocks(request: dict[str, Any]) -> Iterator[Block]:
    """Frames first, first + stride, ... below last of one file."""
    path, kind, first, last, stride = (request[k] for k in ("path", "kind", "first", "last", "stride"))
    what = first, last, max(1, CHUNK_BYTES // (12 * request["all_atoms"])), np.asarray(request["atoms"], int)
    made = _hdf5(path, *what) if kind == "hdf5" else _sequence(kind, path, *what)
    offset = 0
    for xyz, cell in made:
        chosen = slice((-offset) % stride, None, stride)
        offset += len(xyz)
        if len(xyz[chosen]):
            yield xyz[chosen], None if cell is None else cell[chosen]


def _sequence(kind: str, path: str, first: int, last: int, size: int, atoms: np.ndarray) -> Iterator[Block]:
    from mdtraj.formats.registry import FormatRegistry

    with FormatRegistry.fileobjects[Path(path).suffix.lower()](path) as handle:
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

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system can limit it
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    pipe = Connection(int(sys.argv[1]))
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except EOFError:
            return
        try:
            for xyz, cell in blocks(request):
                answer = {"frames": len(xyz), "atoms": xyz.shape[1], "cell": cell is not None}
                pipe.send_bytes(json.dumps(answer).encode())
                pipe.send_bytes(np.ascontiguousarray(xyz, np.float32).data)
                if cell is not None:
                    pipe.send_bytes(np.ascontiguousarray(cell, np.float64).data)
            pipe.send_bytes(b'{"end": true}')
        except Exception as error:  # every fault of a parser becomes one line in the parent
            text = (str(error).strip().splitlines() or [type(error).__name__])[0]
            pipe.send_bytes(json.dumps({"error": text[:300]}).encode())


if __name__ == "__main__":
    main()
