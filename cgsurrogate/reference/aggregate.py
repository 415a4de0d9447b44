"""Which linear map of atomic forces gives mapped forces of the least noise.

Any ``force_weights`` with ``force_weights @ weights.T = 1`` that moves rigid groups as a whole gives the same mean
force (Ciccotti, Kapral and Vanden-Eijnden 2005); they differ in their variance. ``optimal_forces`` finds the one with
the least mean squared mapped force (Kramer et al. 2023, J. Phys. Chem. Lett. 14, 3970), which for a linear map has a
closed form, that of generalised least squares.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cgsurrogate.mapping import Mapping
from cgsurrogate.mappings import _slices

RIDGE = 1e-4  # of the mean variance of an atom's force; the forces of one frame sum to zero, so some is needed


def optimal_forces(
    mapping: Mapping, topology, atom_forces: np.ndarray, *, weights: np.ndarray | None = None
) -> Mapping:
    """The mapping with the force aggregation of least variance on these frames.

    Args:
        topology: mdtraj's, to know which hydrogens belong to which heavy atom.
        atom_forces: (T, A, 3) kJ/mol/nm; some thousand frames are enough.
        weights: (T,) statistical weights of the frames.
    """
    second, groups = moments(topology, atom_forces, weights)
    return from_moments(mapping, second, groups)


def moments(topology, atom_forces: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Second moments (K, K) of the forces summed over each of K rigid groups, and the group of each atom (A,)."""
    if atom_forces.ndim != 3 or atom_forces.shape[1:] != (topology.n_atoms, 3):
        raise ValueError(f"expected forces (T, {topology.n_atoms}, 3) kJ/mol/nm, got {atom_forces.shape}")
    _, groups = np.unique(_slices.rigid_groups(topology), return_inverse=True)
    members = np.zeros((groups.max() + 1, len(groups)))
    members[groups, np.arange(len(groups))] = 1
    probability = np.full(len(atom_forces), 1.0) if weights is None else np.asarray(weights, float)
    probability = probability / probability.sum()
    second = np.zeros((len(members), len(members)))
    for start in range(0, len(atom_forces), 1000):
        part = slice(start, start + 1000)
        summed = np.einsum("ka,tad->ktd", members, np.asarray(atom_forces[part], float), optimize=True)
        summed *= np.sqrt(probability[part])[None, :, None]
        flat = summed.reshape(len(members), -1)
        second += flat @ flat.T
    return second, groups


def from_moments(mapping: Mapping, second: np.ndarray, groups: np.ndarray, ridge: float = RIDGE) -> Mapping:
    """Minimise tr(G S G^T) + ridge |G|^2 subject to G W^T = 1, where S are the moments of rigid groups.

    The solution is G = (W S^-1 W^T)^-1 W S^-1, with W (N, K) the position weights summed over each group.
    """
    members = np.zeros((len(second), len(groups)))
    members[groups, np.arange(len(groups))] = 1
    positions = mapping.weights @ members.T
    regular = second + ridge * np.trace(second) / len(second) * np.eye(len(second))
    solved = np.linalg.solve(regular, positions.T).T  # W S^-1
    best = np.linalg.solve(solved @ positions.T, solved)
    best = (
        best + np.linalg.solve(positions @ positions.T, np.eye(len(best)) - best @ positions.T) @ positions
    )  # rounding
    return dataclasses.replace(mapping, force_weights=best @ members)


def mean_square(mapping: Mapping, atom_forces: np.ndarray) -> float:
    """Mean over frames and beads of the squared mapped force, (kJ/mol/nm)^2."""
    return float(np.mean(np.sum(mapping.forces(atom_forces).astype(float) ** 2, axis=-1)))
