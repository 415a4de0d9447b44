"""From atoms to beads: two matrices and the invariants that make them right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Mapping:
    """A linear map of A atoms to N beads.

    Attributes:
        weights: (N, A) for positions; rows sum to one.
        force_weights: (N, A) for forces. ``force_weights @ weights.T`` must be the identity, which makes the mapped
            force an unbiased estimate of the mean force (Noid et al. 2008, eq. 40; Ciccotti et al. 2005).
    """

    beads: Beads
    weights: np.ndarray
    force_weights: np.ndarray

    def __post_init__(self) -> None:
        shape = (len(self.beads), self.weights.shape[-1])
        if self.weights.shape != shape or self.force_weights.shape != shape:
            raise ValueError(
                f"expected two matrices of shape {shape}, got {self.weights.shape} and {self.force_weights.shape}"
            )
        if not np.allclose(self.weights.sum(1), 1, atol=1e-9):
            raise ValueError("every row of the position weights must sum to one")
        if not np.allclose(self.force_weights @ self.weights.T, np.eye(len(self.beads)), atol=1e-9):
            raise ValueError("force_weights @ weights.T is not the identity: the mapped forces would be biased")

    def __repr__(self) -> str:
        return f"Mapping: {self.weights.shape[1]:,} atoms to {len(self.beads)} beads"

    def of_atoms(self, atoms: np.ndarray) -> Mapping:
        """The same map from these atoms alone, by index; all that positions of beads need are among them."""
        return Mapping(self.beads, self.weights[:, atoms], self.force_weights[:, atoms])

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


def _of_residues(build: Callable[[Any], Mapping], topology: Any, selection: str) -> Mapping:
    """The mapping of the residues with a selected atom, as one of all atoms.

    Raises:
        ValueError: it is no selection, or one of nothing.
    """
    try:
        chosen = {topology.atom(int(i)).residue.index for i in topology.select(selection)}
    except Exception as error:  # the parser of mdtraj raises whatever it meets
        raise ValueError(f"expected a selection of mdtraj, got {selection!r} ({str(error)[:100]})") from None
    atoms = np.array([atom.index for atom in topology.atoms if atom.residue.index in chosen], int)
    if not len(atoms):
        raise ValueError(f"the selection {selection!r} holds no atom of the topology; give another")
    part = build(topology.subset(atoms))
    both = np.zeros((2, len(part.beads), topology.n_atoms))
    both[:, :, atoms] = part.weights, part.force_weights
    return Mapping(part.beads, *both)


def _apply(matrix: np.ndarray, atoms: np.ndarray) -> np.ndarray:
    if atoms.ndim != 3 or atoms.shape[1:] != (matrix.shape[1], 3):
        raise ValueError(f"expected (T, {matrix.shape[1]}, 3), got {atoms.shape}; is this another topology?")
    used = np.flatnonzero(matrix.any(0))  # most atoms count for no bead
    made = np.einsum("na,tad->tnd", matrix[:, used], atoms[:, used].astype(np.float64), optimize=True)
    return np.asarray(made, np.float32)
