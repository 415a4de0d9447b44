"""What a topology holds, in words, and what is missing in it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cgsurrogate.data.mappings import _atom_groups

WATER = ("HOH", "WAT", "TIP3", "SOL", "TIP", "H2O")
BACKBONE = ("N", "CA", "C", "O")
NAMED = 6  # kinds of residues that are named


def facts(topology: Any) -> tuple[str, ...]:
    """Atoms, residues, chains with their ends, and what is no protein; of an mdtraj topology."""
    protein = _atom_groups.protein_residues(topology)
    inside = {residue.index for residue in protein}
    others = Counter(
        "water" if residue.name in WATER else residue.name
        for residue in topology.residues
        if residue.index not in inside
    )
    ends: dict[int, tuple[Any, Any]] = {}
    for residue in protein:
        first, _ = ends.get(residue.chain.index, (residue, residue))
        ends[residue.chain.index] = (first, residue)
    atoms = sum(residue.n_atoms for residue in protein)
    heavy = sum(not _atom_groups.is_hydrogen(atom) for residue in protein for atom in residue.atoms)
    chains = ", ".join(f"{first} to {last}" for first, last in ends.values())
    lines = [
        f"{topology.n_atoms:,} atoms in {topology.n_residues:,} residues",
        f"protein: {len(protein)} residues, {atoms:,} atoms ({heavy:,} heavy) in {len(ends)} chain(s): {chains}",
    ]
    if others:
        named = ", ".join(f"{count:,} {name}" for name, count in others.most_common(NAMED))
        more = f" and {len(others) - NAMED} other kinds" if len(others) > NAMED else ""
        lines.append(f"no protein, left out unless a custom mapping names it: {named}{more}")
    return tuple(lines)


def faults(topology: Any) -> tuple[str, ...]:
    """Backbone atoms that residues lack."""
    lacking = []
    for residue in _atom_groups.protein_residues(topology):
        names = {atom.name for atom in residue.atoms}
        missing = [
            name for name in BACKBONE if name not in names and not (name == "O" and names & {"OT1", "O1", "OXT"})
        ]
        if missing and not _atom_groups.is_cap(residue):
            lacking.append(f"{residue} has no {', '.join(missing)}")
    return tuple(lacking)
