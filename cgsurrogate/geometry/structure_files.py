"""The beads of a molecule in a structure file: atoms of the same residue and name."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cgsurrogate.core.filesystem import existing, first_line
from cgsurrogate.core.frames import Beads

FORMATS = (".pdb", ".ent", ".cif", ".pdbx", ".mmcif", ".gro")  # text: others could hold code that is run


def bead_positions(beads: Beads, path: str | Path, chosen: np.ndarray | None = None) -> np.ndarray:
    """(n, 3) nm: the ``chosen`` beads, all by default, in the first model of a PDB, mmCIF or GRO file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read, or lacks one of the beads.
    """
    import mdtraj

    if not str(path).lower().endswith(FORMATS):
        raise ValueError(f"expected a structure file (PDB, mmCIF or GRO, not compressed), got {path}")
    existing(path, "a structure file")  # mdtraj would fetch an address
    try:
        structure = mdtraj.load(str(path))
    except Exception as error:  # parsers raise whatever they meet
        raise ValueError(f"expected a structure file, {path} cannot be read as one ({first_line(error)})") from None
    at = {(atom.residue.index, atom.name): atom.index for atom in structure.topology.atoms}
    wanted = [
        (beads.residues[i] - beads.residues[0], beads.names[i])
        for i in (range(len(beads)) if chosen is None else chosen)
    ]
    missing = next((key for key in wanted if key not in at), None)
    if missing is not None:
        raise ValueError(f"{path} has no atom {missing[1]} in residue {missing[0] + 1}; give the same molecule")
    x = np.asarray(structure.xyz[0][[at[key] for key in wanted]], float)
    if not np.isfinite(x).all():
        raise ValueError(f"{path} has coordinates that are not finite")
    return x
