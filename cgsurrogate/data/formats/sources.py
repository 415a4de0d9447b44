"""Trajectories and topologies as they lie on the disk: what they hold, and frames in pieces of bounded size."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.data.formats import arrays, compressed, topologies, unit_names
from cgsurrogate.data.formats.headers import by_content
from cgsurrogate.data.formats.parser_process import CHUNK_BYTES, KINDS, Block
from cgsurrogate.data.formats.parsing import Parser
from cgsurrogate.data.formats.whole_files import TEXT


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Source:
    """One unbroken run.

    Attributes:
        name: for messages.
        times: (frames,) ps, or None where the file states none.
        kind: ``xtc``, ``trr``, ``dcd``, ``netcdf``, ``hdf5``, ``h5md``, ``lammps``, ``whole`` (through mdtraj) or
            ``mdanalysis``: parsed in a process of its own; ``array``: already here.
        array: (frames, atoms, 3), for ``array``: numbers, or what gives them for a slice of frames.
        cells: (frames, 3, 3) nm, for ``array``, if periodic.
        path: the file, if not ``name``.
        content: what its blocks are, ``positions`` or ``forces``.
        scale: by which they are multiplied, to be nm or kJ/mol/nm.
        positions: whether the file has any.
        forces: (frames,) which frames have forces in the file; None where none has.
        force_unit: of these, as the file states it; None where it does not.
        folder: temporary, of an unpacked file; it goes with the last source that refers to it.
        left_out: in words, which frames of a damaged file are left out; empty where none is.
        length_unit: of positions, as the file states it or its format lays it down; None where it does not.
    """

    name: str
    frames: int
    atoms: int
    times: np.ndarray | None
    kind: str
    array: Any = None
    cells: Any = None
    path: Path | None = None
    content: str = "positions"
    scale: float = 1.0
    positions: bool = True
    forces: np.ndarray | None = None
    force_unit: str | None = None
    folder: Any = None
    left_out: str = ""
    length_unit: str | None = None


def sources(
    spec: str | Path | Source, topology: Any, length_unit: str | None = None, *, recover: bool = False
) -> list[Source]:
    """What one trajectory argument stands for: one run, or several from an array (R, T, A, 3).

    Args:
        topology: mdtraj's, or None; some formats do not say their number of atoms.
        length_unit: of positions whose file does not say it; of arrays, nm otherwise.
        recover: take the whole frames of a file that is cut short, which ``left_out`` tells.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read, or is cut short.
    """
    if isinstance(spec, Source):
        return [spec]
    if arrays.is_array(spec):
        array = arrays.load(spec)
        if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype.kind != "f":
            raise ValueError(f"expected coordinates (T, A, 3) or (R, T, A, 3) nm in {spec}, got {array.shape}")
        runs = array if array.ndim == 4 else array[None]
        names = [f"{spec} run {i}" if array.ndim == 4 else str(spec) for i in range(len(runs))]
        scale = unit_names.length(length_unit or "nm")
        return [Source(n, len(r), r.shape[1], None, "array", r, scale=scale) for n, r in zip(names, runs, strict=True)]
    path = filesystem.existing(spec, "a trajectory")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    if compressed.is_compressed(path):
        inner, folder = _unpacked(path)
        with _named(inner, path):
            found = sources(inner, topology, length_unit, recover=recover)
        return [
            dataclasses.replace(
                one, name=one.name.replace(str(inner), str(path)), path=one.path, folder=(folder, one.folder)
            )
            for one in found
        ]
    return [_of_file(path, 0 if topology is None else topology.n_atoms, length_unit, recover)]


def _of_file(path: Path, atoms: int, length_unit: str | None, recover: bool) -> Source:
    """Raises ``ValueError`` where the file is damaged, or the unit of length is neither stated nor given."""
    own = path.suffix.lower()
    kind = KINDS.get(own) or (None if own in TEXT else by_content(path))
    folder = tempfile.TemporaryDirectory(prefix="recovered-") if recover and kind is None else None
    asked = {"kind": kind, "recover": recover, "all_atoms": atoms, "folder": folder.name if folder else None}
    try:
        with Parser() as parser:
            found = parser.found("header", path, **asked)
        if not found["frames"]:
            raise ValueError(f"{path} holds no frames")
        if found["atoms"] < 1:
            raise ValueError(f"{path} holds no atoms")
        positions, stated = found.get("positions", True), found.get("length_unit", "nm")
        unit = stated or length_unit
        if positions and unit is None:
            raise ValueError(f"{path} does not say the unit of its positions; give it with --length-unit nm or A")
        scale = _scale(unit, path if stated else None) if positions and unit else 1.0
    except ValueError:
        if folder:
            folder.cleanup()
        raise
    return Source(
        str(path),
        found["frames"],
        found["atoms"],
        found.get("times"),
        found["kind"],
        path=Path(found["path"]),
        scale=scale,
        positions=positions,
        forces=found.get("forces"),
        force_unit=found.get("force_unit"),
        folder=folder,
        left_out=found.get("left_out", ""),
        length_unit=stated if positions else None,
    )


def _scale(unit: str, origin: Path | None) -> float:
    """nm in one unit of length, which the file ``origin`` states; None where the user does."""
    try:
        return unit_names.length(unit)
    except ValueError as error:
        raise ValueError(f"{origin}: {error}" if origin else str(error)) from None


def _unpacked(path: Path) -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """A compressed file without its last ending, in a folder that goes when nothing refers to it any longer."""
    folder = tempfile.TemporaryDirectory(prefix="unpacked-")
    made = Path(folder.name) / path.stem
    try:
        with Parser() as parser:
            parser.found("unpack", path, made=str(made), most=compressed.room(folder.name))
        if not made.stat().st_size:
            raise ValueError(f"{path} holds nothing")
    except ValueError:
        folder.cleanup()
        raise
    return made, folder


@contextlib.contextmanager
def _named(inner: Path, path: Path) -> Iterator[None]:
    """Errors name the file that the user gave in place of the unpacked one."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace(str(inner), str(path))) from None


def load_topology(path: str | Path) -> Any:
    """An mdtraj topology from PDB, mmCIF, GRO, PSF, prmtop and whatever else mdtraj or MDAnalysis read.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a topology.
    """
    path = filesystem.existing(path, "a topology")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty; expected {topologies.EXPECTED}")
    if compressed.is_compressed(path):
        inner, _folder = _unpacked(path)
        with _named(inner, path):
            return load_topology(inner)
    with Parser() as parser:
        found = parser.found("topology", path)
    with topologies.many_objects():
        return topologies.unpacked(found)


def _scaled(xyz: np.ndarray, scale: float) -> np.ndarray:
    return xyz if scale == 1 else xyz * np.float32(scale)


class Reader(Parser):
    """Reads frames of sources; owns the process that parses. Use it in a ``with`` block."""

    def blocks(self, source: Source, atoms: np.ndarray, frames: range) -> Iterator[Block]:
        """These frames in pieces: (n, len(atoms), 3) nm and cell vectors (n, 3, 3) nm or None."""
        if not len(frames):
            return
        if source.array is not None:
            size = max(1, CHUNK_BYTES // (12 * source.atoms))
            for at in range(0, len(frames), size):
                part = frames[at : at + size]
                chosen = slice(part.start, part.stop, part.step)
                xyz = np.asarray(source.array[chosen], np.float32)[:, atoms]
                yield _scaled(xyz, source.scale), None if source.cells is None else source.cells[chosen]
            return
        request: dict[str, Any] = {"do": "blocks", "path": str(source.path or source.name), "kind": source.kind}
        request |= {"all_atoms": source.atoms, "content": source.content, "atoms": atoms.tolist()}
        request |= {"first": frames.start, "last": frames[-1] + 1, "stride": frames.step}
        for xyz, cells in self._ask(source.name, request):
            yield _scaled(xyz, source.scale), None if cells is None else cells * source.scale
