"""The program that parses trajectory files: a process of its own, because a damaged file can crash a parser.

It reads requests, JSON objects, from the connection whose number is its argument, and answers each with blocks of
frames, or with what an HDF5 file holds. A block is a JSON object that states the shapes, then the bytes of each array.
Nothing but numpy, mdtraj, h5py and the files beside this one is imported here: this file is run by its path.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {".xtc": "xtc", ".trr": "trr", ".dcd": "dcd", ".nc": "netcdf", ".ncdf": "netcdf", ".netcdf": "netcdf"}
KINDS |= {".h5": "hdf5", ".hdf5": "hdf5", ".h5md": "hdf5"}  # of mdtraj, or H5MD: their content says which
ENDINGS = {"xtc": ".xtc", "trr": ".trr", "dcd": ".dcd", "netcdf": ".nc"}  # by which mdtraj knows its parsers
CHUNK_BYTES = 32 << 20
MEMORY = 16 << 30  # bytes of address space; a damaged header may ask for more than there is

# (n, A, 3) nm or, of forces and HDF5, in the unit of the file; cell vectors as rows (n, 3, 3) in the same unit
Block = tuple[np.ndarray, np.ndarray | None]


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


def blocks(request: dict[str, Any]) -> Iterator[Block]:
    """Frames first, first + stride, ... below last of one file: its positions, or its forces."""
    path, kind, first, last, stride = (request[k] for k in ("path", "kind", "first", "last", "stride"))
    size, atoms = max(1, CHUNK_BYTES // (12 * request["all_atoms"])), np.asarray(request["atoms"], int)
    frames = range(first, last, stride)
    if kind in ("hdf5", "h5md"):
        from cgsurrogate.data.formats import hdf5_files

        yield from hdf5_files.blocks(path, kind, request["content"], frames, size, atoms)
        return
    if request["content"] == "forces":
        read = {"trr": _trr_forces, "netcdf": _netcdf_forces}[kind]
        yield from ((each, None) for each in read(path, frames, size, atoms))
        return
    offset = 0
    for xyz, cell in _sequence(kind, path, first, last, size, atoms):
        chosen = slice((-offset) % stride, None, stride)
        offset += len(xyz)
        if len(xyz[chosen]):
            yield xyz[chosen], None if cell is None else cell[chosen]


def _trr_forces(path: str, frames: range, size: int, atoms: np.ndarray) -> Iterator[np.ndarray]:
    """The blocks of forces are plain numbers; nothing else of the file is read."""
    from cgsurrogate.data.formats.headers import trr_forces

    places, numbers = trr_forces(Path(path))
    with open(path, "rb") as handle:
        _, count = struct.unpack(">ii", handle.read(8))
        handle.seek((count + 3) // 4 * 4 + 40, os.SEEK_CUR)
        (every,) = struct.unpack(">i", handle.read(4))
        for at in range(0, len(frames), size):
            part = frames[at : at + size]
            made = np.empty((len(part), len(atoms), 3), np.float32)
            for row, frame in zip(made, part, strict=True):
                handle.seek(int(places[frame]))
                row[:] = np.fromfile(handle, numbers, 3 * every).reshape(every, 3)[atoms]
            yield made


def _netcdf_forces(path: str, frames: range, size: int, atoms: np.ndarray) -> Iterator[np.ndarray]:
    from mdtraj.formats import NetCDFTrajectoryFile

    with NetCDFTrajectoryFile(path) as file:
        held = file._handle.variables["forces"]
        plain = not hasattr(held, "set_auto_scale")  # netCDF4 scales on its own, scipy does not
        scale = float(getattr(held, "scale_factor", 1.0)) if plain else 1.0
        for at in range(0, len(frames), size):
            part = frames[at : at + size]
            yield np.asarray(held[part.start : part.stop : part.step][:, atoms], np.float32) * np.float32(scale)


def _sequence(kind: str, path: str, first: int, last: int, size: int, atoms: np.ndarray) -> Iterator[Block]:
    from mdtraj.formats.registry import FormatRegistry

    with FormatRegistry.fileobjects[ENDINGS[kind]](path) as handle:
        if first:
            handle.seek(first)
        done = first
        while done < last:
            xyz, cell = _block(kind, handle, min(size, last - done), atoms)
            if not len(xyz):
                raise ValueError(f"it ends after {done} of {last} frames")
            done += len(xyz)
            yield xyz, cell


def _description(path: str) -> bytes:
    """What an HDF5 file holds, as JSON."""
    from cgsurrogate.data.formats import hdf5_files

    found = hdf5_files.describe(path)
    return json.dumps({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()}).encode()


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
            if request["content"] == "description":
                pipe.send_bytes(_description(request["path"]))
            for xyz, cell in blocks(request) if request["content"] != "description" else ():
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
