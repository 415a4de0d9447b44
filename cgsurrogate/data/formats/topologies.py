"""Topologies of every kind: read by the process that parses, sent as plain arrays, built again by whoever asked.

Formats without chain identifiers put several chains into one; they are told apart here, by bonds or by distances.
"""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import bead_types, messages
from cgsurrogate.core.filesystem import first_line
from cgsurrogate.data.formats.headers import Refused
from cgsurrogate.data.formats.whole_files import PICKLED

EXPECTED = "PDB, mmCIF, GRO, PSF or prmtop"
CHAINS_STATED = (".pdb", ".cif", ".mmcif", ".pdbx")
JOINED = 0.3  # nm, C to N of two residues in a structure: no longer bond lasts, and no two ends come nearer
LAST_OXYGENS = {"OXT", "OT1", "OT2", "OC1", "OC2", "O1", "O2"}
FIRST_CAPS, LAST_CAPS = {"ACE", "FOR"}, {"NME", "NMA", "NHE", "NH2"}
VIRTUAL = "VS"
Place = tuple[np.ndarray, np.ndarray | None] | None
"""Positions (A, 3) nm and the cell (3, 3) nm of the first frame."""


def load(path: Path) -> Any:
    """An mdtraj topology, without running code in the file.

    Raises:
        Refused: not a topology.
    """
    ending = path.suffix.lower()
    if ending in PICKLED:
        raise Refused(f"{path}: a topology inside HDF5 is not read; give a PDB or another topology with -s")
    try:
        topology, stated, place = _parsed(path, ending)
    except Refused:
        raise
    except Exception as error:  # parsers raise whatever they meet
        why = first_line(error).replace(str(path), path.name)
        raise Refused(f"{path} cannot be read as a topology ({why}); expected {EXPECTED}") from None
    if topology is None or not topology.n_atoms:
        raise Refused(f"{path} holds no atoms; expected {EXPECTED}")
    if ending in CHAINS_STATED:
        return topology
    if not stated:
        _bond_synonyms(topology)
    return _in_chains(topology, stated, place)


def _parsed(path: Path, ending: str) -> tuple[Any, bool, Place]:
    """The topology, whether it states its bonds, and, of GRO, where the atoms are."""
    import mdtraj
    from mdtraj.core.trajectory import _TOPOLOGY_EXTS

    with open(path, "rb") as handle:
        amber = handle.read(8) == b"%VERSION"
    if ending == ".gro":
        found = mdtraj.load(str(path))
        cell = found.unitcell_vectors
        return found.topology, False, (found.xyz[0], None if cell is None else cell[0])
    if amber:
        return mdtraj.load_prmtop(str(path)), True, None
    if ending in _TOPOLOGY_EXTS:
        try:
            return mdtraj.load_topology(str(path)), ending in (".psf", ".mol2", ".hoomdxml", ".gsd"), None
        except Exception:
            if ending != ".psf" or importlib.util.find_spec("MDAnalysis") is None:  # which reads more kinds of PSF
                raise
    from cgsurrogate.data.formats import mdanalysis_files

    return *mdanalysis_files.load_topology(path), None


def _bond_synonyms(topology: Any) -> None:
    """Add the standard bonds of residues that have another name for their kind of protonation, such as HSD."""
    renamed = topology.copy()
    for residue in renamed.residues:
        residue.name = bead_types.canonical(residue.name)
    renamed.create_standard_bonds()
    atoms = list(topology.atoms)
    pairs = {frozenset((a.index, b.index)) for a, b in topology.bonds}
    for i, j in sorted({tuple(sorted((a.index, b.index))) for a, b in renamed.bonds}):
        if frozenset((i, j)) not in pairs:
            topology.add_bond(atoms[i], atoms[j])


def _in_chains(topology: Any, stated: bool, place: Place) -> Any:
    """The topology with a new chain wherever a residue of a protein is not bonded to the one before it.

    Where bonds are guessed, one that is missing says nothing, but one that is too long, or follows an end, is none.
    """
    gone, begins, residues = set[tuple[int, int]](), set[int](), list(topology.residues)
    if stated:
        joined = {(a.residue.index, b.residue.index) for one in topology.bonds for a, b in (one, (one[1], one[0]))}
        for before, after in itertools.pairwise(residues):
            same = before.chain.index == after.chain.index
            if same and _polymer(after) and (before.index, after.index) not in joined:
                begins.add(after.index)
    elif place is not None:
        gone = {pair for pair in _between(topology) if _apart(topology, pair, *place)}
        begins = {topology.atom(pair[1]).residue.index for pair in gone}
        begins |= {after.index for before, after in itertools.pairwise(residues) if _between_caps(before, after)}
    if not begins:
        return topology
    sent = packed(topology)
    chain, places = np.array(sent["chain_of_residue"]), np.zeros(len(residues), int)
    places[sorted(begins)] = 1
    sent["chain_of_residue"] = chain + np.cumsum(places)
    first = np.unique(sent["chain_of_residue"], return_index=True)[1]
    sent["chain_names"] = [sent["chain_names"][chain[k]] for k in first]
    sent["bonds"] = np.array([pair for pair in sent["bonds"].tolist() if tuple(pair) not in gone], int).reshape(-1, 2)
    return unpacked(sent)


def _between(topology: Any) -> list[tuple[int, int]]:
    """Bonds of an atom C with an atom N of the next residue."""
    pairs = (sorted(bond, key=lambda atom: atom.index) for bond in topology.bonds)
    return [
        (a.index, b.index)
        for a, b in pairs
        if b.residue.index == a.residue.index + 1 and (a.name, b.name) == ("C", "N")
    ]


def _apart(topology: Any, pair: tuple[int, int], xyz: np.ndarray, cell: np.ndarray | None) -> bool:
    """Whether a bond that was guessed is none: the residue before has the oxygens of an end, or the atoms are far."""
    names = {atom.name for atom in topology.atom(pair[0]).residue.atoms}
    if len(names & LAST_OXYGENS) > ("O" not in names):
        return True
    between = np.asarray(xyz[pair[1]] - xyz[pair[0]], float)
    if cell is not None and np.linalg.det(cell) > 0:
        between = between - np.round(between @ np.linalg.inv(cell)) @ cell
    return bool(np.linalg.norm(between) > JOINED)


def _between_caps(before: Any, after: Any) -> bool:
    """Whether a chain ends here in one by its caps: nothing follows the last one, and nothing precedes the first."""
    if before.chain.index != after.chain.index or not (_polymer(before) and _polymer(after)):
        return False
    return before.name in LAST_CAPS or after.name in FIRST_CAPS


def _polymer(residue: Any) -> bool:
    names = {atom.name for atom in residue.atoms}
    return {"N", "CA", "C"} <= names or bead_types.canonical(residue.name) in bead_types.CAPS


@contextlib.contextmanager
def many_objects() -> Iterator[None]:
    """While an object an atom is made: Python would look through all of them again and again, for half of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def packed(topology: Any) -> dict[str, Any]:
    """A topology as lists of text and arrays of numbers."""
    atoms, residues = list(topology.atoms), list(topology.residues)
    return {
        "names": [atom.name for atom in atoms],
        "elements": [VIRTUAL if atom.element is None else atom.element.symbol for atom in atoms],
        "residue_names": [residue.name for residue in residues],
        "segments": [residue.segment_id for residue in residues],
        "chain_names": [getattr(chain, "chain_id", None) for chain in topology.chains],
        "serials": np.array([-1 if atom.serial is None else int(atom.serial) for atom in atoms], int),
        "residue_of_atom": np.array([atom.residue.index for atom in atoms], int),
        "numbers": np.array([residue.resSeq for residue in residues], int),
        "chain_of_residue": np.array([residue.chain.index for residue in residues], int),
        "bonds": np.array([(a.index, b.index) for a, b in topology.bonds], int).reshape(-1, 2),
    }


def unpacked(sent: dict[str, Any]) -> Any:
    """The inverse of ``packed``."""
    import mdtraj

    texts = ("names", "residue_names", "segments", "chain_names")
    sent = sent | {key: [text and messages.clean(text) for text in sent[key]] for key in texts}
    made = mdtraj.Topology()
    chains = [made.add_chain(name) for name in sent["chain_names"]]
    columns = (_plain(sent[name]) for name in ("residue_names", "chain_of_residue", "numbers", "segments"))
    residues = [
        made.add_residue(name, chains[chain], number, segment)
        for name, chain, number, segment in zip(*columns, strict=True)
    ]
    known = {symbol: mdtraj.element.get_by_symbol(symbol) for symbol in set(sent["elements"])}
    columns = (_plain(sent[name]) for name in ("names", "elements", "residue_of_atom", "serials"))
    for name, element, residue, serial in zip(*columns, strict=True):
        made.add_atom(name, known[element], residues[residue], None if serial < 0 else serial)
    atoms = list(made.atoms)
    for i, j in sent["bonds"].tolist():
        made.add_bond(atoms[i], atoms[j])
    return made


def _plain(column: Any) -> list[Any]:
    """Numbers of an array as those of Python, which are faster one by one."""
    return list(column.tolist() if isinstance(column, np.ndarray) else column)
