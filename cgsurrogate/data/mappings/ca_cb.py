"""Two beads a residue, at CA and CB (glycine has only CA); caps have none."""

from __future__ import annotations

from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups


def build(topology: _atom_groups.Topology) -> Mapping:
    """CA, and CB where there is one, of every residue of every protein chain."""
    groups = []
    for residue in _atom_groups.protein_residues(topology):
        if not _atom_groups.is_cap(residue):
            side = ("CB",) if "CB" in _atom_groups.by_name(residue) else ()
            groups += _atom_groups.required(residue, ("CA", *side))
    return _atom_groups.build_mapping(topology, groups)
