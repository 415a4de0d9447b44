"""Trajectories and topologies as they lie on the disk: what they hold, and frames in pieces of bounded size."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import cgsurrogate
from cgsurrogate.core import filesystem
from cgsurrogate.data.formats import arrays, compressed, unit_names
from cgsurrogate.data.formats.headers import Header, by_content, header
from cgsurrogate.data.formats.parser_process import CHUNK_BYTES, KINDS, Block

SILENCE = 600  # s without an answer from the parser
SILENT = subprocess.DEVNULL
TEXT = (".pdb", ".cif", ".gro")  # formats that bring their own topology


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Source:
    """One unbroken run.

    Attributes:
        name: for messages.
        times: (frames,) ps, or None where the file states none.
        kind: ``xtc``, ``trr``, ``dcd``, ``netcdf``, ``hdf5``, ``h5md``: parsed in a process of its own; ``array``:
            already here.
        array: (frames, atoms, 3), for ``array``: numbers, or what gives them for a slice of frames.
        cells: (frames, 3, 3) nm, for ``array``, if periodic.
        path: the file, if not ``name``.
        content: what its blocks are, ``positions`` or ``forces``.
        scale: by which they are multiplied, to be nm or kJ/mol/nm.
        positions: whether the file has any.
        forces: (frames,) which frames have forces in the file; None where none has.
        force_unit: of these, as the file states it; None where it does not.
        folder: temporary, of an unpacked file; it goes with the last source that refers to it.
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


def sources(spec: str | Path | Source, topology: Any, length_unit: str | None = None) -> list[Source]:
    """What one trajectory argument stands for: one run, or several from an array (R, T, A, 3).

    Args:
        length_unit: of positions whose file does not say it; of arrays, nm otherwise.

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
        inner, folder = compressed.unpacked(path)
        try:
            found = sources(inner, topology, length_unit)
        except ValueError as error:
            raise ValueError(str(error).replace(str(inner), str(path))) from None
        return [
            dataclasses.replace(one, name=one.name.replace(str(inner), str(path)), path=inner, folder=folder)
            for one in found
        ]
    own = path.suffix.lower()
    kind = KINDS.get(own) or (None if own in TEXT else by_content(path))
    if kind is None:
        return [_parsed_here(path, topology)]
    return [_of_header(str(path), _described(path) if kind == "hdf5" else header(path, kind), path, length_unit)]


def _of_header(name: str, found: Header, path: Path, length_unit: str | None) -> Source:
    """Raises ``ValueError`` where the unit of length is neither stated nor given."""
    unit = length_unit or found.length_unit
    if found.positions and unit is None:
        raise ValueError(f"{name} does not say the unit of its positions; give it with --length-unit nm or A")
    return Source(
        name,
        found.frames,
        found.atoms,
        found.times,
        found.kind,
        path=path,
        scale=unit_names.length(unit) if found.positions and unit else 1.0,
        positions=found.positions,
        forces=found.forces,
        force_unit=found.force_unit,
    )


def _described(path: Path) -> Header:
    """The header of an HDF5 file, which a library parses, so in a process of its own."""
    with Reader() as reader:
        found = reader.describe(path)
    if not found["frames"]:
        raise ValueError(f"{path} holds no frames")
    values: dict[str, Any] = {k: np.asarray(v) if isinstance(v, list) else v for k, v in found.items()}
    return Header(**values)


def load_topology(path: str | Path) -> Any:
    """An mdtraj topology from PDB, mmCIF, GRO, PSF, prmtop and whatever else mdtraj reads, without running code in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a topology.
    """
    import mdtraj

    path = filesystem.existing(path, "a topology")
    if compressed.is_compressed(path):
        inner, _folder = compressed.unpacked(path)
        try:
            return load_topology(inner)
        except ValueError as error:
            raise ValueError(str(error).replace(str(inner), str(path))) from None
    if path.suffix.lower() in (".h5", ".hdf5", ".lh5"):
        raise ValueError(f"a topology inside {path.name} is not read; give a PDB or another topology with -s")
    try:
        topology = mdtraj.load_topology(str(path))
    except Exception as error:  # parsers raise whatever they meet
        why = filesystem.first_line(error)
        raise ValueError(
            f"{path} cannot be read as a topology ({why}); expected PDB, mmCIF, GRO, PSF or prmtop"
        ) from None
    if not topology.n_atoms:
        raise ValueError(f"{path} holds no atoms; expected PDB, mmCIF, GRO, PSF or prmtop")
    return topology


def _parsed_here(path: Path, topology: Any) -> Source:
    """Text formats, such as PDB with several models: read whole."""
    import mdtraj

    try:
        own = path.suffix.lower() in TEXT
        found = mdtraj.load(str(path), **({} if own else {"top": topology}))
    except Exception as error:  # parsers raise whatever they meet
        raise ValueError(f"{path} cannot be read as a trajectory ({filesystem.first_line(error)})") from None
    return Source(str(path), found.n_frames, found.n_atoms, None, "array", found.xyz, found.unitcell_vectors)


def _scaled(xyz: np.ndarray, scale: float) -> np.ndarray:
    return xyz if scale == 1 else xyz * np.float32(scale)


class Reader:
    """Reads frames of sources; owns the process that parses. Use it in a ``with`` block."""

    def __enter__(self) -> Reader:
        self._pipe, there = multiprocessing.Pipe()
        command = [sys.executable, "-P", str(Path(__file__).with_name("parser_process.py")), str(there.fileno())]
        paths = [str(Path(cgsurrogate.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, env=environment, pass_fds=[there.fileno()], stdin=SILENT, stdout=SILENT, stderr=SILENT
        )
        there.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    def blocks(self, source: Source, atoms: np.ndarray, frames: range) -> Iterator[Block]:
        """These frames in pieces: (n, len(atoms), 3) nm and cell vectors (n, 3, 3) nm or None."""
        if source.array is not None:
            size = max(1, CHUNK_BYTES // (12 * source.atoms))
            for at in range(0, len(frames), size):
                part = frames[at : at + size]
                chosen = slice(part.start, part.stop, part.step)
                xyz = np.asarray(source.array[chosen], np.float32)[:, atoms]
                yield _scaled(xyz, source.scale), None if source.cells is None else source.cells[chosen]
            return
        request: dict[str, Any] = {"path": str(source.path or source.name), "kind": source.kind}
        request |= {"all_atoms": source.atoms, "content": source.content, "atoms": atoms.tolist()}
        request |= {"first": frames.start, "last": frames.stop, "stride": frames.step}
        for xyz, cells in self._ask(source.name, request):
            yield _scaled(xyz, source.scale), None if cells is None else cells * source.scale

    def describe(self, path: Path) -> dict[str, Any]:
        """What an HDF5 file holds, as ``hdf5_files.describe`` says it, with lists for arrays."""
        found = dict[str, Any]()
        for _ in self._ask(str(path), {"path": str(path), "content": "description"}, found):
            pass
        return found

    def _ask(self, name: str, request: dict[str, Any], found: dict[str, Any] | None = None) -> Iterator[Block]:
        def received() -> bytes:
            if not self._pipe.poll(SILENCE):
                raise ValueError(f"{name}: its parser gave no answer for {SILENCE} s; is the file damaged?")
            return self._pipe.recv_bytes()

        try:
            self._pipe.send_bytes(json.dumps(request).encode())
            while not (answer := json.loads(received())).get("end"):
                if "error" in answer:
                    raise ValueError(f"{name} cannot be read ({answer['error']}); is the file damaged?")
                if found is not None:
                    found |= answer
                    continue
                xyz = np.frombuffer(received(), np.float32).reshape(answer["frames"], answer["atoms"], 3)
                yield xyz, np.frombuffer(received(), np.float64).reshape(-1, 3, 3) if answer["cell"] else None
        except (EOFError, OSError):
            self.__exit__()
            code = self._process.returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ValueError(
                f"{name} crashes its parser ({how}); the file is damaged: copy it again or leave it out"
            ) from None
