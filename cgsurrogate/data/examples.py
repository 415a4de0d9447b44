"""Embedded examples: real all-atom trajectories with forces, as ordinary files.

Each is a folder of ``cgsurrogate/examples``: ``topology.pdb``, ``run*.xtc``, ``run*.forces.npy`` (half precision,
kJ/mol/nm) and ``example.json``.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.read import read

FOLDER = Path(__file__).parent / "example_data"
MANIFEST = "example.json"
LOSS = 1e-3  # relative error of forces in half precision


@dataclasses.dataclass(frozen=True)
class Example:
    """One system. ``command`` made it; ``dt`` is ps between frames, ``temperature`` K."""

    name: str
    title: str
    temperature: float
    dt: float
    command: str
    licence: str
    folder: Path

    @property
    def topology(self) -> Path:
        return self.folder / "topology.pdb"

    @property
    def trajectories(self) -> list[Path]:
        return _numbered(self.folder, ".xtc")

    @property
    def forces(self) -> list[Path]:
        return _numbered(self.folder, ".forces.npy")


def _numbered(folder: Path, ending: str) -> list[Path]:
    found = [p for p in folder.glob(f"run*{ending}") if re.fullmatch(rf"run\d+{re.escape(ending)}", p.name)]
    return sorted(found, key=lambda p: int(p.name[3 : -len(ending)]))


def examples(folder: Path = FOLDER) -> list[Example]:
    """All that are there, the larger one first."""
    found = []
    for path in folder.glob(f"*/{MANIFEST}"):
        values = filesystem.read_json(path)
        names = [field.name for field in dataclasses.fields(Example) if field.name not in ("name", "folder")]
        try:
            found.append(Example(name=path.parent.name, folder=path.parent, **{name: values[name] for name in names}))
        except KeyError as error:
            raise ValueError(f"{path} lacks {error}; install cgsurrogate again") from None
    return sorted(found, key=lambda entry: -sum(p.stat().st_size for p in entry.folder.iterdir()))


def find(name: str, folder: Path = FOLDER) -> Example:
    """The example of that name.

    Raises:
        ValueError: there is none.
    """
    entries = {entry.name: entry for entry in examples(folder)}
    if name not in entries:
        raise ValueError(f"expected an example out of {', '.join(entries) or 'none'}, got {name!r}")
    return entries[name]


def load_example(
    name: str,
    build: Callable[[Any], Mapping],
    *,
    aggregate: str = "auto",
    report: Callable[[int, int | None], None] = lambda done, total: None,
    folder: Path = FOLDER,
) -> Frames:
    """Read an example and map it with a mapping's ``build``."""
    entry = find(name, folder)
    frames = read(
        entry.topology,
        entry.trajectories,
        build,
        temperature=entry.temperature,
        dt=entry.dt,
        forces=entry.forces,
        aggregate=aggregate,
        report=report,
    )
    return frames.with_provenance(example=name, title=entry.title)


def write_example(name: str, out: str | Path, folder: Path = FOLDER) -> list[Path]:
    """Copy the files of an example into ``out`` and return them.

    Raises:
        ValueError: no such example, or ``out`` holds other files of these names.
    """
    entry, out = find(name, folder), Path(out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is a file; give another folder")
    wanted = [entry.topology, *entry.trajectories, *entry.forces, entry.folder / MANIFEST]
    for source in wanted:
        there = out / source.name
        if there.exists() and filesystem.sha256(there) != filesystem.sha256(source):
            raise ValueError(f"{there} exists and is another file; choose another folder")
    out.mkdir(parents=True, exist_ok=True)
    for source in wanted:
        with source.open("rb") as reading, filesystem.replacing(out / source.name) as writing:
            shutil.copyfileobj(reading, writing)
    return [out / source.name for source in wanted]


def pack_example(
    generated: str | Path, name: str, *, title: str, command: str, licence: str = "MIT", folder: Path = FOLDER
) -> Path:
    """Turn what ``generate`` left in a folder into an embedded example, with forces in half precision.

    Raises:
        ValueError: forces are too large for half precision, or lose more than ``LOSS`` of their size.
    """
    generated, out = Path(generated), folder / name
    settings = filesystem.read_json(generated / "reference.json")
    trajectories = _numbered(generated, ".xtc")
    if not trajectories:
        raise FileNotFoundError(f"{generated} holds no run0.xtc; generate it first: cgsurrogate reference")
    out.mkdir(parents=True, exist_ok=True)
    for path in trajectories:
        forces = np.load(path.with_suffix(".forces.npy"), mmap_mode="r", allow_pickle=False)
        filesystem.write_npy(out / f"{path.stem}.forces.npy", _halved(path.stem, forces))
    for path in [generated / "topology.pdb", *trajectories]:
        with path.open("rb") as reading, filesystem.replacing(out / path.name) as writing:
            shutil.copyfileobj(reading, writing)
    manifest = {"title": title, "temperature": settings["temperature"], "dt": settings["every"], "command": command}
    filesystem.write_json(out / MANIFEST, {**manifest, "licence": licence, "protocol": settings})
    return out


def _halved(run: str, forces: np.ndarray) -> np.ndarray:
    values = np.asarray(forces, np.float32)
    if not np.abs(values).max() < np.finfo(np.float16).max:
        raise ValueError(f"forces of {run} reach {np.abs(values).max():g} kJ/mol/nm, too large for half precision")
    half = values.astype(np.float16)
    error = np.sqrt(np.mean((half.astype(np.float32) - values) ** 2) / np.mean(values**2))
    if error > LOSS:
        raise ValueError(f"forces of {run} lose {error:.2g} of their size in half precision, more than {LOSS}")
    return half
