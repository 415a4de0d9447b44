"""N, CA, C, O, and CB where there is one; of the caps all heavy atoms. A terminal OXT is left out."""

from __future__ import annotations

from cgsurrogate.core import bead_types
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups

NAMES = ("N", "CA", "C", "O")


def build(topology: _atom_groups.Topology) -> Mapping:
    """Backbone and CB of every residue of every protein chain, in the order N, CA, CB, C, O."""
    topology = _atom_groups.carbonyls_first(topology)
    groups = []
    for residue in _atom_groups.protein_residues(topology):
        if _atom_groups.is_cap(residue):
            groups += _atom_groups.required(residue, bead_types.CAPS[bead_types.canonical(residue.name)])
        else:
            side = ("CB",) if "CB" in _atom_groups.by_name(residue) else ()
            groups += _atom_groups.required(residue, (*NAMES[:2], *side, *NAMES[2:]))
    return _atom_groups.build_mapping(topology, groups)
