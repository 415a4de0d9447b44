"""Topologies from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem


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
