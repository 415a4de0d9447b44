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
from scipy.sparse import csgraph

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads
from cgsurrogate.data.mapping import Mapping

if TYPE_CHECKING:
    from mdtraj import Topology as Topology

REACH = 3  # bonds: CA, C, N, CA
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
        backbone = {"N", "CA", "C"} <= {atom.name for atom in residue.atoms}
        if bead_types.canonical(residue.name) in known or (backbone and residue.name not in ("HOH", "WAT")):
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
    atoms = list(topology.atoms)
    protonated = {a for pair in bonds(topology).tolist() for a, b in (pair, pair[::-1]) if is_hydrogen(atoms[b])}
    swapped: dict[int, str] = {}
    for residue in topology.residues:
        names = {bead_types.canonical_atom(residue.name, atom.name): atom.index for atom in residue.atoms}
        first, last = names.get("O"), names.get("OXT")
        if first in protonated and last is not None and last not in protonated and {"CA", "C"} <= names.keys():
            swapped |= {int(first or 0): "OXT", last: "O"}
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


def bonds(topology: Topology) -> np.ndarray:
    """(B, 2) bonded atoms, the first before the second; standard bonds are made where the topology states none."""
    if not topology.n_bonds:
        topology = topology.copy()
        topology.create_standard_bonds()
    pairs = {(min(a.index, b.index), max(a.index, b.index)) for a, b in topology.bonds}
    bonded = {i for pair in pairs for i in pair}
    for residue in topology.residues:  # the templates of some readers do not know the acid of a neutral C-terminus
        names = {atom.name: atom.index for atom in residue.atoms}
        for hydrogen in ACIDS.keys() & names.keys():
            oxygen = names.get(ACIDS[hydrogen])
            if names[hydrogen] not in bonded and oxygen is not None and "CA" in names:
                pairs.add((min(oxygen, names[hydrogen]), max(oxygen, names[hydrogen])))
    return np.array(sorted(pairs), int).reshape(-1, 2)


def neighbours(topology: Topology) -> list[list[int]]:
    """Bonded atoms of each atom."""
    bonded: list[list[int]] = [[] for _ in range(topology.n_atoms)]
    for a, b in bonds(topology).tolist():
        bonded[a].append(b)
        bonded[b].append(a)
    return [sorted(atoms) for atoms in bonded]


def rigid_groups(topology: Topology, bonded: list[list[int]] | None = None) -> np.ndarray:
    """(A,) the heavy atom whose X-H group each atom belongs to; a heavy atom names itself."""
    bonded = neighbours(topology) if bonded is None else bonded
    owner = np.arange(topology.n_atoms)
    atoms = list(topology.atoms)
    for atom in filter(is_hydrogen, atoms):
        heavy = [i for i in bonded[atom.index] if not is_hydrogen(atoms[i])]
        if heavy:
            owner[atom.index] = heavy[0]
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
    owner = rigid_groups(topology, bonded)
    taken: dict[int, str] = {}
    members = collections.defaultdict[int, list[int]](list)  # of each rigid group, by its heavy atom
    for atom, heavy in enumerate(owner.tolist()):
        members[heavy].append(atom)
    shape = (len(groups), topology.n_atoms)
    weights, force_weights = sparse.lil_array(shape), sparse.lil_array(shape)
    mass = np.array([atom.element.mass if atom.element is not None else 0.0 for atom in atoms])
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
        weights[row, index] = mass[index] / mass[index].sum()
        force_weights[row, [atom for heavy in rigid for atom in members[heavy]]] = 1.0
    return Mapping(_beads(atoms, groups, force_weights @ mass, bonded), weights, force_weights)


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
        bonds=contract([group.atoms for group in groups], bonded),
    )


def contract(groups: list[tuple[int, ...]], bonded: list[list[int]]) -> tuple[tuple[int, int], ...]:
    """Bonds of beads: the graph of the atoms with everything unmapped taken out.

    Beads are bonded if a path of at most ``REACH`` bonds joins them through unmapped atoms alone, so neighbouring CA
    are and the two ends of a disulfide bridge are not. Parts of one molecule that stay apart are joined by the shortest
    longer paths, so that no bead is lost.
    """
    bead_of = {atom: bead for bead, atoms in enumerate(groups) for atom in atoms}
    distances: dict[tuple[int, int], int] = {}
    for bead, atoms in enumerate(groups):
        front, seen, distance = list(atoms), set(atoms), 0
        while front:
            distance += 1
            reached = [n for atom in front for n in bonded[atom] if n not in seen]
            seen.update(reached)
            front = []
            for atom in dict.fromkeys(reached):
                other = bead_of.get(atom)
                if other is None:
                    front.append(atom)
                elif other != bead:
                    pair = (min(bead, other), max(bead, other))
                    distances[pair] = min(distance, distances.get(pair, distance))
    pairs = sorted(distances, key=lambda pair: (distances[pair], pair))
    rows, columns = np.array(pairs, int).reshape(-1, 2).T
    ranked = sparse.coo_array((np.arange(1, len(pairs) + 1), (rows, columns)), shape=(len(groups), len(groups)))
    tree = {pairs[rank - 1] for rank in csgraph.minimum_spanning_tree(ranked).data.astype(int)}
    return tuple(sorted(pair for pair in pairs if distances[pair] <= REACH or pair in tree))


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
