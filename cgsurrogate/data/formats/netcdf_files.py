"""Amber NetCDF in its classic forms (CDF-1, -2 and -5), from the bytes: nothing of the frames is read to count them.

The header lists variables with their type, shape and place; frames follow one another as records of one size. So a file
cut short shows by its size, and its whole frames can be read. NetCDF-4 is HDF5, see ``hdf5_files``.
"""

from __future__ import annotations

import dataclasses
import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cgsurrogate.data.formats import cells
from cgsurrogate.data.formats.headers import Header, Refused, cut

TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}
DIMENSIONS, VARIABLES, ATTRIBUTES = 10, 11, 12
MOST = 10_000  # entries of a list in a header
LONGEST = 1 << 20  # bytes of a name or an attribute
STREAMING = (1 << 32) - 1  # a number of records that was never filled in


@dataclasses.dataclass(frozen=True)
class Variable:
    """One array: ``type`` as numpy writes it, shape of a record or of the whole, where it begins, its attributes."""

    type: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    of_frames: bool
    attributes: dict[str, Any]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.type.itemsize


@dataclasses.dataclass(frozen=True)
class Contents:
    """Variables by name; frames that the header states (None: it states none), and bytes from frame to frame."""

    variables: dict[str, Variable]
    frames: int | None
    every: int

    @property
    def begin(self) -> int:
        """Where the first frame begins."""
        return min((one.begin for one in self.variables.values() if one.of_frames), default=0)


class _Reader:
    """Numbers and names in the way of the header; ``wide``: 64 bits for counts (CDF-5), ``far``: for places."""

    def __init__(self, handle: BinaryIO, version: int):
        self.handle, self.wide, self.far = handle, version == 5, version in (2, 5)

    def numbers(self, layout: str) -> Any:
        return struct.unpack(layout, self.handle.read(struct.calcsize(layout)))

    def word(self) -> int:
        return int(self.numbers(">I")[0])

    def count(self, most: int = MOST) -> int:
        found = int(self.numbers(">q" if self.wide else ">i")[0])
        if not 0 <= found <= most:
            raise ValueError(f"a length of {found} in its header")
        return found

    def place(self) -> int:
        return int(self.numbers(">q" if self.far else ">I")[0])

    def padded(self, size: int) -> bytes:
        found = self.handle.read((size + 3) // 4 * 4)
        if len(found) < size:
            raise EOFError("its header ends early")
        return found[:size]

    def name(self) -> str:
        return self.padded(self.count(LONGEST)).decode(errors="replace")

    def listed(self, tag: int) -> int:
        """How many entries of this kind follow."""
        found, entries = self.word(), self.count()
        if found not in (tag, 0) or (found == 0 and entries):
            raise ValueError(f"a list of kind {found} in its header")
        return entries

    def attributes(self) -> dict[str, Any]:
        found = dict[str, Any]()
        for _ in range(self.listed(ATTRIBUTES)):
            name, kind = self.name(), np.dtype(TYPES[self.word()])
            raw = self.padded(self.count(LONGEST) * kind.itemsize)
            text = kind.kind == "S"
            found[name] = raw.decode(errors="replace").rstrip("\0 ") if text else np.frombuffer(raw, kind)
        return found


def contents(path: str | Path) -> Contents:
    """The header of a file.

    Raises:
        ValueError, KeyError, EOFError, struct.error: it is damaged.
    """
    with open(path, "rb") as handle:
        magic = handle.read(4)
        if magic[:3] != b"CDF" or magic[3] not in (1, 2, 5):
            raise Refused(f"{path} is not a NetCDF file of version 1, 2 or 5")
        read = _Reader(handle, magic[3])
        stated = int(read.numbers(">Q" if read.wide else ">I")[0])
        sizes = []
        for _ in range(read.listed(DIMENSIONS)):
            read.name()
            sizes.append(read.count(1 << 40))
        read.attributes()
        found = dict[str, Variable]()
        for _ in range(read.listed(VARIABLES)):
            name = read.name()
            shape = [sizes[read.count()] for _ in range(read.count())]
            attributes, kind = read.attributes(), np.dtype(TYPES[read.word()])
            read.count(1 << 62)
            of_frames = bool(shape) and shape[0] == 0  # the dimension that grows
            found[name] = Variable(kind, tuple(shape[of_frames:]), read.place(), of_frames, attributes)
    records = [one for one in found.values() if one.of_frames]
    every = sum(one.bytes if len(records) == 1 else (one.bytes + 3) // 4 * 4 for one in records)
    unknown = stated >= STREAMING if not read.wide else stated >= (1 << 63)
    return Contents(found, None if unknown else stated, every)


def header(path: Path, recover: bool = False) -> Header:
    """What a trajectory of Amber's convention holds."""
    held = contents(path)
    moving = {name: one for name, one in held.variables.items() if one.of_frames}
    atoms = {one.shape[0] for name, one in moving.items() if name in ("coordinates", "forces") and len(one.shape) == 2}
    if len(atoms) != 1 or not held.every:
        raise Refused(f"{path} is no trajectory: expected coordinates or forces of each frame, as Amber writes them")
    whole, rest = divmod(max(0, path.stat().st_size - held.begin), held.every)
    stated = whole + bool(rest) if held.frames is None else held.frames
    left_out = cut(path, whole, stated, recover) if whole < stated else ""
    frames = min(whole, stated)
    forces = "forces" in moving
    return Header(
        frames,
        atoms.pop(),
        None if "time" not in moving else np.array(_array(path, held, "time", frames), float),
        positions="coordinates" in moving,
        forces=np.ones(frames, bool) if forces else None,
        length_unit=_unit(moving, "coordinates") or "A",
        force_unit=_unit(moving, "forces"),
        left_out=left_out,
    )


def _unit(held: dict[str, Variable], name: str) -> str | None:
    unit = held[name].attributes.get("units") if name in held else None
    return unit if isinstance(unit, str) and unit else None


def _array(path: str | Path, held: Contents, name: str, frames: int) -> np.ndarray:
    """(frames, ...) of a variable, as it lies in the file."""
    one = held.variables[name]
    data = np.memmap(path, np.uint8, "r")
    if one.begin + (frames - 1) * held.every + one.bytes > len(data):
        raise ValueError(f"its {name} lie beyond its end")
    inner = np.empty(one.shape, one.type).strides
    return np.ndarray((frames, *one.shape), one.type, data.data, one.begin, (held.every, *inner))


def blocks(
    path: str, content: str, frames: range, count: int, atoms: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """``count`` frames at a time, in the units of the file: (n, len(atoms), 3), and cells (n, 3, 3) for positions."""
    held = contents(path)
    name = "coordinates" if content == "positions" else "forces"
    scale = np.float32(np.ravel(held.variables[name].attributes.get("scale_factor", 1.0))[0])
    values, every = _array(path, held, name, frames.stop), len(atoms) == held.variables[name].shape[0]
    sides: Any = None
    angles: Any = None
    if content == "positions" and {"cell_lengths", "cell_angles"} <= held.variables.keys():
        sides, angles = (_array(path, held, name, frames.stop) for name in ("cell_lengths", "cell_angles"))
    for at in range(0, len(frames), count):
        part = frames[at : at + count]
        chosen = slice(part.start, part.stop, part.step)
        xyz = np.asarray(values[chosen] if every else values[chosen][:, atoms], np.float32)
        cell = None if sides is None else cells.vectors(sides[chosen], angles[chosen])
        yield xyz if scale == 1 else xyz * scale, cell
