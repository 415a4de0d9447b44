"""N, CA, C, O, and CB where there is one; of the caps all heavy atoms. A terminal OXT is left out."""

from __future__ import annotations

from typing import Any

from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups

NAMES = ("N", "CA", "C", "O")


def build(topology: _atom_groups.Topology) -> Mapping:
    """Backbone and CB of every residue of every protein chain, in the order N, CA, CB, C, O."""

    def groups(residue: Any) -> list[_atom_groups.Group]:
        side = ("CB",) if "CB" in _atom_groups.by_name(residue) else ()
        return _atom_groups.required(residue, (*NAMES[:2], *side, *NAMES[2:]))

    return _atom_groups.of_residues(topology, groups)
