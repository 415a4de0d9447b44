"""Topologies from files."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_topology(path: str | Path) -> Any:
    """An mdtraj topology from PDB, mmCIF, GRO, PSF, prmtop and whatever else mdtraj reads, without running code in it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a topology.
    """
    import mdtraj

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"expected a topology at {path}, there is none")
    if path.suffix.lower() in (".h5", ".hdf5", ".lh5"):
        raise ValueError(f"a topology inside {path.name} is not read; give a PDB or another topology with -s")
    try:
        topology = mdtraj.load_topology(str(path))
    except Exception as error:  # parsers raise whatever they meet
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} cannot be read as a topology ({text[:200]}); expected PDB, mmCIF, GRO, PSF or prmtop"
        ) from None
    if not topology.n_atoms:
        raise ValueError(f"{path} holds no atoms; expected PDB, mmCIF, GRO, PSF or prmtop")
    return topology
