"""How many frames and atoms a trajectory file holds, and when: from its headers alone, in plain Python.

The sizes that the headers state must add up to the size of the file, so that a file cut short is noticed; most parsers
read it without a word. What cannot be counted here (Amber NetCDF, HDF5) is counted by its parser.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cgsurrogate.core.filesystem import first_line


@dataclasses.dataclass(frozen=True)
class Header:
    """What a file holds.

    Attributes:
        kind: the format, as its parser knows it.
        times: (frames,) ps, or None where the format states none that can be trusted.
        positions: whether there are any.
        forces: (frames,) which frames have forces; None where none has.
        length_unit: of positions; None where the file does not say it.
        force_unit: of forces; None where the file does not say it.
    """

    frames: int
    atoms: int
    times: np.ndarray | None = None
    kind: str = ""
    positions: bool = True
    forces: np.ndarray | None = None
    length_unit: str | None = "nm"
    force_unit: str | None = None


MAGIC = {
    b"CDF\x01": "netcdf",
    b"CDF\x02": "netcdf",
    b"CDF\x05": "netcdf",
    struct.pack(">i", 1993): "trr",
    struct.pack(">i", 1995): "xtc",
    struct.pack(">i", 2023): "xtc",
}


def by_content(path: Path) -> str | None:
    """The kind of a binary file whose name does not say it, such as Amber's ``mdcrd``; None for others."""
    with open(path, "rb") as handle:
        return MAGIC.get(handle.read(4))


def header(path: Path, kind: str) -> Header:
    """Scan a file.

    Raises:
        ValueError: the file is not of its kind, is cut short, or changes its number of atoms.
    """
    scan = {"xtc": _xtc, "trr": _trr, "dcd": _dcd, "netcdf": _netcdf}[kind]
    try:
        found = scan(path)
    except (struct.error, OSError, KeyError, EOFError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(
            f"{path} cannot be read as {kind.upper()} ({first_line(error)}); is the file damaged?"
        ) from None
    if not found.frames:
        raise ValueError(f"{path} holds no frames")
    return dataclasses.replace(found, kind=kind)


def _cut(path: Path, frames: int) -> ValueError:
    return ValueError(f"{path} is cut short or damaged after {frames} whole frames; copy it again or leave it out")


def _numbers(handle: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, handle.read(struct.calcsize(layout)))


def _xtc(path: Path) -> Header:
    return _scan(path, "an XTC", (1995, 2023), _xtc_frame)


def _trr(path: Path) -> Header:
    places = list[tuple[int, int, int]]()
    found = _scan(path, "a TRR", (1993,), functools.partial(_trr_frame, places))
    positions, forces, _ = np.array(places).T
    if positions.any() and not positions.all():
        bare = int(np.flatnonzero(positions == 0)[0])
        raise ValueError(f"{path} has no positions in frame {bare}; write positions with every frame")
    return dataclasses.replace(
        found, positions=bool(positions.any()), forces=forces > 0 if forces.any() else None, force_unit="kJ/mol/nm"
    )


def trr_forces(path: Path) -> tuple[np.ndarray, str]:
    """Where in a TRR file the forces of each frame begin, 0 where it has none; and the type of their numbers."""
    places = list[tuple[int, int, int]]()
    _scan(path, "a TRR", (1993,), functools.partial(_trr_frame, places))
    return np.array(places)[:, 1], f">f{places[0][2]}"


def _scan(path: Path, kind: str, known: tuple[int, ...], frame: Callable[..., tuple[int, float, int]]) -> Header:
    """Frame by frame: after its number of the format ``frame`` reads the atoms, ps, and the place of the next one."""
    size, place, atoms = path.stat().st_size, 0, -1
    times: list[float] = []
    with open(path, "rb") as handle:
        while place < size:
            handle.seek(place)
            try:
                (magic,) = _numbers(handle, ">i")
                if magic not in known:
                    raise struct.error if times else ValueError(f"{path} is not {kind} file")
                count, time, place = frame(handle, magic)
            except struct.error:
                raise _cut(path, len(times)) from None
            if atoms not in (-1, count):
                raise ValueError(
                    f"{path} has {atoms} atoms in its first frame and {count} in frame {len(times)}; is it damaged?"
                )
            if place > size:
                raise _cut(path, len(times))
            atoms = count
            times.append(time)
    return Header(len(times), atoms, np.array(times, float))


def _xtc_frame(handle: BinaryIO, magic: int) -> tuple[int, float, int]:
    count, _, time = _numbers(handle, ">iif")
    if count <= 9:
        return count, time, handle.tell() + 40 + 12 * count
    handle.seek(72, os.SEEK_CUR)
    (packed,) = _numbers(handle, ">q" if magic == 2023 else ">i")
    if packed <= 0:
        raise struct.error
    return count, time, handle.tell() + (packed + 3) // 4 * 4


def _trr_frame(found: list[tuple[int, int, int]], handle: BinaryIO, _magic: int) -> tuple[int, float, int]:
    """Notes where the positions and the forces begin (0: there are none), and bytes a number."""
    _, text = _numbers(handle, ">ii")
    if not 0 < text < 100:
        raise struct.error
    handle.seek((text + 3) // 4 * 4, os.SEEK_CUR)
    *blocks, count, _, _ = _numbers(handle, ">13i")
    real = blocks[2] // 9 or (max(blocks[7:]) // (3 * count) if count else 4)
    if real not in (4, 8) or min(blocks) < 0 or any(size not in (0, 3 * count * real) for size in blocks[7:]):
        raise struct.error
    time, _ = _numbers(handle, ">2f" if real == 4 else ">2d")
    begin = handle.tell()
    positions, forces = (begin + sum(blocks[:at]) if blocks[at] else 0 for at in (7, 9))
    found.append((positions, forces, real))
    return count, time, begin + sum(blocks)


def _dcd(path: Path) -> Header:
    size = path.stat().st_size
    with open(path, "rb") as handle:
        start = handle.read(8)
        order = next((o for o in "<>" if start[4:] == b"CORD" and struct.unpack(o + "i", start[:4])[0] == 84), None)
        if order is None:
            raise ValueError(f"{path} is not a DCD file with 32-bit records")
        icntrl = _numbers(handle, f"{order}20i")
        handle.seek(92)
        (title,) = _numbers(handle, f"{order}i")
        handle.seek(92 + title + 8)
        length, atoms, _ = _numbers(handle, f"{order}iii")
        begin = handle.tell()
    if length != 4 or atoms <= 0:
        raise ValueError(f"{path} has a damaged DCD header")
    charmm, stated, fixed = icntrl[19] != 0, icntrl[0], icntrl[8]
    if fixed:
        raise ValueError(f"{path} has fixed atoms, which are not supported; write it again with all atoms")
    frame = (56 if charmm and icntrl[10] else 0) + (4 if charmm and icntrl[11] else 3) * (4 * atoms + 8)
    frames, rest = divmod(size - begin, frame)
    if rest:
        raise _cut(path, frames)
    if stated > 0 and frames < stated:
        raise ValueError(f"{path} is cut short: its header says {stated} frames, it holds {frames}; copy it again")
    return Header(frames, atoms)


def _netcdf(path: Path) -> Header:
    from mdtraj.formats import NetCDFTrajectoryFile

    with open(path, "rb") as handle:
        magic = handle.read(4)
    if magic[:3] != b"CDF" and magic != b"\x89HDF":
        raise ValueError(f"{path} is not a NetCDF file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that netCDF4 would be faster
            file = NetCDFTrajectoryFile(str(path))
        with file:
            held, atoms = file._handle.variables, int(file.n_atoms)
            frames = int(held["coordinates" if "coordinates" in held else "forces"].shape[0])
            needed = frames * sum(_record(v) for v in held.values() if v.dimensions[:1] == ("frame",))
            times = np.array(held["time"][:], float) if "time" in held else None
            forces = np.ones(frames, bool) if "forces" in held else None
            unit = _text(held["forces"]) if "forces" in held else None
            positions = "coordinates" in held
    except Exception as error:  # netCDF4 and scipy raise whatever they meet in a damaged file
        raise ValueError(f"{path} cannot be read as NetCDF ({first_line(error)}); is the file damaged?") from None
    if magic[:3] == b"CDF" and path.stat().st_size < needed:
        raise _cut(path, path.stat().st_size * frames // needed - 1)
    return Header(frames, atoms, times, positions=positions, forces=forces, force_unit=unit)


def _text(variable: Any) -> str | None:
    """The attribute ``units`` of a NetCDF variable."""
    value = getattr(variable, "units", None)
    return value.decode(errors="replace") if isinstance(value, bytes) else None if value is None else str(value)


def _record(variable: Any) -> int:
    """Bytes of one frame of a NetCDF variable, of scipy's or netCDF4's kind."""
    kind = variable.dtype if hasattr(variable, "dtype") else variable.data.dtype
    return int(np.prod(variable.shape[1:], dtype=int) * np.dtype(kind).itemsize)
