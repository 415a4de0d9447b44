"""TorsionMoves of dihedrals and angles: each changes one coordinate and no other, and torques are slopes along them."""

from __future__ import annotations

import dataclasses
import math

import energy_contract as contract
import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import registry
from cgsurrogate.core.energy import forces
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.torsion_moves import TorsionMoves


def internal(beads: Beads, x: Tensor) -> tuple[Tensor, Tensor]:
    """Angles and (improper) dihedrals of the complete set, (B, M) each."""
    angles = Cosines(len(beads), Molecule.of(beads).angles).to(x)(x).acos()
    rows = np.concatenate([Molecule.of(beads).dihedrals, Molecule.of(beads).impropers])
    cosine, sine = Dihedrals(len(beads), rows).to(x)(x)
    return angles, torch.atan2(sine, cosine)


def test_a_move_changes_one_coordinate_by_its_amount_and_no_other():
    beads, x = contract.peptide(), contract.conformations(3)
    moves = TorsionMoves(beads).double()
    assert moves.turns == len(Molecule.of(beads).dihedrals) and moves.bends == len(Molecule.of(beads).angles)
    before = torch.cat(internal(beads, x), 1)
    bonds = torch.tensor(beads.bonds)
    for number in range(len(moves)):
        amounts = torch.zeros(3, len(moves), dtype=x.dtype)
        amounts[:, number] = 0.2
        y = moves.turn(x, amounts)
        change = torch.remainder(torch.cat(internal(beads, y), 1) - before + math.pi, 2 * math.pi) - math.pi
        moved = change.abs().max(0).values > 1e-9
        assert int(moved.sum()) == 1
        torch.testing.assert_close(change[:, moved].abs(), torch.full((3, 1), 0.2, dtype=x.dtype))
        assert int(moved.nonzero()) < moves.bends or number < moves.turns
        length = [(z[:, bonds[:, 0]] - z[:, bonds[:, 1]]).norm(dim=2) for z in (x, y)]
        torch.testing.assert_close(*length)


def test_torques_are_slopes_along_the_moves():
    beads, x = contract.peptide(), contract.conformations(3)
    moves = TorsionMoves(beads).double()
    energy = registry.build("priors", "repulsion", beads)
    energy.fit(contract.frames(50))
    energy, x = energy.double(), 0.8 * x
    torques, h = moves.torques(x, forces(energy, x)[1]), 1e-5
    assert torques.abs().max() > 1
    for number in range(len(moves)):
        amounts = torch.zeros(3, len(moves), dtype=x.dtype)
        amounts[:, number] = h
        slope = (energy(moves.turn(x, amounts)) - energy(moves.turn(x, -amounts))) / (2 * h)
        assert (slope + torques[:, number]).abs().max() < 1e-6 * torques.abs().max()


def test_bonds_in_rings_do_not_turn():
    beads = dataclasses.replace(contract.chain_beads(6), bonds=((0, 1), (1, 2), (2, 3), (0, 3), (3, 4), (4, 5)))
    rows, _ = Molecule.of(beads).rotatable
    assert rows[:, 1:3].tolist() == [[3, 4]]
