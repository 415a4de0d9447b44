"""Every atom but the hydrogens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgsurrogate.mapping import Mapping
from cgsurrogate.mappings import _slices

if TYPE_CHECKING:
    import mdtraj


def build(topology: mdtraj.Topology) -> Mapping:
    """All heavy atoms of every protein chain, in the order of the topology."""
    groups = [
        _slices.Group(atom.name, (atom.index,))
        for residue in _slices.protein_residues(topology)
        for atom in residue.atoms
        if not _slices.is_hydrogen(atom) and atom.element is not None and atom.element.mass > 0
    ]
    return _slices.build_mapping(topology, groups)
