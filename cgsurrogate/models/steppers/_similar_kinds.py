"""What a stepper that meets a residue, bead or coordinate that training did not have takes in its place.

Chemistry decides: first the same beads in another residue of the same family, then beads of the same element and
hybridisation. What is taken is said; nothing is taken across elements or places along the chain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

FAMILIES = (  # from what is most alike; a residue of none is likest to alanine
    ("VAL", "ILE", "THR"),
    ("PHE", "TYR", "TRP", "HIS"),
    ("ASP", "ASN"),
    ("GLU", "GLN", "MET", "LYS", "ARG"),
    ("LEU", "MET", "NLE"),
    ("SER", "CYS", "ALA"),
)
USUAL = ("ALA", "SER", "LEU")
BEAD = re.compile(r"([^\[\]']+)(\[[+-]\d+\])?('?)$")


def residue(name: str, known: Sequence[str]) -> str | None:
    """The known residue that is most like this one; None where none is known."""
    return min(known, key=lambda other: (_unlike(name, other), other), default=None)


def bead(name: str, known: Sequence[str]) -> str | None:
    """A known bead of the same element and hybridisation; None where there is none."""
    return next((other for other in known if _atom(other) == _atom(name)), None)


def kind(name: str, known: Sequence[str]) -> str | None:
    """The known kind of coordinate, ``RESIDUE BEAD-BEAD...``, that is most like this one; None where none is."""
    own, _, slot = name.partition(" ")
    found = []
    for other in known:
        theirs, _, their_slot = other.partition(" ")
        level = _level(slot, their_slot)
        if level is not None:
            found.append((level, _unlike(own, theirs), other))
    return min(found)[2] if found else None


def _level(slot: str, other: str) -> int | None:
    """0 for the same beads; 1 where a proline is beside one of the two only; 2 for beads of the same elements."""
    if slot == other:
        return 0
    if slot.replace("'", "") == other.replace("'", ""):
        return 1
    return 2 if _elements(slot) == _elements(other) else None


def _elements(slot: str) -> list[tuple[str, str]]:
    found = []
    for text in slot.partition("#")[0].replace("[-", "[~").split("-"):
        match = BEAD.match(text.replace("~", "-"))
        found.append((_atom(match[1]), match[2] or "") if match else (text, ""))
    return found


def _atom(name: str) -> str:
    """Its element, and whether a carbon is that of a carbonyl.

    >>> _atom("OXT"), _atom("CG2"), _atom("C")
    ('O', 'CX', 'C')
    """
    if name == "C":
        return "C"
    return "CX" if name.startswith("C") else name[:1]


def _unlike(name: str, other: str) -> int:
    """Small for residues that are alike."""
    if name == other:
        return 0
    if any(name in family and other in family for family in FAMILIES):
        return 1
    if other in USUAL:
        return 2 + USUAL.index(other)
    return 9 if other in ("GLY", "PRO", "ACE", "NME") else 6
