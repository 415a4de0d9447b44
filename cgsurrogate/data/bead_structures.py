"""Beads of a molecule and where they stand: from a structure file, or of a peptide from its sequence alone.

Of a sequence heavy atoms are built, hydrogens only counted. The beads are those that ``cgsurrogate map`` gives of an
all-atom simulation of the same peptide. The mass of a bead holds its hydrogens, so these are added to the topology as
bonded atoms; no bead stands on one, so that each has the place of its heavy atom.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cgsurrogate.core.filesystem import existing, first_line
from cgsurrogate.data import validation
from cgsurrogate.data.formats import topologies
from cgsurrogate.data.generation import sequences
from cgsurrogate.data.generation.sequences import Peptide
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.geometry.structure_files import FORMATS

if TYPE_CHECKING:
    from cgsurrogate.core.frames import Beads

HYDROGENS = {  # of side chains at pH 7: heavy atom and how many
    "ALA": "CB:3",
    "ARG": "CB:2 CG:2 CD:2 NE:1 NH1:2 NH2:2",
    "ASN": "CB:2 ND2:2",
    "ASP": "CB:2",
    "CYS": "CB:2 SG:1",
    "GLN": "CB:2 CG:2 NE2:2",
    "GLU": "CB:2 CG:2",
    "GLY": "",
    "HIS": "CB:2 ND1:1 CD2:1 CE1:1",
    "ILE": "CB:1 CG1:2 CG2:3 CD1:3",
    "LEU": "CB:2 CG:1 CD1:3 CD2:3",
    "LYS": "CB:2 CG:2 CD:2 CE:2 NZ:3",
    "MET": "CB:2 CG:2 CE:3",
    "PHE": "CB:2 CD1:1 CD2:1 CE1:1 CE2:1 CZ:1",
    "PRO": "CB:2 CG:2 CD:2",
    "SER": "CB:2 OG:1",
    "THR": "CB:1 OG1:1 CG2:3",
    "TRP": "CB:2 CD1:1 NE1:1 CE3:1 CZ2:1 CZ3:1 CH2:1",
    "TYR": "CB:2 CD1:1 CD2:1 CE1:1 CE2:1 OH:1",
    "VAL": "CB:1 CG1:3 CG2:3",
}
CAPS = {"ACE": {"CH3": 3}, "NME": {"N": 1, "C": 3}}


def of_sequence(peptide: Peptide, build: Callable[[Any], Mapping]) -> tuple[Beads, np.ndarray]:
    """The beads of an extended peptide, and their positions (N, 3) nm about their centre.

    Args:
        build: from an mdtraj topology to the mapping, ``data.mapping.builder``.

    Raises:
        RuntimeError: PeptideBuilder is not installed.
    """
    topology, positions = all_atoms(peptide)
    return _mapped(build(topology), positions)


def of_file(path: Path, build: Callable[[Any], Mapping]) -> tuple[Beads, np.ndarray]:
    """The beads of the protein in a PDB, mmCIF or GRO file, and their positions (N, 3) nm in its first model.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read, has no protein, or its atoms are too far apart.
    """
    import mdtraj

    existing(path, "a structure file")
    topology = topologies.load(path)
    try:
        positions = np.asarray(mdtraj.load(str(path)).xyz[0], np.float32)
    except Exception as error:  # parsers raise whatever they meet
        raise ValueError(f"{path} cannot be read as a structure ({first_line(error)})") from None
    mapping = build(topology)
    beads, x = _mapped(mapping, positions)
    labels = [f"{name} {residue + 1}" for name, residue in zip(beads.residue_names, beads.residues, strict=True)]
    validation.finite(str(path), x[None], range(1), labels, "positions")
    validation.scale(str(path), x, np.array(beads.bonds, int).reshape(-1, 2), labels)
    return beads, x


def is_structure(path: Path) -> bool:
    """Whether the name is that of a structure file."""
    return path.suffix.lower() in FORMATS


def _mapped(mapping: Mapping, positions: np.ndarray) -> tuple[Beads, np.ndarray]:
    x = mapping.positions(positions[None])[0]
    return mapping.beads, x - x.mean(0)


def all_atoms(peptide: Peptide) -> tuple[Any, np.ndarray]:
    """mdtraj topology and positions (A, 3) nm; hydrogens stand on their heavy atom."""
    import mdtraj
    from mdtraj.core import element

    topology, places, bonds = mdtraj.Topology(), [], []
    chain = topology.add_chain()
    for number, built in enumerate(sequences.heavy_atoms(peptide)):
        residue = topology.add_residue(built.resname, chain, number + 1)
        carried = _hydrogens(built.resname, first=number == 0)
        for atom in built:
            heavy = topology.add_atom(atom.id, element.get_by_symbol(atom.element), residue)
            hydrogens = [
                topology.add_atom(f"H{atom.id}{k + 1}", element.hydrogen, residue)
                for k in range(carried.get(atom.id, 0))
            ]
            bonds += [(heavy, one) for one in hydrogens]
            places += [atom.coord] * (1 + len(hydrogens))
    topology.create_standard_bonds()
    for pair in bonds:
        topology.add_bond(*pair)
    return topology, np.asarray(places, np.float32) / 10


def _hydrogens(residue: str, first: bool) -> dict[str, int]:
    """How many each heavy atom of a residue carries at pH 7; the N of the first one is a charged end."""
    if residue in CAPS:
        return CAPS[residue]
    carried = {"N": (0 if residue == "PRO" else 1) + 2 * first, "CA": 2 if residue == "GLY" else 1}
    for entry in HYDROGENS[residue].split():
        name, count = entry.split(":")
        carried[name] = int(count)
    return carried
