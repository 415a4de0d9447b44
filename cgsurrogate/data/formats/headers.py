"""How many frames and atoms a trajectory file holds, and when: from its headers alone, in plain Python.

The sizes that the headers state must add up to the size of the file, so that a file cut short is noticed; most parsers
read it without a word. Its whole frames can be had where that is wished (``recover``). Headers are read by the process
that parses; only the first bytes of a file are looked at elsewhere.
"""

from __future__ import annotations

import dataclasses
import math
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


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
        left_out: in words, which frames of a damaged file are left out; empty where none is.
    """

    frames: int
    atoms: int
    times: np.ndarray | None = None
    kind: str = ""
    positions: bool = True
    forces: np.ndarray | None = None
    length_unit: str | None = "nm"
    force_unit: str | None = None
    left_out: str = ""


class Refused(ValueError):
    """What is wrong with a file in one whole line, which names the file."""


MAGIC = {
    b"\x89HDF": "hdf5",
    b"CDF\x01": "netcdf",
    b"CDF\x02": "netcdf",
    b"CDF\x05": "netcdf",
    struct.pack(">i", 1993): "trr",
    struct.pack(">i", 1995): "xtc",
    struct.pack(">i", 2023): "xtc",
}


HEAD, WINDOW = 256, 1 << 14  # bytes: the begin of a frame, with all that is looked at; what is read at a time
XTC_FIRST = struct.Struct(">ii4xf")  # its number, atoms, step, ps; 36 bytes of the box follow
XTC_REST = {  # atoms, precision, ranges, bytes of the packed coordinates
    number: struct.Struct(f">if28x{size}") for number, size in ((1995, "i"), (2023, "q"))
}


def by_content(path: Path) -> str | None:
    """The kind of a file whose name does not say it, such as Amber's ``mdcrd``; None for others."""
    with open(path, "rb") as handle:
        start = handle.read(8)
    if start[4:] == b"CORD":
        return "dcd"
    return "lammps" if start.startswith(b"ITEM:") else MAGIC.get(start[:4])


def header(path: Path, kind: str, recover: bool = False) -> Header:
    """Scan a file.

    Args:
        recover: take the whole frames of a file that is cut short, and say in ``left_out`` what is missing.

    Raises:
        Refused: the file is not of its kind, is cut short, or changes its number of atoms.
    """
    scan = {"xtc": _xtc, "trr": _trr, "dcd": _dcd}[kind]
    found = scan(path, recover)
    if not found.frames:
        raise Refused(f"{path} holds no {'whole ' if found.left_out else ''}frames")
    return dataclasses.replace(found, kind=kind)


def cut(path: Path, frames: int, promised: int | None, recover: bool) -> str:
    """What is left out of a file with so many whole frames of those that were promised.

    Raises:
        Refused: it is not to be recovered.
    """
    if recover:
        lost = "the rest" if promised is None else f"{promised - frames:,} of {promised:,} frames"
        return f"{path.name}: {lost} left out, it is cut short or damaged after {frames:,} whole frames"
    if not frames:
        raise Refused(f"{path} is cut short or damaged before its first frame ends; copy it again")
    stated = "" if promised is None or promised <= frames + 1 else f" of the {promised} that it promises"
    raise Refused(
        f"{path} is cut short or damaged after {frames} whole frames{stated}; copy it again, or use these frames with "
        "--recover"
    )


def _numbers(handle: Any, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, handle.read(struct.calcsize(layout)))


def _xtc(path: Path, recover: bool) -> Header:
    found = list[float]()
    held = _scan(path, "an XTC", _xtc_frame, found, recover)
    precisions = set(found[: held.frames])
    odd = [one for one in precisions if not 1 <= one < 1e9 or 10 ** round(math.log10(one)) != one]
    if odd and len(precisions) > 1:  # files of several precisions, joined, have powers of ten
        frame = found.index(odd[0]) if len(odd) == 1 else 0
        raise Refused(f"{path} has a precision of {found[frame]:g} in frame {frame}, others differ; is it damaged?")
    return held


def _trr(path: Path, recover: bool) -> Header:
    places = list[tuple[int, int, int]]()
    found = _scan(path, "a TRR", _trr_frame, places, recover)
    positions, forces, _ = np.array(places[: found.frames]).reshape(-1, 3).T
    if positions.any() and not positions.all():
        bare = int(np.flatnonzero(positions == 0)[0])
        raise Refused(f"{path} has no positions in frame {bare}; write positions with every frame")
    return dataclasses.replace(
        found, positions=bool(positions.any()), forces=forces > 0 if forces.any() else None, force_unit="kJ/mol/nm"
    )


def trr_forces(path: Path) -> tuple[np.ndarray, str]:
    """Where in a TRR file the forces of each frame begin, 0 where it has none; and the type of their numbers."""
    places = list[tuple[int, int, int]]()
    _scan(path, "a TRR", _trr_frame, places, recover=True)  # refused before, if at all
    return np.array(places)[:, 1], f">f{places[0][2]}"


def _scan(
    path: Path, kind: str, frame: Callable[..., tuple[int, float, int]], notes: list[Any], recover: bool
) -> Header:
    """Frame by frame: ``frame`` takes bytes, where it begins in them and in the file; its atoms, ps, the next place."""
    size, place, begin, atoms, left_out = path.stat().st_size, 0, 0, -1, ""
    times: list[float] = []
    window, first = b"", 0  # bytes of the file, from this place on; a map of all of it may not fit
    with open(path, "rb", buffering=0) as file:
        while place < size:
            begin = place
            if place + HEAD > first + len(window):
                window, first = os.pread(file.fileno(), WINDOW, place), place
            try:
                count, time, place = frame(notes, window, place - first, place)
                if place > size or count < 0:
                    raise struct.error
            except struct.error:
                if not times and len(window) >= 4 and MAGIC.get(window[:4], "").upper() != kind.split()[-1]:
                    raise Refused(f"{path} is not {kind} file") from None
                each = begin / len(times) if times else size
                left_out = cut(path, len(times), len(times) + max(1, round((size - begin) / each)), recover)
                break
            if atoms not in (-1, count):
                raise Refused(
                    f"{path} has {atoms} atoms in its first frame and {count} in frame {len(times)}; is it damaged?"
                )
            atoms = count
            times.append(time)
    return Header(len(times), atoms, np.array(times, float), left_out=left_out)


def _xtc_frame(found: list[float], data: bytes, at: int, place: int) -> tuple[int, float, int]:
    """Notes the precision: by how much the coordinates were multiplied to be whole numbers."""
    magic, count, time = XTC_FIRST.unpack_from(data, at)
    if magic not in XTC_REST:
        raise struct.error
    if count <= 9:
        return count, time, place + 56 + 12 * count
    layout = XTC_REST[magic]
    again, precision, packed = layout.unpack_from(data, at + 52)
    if again != count or packed <= 0:
        raise struct.error
    found.append(precision)
    return count, time, place + 52 + layout.size + (packed + 3) // 4 * 4


def _trr_frame(found: list[tuple[int, int, int]], data: bytes, at: int, place: int) -> tuple[int, float, int]:
    """Notes where the positions and the forces begin (0: there are none), and bytes a number."""
    magic, _, text = struct.unpack_from(">3i", data, at)
    if magic != 1993 or not 0 < text < 100:
        raise struct.error
    after = 12 + (text + 3) // 4 * 4
    *blocks, count, _, _ = struct.unpack_from(">13i", data, at + after)
    real = blocks[2] // 9 or (max(blocks[7:]) // (3 * count) if count else 4)
    if real not in (4, 8) or min(blocks) < 0 or any(size not in (0, 3 * count * real) for size in blocks[7:]):
        raise struct.error
    time, _ = struct.unpack_from(">2f" if real == 4 else ">2d", data, at + after + 52)
    begin = place + after + 52 + 2 * real
    positions, forces = (begin + sum(blocks[:k]) if blocks[k] else 0 for k in (7, 9))
    found.append((positions, forces, real))
    return count, time, begin + sum(blocks)


@dataclasses.dataclass(frozen=True)
class DCD:
    """The header of a DCD file: byte order, atoms, frames it promises, where the first begins, bytes of each, a box."""

    order: str
    atoms: int
    promised: int
    begin: int
    frame: int
    box: bool


def dcd_layout(path: Path) -> DCD:
    """Where what is in a DCD file.

    Raises:
        Refused: it is none, or a kind that is not read.
    """
    try:
        with open(path, "rb") as handle:
            start = handle.read(8)
            order = next((o for o in "<>" if start[4:] == b"CORD" and struct.unpack(o + "i", start[:4])[0] == 84), None)
            if order is None:
                raise Refused(f"{path} is not a DCD file with 32-bit records")
            icntrl = _numbers(handle, f"{order}20i")
            handle.seek(92)
            (title,) = _numbers(handle, f"{order}i")
            handle.seek(92 + title + 8)
            length, atoms, _ = _numbers(handle, f"{order}iii")
            begin = handle.tell()
    except (struct.error, OSError):
        raise Refused(f"{path} is cut short inside its DCD header; copy it again") from None
    if length != 4 or atoms <= 0:
        raise Refused(f"{path} has a damaged DCD header; copy it again")
    charmm, stated, fixed = icntrl[19] != 0, icntrl[0], icntrl[8]
    if fixed:
        raise Refused(f"{path} has fixed atoms, which are not supported; write it again with all atoms")
    box = charmm and icntrl[10] != 0
    frame = (56 if box else 0) + (4 if charmm and icntrl[11] else 3) * (4 * atoms + 8)
    return DCD(order, atoms, stated, begin, frame, box)


def _dcd(path: Path, recover: bool) -> Header:
    held, size = dcd_layout(path), path.stat().st_size
    frames, rest = divmod(size - held.begin, held.frame)
    missing = rest or (held.promised > 0 and frames < held.promised)
    left_out = cut(path, frames, max(held.promised, frames + bool(rest)), recover) if missing else ""
    return Header(frames, held.atoms, left_out=left_out)
