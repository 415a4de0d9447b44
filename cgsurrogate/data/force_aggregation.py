"""Which linear map of atomic forces gives mapped forces of the least noise, and how noisy each one is.

Any ``force_weights`` with ``force_weights @ weights.T = 1`` that moves rigid groups as a whole gives the same mean
force (Ciccotti, Kapral and Vanden-Eijnden 2005); they differ in their variance. ``optimal_forces`` finds the one with
the least mean squared mapped force: the quadratic programme of Kramer et al. 2023 (J. Phys. Chem. Lett. 14, 3970). Its
constraints are equalities: the rows of the map are biorthogonal to those of the position map, and the atoms of a rigid
group share one coefficient, which is then the unknown. So it has a closed form, that of generalised least squares.

Three maps are compared (``noise``), the first of them only to show what it costs:

``slice``    the force on the atoms of a bead alone; wrong where bonds are rigid, because constraint forces are missing
``basic``    that of their rigid groups, hydrogens included; what a mapping starts with
``optimal``  the least noisy combination of all rigid groups of the molecule
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph

from cgsurrogate.data.mapping import Mapping
from cgsurrogate.data.mappings import _atom_groups

RIDGE = 1e-4  # of the mean variance of an atom's force; the forces of one frame sum to zero, so some is needed
KINDS = ("slice", "basic", "optimal")
UNIT = "kJ^2/mol^2/nm^2"


def optimal_forces(
    mapping: Mapping, topology: Any, atom_forces: np.ndarray, *, weights: np.ndarray | None = None
) -> Mapping:
    """The mapping with the force aggregation of least variance on these frames.

    It minimises tr(G S G^T) + ridge |G|^2 subject to G W^T = 1, where S (K, K) are the second moments of the forces
    summed over each of K rigid groups and W (N, K) the position weights summed likewise:
    G = (W S^-1 W^T)^-1 W S^-1. Atoms without a path of bonds to a bead (water, ions) get no coefficient.

    Args:
        topology: mdtraj's, to know which hydrogens belong to which heavy atom.
        atom_forces: (T, A, 3) kJ/mol/nm; some thousand frames are enough.
        weights: (T,) statistical weights of the frames.
    """
    if atom_forces.ndim != 3 or atom_forces.shape[1:] != (topology.n_atoms, 3):
        raise ValueError(f"expected forces (T, {topology.n_atoms}, 3) kJ/mol/nm, got {atom_forces.shape}")
    used = np.flatnonzero(connected(mapping, topology))
    owner = _atom_groups.rigid_groups(topology)[used]
    members = np.asarray(owner == np.unique(owner)[:, None], float)  # (K, A) one where an atom is in a group
    positions = mapping.weights[:, used].toarray() @ members.T
    second = _second_moments(members, atom_forces, used, weights)
    second += RIDGE * np.trace(second) / len(second) * np.eye(len(second))
    solved = np.linalg.solve(second, positions.T).T  # W S^-1
    best = np.linalg.solve(solved @ positions.T, solved)
    left = np.eye(len(best)) - best @ positions.T  # of rounding
    best = best + np.linalg.solve(positions @ positions.T, left) @ positions
    few = dataclasses.replace(mapping.of_atoms(used), force_weights=best @ members)
    return few.among(used, topology.n_atoms)


def connected(mapping: Mapping, topology: Any) -> np.ndarray:
    """(A,) bool: the atoms that a path of bonds joins to a mapped atom."""
    bonds = _atom_groups.bonds(topology)
    graph = sparse.coo_array((np.ones(len(bonds)), tuple(bonds.T)), shape=(topology.n_atoms,) * 2)
    part = csgraph.connected_components(graph)[1]
    return np.isin(part, part[mapping.used])


def _second_moments(
    members: np.ndarray, atom_forces: np.ndarray, used: np.ndarray, weights: np.ndarray | None
) -> np.ndarray:
    """(K, K) weighted mean over frames of the products of forces summed over each group, all components together."""
    probability = np.ones(len(atom_forces)) if weights is None else np.asarray(weights, float)
    root = np.sqrt(probability / probability.sum())
    second = np.zeros((len(members), len(members)))
    for start in range(0, len(atom_forces), 1000):
        part = slice(start, start + 1000)
        summed = np.einsum("ka,tad->ktd", members, np.asarray(atom_forces[part][:, used], float), optimize=True)
        flat = (summed * root[part, None]).reshape(len(members), -1)
        second += flat @ flat.T
    return second


def slices(mapping: Mapping) -> Mapping:
    """The same beads with the force on their own atoms alone."""
    return dataclasses.replace(mapping, force_weights=mapping.weights != 0)


def mean_square(mapping: Mapping, atom_forces: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Mean over frames (weights (T,)), beads and Cartesian components of the squared mapped force, kJ^2/mol^2/nm^2.

    A mapped force is mean force plus noise, and the mean force is the same for every valid map: what differs is noise.
    """
    squares = np.mean(mapping.forces(atom_forces).astype(float) ** 2, axis=(1, 2))
    return float(np.average(squares, weights=weights))


def noise(
    mapping: Mapping,
    topology: Any,
    fit: np.ndarray,
    held: np.ndarray,
    weights: tuple[np.ndarray, np.ndarray] | None = None,
) -> tuple[Mapping, dict[str, Any]]:
    """The optimal mapping, found on some frames, and the mean squared mapped force of each kind on others.

    Args:
        fit, held: (T, A, 3) kJ/mol/nm.
        weights: statistical weights of both.
    """
    for_fit, for_held = weights or (None, None)
    best = optimal_forces(mapping, topology, fit, weights=for_fit)
    maps = dict(zip(KINDS, (slices(mapping), mapping, best), strict=True))
    found = {kind: mean_square(one, held, for_held) for kind, one in maps.items()}
    return best, {**found, "unit": UNIT, "frames": len(held)}


def sentence(noise: dict[str, Any]) -> str:
    """What ``noise`` found, in one line; ``noise["used"]`` is the kind that was taken."""
    figures = ", ".join(f"{noise[kind]:,.4g} ({kind})" for kind in KINDS if kind in noise)
    more = ""
    if noise.get("used") == "basic" and noise["optimal"] < 0.98 * noise["basic"]:
        share = 1 - noise["optimal"] / noise["basic"]
        more = f"; --aggregate optimal would remove {share:.0%} of it"
    return (
        f"mean squared mapped force on {noise['frames']:,} frames kept for it: {figures} {noise['unit']}; "
        f"{noise.get('used', 'basic')} is used{more}"
    )
