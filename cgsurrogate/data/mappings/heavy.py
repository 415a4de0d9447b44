"""Every atom but the hydrogens."""

from __future__ import annotations

from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups


def build(topology: _atom_groups.Topology) -> Mapping:
    """All heavy atoms of every protein chain, in the order of the topology."""
    topology = _atom_groups.carbonyls_first(topology)
    groups = [
        _atom_groups.Group(atom.name, (atom.index,))
        for residue in _atom_groups.protein_residues(topology)
        for atom in residue.atoms
        if _atom_groups.is_heavy(atom)
    ]
    return _atom_groups.build_mapping(topology, groups)
