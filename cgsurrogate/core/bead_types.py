"""One fixed table of bead types, by residue and heavy-atom name, so that a model trained on one sequence fits another.

The number of a type never changes: new rows are added at the end. Protonation states share the rows of their residue.
"""

from __future__ import annotations

_SIDE_CHAINS = {
    "ALA": "CB",
    "ARG": "CB CG CD NE CZ NH1 NH2",
    "ASN": "CB CG OD1 ND2",
    "ASP": "CB CG OD1 OD2",
    "CYS": "CB SG",
    "GLN": "CB CG CD OE1 NE2",
    "GLU": "CB CG CD OE1 OE2",
    "GLY": "",
    "HIS": "CB CG ND1 CD2 CE1 NE2",
    "ILE": "CB CG1 CG2 CD1",
    "LEU": "CB CG CD1 CD2",
    "LYS": "CB CG CD CE NZ",
    "MET": "CB CG SD CE",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
    "PRO": "CB CG CD",
    "SER": "CB OG",
    "THR": "CB OG1 CG2",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
    "VAL": "CB CG1 CG2",
}
_CAPS = {"ACE": "CH3 C O", "NME": "N C"}
_ALIASES = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "HIS"),
    **dict.fromkeys(("CYX", "CYM"), "CYS"),
    "ASH": "ASP",
    "GLH": "GLU",
    "LYN": "LYS",
    "MSE": "MET",
    "NMA": "NME",
}

_ROWS = (
    [(residue, atom) for residue, atoms in _CAPS.items() for atom in atoms.split()]
    + [(r, atom) for r, side in _SIDE_CHAINS.items() for atom in ("N", "CA", "C", "O", *side.split())]
    + [("ANY", "OXT")]
)
TABLE: dict[tuple[str, str], int] = {row: number for number, row in enumerate(_ROWS)}
COUNT = len(TABLE) + 1
OTHER = COUNT - 1  # beads that stand for no single heavy atom of the table


def canonical(residue: str) -> str:
    """The residue whose rows a protonation state or a synonym shares."""
    name = residue.strip().upper()
    if len(name) == 4 and name[0] in "NC" and name[1:] in {*_SIDE_CHAINS, *_ALIASES}:
        name = name[1:]  # AMBER's names of terminal residues
    return _ALIASES.get(name, name)


def number(residue: str, atom: str) -> int:
    """The type of a bead that stands on this atom; ``OTHER`` where the table has no row."""
    residue, atom = canonical(residue), atom.strip().upper()
    if atom in ("OXT", "OT2"):
        return TABLE["ANY", "OXT"]
    if atom in ("OT1", "O1") and residue in _SIDE_CHAINS:
        atom = "O"
    if residue == "NME" and atom == "CH3":
        atom = "C"
    if residue == "ILE" and atom == "CD":
        atom = "CD1"
    return TABLE.get((residue, atom), OTHER)
