"""Fraction of native contacts Q, a smooth count of the contacts of one structure (Best, Hummer and Eaton 2013)."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs._base import OfPositions, TooSmall
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.superposition import target

SEPARATION = 3  # residues; contacts lie further apart than this
CA, HEAVY = (0.8, 1.2), (0.45, 1.8)  # cutoff in nm and stretch: of CA models, and of all heavy atoms as published


def build(
    reference: Frames,
    to: str | int | np.ndarray = "medoid",
    atoms: str = "auto",
    cutoff: float | None = None,
    stretch: float | None = None,
    beta: float = 50.0,
) -> OfPositions:
    """Q = mean over native contacts of 1 / (1 + exp(beta (r - stretch r0))), from 0 to 1.

    A native contact is a pair of beads, more than three residues apart, within ``cutoff`` in the native structure.

    Args:
        to: the native structure, as for RMSD: "medoid", "first", a frame number, a path, or (N, 3) nm.
        atoms: "ca", "all", or "auto": all beads where side chains are there, else CA.
        cutoff: nm; 0.8 for CA, 0.45 for all beads.
        stretch: lambda, how far a contact may stretch; 1.2 for CA, 1.8 for all beads.
        beta: 1/nm, how sharp a contact ends.
    """
    beads = reference.beads
    if atoms not in ("auto", "ca", "all"):
        raise ValueError(f"expected the atoms of native contacts to be auto, ca or all, got {atoms!r}")
    whole = atoms == "all" or (atoms == "auto" and measures.side_chains(beads))
    chosen = np.arange(len(beads)) if whole else measures.calphas(beads)
    usual = HEAVY if whole else CA
    cutoff, stretch = cutoff or usual[0], stretch or usual[1]
    apart = measures.separated(beads, chosen, SEPARATION + 1)
    if not len(apart):
        raise TooSmall("native contacts need beads more than three residues apart; leave this collective variable out")
    native, what = target(reference, np.arange(len(beads)), to) if whole else _among(reference, chosen, to)
    length = np.linalg.norm(native[apart[:, 1]] - native[apart[:, 0]], axis=-1)
    near = length <= cutoff
    if not near.any():
        raise TooSmall(
            f"no native contact: no beads more than three residues apart lie within {cutoff:g} nm in {what};"
            " name a folded structure (to=FILE), or leave this collective variable out"
        )
    pairs, ends = apart[near], stretch * length[near]
    return OfPositions(
        "native_contacts",
        ("native contacts",),
        lambda x: measures.switched(measures.distances(x, pairs), ends, beta).mean(1),
        width=6 * len(ends),
        notes=(f"{len(pairs)} native contacts of {what}, within {cutoff:g} nm",),
    )


def _among(reference: Frames, chosen: np.ndarray, to: str | int | np.ndarray) -> tuple[np.ndarray, str]:
    """((N, 3) nm, nan where a bead is not chosen; what it is in words)."""
    native = np.full((len(reference.beads), 3), np.nan)
    native[chosen], what = target(reference, chosen, to)
    return native, what
