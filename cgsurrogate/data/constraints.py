"""Bonds that a simulation held rigid: the forces that do so are in no array of forces.

A force map stays exact where it moves the atoms of a rigid bond together (Ciccotti, Kapral and Vanden-Eijnden 2005).
Every mapping does so with bonds to hydrogen. Rigid bonds between heavy atoms are found in the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cgsurrogate.data.formats.sources import Reader, Source
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups
from cgsurrogate.geometry import measures

FRAMES = 64  # that are looked at
FEWEST = 8
RIGID = 8e-4  # nm; rounding to 0.001 nm moves a bond by 0.0005, heat at 300 K by 0.002 or more


def violated(
    reader: Reader, structure: Any, mapping: Mapping, runs: list[Source], windows: list[range]
) -> tuple[str, ...]:
    """Rigid bonds between heavy atoms that the force map does not move together, "ALA1-N ALA1-CA"; none is usual."""
    heavy = np.array([not _atom_groups.is_hydrogen(atom) for atom in structure.atoms])
    pairs = [(a, b) for a, b in _atom_groups.bonds(structure).tolist() if heavy[a] and heavy[b]]
    moved = mapping.force_weights.tocsc()
    pairs = [(a, b) for a, b in pairs if (moved[:, [a]] != moved[:, [b]]).nnz]
    run, window = max(zip(runs, windows, strict=True), key=lambda one: len(one[1]))
    chosen = window[:: max(1, len(window) // FRAMES)]
    if not pairs or len(chosen) < FEWEST:
        return ()
    atoms = np.unique(pairs)
    xyz = np.concatenate([block for block, _ in reader.blocks(run, atoms, chosen)]).astype(float)
    first, second = np.searchsorted(atoms, pairs).T
    spread = measures.distances(xyz, np.stack([first, second], 1)).std(0)
    return tuple(
        f"{structure.atom(a)} {structure.atom(b)}" for (a, b), s in zip(pairs, spread, strict=True) if s < RIGID
    )


def words(rigid: tuple[str, ...]) -> str:
    """What that means for the forces."""
    more = f" and {len(rigid) - 1} more" if len(rigid) > 1 else ""
    return (
        f"the simulation held bonds between heavy atoms rigid ({rigid[0]}{more}), whose constraint forces are missing, "
        "so that forces on these beads cannot be known"
    )
