"""The program that parses files: a process of its own, because a damaged file can crash a parser or fill the memory.

It reads requests, JSON objects, from the connection whose number is its argument, and answers each with blocks of
frames, or with what a file holds. An answer is a JSON object that states the shapes, then the bytes of each array.
Nothing but numpy, mdtraj, h5py, MDAnalysis where it is needed, and the files beside this one is imported here: this
file is run by its path.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import struct
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

KINDS = {".xtc": "xtc", ".trr": "trr", ".dcd": "dcd", ".nc": "netcdf", ".ncdf": "netcdf", ".netcdf": "netcdf"}
KINDS |= {".h5": "hdf5", ".hdf5": "hdf5", ".h5md": "hdf5"}  # of mdtraj, or H5MD: their content says which
KINDS |= {".lammpstrj": "lammps", ".lammpsdump": "lammps", ".dump": "lammps"}
ENDINGS = {"xtc": ".xtc", "trr": ".trr"}  # by which mdtraj knows its parsers
CHUNK_BYTES = 1 << 20  # small, so that one piece is mapped while the next one is parsed
MEMORY = 16 << 30  # bytes of address space; a damaged header may ask for more than there is

LOOK = 0.5  # s between looks at whether the process that asks is still there
END = b'{"end": true}'  # of an answer

# (n, A, 3) nm or, of forces and some formats, in the unit of the file; cell vectors as rows (n, 3, 3) in the same unit
Block = tuple[np.ndarray, np.ndarray | None]


def _block(handle: Any, count: int, atoms: np.ndarray) -> Block:
    read = handle.read(count)
    xyz = np.asarray(read[0])
    chosen = xyz if len(atoms) == xyz.shape[1] and np.array_equal(atoms, np.arange(len(atoms))) else xyz[:, atoms]
    return chosen, read[3]


def blocks(request: dict[str, Any]) -> Iterator[Block]:
    """Frames first, first + stride, ... below last of one file: its positions, or its forces."""
    path, kind, first, last, stride = (request[k] for k in ("path", "kind", "first", "last", "stride"))
    size, atoms = max(1, CHUNK_BYTES // (12 * request["all_atoms"])), np.asarray(request["atoms"], int)
    content, every, frames = request["content"], request["all_atoms"], range(first, last, stride)
    if kind in ("hdf5", "h5md"):
        from cgsurrogate.data.formats import hdf5_files

        yield from hdf5_files.blocks(path, kind, content, frames, size, atoms)
    elif kind == "dcd":
        from cgsurrogate.data.formats import dcd_files

        yield from dcd_files.blocks(path, frames, CHUNK_BYTES, atoms)
    elif kind == "netcdf":
        from cgsurrogate.data.formats import netcdf_files

        yield from netcdf_files.blocks(path, content, frames, size, atoms)
    elif kind == "lammps":
        from cgsurrogate.data.formats import lammps_files

        yield from lammps_files.blocks(path, content, frames, size, atoms)
    elif kind == "mdanalysis":
        from cgsurrogate.data.formats import mdanalysis_files

        yield from mdanalysis_files.blocks(path, content, frames, size, atoms, every)
    elif kind == "whole":
        from cgsurrogate.data.formats import whole_files

        yield from whole_files.blocks(path, frames, size, atoms, every)
    elif content == "forces":
        yield from ((each, None) for each in _trr_forces(path, frames, size, atoms))
    else:
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


def _sequence(kind: str, path: str, first: int, last: int, size: int, atoms: np.ndarray) -> Iterator[Block]:
    from mdtraj.formats.registry import FormatRegistry

    with FormatRegistry.fileobjects[ENDINGS[kind]](path) as handle:
        if first:
            handle.seek(first)
        done = first
        while done < last:
            xyz, cell = _block(handle, min(size, last - done), atoms)
            if not len(xyz):
                raise ValueError(f"it ends after {done} of {last} frames")
            done += len(xyz)
            yield xyz, cell


def header(request: dict[str, Any]) -> dict[str, Any]:
    """What a trajectory holds, the fields of ``Header``; and its ``path``, another one where frames were left out."""
    from cgsurrogate.data.formats import headers, whole_files

    path, kind, recover, atoms = Path(request["path"]), request["kind"], request["recover"], request["all_atoms"]
    with open(path, "rb") as handle:
        hdf5 = handle.read(4) == b"\x89HDF"
    if kind == "hdf5" or (kind == "netcdf" and hdf5):
        from cgsurrogate.data.formats import hdf5_files

        return {"path": str(path), **hdf5_files.describe(str(path))}
    if kind == "netcdf":
        from cgsurrogate.data.formats import netcdf_files

        found = netcdf_files.header(path, recover)
    elif kind == "lammps":
        from cgsurrogate.data.formats import lammps_files

        found = lammps_files.header(path, recover)
    elif kind in ("xtc", "trr", "dcd"):
        found = headers.header(path, kind, recover)
    elif whole_files.is_known(path):
        found, path = whole_files.header(path, atoms, request["folder"])
    else:
        from cgsurrogate.data.formats import mdanalysis_files

        found = mdanalysis_files.header(path, atoms)
    told = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    return {"path": str(path), **told, "kind": found.kind or kind}


def topology(request: dict[str, Any]) -> dict[str, Any]:
    """A topology as text and numbers."""
    from cgsurrogate.data.formats import topologies

    with topologies.many_objects():
        return topologies.packed(topologies.load(Path(request["path"])))


def table(request: dict[str, Any]) -> dict[str, Any]:
    """Columns of a table, ``values`` (T, K), with their ``times`` (T,) in ps or None; without ``names`` its unit."""
    from cgsurrogate.data.formats import colvar, xvg

    path, names = Path(request["path"]), request["names"]
    if not names:
        return {"unit": xvg.unit(path)}
    times, values = (xvg if xvg.is_xvg(path) else colvar).columns(path, names)
    return {"times": times, "values": values}


def unpack(request: dict[str, Any]) -> dict[str, Any]:
    """Write what a compressed file holds to another one."""
    from cgsurrogate.data.formats import compressed

    compressed.unpack(Path(request["path"]), Path(request["made"]), request["most"])
    return {}


def _send_found(pipe: Connection, found: dict[str, Any]) -> None:
    numbers = {name: np.ascontiguousarray(v) for name, v in found.items() if isinstance(v, np.ndarray)}
    shapes = {name: [array.dtype.str, array.shape] for name, array in numbers.items()}
    plain = {name: value for name, value in found.items() if name not in numbers}
    pipe.send_bytes(json.dumps({"found": plain, "arrays": shapes}).encode())
    for array in numbers.values():
        pipe.send_bytes(array.tobytes())


def _send_blocks(pipe: Connection, request: dict[str, Any]) -> None:
    for xyz, cell in blocks(request):
        pipe.send_bytes(json.dumps({"frames": len(xyz), "atoms": xyz.shape[1], "cell": cell is not None}).encode())
        pipe.send_bytes(np.ascontiguousarray(xyz, np.float32).data)
        if cell is not None:
            pipe.send_bytes(np.ascontiguousarray(cell, np.float64).data)


def _limit_memory() -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    limit = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    with contextlib.suppress(ValueError, OSError):  # not every system can limit it
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _end_with(parent: int) -> None:
    """End this process soon after the one that started it, also in the middle of a file."""
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(1)


def main() -> None:
    """Arguments of the program: the number of the connection, and the process that started this one."""
    from cgsurrogate.data.formats.headers import Refused

    _limit_memory()
    number, parent = map(int, sys.argv[1:])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    pipe = Connection(number)
    answers = {"header": header, "topology": topology, "table": table, "unpack": unpack}
    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            os.chdir(request["cwd"])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if request["do"] == "blocks":
                    _send_blocks(pipe, request)
                else:
                    _send_found(pipe, answers[request["do"]](request))
            pipe.send_bytes(END)
        except Refused as error:
            pipe.send_bytes(json.dumps({"line": str(error)}).encode())
        except ImportError as error:
            line = f"{request['path']} needs a package that is not installed: {str(error).strip().splitlines()[0]}"
            pipe.send_bytes(json.dumps({"line": line}).encode())
        except MemoryError:
            pipe.send_bytes(json.dumps({"error": f"it asks for more than {MEMORY >> 30} GB of memory"}).encode())
        except Exception as error:  # every fault of a parser becomes one line in the parent
            text = (str(error).strip().splitlines() or [type(error).__name__])[0].replace(request["path"], "it")
            pipe.send_bytes(json.dumps({"error": text[:300]}).encode())


if __name__ == "__main__":
    main()
