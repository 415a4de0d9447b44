"""Distances, angles and dihedrals of many frames, in chunks so that memory-mapped frames never fill the memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from cgsurrogate.core import disk_arrays
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.molecule import Molecule

CHUNK = 1 << 21  # numbers of one chunk of positions
RESIDUE_CENTRES = ("CA", "BB")  # beads of which every residue has one


def chunks(frames: Frames, width: int = 0) -> Iterator[slice]:
    """Slices over the frames; ``width`` is the count of numbers that the caller makes of one frame."""
    step = max(1, CHUNK // max(3 * len(frames.beads), width, 1))
    for start in range(0, len(frames), step):
        yield slice(start, min(start + step, len(frames)))
        frames.release()


def evaluate(frames: Frames, columns: int, function: Callable[[np.ndarray], np.ndarray], width: int = 0) -> np.ndarray:
    """``function`` of (t, N, 3) nm in float64 over all frames -> (T, columns) float32; ``width`` as in ``chunks``."""
    values = disk_arrays.empty((len(frames), columns))
    for part in chunks(frames, max(columns, width)):
        values[part] = function(np.asarray(frames.positions[part], np.float64)).reshape(-1, columns)
    return values


def distances(x: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(t, N, 3) nm and (P, 2) indices -> (t, P) nm, in memory pair by pair."""
    squares = np.zeros((len(pairs), len(x)), x.dtype)
    for coordinate in np.ascontiguousarray(x.transpose(2, 1, 0)):  # (N, t): a row is moved at once
        between = coordinate[pairs[:, 1]] - coordinate[pairs[:, 0]]
        squares += np.multiply(between, between, out=between)
    return np.asarray(np.sqrt(squares, out=squares).T)


def angles(x: np.ndarray, triples: np.ndarray) -> np.ndarray:
    """(t, N, 3) nm and (P, 3) indices, the corner in the middle -> (t, P) radians."""
    a = x[:, triples[:, 0]] - x[:, triples[:, 1]]
    b = x[:, triples[:, 2]] - x[:, triples[:, 1]]
    return np.asarray(np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.sum(a * b, -1)))


def dihedrals(x: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """(t, N, 3) nm and (P, 4) indices -> (t, P) radians in (-pi, pi], IUPAC sign (positive: clockwise)."""
    b0, b1, b2 = (x[:, quads[:, k + 1]] - x[:, quads[:, k]] for k in range(3))
    n1, n2 = np.cross(b0, b1), np.cross(b1, b2)
    sine = np.sum(b0 * n2, -1) * np.linalg.norm(b1, axis=-1)
    return np.asarray(np.arctan2(sine, np.sum(n1 * n2, -1)))


def calphas(beads: Beads) -> np.ndarray:
    """Indices of the CA beads, else of the backbone beads BB, or of all beads where there are not two of either."""
    for wanted in RESIDUE_CENTRES:
        found = np.array([i for i, name in enumerate(beads.names) if name == wanted], int)
        if len(found) > 1:
            return found
    return np.arange(len(beads))


def side_chains(beads: Beads) -> bool:
    """Whether the beads are heavy atoms with side chains: N, CA, C and something beyond CB."""
    names = set(beads.names)
    return {"N", "CA", "C"} <= names and bool(names - {"N", "CA", "C", "O", "CB", "OXT", "CH3"})


def separated(beads: Beads, chosen: np.ndarray, apart: int) -> np.ndarray:
    """(P, 2) pairs of chosen beads whose residues lie at least ``apart`` apart.

    Where the beads have neither CA nor BB, neighbours among the chosen count as residues.
    """
    known = any(name in beads.names for name in RESIDUE_CENTRES)
    place = np.array(beads.residues)[chosen] if known else np.arange(len(chosen))
    first, second = np.nonzero(place[None, :] - place[:, None] >= apart)
    return np.stack([chosen[first], chosen[second]], 1).astype(int)


def switched(r: np.ndarray, end: np.ndarray | float, beta: float) -> np.ndarray:
    """1 / (1 + exp(beta (r - end))): 1 well inside, 0 well outside; never overflows."""
    return (1 - np.tanh(beta / 2 * (r - end))) / 2


def chain(beads: Beads) -> list[np.ndarray]:
    """The beads of ``calphas`` cut into stretches without a break.

    Neighbours belong together when their residues are neighbours and, where the beads name bonds, when those join them.
    """
    chosen = calphas(beads)
    part = Molecule.of(beads).parts if beads.bonds else np.zeros(len(beads), int)
    if len(chosen) == len(beads) and not set(beads.names) <= set(RESIDUE_CENTRES):
        linked = [part[a] == part[b] for a, b in itertools.pairwise(chosen)]
    else:
        linked = [
            beads.residues[b] - beads.residues[a] == 1 and part[a] == part[b] for a, b in itertools.pairwise(chosen)
        ]
    cuts = [k + 1 for k, joined in enumerate(linked) if not joined]
    return np.split(chosen, cuts)


def backbone_torsions(beads: Beads) -> dict[tuple[str, int], tuple[int, int, int, int]]:
    """{("phi" or "psi", residue index): four beads}, for residues whose N, CA, C and neighbours are there."""
    at = {(r, n): i for i, (r, n) in enumerate(zip(beads.residues, beads.names, strict=True))}
    bonds = set(beads.bonds)

    def joined(i: int | None, j: int | None) -> bool:
        return i is not None and j is not None and (not bonds or (min(i, j), max(i, j)) in bonds)

    found: dict[tuple[str, int], tuple[int, int, int, int]] = {}
    for residue in sorted(set(beads.residues)):
        own = [at.get((residue, name)) for name in ("N", "CA", "C")]
        if any(i is None for i in own):
            continue
        before, after = at.get((residue - 1, "C")), at.get((residue + 1, "N"))
        if joined(before, own[0]):
            found["phi", residue] = (before, *own)  # type: ignore[assignment]
        if joined(own[2], after):
            found["psi", residue] = (*own, after)  # type: ignore[assignment]
    return found


def torsion_quads(beads: Beads) -> tuple[tuple[str, ...], np.ndarray, tuple[tuple[int, int], ...]]:
    """(labels, (Q, 4) beads, pairs of columns for surfaces): phi and psi, or pseudo-dihedrals of the chain of CA or BB.

    Residues count from 1, caps included, as in a PDB file that starts at 1.
    """
    backbone = backbone_torsions(beads)
    if backbone:
        keys = sorted(backbone, key=lambda k: (k[1], k[0]))
        column = {key: k for k, key in enumerate(keys)}
        pairs = tuple((column[kind, r], column["psi", r]) for kind, r in keys if kind == "phi" and ("psi", r) in column)
        return tuple(f"{kind} {r + 1}" for kind, r in keys), np.array([backbone[k] for k in keys]), pairs
    labels, pairs_list = [], []
    quads: list[np.ndarray] = []
    for stretch in chain(beads):
        for k in range(len(stretch) - 3):
            if k:
                pairs_list.append((len(quads) - 1, len(quads)))
            name, place = beads.names[stretch[k]], beads.residues[stretch[k + 1]] + 1
            labels.append(f"{name} torsion {place}" if name in RESIDUE_CENTRES else f"torsion {len(quads) + 1}")
            quads.append(stretch[k : k + 4])
    return tuple(labels), np.array(quads, int).reshape(-1, 4), tuple(pairs_list)
