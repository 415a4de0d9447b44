"""Topologies of small peptides with chosen termini, from templates of atom names; bonds are the standard ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mdtraj
from mdtraj.core import element

SIDE_CHAINS = {
    "ALA": "CB HB1 HB2 HB3",
    "VAL": "CB HB CG1 HG11 HG12 HG13 CG2 HG21 HG22 HG23",
    "SER": "CB HB2 HB3 OG HG",
    "ASP": "CB HB2 HB3 CG OD1 OD2",
    "ASH": "CB HB2 HB3 CG OD1 OD2 HD2",
    "LYS": "CB HB2 HB3 CG HG2 HG3 CD HD2 HD3 CE HE2 HE3 NZ HZ1 HZ2 HZ3",
    "HIE": "CB HB2 HB3 CG ND1 CE1 HE1 NE2 HE2 CD2 HD2",
    "CYS": "CB HB2 HB3 SG",
    "GLY": "",
    "NLE": "CB HB2 HB3 CG HG2 HG3 CD HD2 HD3 CE HE1 HE2 HE3",
}
START = {"charged": "H1 H2 H3", "neutral": "H1 H2"}
END = {"charged": "OXT", "neutral": "OXT HXT"}


def peptide(
    sequence: Sequence[str], start: str = "charged", end: str = "charged", topology: Any = None, hydroxyl: str = "OXT"
) -> Any:
    """A topology of one chain, or ``topology`` with one more; the hydrogen of a neutral end is on ``hydroxyl``."""
    topology = mdtraj.Topology() if topology is None else topology
    chain, before = topology.add_chain(), None
    for place, name in enumerate(sequence):
        residue, atoms = topology.add_residue(name, chain), {}
        first, last = place == 0, place == len(sequence) - 1
        names = ["N", *(START[start] if first else "H").split(), "CA", "HA", *SIDE_CHAINS[name].split(), "C", "O"]
        for atom in names + (END[end].split() if last else []):
            atoms[atom] = topology.add_atom(atom, element.get_by_symbol(atom[0]), residue)
        _bonds(topology, atoms, hydroxyl)
        if before is not None:
            topology.add_bond(before, atoms["N"])
        before = atoms["C"]
    return topology


def _bonds(topology: Any, atoms: dict[str, Any], hydroxyl: str) -> None:
    heavy = [name for name in atoms if not name.startswith("H")]
    pairs = [("N", "CA"), ("CA", "C"), ("C", "O"), ("C", "OXT"), ("CA", "CB")]
    greek = "ABGDEZ"
    for name in heavy:
        if (
            len(name) > 1 and name[1] in greek[2:]
        ):  # to the atom one letter before, of the same branch where there is one
            inner = [n for n in heavy if len(n) > 1 and n[1] == greek[greek.index(name[1]) - 1]]
            pairs.append((next((n for n in inner if n[2:3] == name[2:3]), inner[0]), name))
    for name in (n for n in atoms if n.startswith("H")):
        owner = {"H": "N", "H1": "N", "H2": "N", "H3": "N", "HXT": hydroxyl}.get(name)
        pairs.append((owner or next(n for n in heavy if n[1:] and name[1:].startswith(n[1:])), name))
    for a, b in pairs:
        if a in atoms and b in atoms:
            topology.add_bond(atoms[a], atoms[b])
