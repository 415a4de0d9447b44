"""Laws of the z-matrix: exact round trips, the Jacobian, mirror images, turns, and clear errors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.zmatrix import ZMatrix, wrap


def make_beads(count, bonds):
    return Beads(
        names=("X",) * count,
        types=(0,) * count,
        masses=(12.0,) * count,
        residues=(0,) * count,
        residue_names=("UNK",) * count,
        bonds=tuple(tuple(sorted(bond)) for bond in bonds),
    )


def random_tree(count, seed):
    rng = np.random.default_rng(seed)
    label = rng.permutation(count)
    return make_beads(count, [(int(label[i]), int(label[rng.integers(max(0, i - 4), i)])) for i in range(1, count)])


GRAPHS = {
    "chain": make_beads(9, [(i, i + 1) for i in range(8)]),
    "star": make_beads(6, [(0, i) for i in range(1, 6)]),
    "ring": make_beads(7, [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (4, 5), (5, 6)]),
    "four": make_beads(4, [(0, 1), (1, 2), (1, 3)]),
    "two chains": make_beads(9, [(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (7, 8)]),
    "single beads": make_beads(6, [(0, 1), (1, 2), (2, 3)]),
    **{f"tree {seed}": random_tree(25, seed) for seed in range(5)},
}


def random_positions(beads, batch=6, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(batch, len(beads), 3, generator=rng, dtype=torch.float64)


@pytest.fixture(params=GRAPHS)
def beads(request):
    return GRAPHS[request.param]


@pytest.mark.parametrize("from_start", [False, True])
def test_round_trip_is_exact(beads, from_start):
    z, x = ZMatrix(beads, from_start), random_positions(beads)
    again = z.to_positions(*z.to_internal(x), like=x)
    assert (again - x).abs().max() < 1e-9


@given(st.integers(4, 40), st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=20, deadline=None, derandomize=True)
def test_round_trip_is_exact_for_any_tree(count, seed, from_start):
    """Bonds, angles and dihedrals place every bead, whatever the tree, its labels and the positions."""
    beads = random_tree(count, seed)
    z, x = ZMatrix(beads, from_start), random_positions(beads, seed=seed)
    bonds, angles, dihedrals = z.to_internal(x)
    assert (bonds.shape[1], angles.shape[1], dihedrals.shape[1]) == (count - 1, count - 2, count - 3)
    assert (z.to_positions(bonds, angles, dihedrals, like=x) - x).abs().max() < 1e-7


def test_internal_round_trip_is_exact(beads):
    z = ZMatrix(beads)
    bonds, angles, dihedrals = z.to_internal(random_positions(beads))
    b, a, d = z.to_internal(z.to_positions(bonds, angles, dihedrals))
    assert (b - bonds).abs().max() < 1e-9
    assert (a - angles).abs().max() < 1e-9
    assert wrap(d - dihedrals).abs().max() < 1e-7  # nearly straight angles amplify rounding


def test_blind_to_shift_and_turn_but_not_to_mirrors(beads):
    z, x = ZMatrix(beads), random_positions(beads)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    turn = turn * torch.linalg.det(turn).sign()
    internal = z.to_internal(x)
    for one, two in zip(internal, z.to_internal(x @ turn.T + 3.0), strict=True):
        assert wrap(one - two).abs().max() < 1e-9
    bonds, angles, dihedrals = z.to_internal(-x)
    assert torch.allclose(bonds, internal[0]) and torch.allclose(angles, internal[1])
    assert wrap(dihedrals + internal[2]).abs().max() < 1e-9


def test_dihedrals_have_the_sign_of_the_iupac_convention():
    z = ZMatrix(make_beads(4, [(0, 1), (1, 2), (2, 3)]))
    angle = math.radians(60)  # looking along 1 -> 2, the far bond is turned clockwise from the near one
    x = torch.tensor([[[1, 0, 0], [0, 0, 0], [0, 0, 1], [math.cos(angle), math.sin(angle), 1]]], dtype=torch.float64)
    assert z.to_internal(x)[2].item() == pytest.approx(angle)


def test_structure_turns_with_the_molecule_it_is_placed_like(beads):
    z, x = ZMatrix(beads), random_positions(beads)
    drawn = z.to_internal(random_positions(beads, seed=5))
    turn = torch.linalg.matrix_exp(torch.tensor([[0, 1, 2], [-1, 0, 3], [-2, -3, 0]], dtype=torch.float64))
    one = z.to_positions(*drawn, like=x)
    two = z.to_positions(*drawn, like=x @ turn.T + 1.5)
    assert (one @ turn.T + 1.5 - two).abs().max() < 1e-9
    assert (one.mean(1) - x.mean(1)).abs().max() < 1e-12


def test_few_levels_for_a_long_chain():
    """The root lies in the middle, so a chain needs half as many sequential steps as it has beads."""
    beads = make_beads(101, [(i, i + 1) for i in range(100)])
    assert len(ZMatrix(beads)._levels) <= 51


def test_from_the_start_all_is_placed_in_one_direction():
    """Three beads a residue with a side bead: the rows of every residue are those of the one before, moved on."""
    bonds = [(3 * k + i, 3 * k + j) for k in range(6) for i, j in ((0, 1), (1, 2), (1, 3)) if 3 * k + j < 18]
    rows = {int(row[0]): row for row in ZMatrix(make_beads(18, bonds), True).refs[3:]}
    assert all(row[0] > row[1] for row in rows.values())
    for i in range(5, 14):
        assert np.array_equal(rows[i + 3], rows[i] + 3)


def test_gradients_flow(beads):
    z, x = ZMatrix(beads), random_positions(beads, batch=2)
    internal = [part.requires_grad_(True) for part in z.to_internal(x)]
    z.to_positions(*internal, like=x).square().sum().backward()
    assert all(torch.isfinite(part.grad).all() for part in internal)


def test_parts_are_joined_at_their_ends_and_every_bond_is_kept():
    """Two chains and a lone bead: the rows of placement hold all bonds and one link a part, and no bond twice."""
    beads = make_beads(8, [(0, 1), (1, 2), (3, 4), (4, 5), (5, 6)])
    assert Molecule.of(beads).links == ((2, 3), (6, 7))
    for from_start in (False, True):
        rows = ZMatrix(beads, from_start).refs[1:, :2]
        assert {tuple(sorted(row)) for row in rows.tolist()} == {*beads.bonds, *Molecule.of(beads).links}


@pytest.mark.parametrize("from_start", [False, True])
def test_what_is_inside_a_chain_does_not_depend_on_where_the_others_lie(from_start):
    """All but the five or six coordinates that tell where the second chain lies are those of one chain alone."""
    bonds = [(0, 1), (1, 2), (1, 3), (3, 4), (3, 5)]
    beads = make_beads(12, [*bonds, *((i + 6, j + 6) for i, j in bonds)])
    z, x = ZMatrix(beads, from_start), random_positions(beads)
    moved = x.clone()
    moved[:, 6:] = moved[:, 6:].flip(2) * torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64) + 3.0
    changed = sum(
        int((wrap(a - b).abs().amax(0) > 1e-9).sum())
        for a, b in zip(z.to_internal(x), z.to_internal(moved), strict=True)
    )
    assert changed == 6


def test_a_molecule_in_one_part_needs_no_link(beads):
    parts = len(set(Molecule.of(beads).parts.tolist()))
    assert len(Molecule.of(beads).links) == parts - 1


def test_too_few_beads_are_refused_in_one_line():
    with pytest.raises(ValueError, match="at least four") as caught:
        ZMatrix(make_beads(3, [(0, 1), (1, 2)]))
    assert "\n" not in str(caught.value)
