"""One fixed table of bead types, by residue and heavy-atom name, so that a model trained on one sequence fits another.

The number of a type never changes: new rows are added at the end. Protonation states share the rows of their residue.
"""

from __future__ import annotations

import functools

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
CAPS = {"ACE": ("CH3", "C", "O"), "NME": ("N", "C")}  # heavy atoms
_ALIASES = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP", "HISD", "HISE", "HISH", "HISA", "HISB"), "HIS"),
    **dict.fromkeys(("CYX", "CYM", "CYS2", "CYSH", "CYS1"), "CYS"),
    **dict.fromkeys(("ASH", "ASPH", "ASPP"), "ASP"),
    **dict.fromkeys(("GLH", "GLUH", "GLUP"), "GLU"),
    **dict.fromkeys(("LYN", "LYSH", "LSN"), "LYS"),
    **dict.fromkeys(("ARN", "ARGN"), "ARG"),
    "MSE": "MET",
    "NMA": "NME",
}
_TERMINAL = {"OT1": "O", "O1": "O", "OT2": "OXT", "O2": "OXT", "OT": "OXT"}  # CHARMM's and GROMOS' oxygens

_ROWS = (
    [(residue, atom) for residue, atoms in CAPS.items() for atom in atoms]
    + [(r, atom) for r, side in _SIDE_CHAINS.items() for atom in ("N", "CA", "C", "O", *side.split())]
    + [("ANY", "OXT")]
)
TABLE: dict[tuple[str, str], int] = {row: number for number, row in enumerate(_ROWS)}
COUNT = len(TABLE) + 1
OTHER = COUNT - 1  # beads that stand for no single heavy atom of the table


@functools.lru_cache(4096)
def canonical(residue: str) -> str:
    """The residue whose rows a protonation state or a synonym shares."""
    name = residue.strip().upper()
    if len(name) == 4 and name[0] in "NC" and name[1:] in {*_SIDE_CHAINS, *_ALIASES}:
        name = name[1:]  # AMBER's names of terminal residues
    return _ALIASES.get(name, name)


@functools.lru_cache(4096)
def canonical_atom(residue: str, atom: str) -> str:
    """The name in the table of an atom that some programs call otherwise."""
    residue, atom = canonical(residue), atom.strip().upper()
    if residue not in CAPS and atom in _TERMINAL and (residue in _SIDE_CHAINS or atom.startswith("OT")):
        return _TERMINAL[atom]
    return {("NME", "CH3"): "C", ("ILE", "CD"): "CD1", ("MET", "SE"): "SD"}.get((residue, atom), atom)


def number(residue: str, atom: str) -> int:
    """The type of a bead that stands on this atom; ``OTHER`` where the table has no row."""
    name = canonical_atom(residue, atom)
    return TABLE["ANY", "OXT"] if name == "OXT" else TABLE.get((canonical(residue), name), OTHER)
