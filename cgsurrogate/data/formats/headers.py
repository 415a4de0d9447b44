"""How many frames and atoms a trajectory file holds, and when: from its headers alone, in plain Python.

The sizes that the headers state must add up to the size of the file, so that a file cut short is noticed; most parsers
read it without a word. Its whole frames can be had where that is wished (``recover``). Headers are read by the process
that parses; only the first bytes of a file are looked at elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import mmap
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
    held = _scan(path, "an XTC", (1995, 2023), functools.partial(_xtc_frame, found), recover)
    precisions = set(found[: held.frames])
    odd = [one for one in precisions if not 1 <= one < 1e9 or 10 ** round(math.log10(one)) != one]
    if odd and len(precisions) > 1:  # files of several precisions, joined, have powers of ten
        frame = found.index(odd[0]) if len(odd) == 1 else 0
        raise Refused(f"{path} has a precision of {found[frame]:g} in frame {frame}, others differ; is it damaged?")
    return held


def _trr(path: Path, recover: bool) -> Header:
    places = list[tuple[int, int, int]]()
    found = _scan(path, "a TRR", (1993,), functools.partial(_trr_frame, places), recover)
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
    _scan(path, "a TRR", (1993,), functools.partial(_trr_frame, places), recover=True)  # refused before, if at all
    return np.array(places)[:, 1], f">f{places[0][2]}"


def _scan(
    path: Path, kind: str, known: tuple[int, ...], frame: Callable[..., tuple[int, float, int]], recover: bool
) -> Header:
    """Frame by frame: after its number of the format ``frame`` reads the atoms, ps, and the place of the next one."""
    size, place, begin, atoms, left_out = path.stat().st_size, 0, 0, -1, ""
    times: list[float] = []
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as handle:
        while place < size:
            handle.seek(place)
            begin = place
            try:
                (magic,) = _numbers(handle, ">i")
                if magic not in known:
                    raise struct.error if times else Refused(f"{path} is not {kind} file")
                count, time, place = frame(handle, magic)
                if place > size or count < 0:
                    raise struct.error
            except Refused:
                raise
            except (struct.error, ValueError):  # the latter: a place beyond the end
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


def _xtc_frame(found: list[float], handle: Any, magic: int) -> tuple[int, float, int]:
    """Notes the precision: by how much the coordinates were multiplied to be whole numbers."""
    count, _, time = _numbers(handle, ">iif")
    if count <= 9:
        return count, time, handle.tell() + 40 + 12 * count
    handle.seek(36, os.SEEK_CUR)
    again, precision = _numbers(handle, ">if")
    if again != count:
        raise struct.error
    found.append(precision)
    handle.seek(28, os.SEEK_CUR)
    (packed,) = _numbers(handle, ">q" if magic == 2023 else ">i")
    if packed <= 0:
        raise struct.error
    return count, time, handle.tell() + (packed + 3) // 4 * 4


def _trr_frame(found: list[tuple[int, int, int]], handle: Any, _magic: int) -> tuple[int, float, int]:
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
