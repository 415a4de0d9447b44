"""Embedded examples: real all-atom trajectories with forces, as ordinary files.

Each is a folder of ``example_data``: ``topology.pdb``, ``run*.xtc``, ``run*.forces.npy`` (half precision,
kJ/mol/nm) and ``example.json``.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.read import Input, Report, read

FOLDER = Path(__file__).parent / "example_data"
MANIFEST = "example.json"


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
    return sorted(folder.glob(f"run[0-9]*{ending}"), key=lambda path: int(path.name[3 : -len(ending)]))


def examples() -> list[Example]:
    """All that are there, the larger one first."""
    found = []
    for path in FOLDER.glob(f"*/{MANIFEST}"):
        values = filesystem.read_json(path)
        names = [field.name for field in dataclasses.fields(Example) if field.name not in ("name", "folder")]
        try:
            found.append(Example(name=path.parent.name, folder=path.parent, **{name: values[name] for name in names}))
        except KeyError as error:
            raise ValueError(f"{path} lacks {error}; install cgsurrogate again") from None
    return sorted(found, key=lambda entry: -sum(p.stat().st_size for p in entry.folder.iterdir()))


def find(name: str) -> Example:
    """The example of that name.

    Raises:
        ValueError: there is none.
    """
    entries = {entry.name: entry for entry in examples()}
    if name not in entries:
        raise ValueError(f"expected an example out of {', '.join(entries) or 'none'}, got {name!r}")
    return entries[name]


def load_example(
    name: str,
    build: Callable[[Any], Mapping],
    *,
    aggregate: str = "auto",
    report: Report = lambda done, total: None,
) -> Frames:
    """Read an example and map it with a mapping's ``build``."""
    entry = find(name)
    given = Input(
        entry.topology,
        entry.trajectories,
        entry.temperature,
        entry.dt,
        forces=entry.forces,
        aggregate=aggregate,
        force_unit="kJ/mol/nm",
    )
    return read(given, build, report).with_provenance(example=name)


def write_example(name: str, out: str | Path) -> list[Path]:
    """Copy the files of an example into ``out`` and return them.

    Raises:
        ValueError: no such example, or ``out`` holds other files of these names.
        Busy: another process writes to ``out``.
    """
    entry, out = find(name), Path(out)
    wanted = [entry.topology, *entry.trajectories, *entry.forces, entry.folder / MANIFEST]
    with filesystem.writing(out, *filesystem.OWNERS):
        for source in wanted:
            there = out / source.name
            if there.exists() and filesystem.sha256(there) != filesystem.sha256(source):
                raise ValueError(f"{there} exists and is another file; choose another folder")
        new = [out / source.name for source in wanted if not (out / source.name).exists()]
        try:
            for source in wanted:
                with source.open("rb") as reading, filesystem.replacing(out / source.name) as writing:
                    shutil.copyfileobj(reading, writing)
        except BaseException:
            for path in new:
                path.unlink(missing_ok=True)
            raise
    return [out / source.name for source in wanted]
