"""A backbone bead and up to five side-chain beads a residue at centres of mass, after Martini; a cap is one bead.

Only which atoms make a bead is Martini's (``martini.txt`` beside this file says it, with its sources); energies and
bead types are learned here as for all beads.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from cgsurrogate.core import bead_types
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups

BACKBONE, SIDE = "BB", "SC"
MOST = 4  # heavy atoms in a bead of a residue that the table does not have


def build(topology: _atom_groups.Topology) -> Mapping:
    """BB (N, CA, C, O, and a terminal OXT), then SC1, SC2, ... of every residue of every protein chain.

    The side chain of a residue that is not in the table is cut into beads of at most four heavy atoms, from CA on.
    """
    bonded = _atom_groups.neighbours(topology)
    groups = [g for residue in _atom_groups.protein_residues(topology) for g in _groups(residue, bonded)]
    return _atom_groups.build_mapping(topology, groups)


def _groups(residue: Any, bonded: list[list[int]]) -> list[_atom_groups.Group]:
    present, name = _atom_groups.by_name(residue), bead_types.canonical(residue.name)
    if _atom_groups.is_cap(residue):
        heavy = _atom_groups.required(residue, bead_types.CAPS[name])
        return [_atom_groups.Group(BACKBONE, tuple(i for group in heavy for i in group.atoms), "C")]
    chain = [g.atoms[0] for g in _atom_groups.required(residue, ("N", "CA", "C", "O"))]
    chain += [present["OXT"]] if "OXT" in present else []
    beads = [_atom_groups.Group(BACKBONE, tuple(chain), "CA")]
    side = _atom_groups.side_chain(residue)
    if name not in table():
        ordered = _outwards(present["CA"], side, bonded)
        cut = [ordered[k : k + MOST] for k in range(0, len(ordered), MOST)]
        return beads + [_atom_groups.Group(f"{SIDE}{k}", atoms) for k, atoms in enumerate(cut, 1)]
    rows, left = table()[name], set(side)
    for number, names in enumerate(rows, 1):
        atoms = tuple(g.atoms[0] for g in _atom_groups.required(residue, names))
        left -= set(atoms)
        beads.append(_atom_groups.Group(f"{SIDE}{number}", atoms, names[0]))
    if left:  # an atom that was added to a usual residue
        last = beads.pop()
        beads.append(_atom_groups.Group(last.name, (*last.atoms, *sorted(left)), last.like))
    return beads


def _outwards(start: int, atoms: tuple[int, ...], bonded: list[list[int]]) -> tuple[int, ...]:
    """The atoms by their number of bonds from ``start``; those that no bond reaches come last."""
    inside, order = set(atoms), [start]
    for atom in order:
        order += [n for n in bonded[atom] if n in inside and n not in order]
    return tuple(order[1:]) + tuple(i for i in atoms if i not in order)


@functools.lru_cache(maxsize=1)
def table() -> dict[str, tuple[tuple[str, ...], ...]]:
    """Atom names of each side-chain bead by residue; none for glycine."""
    lines = Path(__file__).with_suffix(".txt").read_text().splitlines()
    rows = [line.split() for line in lines if line and not line.startswith("#")]
    return {name: tuple(tuple(bead.split("+")) for bead in beads) for name, *beads in rows}
