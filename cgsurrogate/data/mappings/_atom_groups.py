"""What every mapping shares: from groups of atoms to beads, their bonds, masses and the two matrices.

Forces respect constraints: bonds of hydrogen may be rigid, and a constraint force is in no force array. The force of a
bead is therefore the sum over its atoms *and* over every hydrogen bonded to one of them, all with weight 1, which moves
a rigid X-H group as a whole (Ciccotti, Kapral and Vanden-Eijnden 2005; Kramer et al. 2023, the "basic"
aggregation). The mass of a bead is the mass of the same atoms. Other constraints than those of X-H bonds are not
accounted for.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.geometry import bond_graph

if TYPE_CHECKING:
    from mdtraj import Topology as Topology

ACIDS = {"HXT": "OXT", "HOXT": "OXT", "HO": "O"}  # hydrogens of a neutral C-terminus, and what they are bonded to


@dataclasses.dataclass(frozen=True)
class Group:
    """The atoms of one bead; several stand at their centre of mass.

    ``like`` is the atom whose type the bead has; without, that of its only atom, or ``OTHER`` where there are several.
    """

    name: str
    atoms: tuple[int, ...]
    like: str = ""


def protein_residues(topology: Topology) -> list[Any]:
    """Residues of protein chains, caps included; water, ions and ligands are left out.

    Raises:
        ValueError: there is no protein.
    """
    known = {residue for residue, _ in bead_types.TABLE}
    residues = []
    for residue in topology.residues:
        if bead_types.canonical(residue.name) in known or (
            residue.name not in ("HOH", "WAT") and {"N", "CA", "C"} <= {atom.name for atom in residue.atoms}
        ):
            residues.append(residue)
    if not residues:
        raise ValueError(
            f"expected a protein, got a topology of {topology.n_atoms} atoms without one; is it the right file?"
        )
    return residues


def is_cap(residue: Any) -> bool:
    return bead_types.canonical(residue.name) in bead_types.CAPS


def by_name(residue: Any) -> dict[str, int]:
    """Atom index by the PDB name of the atom, with common synonyms.

    Raises:
        ValueError: a name appears twice in the residue.
    """
    names: dict[str, int] = {}
    for atom in residue.atoms:
        name = bead_types.canonical_atom(residue.name, atom.name)
        if name in names:
            raise ValueError(
                f"residue {residue} has two atoms named {atom.name}; give each its own name in the topology"
            )
        names[name] = atom.index
    return names


def of_residues(topology: Topology, groups: Callable[[Any], list[Group]]) -> Mapping:
    """A mapping from the groups of every residue of every protein chain, in order; of caps all heavy atoms."""
    topology, found = carbonyls_first(topology), list[Group]()
    for residue in protein_residues(topology):
        cap = is_cap(residue)
        found += required(residue, bead_types.CAPS[bead_types.canonical(residue.name)]) if cap else groups(residue)
    return build_mapping(topology, found)


def required(residue: Any, names: tuple[str, ...]) -> list[Group]:
    """One group for each named atom of a residue.

    Raises:
        ValueError: the residue lacks one.
    """
    present = by_name(residue)
    missing = [name for name in names if name not in present]
    if missing:
        raise ValueError(f"residue {residue} has no atom {missing[0]}; complete the structure or leave the residue out")
    return [Group(name, (present[name],)) for name in names]


def side_chain(residue: Any) -> tuple[int, ...]:
    """The heavy atoms of a residue beyond its backbone and its terminal oxygens."""
    backbone = {"N", "CA", "C", "O", "OXT"}
    return tuple(
        atom.index
        for atom in residue.atoms
        if is_heavy(atom) and bead_types.canonical_atom(residue.name, atom.name) not in backbone
    )


def carbonyls_first(topology: Topology) -> Topology:
    """The topology with O for the carbonyl of a neutral C-terminus and OXT for its hydroxyl, however they were named.

    So that O is a carbonyl in every residue; files differ in which of the two oxygens carries the hydrogen.
    """
    ends: list[tuple[int, int]] = []  # O and OXT
    for residue in _larger(topology):
        names = {bead_types.canonical_atom(residue.name, atom.name): atom.index for atom in residue.atoms}
        if {"CA", "C", "O", "OXT"} <= names.keys():
            ends.append((names["O"], names["OXT"]))
    if not ends:
        return topology
    pairs, hydrogen = bonds(topology), elements(topology)[0]
    protonated = {*pairs[hydrogen[pairs[:, 1]], 0].tolist(), *pairs[hydrogen[pairs[:, 0]], 1].tolist()}
    swapped: dict[int, str] = {}
    for first, last in ends:
        if first in protonated and last not in protonated:
            swapped |= {first: "OXT", last: "O"}
    if not swapped:
        return topology
    renamed = topology.copy()
    for index, name in swapped.items():
        renamed.atom(index).name = name
    return renamed


def is_heavy(atom: Any) -> bool:
    """Neither a hydrogen nor a virtual site."""
    return not is_hydrogen(atom) and atom.element is not None and atom.element.mass > 0


def is_hydrogen(atom: Any) -> bool:
    return atom.element is not None and atom.element.atomic_number == 1


def elements(topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """(A,) which atoms are hydrogens, and (A,) amu; an atom without an element has no mass."""
    found = [atom.element for atom in topology.atoms]
    known = {one: (one.atomic_number == 1, one.mass) if one is not None else (False, 0.0) for one in set(found)}
    return np.array([known[one][0] for one in found], bool), np.array([known[one][1] for one in found], float)


def _larger(topology: Topology) -> list[Any]:
    """Residues of more than three atoms: neither water nor ions, of which most systems consist."""
    return [one for one in topology.residues if one.n_atoms > 3 and one.name not in ("HOH", "WAT", "SOL")]


def bonds(topology: Topology) -> np.ndarray:
    """(B, 2) bonded atoms, the first before the second; standard bonds are made where the topology states none."""
    if not topology.n_bonds:
        topology = topology.copy()
        topology.create_standard_bonds()
    stated = np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2)
    added = []
    for residue in _larger(topology):  # templates of some readers lack the acid of a neutral C-terminus
        names = {atom.name: atom.index for atom in residue.atoms}
        for hydrogen in ACIDS.keys() & names.keys():
            oxygen = names.get(ACIDS[hydrogen])
            if oxygen is not None and "CA" in names and not (stated == names[hydrogen]).any():
                added.append((oxygen, names[hydrogen]))
    pairs = np.sort(np.concatenate([stated, np.array(added, int).reshape(-1, 2)]), axis=1)
    return np.stack(np.divmod(np.unique(pairs @ [topology.n_atoms, 1]), max(topology.n_atoms, 1)), axis=1)


def neighbours(topology: Topology) -> list[list[int]]:
    """Bonded atoms of each atom."""
    one, other = _both_ways(bonds(topology))
    ends, found = np.searchsorted(one, np.arange(topology.n_atoms + 1)), other.tolist()
    return [found[begin:end] for begin, end in itertools.pairwise(ends.tolist())]


def _both_ways(pairs: np.ndarray) -> np.ndarray:
    """(B, 2) -> (2, 2 B): each bond from both of its ends, sorted."""
    both = np.concatenate([pairs, pairs[:, ::-1]])
    return both[np.lexsort(both.T[::-1])].T


def rigid_groups(topology: Topology) -> np.ndarray:
    """(A,) the heavy atom whose X-H group each atom belongs to; a heavy atom names itself."""
    owner, hydrogen = np.arange(topology.n_atoms), elements(topology)[0]
    one, other = _both_ways(bonds(topology))
    rigid = hydrogen[one] & ~hydrogen[other]
    hydrogens, first = np.unique(one[rigid], return_index=True)
    owner[hydrogens] = other[rigid][first]
    return owner


def build_mapping(topology: Topology, groups: list[Group]) -> Mapping:
    """The mapping whose beads are these groups of atoms, sorted by residue.

    Raises:
        ValueError: no groups, two groups that share an atom or a rigid X-H group, or a chain without bonds.
    """
    if not groups:
        raise ValueError("the mapping selects no atom; check its selection against the names in the topology")
    atoms = list(topology.atoms)
    groups = sorted(groups, key=lambda group: atoms[group.atoms[0]].residue.index)  # stable: order kept in a residue
    bonded = neighbours(topology)
    _refuse_gaps(topology, bonded, groups)
    owner, mass, taken = rigid_groups(topology), elements(topology)[1], dict[int, str]()
    members = collections.defaultdict[int, list[int]](list)  # of each rigid group with a bead, by its heavy atom
    of_beads = owner[[i for group in groups for i in group.atoms]]
    for atom in np.flatnonzero(np.isin(owner, of_beads)).tolist():
        members[int(owner[atom])].append(atom)
    shape = (len(groups), topology.n_atoms)
    weights, forces = list[tuple[int, int, float]](), list[tuple[int, int, float]]()  # row, column, number
    for row, group in enumerate(groups):
        index = list(group.atoms)
        rigid = {int(owner[i]) for i in index}
        for heavy in sorted(rigid):
            if heavy in taken:
                raise ValueError(
                    f"beads {taken[heavy]} and {group.name} share atom {atoms[heavy]} or hydrogens on it, whose bonds "
                    "may be rigid; put them in one bead"
                )
            taken[heavy] = group.name
        if not mass[index].sum() > 0:
            raise ValueError(f"bead {group.name} has no mass: the topology gives no elements for {atoms[index[0]]}")
        share = mass[index] / mass[index].sum()
        weights += [(row, atom, one) for atom, one in zip(index, share.tolist(), strict=True)]
        forces += [(row, atom, 1.0) for heavy in rigid for atom in members[heavy]]
    force_weights = _matrix(forces, shape)
    return Mapping(_beads(atoms, groups, force_weights @ mass, bonded), _matrix(weights, shape), force_weights)


def _matrix(entries: list[tuple[int, int, float]], shape: tuple[int, int]) -> sparse.csr_array:
    rows, columns, numbers = zip(*entries, strict=True)
    return sparse.csr_array((numbers, (rows, columns)), shape)


def _beads(atoms: list[Any], groups: list[Group], masses: np.ndarray, bonded: list[list[int]]) -> Beads:
    residues = [atoms[group.atoms[0]].residue for group in groups]
    order = {index: rank for rank, index in enumerate(sorted({residue.index for residue in residues}))}
    alike = [group.like or (atoms[group.atoms[0]].name if len(group.atoms) == 1 else "") for group in groups]
    types = [bead_types.number(residue.name, name) for residue, name in zip(residues, alike, strict=True)]
    return Beads(
        names=tuple(group.name for group in groups),
        types=tuple(types),
        masses=tuple(float(mass) for mass in masses),
        residues=tuple(order[residue.index] for residue in residues),
        residue_names=tuple(bead_types.canonical(residue.name) for residue in residues),
        bonds=bond_graph.contract([group.atoms for group in groups], bonded),
    )


def _refuse_gaps(topology: Topology, bonded: list[list[int]], groups: list[Group]) -> None:
    """Neighbouring mapped residues of one chain must be bonded to each other."""
    atoms = list(topology.atoms)
    mapped = {atoms[i].residue.index for group in groups for i in group.atoms}
    for chain in topology.chains:
        for before, after in itertools.pairwise(r for r in chain.residues if r.index in mapped):
            if after.index != before.index + 1:
                continue
            ends = {atom.index for atom in after.atoms}
            if not any(n in ends for atom in before.atoms for n in bonded[atom.index]):
                raise ValueError(
                    f"residues {before} and {after} of one chain are not bonded: in a PDB add CONECT records, or a TER "
                    "record if they belong to two chains; or give a topology that states bonds (PSF, prmtop)"
                )
