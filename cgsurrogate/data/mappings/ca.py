"""One bead a residue, at its alpha carbon; caps have none."""

from __future__ import annotations

from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups


def build(topology: _atom_groups.Topology) -> Mapping:
    """CA of every residue of every protein chain."""
    residues = [residue for residue in _atom_groups.protein_residues(topology) if not _atom_groups.is_cap(residue)]
    return _atom_groups.build_mapping(
        topology, [group for r in residues for group in _atom_groups.required(r, ("CA",))]
    )
