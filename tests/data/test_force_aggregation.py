"""Aggregation of forces on molecules of springs, whose mean forces at fixed beads are known exactly."""

import dataclasses

import numpy as np
import pytest

from cgsurrogate.core import registry
from cgsurrogate.data import force_aggregation
from cgsurrogate.data.mappings import _atom_groups

KT = 2.5  # kJ/mol


class Springs:
    """Atoms of the peptide on springs of random strength between near atoms, with every X-H bond rigid.

    A rigid group moves as a whole, so its atoms keep their distance and the energy is a quadratic form of the K places
    of the groups: U = x^T A x / 2 for each Cartesian component, whose Boltzmann distribution is a Gaussian.
    """

    def __init__(self, peptide, rng):
        self.topology, count = peptide.topology, peptide.n_atoms
        _, self.groups = np.unique(_atom_groups.rigid_groups(peptide.topology), return_inverse=True)
        self.members = (self.groups == np.arange(self.groups.max() + 1)[:, None]).astype(float)  # (K, A)
        near = np.linalg.norm(peptide.xyz[0][:, None] - peptide.xyz[0], axis=-1) < 0.3
        strength = np.triu(near * rng.uniform(100, 3000, (count, count)), 1)
        strength += strength.T
        self.atomic = np.diag(strength.sum(1)) - strength + np.diag(rng.uniform(50, 500, count))  # (A, A) kJ/mol/nm^2
        self.covariance = KT * np.linalg.inv(self.members @ self.atomic @ self.members.T)  # (K, K) nm^2

    def sample(self, frames, rng):
        """Displacements (T, A, 3) nm and the forces on the atoms without those of the rigid bonds."""
        root = np.linalg.cholesky(self.covariance)
        places = np.einsum("kl,tld->tkd", root, rng.normal(size=(frames, len(root), 3)))
        atoms = places[:, self.groups]
        return atoms, -np.einsum("ab,tbd->tad", self.atomic, atoms)

    def exact(self, mapping):
        """(N, N): the mean force at fixed beads, -kT C^-1 x with C the covariance of the beads (per component)."""
        weights = mapping.weights @ self.members.T
        return -KT * np.linalg.inv(weights @ self.covariance @ weights.T)

    def mean_force(self, mapping):
        """(N, N): the conditional mean E[G f | beads] as a matrix on the beads, for the force map of ``mapping``."""
        weights, atoms = mapping.weights @ self.members.T, self.members.T
        beads = weights @ self.covariance @ weights.T
        given = atoms @ self.covariance @ weights.T @ np.linalg.inv(beads)  # E[atoms | beads]
        return -mapping.force_weights @ self.atomic @ given


@pytest.fixture(scope="module")
def springs(peptide):
    return Springs(peptide, np.random.default_rng(0))


@pytest.fixture(scope="module", params=["ca", "backbone", "heavy", "sides"])
def mapping(request, peptide, tmp_path_factory):
    if request.param != "sides":
        return registry.build("mappings", request.param, peptide.topology)
    file = tmp_path_factory.mktemp("beads") / "sides.txt"  # beads of several atoms, and atoms of no bead
    file.write_text("each CA = name CA N\neach SC = name CB\n")
    return registry.build("mappings", "custom", peptide.topology, file=str(file))


@pytest.fixture(scope="module")
def found(springs, mapping):
    forces = [springs.sample(3000, np.random.default_rng(seed))[1] for seed in (1, 2)]
    return forces[1], *force_aggregation.noise(mapping, springs.topology, *forces)


def test_the_optimal_map_is_valid(springs, mapping, found):
    _, best, _ = found
    np.testing.assert_allclose((best.force_weights @ best.weights.T).toarray(), np.eye(len(best.beads)), atol=1e-12)
    for group in range(springs.groups.max() + 1):
        columns = best.force_weights.toarray()[:, springs.groups == group]
        assert (columns == columns[:, :1]).all(), "the atoms of a rigid group must share their coefficients"
    np.testing.assert_array_equal(best.weights.toarray(), mapping.weights.toarray())


def test_basic_and_optimal_maps_give_the_exact_mean_force(springs, mapping, found):
    exact = springs.exact(mapping)
    for one in (mapping, found[1]):
        np.testing.assert_allclose(springs.mean_force(one), exact, atol=1e-8 * abs(exact).max())


def test_a_slice_is_biased_by_rigid_bonds(springs, mapping):
    exact = springs.exact(mapping)
    assert abs(springs.mean_force(force_aggregation.slices(mapping)) - exact).max() > 0.05 * abs(exact).max()


def test_the_optimal_map_is_the_least_noisy_on_held_out_frames(springs, mapping, found):
    held, best, noise = found
    assert noise["frames"] == len(held)
    assert noise["optimal"] <= 1.001 * noise["basic"]
    if len(mapping.beads) < len(springs.members):
        assert noise["optimal"] < 0.95 * noise["basic"]
    rng = np.random.default_rng(7)  # any other valid map: add what is orthogonal to the position map and rigid
    weights = mapping.weights @ springs.members.T
    free = np.eye(len(springs.members)) - np.linalg.pinv(weights) @ weights
    for scale in (0.02, 0.1, 0.5):
        change = scale * rng.normal(size=weights.shape) @ free @ springs.members
        other = dataclasses.replace(best, force_weights=best.force_weights + change)
        assert force_aggregation.mean_square(other, held) >= 0.999 * noise["optimal"]


def test_atoms_of_other_molecules_get_no_coefficient(peptide):
    """Water: no bond leads there, and a large system must not cost a large matrix."""
    import mdtraj

    wet = peptide.topology.copy()
    for _ in range(50):
        residue = wet.add_residue("HOH", wet.add_chain())
        oxygen, *hydrogens = [wet.add_atom(n, mdtraj.element.get_by_symbol(n[0]), residue) for n in ("O", "H1", "H2")]
        for hydrogen in hydrogens:
            wet.add_bond(oxygen, hydrogen)
    mapping = registry.build("mappings", "ca", wet)
    forces = np.random.default_rng(0).normal(size=(300, wet.n_atoms, 3))
    best = force_aggregation.optimal_forces(mapping, wet, forces)
    assert not best.felt[peptide.n_atoms :].any()
    alone = force_aggregation.optimal_forces(
        registry.build("mappings", "ca", peptide.topology), peptide.topology, forces[:, : peptide.n_atoms]
    )
    np.testing.assert_allclose(
        best.force_weights.toarray()[:, : peptide.n_atoms], alone.force_weights.toarray(), atol=1e-9
    )


def test_a_sentence_says_what_the_other_aggregation_would_remove():
    noise = {"slice": 652.0, "basic": 585.0, "optimal": 396.0, "unit": force_aggregation.UNIT, "frames": 10_000}
    assert "32% of it" in force_aggregation.sentence({**noise, "used": "basic"})
    assert "would" not in force_aggregation.sentence({**noise, "used": "optimal"})
