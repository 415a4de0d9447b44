"""One bead a residue, at its alpha carbon; caps have none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cgsurrogate.mapping import Mapping
from cgsurrogate.mappings import _slices

if TYPE_CHECKING:
    import mdtraj


def build(topology: mdtraj.Topology) -> Mapping:
    """CA of every residue of every protein chain."""
    residues = [residue for residue in _slices.protein_residues(topology) if not _slices.is_cap(residue)]
    return _slices.build_mapping(topology, [group for r in residues for group in _slices.required(r, ("CA",))])
