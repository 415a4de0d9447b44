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

from cgsurrogate.core import filesystem
from cgsurrogate.data.formats import arrays
from cgsurrogate.data.formats.headers import header
from cgsurrogate.data.formats.parser_process import CHUNK_BYTES, KINDS, Block

SILENCE = 600  # s without an answer from the parser
SILENT = subprocess.DEVNULL


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Source:
    """One unbroken run.

    Attributes:
        name: for messages.
        times: (frames,) ps, or None where the file states none.
        kind: ``xtc``, ``trr``, ``dcd``, ``netcdf``, ``hdf5``: parsed in a process of its own; ``array``: already here.
        array: (frames, atoms, 3) nm, for ``array``.
        cells: (frames, 3, 3) nm, for ``array``, if periodic.
    """

    name: str
    frames: int
    atoms: int
    times: np.ndarray | None
    kind: str
    array: np.ndarray | None = None
    cells: np.ndarray | None = None


def sources(spec: str | Path, topology: Any) -> list[Source]:
    """What one trajectory argument stands for: one run, or several from an array (R, T, A, 3) nm.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file that cannot be read, or is cut short.
    """
    if arrays.is_array(spec):
        array = arrays.load(spec)
        if array.ndim not in (3, 4) or array.shape[-1] != 3 or array.dtype.kind != "f":
            raise ValueError(f"expected coordinates (T, A, 3) or (R, T, A, 3) nm in {spec}, got {array.shape}")
        runs = array if array.ndim == 4 else array[None]
        names = [f"{spec} run {i}" if array.ndim == 4 else str(spec) for i in range(len(runs))]
        return [Source(n, len(r), r.shape[1], None, "array", r) for n, r in zip(names, runs, strict=True)]
    path = filesystem.existing(spec, "a trajectory")
    if not path.stat().st_size:
        raise ValueError(f"{path} is empty")
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        return [_parsed_here(path, topology)]
    found = header(path, kind)
    return [Source(str(path), found.frames, found.atoms, found.times, kind)]


def load_topology(path: str | Path) -> Any:
    """An mdtraj topology from PDB, mmCIF, GRO, PSF, prmtop and whatever else mdtraj reads, without running code in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a topology.
    """
    import mdtraj

    path = filesystem.existing(path, "a topology")
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
        own = path.suffix.lower() in (".pdb", ".cif", ".gro")
        found = mdtraj.load(str(path), **({} if own else {"top": topology}))
    except Exception as error:  # parsers raise whatever they meet
        raise ValueError(f"{path} cannot be read as a trajectory ({filesystem.first_line(error)})") from None
    return Source(str(path), found.n_frames, found.n_atoms, None, "array", found.xyz, found.unitcell_vectors)


class Reader:
    """Reads frames of sources; owns the process that parses. Use it in a ``with`` block."""

    def __enter__(self) -> Reader:
        self._pipe, there = multiprocessing.Pipe()
        command = [sys.executable, "-P", str(Path(__file__).with_name("parser_process.py")), str(there.fileno())]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
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
                yield xyz, None if source.cells is None else source.cells[chosen]
            return
        request: dict[str, Any] = {"path": source.name, "kind": source.kind, "all_atoms": source.atoms}
        request |= {"atoms": atoms.tolist(), "first": frames.start, "last": frames.stop, "stride": frames.step}
        yield from self._ask(source.name, request)

    def _ask(self, name: str, request: dict[str, Any]) -> Iterator[Block]:
        def received() -> bytes:
            if not self._pipe.poll(SILENCE):
                raise ValueError(f"{name}: its parser gave no answer for {SILENCE} s; is the file damaged?")
            return self._pipe.recv_bytes()

        try:
            self._pipe.send_bytes(json.dumps(request).encode())
            while not (answer := json.loads(received())).get("end"):
                if "error" in answer:
                    raise ValueError(f"{name} cannot be read ({answer['error']}); is the file damaged?")
                xyz = np.frombuffer(received(), np.float32).reshape(answer["frames"], answer["atoms"], 3)
                yield xyz, np.frombuffer(received(), np.float64).reshape(-1, 3, 3) if answer["cell"] else None
        except (EOFError, OSError):
            self.__exit__()
            code = self._process.returncode
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise ValueError(
                f"{name} crashes its parser ({how}); the file is damaged: copy it again or leave it out"
            ) from None
