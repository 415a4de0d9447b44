"""Forces of beads where a bond of hydrogen is rigid, on molecules so small that their mean force is known exactly."""

import itertools

import mdtraj
import numpy as np
import pytest

from cgsurrogate.data import constraints, force_aggregation
from cgsurrogate.data.formats.sources import Reader, Source
from cgsurrogate.data.mappings import _atom_groups

LENGTH = 0.1  # nm, of the rigid bond


def molecule(*names):
    """A chain of bonded atoms, the hydrogens of which are no beads, and its mapping."""
    topology = mdtraj.Topology()
    residue = topology.add_residue("LIG", topology.add_chain())
    atoms = [topology.add_atom(n, mdtraj.element.get_by_symbol(n[0]), residue) for n in names]
    for pair in itertools.pairwise(atoms):
        topology.add_bond(*pair)
    groups = [_atom_groups.Group(n, (k,)) for k, n in enumerate(names) if n[0] != "H"]
    return topology, _atom_groups.build_mapping(topology, groups)


def directions(count, rng):
    u = rng.normal(size=(count, 3))
    return u / np.linalg.norm(u, axis=-1, keepdims=True)


def test_a_rigid_diatomic_in_a_field_feels_the_field_on_both_atoms():
    """U = s x_O + g x_H: whichever way the bond points, the mean force on O at fixed O is -(s + g)."""
    _, mapping = molecule("O1", "H1")
    s, g = np.array([3.0, -1.0, 2.0]), np.array([0.5, 4.0, -2.0])
    forces = np.tile(np.stack([-s, -g]), (5, 1, 1))
    np.testing.assert_allclose(mapping.forces(forces), np.tile(-(s + g), (5, 1, 1)), rtol=1e-6)
    assert mapping.beads.masses[0] == pytest.approx(15.999 + 1.008, abs=1e-2)
    np.testing.assert_allclose(force_aggregation.slices(mapping).forces(forces)[:, 0], np.tile(-s, (5, 1)), rtol=1e-6)


def test_a_hydrogen_that_turns_about_its_rigid_bond_gives_the_gradient_of_the_free_energy():
    """C-O-H: O on a spring to C, H on a spring to C, so U depends on the angle of the rigid bond and F(r) is a sinh.

    U = k/2 r^2 + q/2 |r + d u|^2, and the mean over u of exp(-U/kT) at fixed r = x_O - x_C is
    exp(-(k + q) r^2 / 2kT) sinh(a)/a with a = q d r / kT.
    """
    kT, k, q, r, count = 2.5, 400.0, 700.0, np.array([0.2, 0.0, 0.0]), 400_000
    _, mapping = molecule("C1", "O1", "H1")
    u = directions(count, np.random.default_rng(0))
    arm = r + LENGTH * u
    weight = np.exp(-q / 2 * ((arm**2).sum(-1) - r @ r - LENGTH**2) / kT)
    on_h, on_o = -q * arm, np.tile(-k * r, (count, 1))
    forces = np.stack([-on_h - on_o, on_o, on_h], 1)
    mean = np.average(mapping.forces(forces), axis=0, weights=weight)
    a = q * LENGTH * 0.2 / kT
    exact = -(k + q) * 0.2 + q * LENGTH * (1 / np.tanh(a) - 1 / a)
    np.testing.assert_allclose(mean[1], [exact, 0, 0], atol=0.01 * abs(exact))
    np.testing.assert_allclose(mean[0], -mean[1], atol=1e-3)  # no outer force
    sliced = np.average(force_aggregation.slices(mapping).forces(forces), axis=0, weights=weight)
    assert abs(sliced[1, 0] - exact) > 0.3 * abs(exact)


def test_where_each_group_is_a_bead_no_other_map_is_valid_and_the_noise_stays():
    topology, mapping = molecule("C1", "O1", "H1")
    forces = np.random.default_rng(1).normal(size=(500, 3, 3))
    best, noise = force_aggregation.noise(mapping, topology, forces, forces)
    np.testing.assert_allclose(best.force_weights.toarray(), mapping.force_weights.toarray(), atol=1e-9)
    assert noise["optimal"] == pytest.approx(noise["basic"], rel=1e-6)


@pytest.mark.parametrize("rounded", [False, True], ids=["exact", "as an XTC rounds"])
def test_rigid_bonds_between_beads_are_found_in_the_data_and_no_others(rounded):
    """C1=C2 rigid, C2-C3 as stiff as any bond of proteins (sigma 2.2 pm), C3-H rigid as usual."""
    topology, mapping = molecule("C1", "C2", "C3", "H1")
    rng = np.random.default_rng(2)
    lengths = np.array([0.15, 0.13, 0.1]) + np.array([0, 0.0022, 0]) * rng.normal(size=(200, 3))
    steps = np.stack([directions(200, rng) * length[:, None] for length in lengths.T], 1)
    xyz = np.concatenate([np.zeros((200, 1, 3)), steps.cumsum(1)], 1)
    run = Source("run", 200, 4, None, "array", (xyz.round(3) if rounded else xyz).astype(np.float32))
    with Reader() as reader:
        assert constraints.violated(reader, topology, mapping, [run], [range(200)]) == ("LIG0-C1 LIG0-C2",)
        both = _atom_groups.build_mapping(topology, [_atom_groups.Group("A", (0, 1)), _atom_groups.Group("B", (2,))])
        assert not constraints.violated(reader, topology, both, [run], [range(200)]), "one bead moves them together"
