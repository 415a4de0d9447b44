"""From atoms to beads: two matrices and the invariants that make them right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import sparse

from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import Beads

LONGEST_SELECTION, MOST_PARENTHESES = 20_000, 100  # mdtraj takes some milliseconds a parenthesis and a word
SHOWN = 100  # characters of a wrong one, in messages


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Mapping:
    """A linear map of A atoms to N beads.

    Attributes:
        weights: (N, A) for positions; rows sum to one. Kept as a sparse matrix.
        force_weights: (N, A) for forces, likewise. ``force_weights @ weights.T`` must be the identity, which makes the
            mapped force an unbiased estimate of the mean force (Noid et al. 2008, eq. 40; Ciccotti et al. 2005).
    """

    beads: Beads
    weights: Any
    force_weights: Any

    def __post_init__(self) -> None:
        for name in ("weights", "force_weights"):
            object.__setattr__(self, name, sparse.csr_array(getattr(self, name), dtype=float))
        shape = (len(self.beads), self.weights.shape[-1])
        if self.weights.shape != shape or self.force_weights.shape != shape:
            raise ValueError(
                f"expected two matrices of shape {shape}, got {self.weights.shape} and {self.force_weights.shape}"
            )
        if not np.allclose(self.weights.sum(1), 1, atol=1e-9):
            raise ValueError("every row of the position weights must sum to one")
        product = sparse.coo_array(self.force_weights @ self.weights.T)
        own = product.row == product.col
        if not (np.allclose(product.diagonal(), 1, atol=1e-9) and (np.abs(product.data[~own]) <= 1e-9).all()):
            raise ValueError("force_weights @ weights.T is not the identity: the mapped forces would be biased")

    def __repr__(self) -> str:
        return f"Mapping: {self.weights.shape[1]:,} atoms to {len(self.beads)} beads"

    @property
    def used(self) -> np.ndarray:
        """(A,) bool: the atoms that positions of beads are made of."""
        return _columns(self.weights)

    @property
    def felt(self) -> np.ndarray:
        """(A,) bool: the atoms whose positions or forces count."""
        return np.asarray(self.used | _columns(self.force_weights))

    def of_atoms(self, atoms: np.ndarray) -> Mapping:
        """The same map from these atoms alone, by index; all that positions of beads need are among them."""
        return Mapping(self.beads, self.weights[:, atoms], self.force_weights[:, atoms])

    def among(self, atoms: np.ndarray, count: int) -> Mapping:
        """The same map from ``count`` atoms, of which its own are these, by index: the inverse of ``of_atoms``."""
        parts = (self.weights.tocoo(), self.force_weights.tocoo())
        shape = (len(self.beads), count)
        return Mapping(self.beads, *(sparse.coo_array((m.data, (m.row, atoms[m.col])), shape) for m in parts))

    def positions(self, atoms: np.ndarray) -> np.ndarray:
        """(T, A, 3) nm -> (T, N, 3) nm, float32."""
        return _apply(self.weights, atoms)

    def forces(self, atoms: np.ndarray) -> np.ndarray:
        """(T, A, 3) kJ/mol/nm -> (T, N, 3) kJ/mol/nm, float32."""
        return _apply(self.force_weights, atoms)


def builder(text: str, selection: str | None = None) -> Callable[[Any], Mapping]:
    """``name`` or ``name:key=value`` -> a function from an mdtraj topology to a ``Mapping``; ``ca+cb`` is ``ca_cb``.

    Args:
        selection: of mdtraj; only residues with an atom of it are mapped.
    """
    name, options = registry.parse(text)
    if name.replace("+", "_") in registry.kinds("mappings"):
        name = name.replace("+", "_")
    build = registry.builder("mappings", name)
    if selection is None:
        return lambda topology: build(topology, **options)
    return lambda topology: _of_residues(lambda part: build(part, **options), topology, selection)


def selected(topology: Any, text: str) -> list[int]:
    """Indices of the atoms that a selection of mdtraj chooses.

    Raises:
        ValueError: it is none, or one that its parser would need minutes or too much memory for.
    """
    shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
    if len(text) > LONGEST_SELECTION or text.count("(") > MOST_PARENTHESES:
        raise ValueError(
            f"expected a selection of at most {LONGEST_SELECTION:,} characters and {MOST_PARENTHESES} parentheses, "
            f"got {len(text):,} and {text.count('(')}: {shown}"
        )
    try:
        return [int(i) for i in topology.select(text)]
    except Exception as error:  # the parser of mdtraj raises whatever its libraries raise
        why = filesystem.first_line(error)
        raise ValueError(f"expected a selection of mdtraj, got {shown}, which it cannot select ({why})") from None


def _of_residues(build: Callable[[Any], Mapping], topology: Any, selection: str) -> Mapping:
    """The mapping of the residues with a selected atom, as one of all atoms.

    Raises:
        ValueError: it is no selection, or one of nothing.
    """
    chosen = {topology.atom(i).residue.index for i in selected(topology, selection)}
    atoms = np.array([atom.index for atom in topology.atoms if atom.residue.index in chosen], int)
    if not len(atoms):
        raise ValueError(f"the selection {selection[:SHOWN]!r} holds no atom of the topology; give another")
    return build(topology.subset(atoms)).among(atoms, topology.n_atoms)


def _columns(matrix: sparse.csr_array) -> np.ndarray:
    """(A,) bool: the columns with any number in them."""
    found = np.zeros(matrix.shape[1], bool)
    found[matrix.indices[matrix.data != 0]] = True
    return found


def _apply(matrix: sparse.csr_array, atoms: np.ndarray) -> np.ndarray:
    if atoms.ndim != 3 or atoms.shape[1:] != (matrix.shape[1], 3):
        raise ValueError(f"expected (T, {matrix.shape[1]}, 3), got {atoms.shape}; is this another topology?")
    if matrix.nnz == matrix.shape[0] and (matrix.data == 1).all() and (np.diff(matrix.indptr) == 1).all():
        return np.asarray(atoms[:, matrix.indices], np.float32)  # a bead is an atom
    used = np.flatnonzero(_columns(matrix))  # most atoms count for no bead
    columns = np.asarray(atoms[:, used].swapaxes(0, 1), np.float64).reshape(len(used), -1)
    made = (matrix[:, used] @ columns).reshape(matrix.shape[0], len(atoms), 3)
    return np.ascontiguousarray(made.swapaxes(0, 1), np.float32)
