"""N, CA, C, O, and CB where there is one; of the caps all heavy atoms. A terminal OXT is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgsurrogate import beadtypes
from cgsurrogate.mapping import Mapping
from cgsurrogate.mappings import _slices

if TYPE_CHECKING:
    import mdtraj

NAMES = ("N", "CA", "C", "O")


def build(topology: mdtraj.Topology) -> Mapping:
    """Backbone and CB of every residue of every protein chain, in the order N, CA, CB, C, O."""
    groups = []
    for residue in _slices.protein_residues(topology):
        if _slices.is_cap(residue):
            groups += _slices.required(residue, _slices.CAPS[beadtypes.canonical(residue.name)])
        else:
            side = ("CB",) if "CB" in _slices.by_name(residue) else ()
            groups += _slices.required(residue, (*NAMES[:2], *side, *NAMES[2:]))
    return _slices.build_mapping(topology, groups)
