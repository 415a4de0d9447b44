"""N, CA, C, O, and the heavy side chain as one bead at its centre of mass; of the caps all heavy atoms."""

from __future__ import annotations

from typing import Any

from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups

NAME = "SC"


def build(topology: _atom_groups.Topology) -> Mapping:
    """In the order N, CA, SC, C, O; glycine has no SC. A side chain of one heavy atom (alanine) stays a CB."""

    def groups(residue: Any) -> list[_atom_groups.Group]:
        nitrogen, alpha, *carbonyl = _atom_groups.required(residue, ("N", "CA", "C", "O"))
        side = _atom_groups.side_chain(residue)
        names = [topology.atom(i).name for i in side]
        beads = [_atom_groups.Group("CB" if names == ["CB"] else NAME, side)] if side else []
        return [nitrogen, alpha, *beads, *carbonyl]

    return _atom_groups.of_residues(topology, groups)
