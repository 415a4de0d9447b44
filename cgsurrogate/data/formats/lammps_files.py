"""Text dumps of LAMMPS (``dump custom``): one frame after the other, the atoms in any order, sorted by their ids here.

A dump says its units only if it was written with ``dump_modify units yes``, and its times with ``time yes``; nothing is
assumed where it does not.
"""

from __future__ import annotations

import dataclasses
import itertools
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from cgsurrogate.data.formats.headers import Header, Refused, cut

# style of units -> length, time in ps, force; "lj" has none
STYLES = {
    "real": ("A", 1e-3, "kcal/mol/A"),
    "metal": ("A", 1.0, "eV/A"),
    "electron": ("bohr", 1e-3, "hartree/bohr"),
    "nano": ("nm", 1e3, None),
}
PLACES = (("x", "y", "z"), ("xu", "yu", "zu"), ("xs", "ys", "zs"), ("xsu", "ysu", "zsu"))
FORCES = ("fx", "fy", "fz")


class Cut(Exception):
    """The file ends inside a frame."""


@dataclasses.dataclass
class Frame:
    """What stands before the atoms of a frame: its step and time, their number, the box and the names of columns."""

    step: int = 0
    time: float | None = None
    units: str | None = None
    atoms: int = -1
    box: np.ndarray | None = None  # three rows of numbers, as they stand
    kind: str = ""  # of the box: words behind BOX BOUNDS
    columns: tuple[str, ...] = ()


def _line(handle: BinaryIO) -> bytes:
    line = handle.readline(1 << 20)
    if not line.endswith(b"\n"):
        raise Cut
    return line


def _start(handle: BinaryIO, path: str | Path, number: int) -> Frame | None:
    """Read up to the atoms of the next frame; None at the end of the file."""
    found, line = Frame(), handle.readline(1 << 20)
    if not line.strip():
        return None
    while True:
        if not line.endswith(b"\n"):
            raise Cut
        item = line.decode(errors="replace").strip()
        if not item.startswith("ITEM:"):
            what = f"is damaged: expected ITEM: in frame {number}" if number else "is no dump of LAMMPS: expected ITEM:"
            raise Refused(f"{path} {what}, got {item[:40]!r}")
        word = item.removeprefix("ITEM:").strip()
        if word == "TIMESTEP":
            found.step = int(_line(handle))
        elif word == "TIME":
            found.time = float(_line(handle))
        elif word == "UNITS":
            found.units = _line(handle).decode(errors="replace").strip()
        elif word == "NUMBER OF ATOMS":
            found.atoms = int(_line(handle))
        elif word.startswith("BOX BOUNDS"):
            found.kind = word.removeprefix("BOX BOUNDS").strip()
            found.box = np.array([[float(x) for x in _line(handle).split()] for _ in range(3)])
        elif word.startswith("ATOMS"):
            found.columns = tuple(word.split()[1:])
            if found.atoms <= 0 or found.box is None:
                raise ValueError(f"frame {number} has no number of atoms or no box")
            return found
        else:
            raise ValueError(f"frame {number} has an unknown item {word[:40]!r}")
        line = handle.readline(1 << 20)


def _skip(handle: BinaryIO, atoms: int) -> None:
    """Past the atoms of a frame."""
    last, done = b"", 0
    for last in itertools.islice(handle, atoms):  # noqa: B007
        done += 1
    if done < atoms or not last.endswith(b"\n"):
        raise Cut


def columns_of(path: str | Path, columns: tuple[str, ...], content: str) -> tuple[str, ...]:
    """The names of the columns that hold the positions, or the forces; none where there are none."""
    if "id" not in columns:
        raise Refused(
            f"{path} has no column id, and a dump holds atoms in any order; write it with "
            "'dump ... custom ... id x y z', or turn it into a DCD"
        )
    wanted = PLACES if content == "positions" else (FORCES,)
    return next((names for names in wanted if set(names) <= set(columns)), ())


def header(path: Path, recover: bool = False) -> Header:
    """Count the frames, line by line."""
    steps, times, first, left_out = list[int](), list[float | None](), None, ""
    with open(path, "rb") as handle:
        try:
            while (found := _start(handle, path, len(steps))) is not None:
                first = first or found
                if (found.atoms, found.columns) != (first.atoms, first.columns):
                    raise Refused(
                        f"{path} has {first.atoms} atoms with columns {' '.join(first.columns)} in its first frame "
                        f"and {found.atoms} with {' '.join(found.columns)} in frame {len(steps)}; split the file there"
                    )
                _skip(handle, found.atoms)
                steps.append(found.step)
                times.append(found.time)
        except Cut:
            left_out = cut(path, len(steps), len(steps) + 1, recover)
    if first is None:
        raise Refused(f"{path} holds no frames")
    style = STYLES.get(first.units or "", (None, None, None))
    clock = None if style[1] is None or None in times else np.array(times, float) * style[1]
    if clock is None:
        _even(path, steps)
    forces = bool(columns_of(path, first.columns, "forces"))
    return Header(
        len(steps),
        first.atoms,
        clock,
        positions=bool(columns_of(path, first.columns, "positions")),
        forces=np.ones(len(steps), bool) if forces else None,
        length_unit=style[0],
        force_unit=style[2],
        left_out=left_out,
    )


def _even(path: Path, steps: list[int]) -> None:
    """Where only steps are known, they are evenly spaced; a restart repeats one."""
    apart = np.diff(steps)
    bad = np.flatnonzero(apart != np.median(apart)) if len(apart) else apart
    if len(bad):
        k = int(bad[0])
        raise Refused(
            f"{path}: frames are {int(np.median(apart))} steps apart but {apart[k]} between frames {k} and {k + 1} "
            f"(steps {steps[k]} and {steps[k + 1]}); split the file there"
        )


def cell(found: Frame) -> tuple[np.ndarray, np.ndarray]:
    """(3, 3) vectors of the box as rows, and its origin (3,), in the unit of the file."""
    assert found.box is not None
    rows = found.box
    if "abc" in found.kind:
        return rows[:, :3], rows[:, 3]
    low, high = rows[:, 0].copy(), rows[:, 1].copy()
    xy, xz, yz = rows[:, 2] if rows.shape[1] > 2 else (0.0, 0.0, 0.0)
    low[:2] -= min(0.0, xy, xz, xy + xz), min(0.0, yz)  # the bounds are those of a box around the tilted one
    high[:2] -= max(0.0, xy, xz, xy + xz), max(0.0, yz)
    x, y, z = high - low
    return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), low


def _numbers(handle: BinaryIO, found: Frame, number: int) -> np.ndarray:
    """(atoms, columns) of a frame; columns of text become nan."""
    lines = list(itertools.islice(handle, found.atoms))
    if len(lines) < found.atoms or not lines[-1].endswith(b"\n"):
        raise ValueError(f"it ends inside frame {number}")
    text, shape = b"".join(lines), (found.atoms, len(found.columns))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return np.fromstring(text.decode("ascii"), float, sep=" ").reshape(shape)
        except (ValueError, DeprecationWarning):  # a column of names, such as that of elements
            pass
    words = np.array(text.split(), object)
    if words.size != shape[0] * shape[1]:
        raise ValueError(f"frame {number} has {words.size} entries, expected {shape[0]} rows of {shape[1]}")
    rows = words.reshape(shape)
    made = np.full(shape, np.nan)
    for k, name in enumerate(found.columns):
        if name not in ("element", "type", "mol", "typelabel"):
            made[:, k] = rows[:, k].astype(float)
    return made


def blocks(
    path: str, content: str, frames: range, count: int, atoms: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """``count`` frames at a time, in the units of the file: (n, len(atoms), 3), and cells (n, 3, 3) if periodic."""
    made, cells, ids = list[np.ndarray](), list[np.ndarray](), None
    with open(path, "rb") as handle:
        for number in range(frames.stop):
            found = _start(handle, path, number)
            if found is None:
                raise ValueError(f"it ends after {number} of {frames.stop} frames")
            if number not in frames:
                _skip(handle, found.atoms)
                continue
            values = _numbers(handle, found, number)
            own = values[:, found.columns.index("id")]
            order = np.argsort(own, kind="stable")
            ids = own[order] if ids is None else ids
            if not np.array_equal(own[order], ids) or not np.all(np.diff(ids) > 0):
                raise ValueError(f"frame {number} does not hold each atom of the first frame once, by its id")
            names = columns_of(path, found.columns, content)
            xyz = values[order[atoms]][:, [found.columns.index(name) for name in names]]
            vectors, origin = cell(found)
            if content == "positions" and names[0].startswith("xs"):
                xyz = origin + xyz @ vectors
            made.append(xyz.astype(np.float32))
            cells.append(vectors)
            if len(made) == count or number == frames[-1]:
                periodic = content == "positions" and "p" in found.kind
                yield np.stack(made), np.stack(cells) if periodic else None
                made, cells = [], []
