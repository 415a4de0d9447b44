"""Your own beads, from a small text file.

One bead a line, ``name = selection`` in the selection language of mdtraj, applied to the whole molecule; a selection of
several atoms becomes one bead at their centre of mass. ``each name = selection`` makes one bead in every residue that
the selection touches. What follows a ``#`` is a comment::

    # two beads a residue
    each CA = name CA
    each SC = sidechain and not element H
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from cgsurrogate.core import filesystem
from cgsurrogate.data.mapping import Mapping, selected
from cgsurrogate.data.mappings import _atom_groups

_LINE = re.compile(r"(?:(?P<each>each)\s+)?(?P<name>[\w'*+-]+)\s*=(?!=)\s*(?P<selection>\S.*)")


def build(topology: _atom_groups.Topology, file: str | Path = "") -> Mapping:
    """Beads as the file says, sorted by the residue of their first atom.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line that cannot be read, named by its number; a selection without an atom of a protein.
    """
    if not str(file):
        raise ValueError("the mapping 'custom' needs a file of selections; give it as custom:file=beads.txt")
    path = filesystem.existing(file, "a file of selections")
    inside = {atom.index for residue in _atom_groups.protein_residues(topology) for atom in residue.atoms}
    try:
        with path.open() as handle:  # what is no text is noticed before much is read
            lines = list(handle)
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file; write one line a bead: name = selection") from None
    groups: list[_atom_groups.Group] = []
    seen: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            for group in _groups(topology, text, inside):
                for atom in group.atoms:
                    if atom in seen:
                        raise ValueError(f"atom {topology.atom(atom)} is already in the bead of line {seen[atom]}")
                    seen[atom] = number
                groups.append(group)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    if not groups:
        raise ValueError(f"{path} holds no bead; write one line a bead: name = selection")
    return _atom_groups.build_mapping(topology, groups)


def _groups(topology: _atom_groups.Topology, text: str, inside: set[int]) -> list[_atom_groups.Group]:
    match = _LINE.fullmatch(text)
    if not match:
        raise ValueError(f"expected name = selection, got {text[:100]!r}")
    chosen = [i for i in selected(topology, match["selection"]) if i in inside]
    if not chosen:
        raise ValueError(f"{match['selection']!r} selects no atom of the protein; check names against the topology")
    if not match["each"]:
        _warn_if_wide(topology, match, chosen)
        return [_atom_groups.Group(match["name"], tuple(chosen))]
    residues: dict[int, list[int]] = {}
    for i in chosen:
        residues.setdefault(topology.atom(i).residue.index, []).append(i)
    return [_atom_groups.Group(match["name"], tuple(atoms)) for atoms in residues.values()]


def _warn_if_wide(topology: _atom_groups.Topology, match: re.Match[str], chosen: list[int]) -> None:
    """One bead of atoms of several residues is rarely meant."""
    residues = {topology.atom(i).residue.index for i in chosen}
    if len(residues) > 1:
        name, selection = match["name"], match["selection"]
        warnings.warn(
            f"{name} = {selection} makes one bead of {len(chosen)} atoms in {len(residues)} residues, at their centre "
            f"of mass; for one bead in every residue write: each {name} = {selection}",
            stacklevel=4,
        )
