"""What of a topology is mapped and what is left out, in words for the person who gives it."""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any

import numpy as np

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups
from cgsurrogate.geometry import bond_graph

WATER = {"HOH", "WAT", "SOL", "TIP", "TIP3", "TIP4", "TP3", "TP4", "SPC", "H2O", "DOD", "T3P", "T4P"}
D_NAMES = {  # of the PDB's chemical components
    *("DAL", "DAR", "DSG", "DAS", "DCY", "DGN", "DGL", "DHI", "DIL", "DLE"),
    *("DLY", "MED", "DPN", "DPR", "DSN", "DTH", "DTR", "DTY", "DVA"),
}
MOST = 6  # names in a list
MOST_BONDS = {"H": 1, "C": 4, "N": 4, "O": 3}


def words(topology: Any, mapping: Mapping) -> tuple[str, ...]:
    """The first line counts what is mapped and what is left out; the others name what is unusual."""
    mapped = {topology.atom(int(i)).residue.index for i in np.flatnonzero(mapping.used)}
    bonded = _atom_groups.neighbours(topology)
    chains = [kept for chain in topology.chains if (kept := [r for r in chain.residues if r.index in mapped])]
    ends = [f"{_start(kept[0], bonded)} to {_end(kept[-1], bonded)}" for kept in chains]
    left = left_out(residue for residue in topology.residues if residue.index not in mapped)
    first = (
        f"mapped: {_count(len(mapped), 'residue')} in {_count(len(chains), 'chain')} ({_few(ends)}) to "
        f"{len(mapping.beads)} beads; left out: {left or 'no residue'}"
    )
    residues = [residue for kept in chains for residue in kept]
    return (
        first,
        *_apart(mapping),
        *_rings(mapping.beads),
        *_unusual(residues),
        *_incomplete(residues),
        *_overbonded(residues, bonded),
        *_lonely(residues, bonded),
        *_disulfides(topology, mapping),
    )


def left_out(residues: Iterable[Any]) -> str:
    """``1,204 water, 3 ions (2 NA, 1 CL), 1 ligand (LIG)``."""
    kinds: dict[str, collections.Counter[str]] = {
        kind: collections.Counter() for kind in ("water", "ion", "cap", "other residue or ligand")
    }
    for residue in residues:
        name, count = residue.name.strip().upper(), residue.n_atoms
        if name in WATER:
            kind = "water"
        elif _atom_groups.is_cap(residue):
            kind = "cap"
        else:
            kind = "ion" if count == 1 else "other residue or ligand"
        kinds[kind][name] += 1
    parts = []
    for kind, names in kinds.items():
        if names and kind == "water":
            parts.append(f"{names.total():,} water")
        elif names:
            listed = _few([f"{count:,} {name}" for name, count in names.most_common()])
            plural = "other residues or ligands" if kind.startswith("other") else f"{kind}s"
            parts.append(f"{names.total():,} {kind if names.total() == 1 else plural} ({listed})")
    return ", ".join(parts)


def mirrored(frames: Frames) -> tuple[int, ...]:
    """Residues, from 0, whose CB stands as in a D amino acid in most of some frames; N, CA, CB and C must be beads.

    (N - CA) x (C - CA) . (CB - CA) is positive in an L amino acid.
    """
    beads, found = frames.beads, []
    at = {(r, n): i for i, (r, n) in enumerate(zip(beads.residues, beads.names, strict=True))}
    some = np.linspace(0, len(frames) - 1, min(len(frames), 20)).astype(int)
    for residue in sorted(set(beads.residues)):
        rows = [at.get((residue, name)) for name in ("CA", "N", "C", "CB")]
        if None not in rows:
            x = np.asarray(frames.positions[some][:, rows], float)
            n, c, cb = (x[:, k] - x[:, 0] for k in (1, 2, 3))
            if np.median(np.einsum("ti,ti->t", np.cross(n, c), cb)) < 0:
                found.append(residue)
    return tuple(found)


def mirror_words(frames: Frames) -> tuple[str, ...]:
    """A line where residues are D amino acids by their coordinates."""
    found = mirrored(frames)
    if not found:
        return ()
    names = dict(zip(frames.beads.residues, frames.beads.residue_names, strict=True))
    listed = _few([f"{names[r]} {r + 1}" for r in found])
    return (
        f"D amino acids by their coordinates: {listed} (counted over the mapped residues); they keep their hand, but "
        "a network that learned from L residues knows nothing of them",
    )


def _apart(mapping: Mapping) -> list[str]:
    """Parts of the molecule that no path of bonds joins."""
    parts = len(bond_graph.parts(bond_graph.adjacency(len(mapping.beads), mapping.beads.bonds)))
    if parts == 1:
        return []
    return [
        f"{parts} parts without a bond to each other: only a network holds them together in a force field, and a "
        "time-stepper draws their distance anew in every jump, so binding and unbinding have no kinetics"
    ]


def _rings(beads: Beads) -> list[str]:
    """Residues whose beads are bonded to a ring: as many bonds inside as beads, or more.

    Not a single triangle, as N, CA and CB of proline: two bonds and the angle between them hold its third.
    """
    bonds = [(i, j) for i, j in beads.bonds if beads.residues[i] == beads.residues[j]]
    inside = collections.Counter(beads.residues[i] for i, _ in bonds)
    adjacent = [set(found) for found in bond_graph.adjacency(len(beads), bonds)]
    in_triangle = {beads.residues[i] for i, j in bonds if adjacent[i] & adjacent[j]}
    count, names = collections.Counter(beads.residues), dict(zip(beads.residues, beads.residue_names, strict=True))
    found = [f"{names[r]} {r + 1}" for r in count if inside[r] >= count[r] + (r in in_triangle)]
    if not found:
        return []
    return [
        f"rings of beads in {_few(found)} (counted over the mapped residues): a time-stepper, built on a tree of "
        "bonds, does not hold the closing ones; use its force field, or a mapping without rings"
    ]


def _unusual(residues: list[Any]) -> list[str]:
    known = {residue for residue, _ in bead_types.TABLE}
    mirror = [str(r) for r in residues if r.name.strip().upper() in D_NAMES]
    strange = [str(r) for r in residues if bead_types.canonical(r.name) not in known and str(r) not in mirror]
    lines = []
    if mirror:
        lines.append(f"D amino acids: {_few(mirror)}; mapped as they stand, and all of one type for a network")
    if strange:
        lines.append(
            f"residues without a type of their own: {_few(strange)}; priors tell them apart by name, but networks take "
            "all of them for one type, so a model of them does not carry over to other molecules"
        )
    return lines


def _incomplete(residues: list[Any]) -> list[str]:
    """Residues of a known name whose heavy atoms are not those of that name, as where a file of text is damaged."""
    rows: dict[str, set[str]] = {}
    for residue, name in bead_types.TABLE:
        rows.setdefault(residue, set()).add(name)
    missing, strange, other = list[str](), list[str](), list[str]()
    for residue in residues:
        expected = rows.get(bead_types.canonical(residue.name), set())
        named = {bead_types.canonical_atom(residue.name, a.name): a for a in residue.atoms}
        heavy = {name: a for name, a in named.items() if not _atom_groups.is_hydrogen(a)}
        if expected:
            missing += [f"{residue}-{name}" for name in sorted(expected - heavy.keys())]
            strange += [str(atom) for name, atom in heavy.items() if name not in expected | {"OXT"}]
            other += [
                f"{atom} is {atom.element.symbol if atom.element else 'unknown'}"
                for name, atom in heavy.items()
                if name in expected and (atom.element is None or atom.element.symbol[0] != name[0])
            ]
    lines = [(missing, "atoms that are missing"), (strange, "atoms of other names than the residue has")]
    lines += [(other, "atoms whose element is not that of their name")]
    return [f"{what}: {_few(found)}; check the topology" for found, what in lines if found]


def _overbonded(residues: list[Any], bonded: list[list[int]]) -> list[str]:
    """Atoms with more bonds than they can have."""
    atoms = [atom for residue in residues for atom in residue.atoms if atom.element is not None]
    found = [str(a) for a in atoms if len(set(bonded[a.index])) > MOST_BONDS.get(a.element.symbol, 99)]
    return [f"atoms with more bonds than their element has: {_few(found)}; check the topology"] if found else []


def _lonely(residues: list[Any], bonded: list[list[int]]) -> list[str]:
    """Atoms to which the topology gives no bond: forces on them are counted nowhere."""
    found = [str(a) for residue in residues for a in residue.atoms if not bonded[a.index] and residue.n_atoms > 1]
    if not found:
        return []
    return [
        f"atoms without a bond in the topology: {_few(found)}; forces on them count for no bead; add CONECT records"
    ]


def _disulfides(topology: Any, mapping: Mapping) -> list[str]:
    """Where two SG are bonded: whether beads hold the bridge, and what a ring of bonds means."""
    bridges = [
        (a.residue, b.residue) for a, b in topology.bonds if a.name == b.name == "SG" and a.residue is not b.residue
    ]
    if not bridges:
        return []
    bead = {residue: rank for rank, residue in enumerate(_mapped_residues(topology, mapping))}
    beads = mapping.beads
    held = {tuple(sorted((beads.residues[i], beads.residues[j]))): (i, j) for i, j in beads.bonds}
    found = [held.get(tuple(sorted((bead.get(a.index, -1), bead.get(b.index, -1))))) for a, b in bridges]
    bonds = [bond for bond in found if bond is not None]
    names = _few([f"{a}-{b}" for a, b in bridges])
    if len(bonds) == len(bridges) and not any(_in_ring(beads, *bond) for bond in bonds):
        return [f"disulfide {names}: held by a bond of beads that joins two chains, as any other bond"]
    if len(bonds) == len(bridges):
        return [
            f"disulfide {names}: held by a bond of beads, which closes a ring; a force field keeps it, Monte Carlo "
            "moves leave the ring as it is, and a time-stepper, built on a tree of bonds, does not hold the closing one"
        ]
    return [f"disulfide {names}: no bond of beads holds it in this mapping; only a network can keep it closed"]


def _in_ring(beads: Beads, i: int, j: int) -> bool:
    """Whether a path leads from bead i to bead j beside their bond."""
    others = [bond for bond in beads.bonds if set(bond) != {i, j}]
    return j in bond_graph.walk(bond_graph.adjacency(len(beads), others), i)


def _mapped_residues(topology: Any, mapping: Mapping) -> list[int]:
    """Topology indices of the mapped residues in the order of ``Beads.residues``."""
    first = [row.indices.min() for row in mapping.weights]
    return sorted({topology.atom(int(i)).residue.index for i in first})


def _start(residue: Any, bonded: list[list[int]]) -> str:
    """``ACE``, or how the free N-terminus is."""
    nitrogen = next((atom for atom in residue.atoms if atom.name == "N"), None)
    if _atom_groups.is_cap(residue) or nitrogen is None:
        return str(residue.name)
    own = {atom.index for atom in residue.atoms}
    others = [i for i in bonded[nitrogen.index] if i not in own]
    hydrogens = _hydrogens(residue, nitrogen, bonded)
    if others or not hydrogens:
        return f"{residue}"
    full = 2 if residue.name == "PRO" else 3
    return f"{residue} (free, {'charged' if hydrogens >= full else 'neutral'})"


def _end(residue: Any, bonded: list[list[int]]) -> str:
    """``NME``, or how the free C-terminus is."""
    names = {bead_types.canonical_atom(residue.name, atom.name): atom for atom in residue.atoms}
    if _atom_groups.is_cap(residue) or "OXT" not in names:
        return str(residue.name) if _atom_groups.is_cap(residue) else f"{residue}"
    neutral = any(_hydrogens(residue, names[name], bonded) for name in ("O", "OXT") if name in names)
    return f"{residue} (free, {'neutral' if neutral else 'charged'})"


def _hydrogens(residue: Any, atom: Any, bonded: list[list[int]]) -> int:
    inside = {other.index for other in residue.atoms if _atom_groups.is_hydrogen(other)}
    return sum(i in inside for i in bonded[atom.index])


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"


def _few(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more
