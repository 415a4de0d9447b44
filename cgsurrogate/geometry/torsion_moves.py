"""Turns of one side of a molecule that change one dihedral or one angle and nothing else, and the forces along them.

Along these directions a molecule is soft, and what bonds and fast vibrations add to a force cancels: the torque on a
side is the sum over all its beads, in which internal forces drop out. Both objectives of training work in them.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals, cross, rotated
from cgsurrogate.geometry.molecule import Molecule


class TorsionMoves(nn.Module):
    """M moves: each turns a side of the molecule about an axis. Dihedrals turn about their bond, angles about their
    normal.

    ``sides`` (M, N) is one for the beads that turn. A positive turn opens an angle.
    """

    origin: Tensor  # (M,) on the axis
    first: Tensor  # (M,) the first arm of an angle; the origin for a dihedral
    second: Tensor  # (M,)
    sides: Tensor
    signs: Tensor  # (M,)

    def __init__(self, beads: Beads):
        super().__init__()
        (turns, sides), (bends, arms) = Molecule.of(beads).rotatable, Molecule.of(beads).openable
        self.turns, self.bends = len(turns), len(bends)
        self.turn_rows, self.bend_rows = turns, bends
        if not len(turns) + len(bends):
            raise ValueError("the molecule has no angle or dihedral that can move; train it with other beads or bonds")
        origin = np.concatenate([turns[:, 1], bends[:, 1]])
        first = np.concatenate([turns[:, 1], bends[:, 0]])
        second = np.concatenate([turns[:, 2], bends[:, 2]])
        for name, index in (("origin", origin), ("first", first), ("second", second)):
            self.register_buffer(name, torch.from_numpy(index), persistent=False)
        turning = torch.tensor(np.concatenate([sides, arms]), dtype=torch.float32)
        self.register_buffer("sides", turning, persistent=False)
        numbers = [side.nonzero()[:, 0] for side in turning]
        self.turned = list(zip(numbers, origin.tolist(), first.tolist(), second.tolist(), strict=True))
        last = turning[torch.arange(len(turns)), turns[:, 3].tolist()]
        signs = torch.cat((2 * last - 1, torch.ones(len(bends))))  # -1 where the first bead of a dihedral is turned
        self.register_buffer("signs", signs, persistent=False)
        self.dihedrals, self.cosines = Dihedrals(len(beads), turns), Cosines(len(beads), bends)

    def __len__(self) -> int:
        return self.turns + self.bends

    def _axes(self, x: Tensor) -> Tensor:
        """(B, N, 3) -> (B, M, 3) unit vectors."""
        to_second = x[:, self.second] - x[:, self.origin]
        to_first = x[:, self.first] - x[:, self.origin]  # zero for dihedrals
        normal = cross(to_first[:, self.turns :], to_second[:, self.turns :])
        axes = torch.cat((to_second[:, : self.turns], normal), 1)
        return axes / axes.square().sum(2, keepdim=True).sqrt()

    def torques(self, x: Tensor, forces: Tensor) -> Tensor:
        """Positions and forces (B, N, 3) -> generalised forces -dU/d(angle), (B, M) kJ/mol/radian."""
        x = x - x.mean(1, keepdim=True)
        total = self.sides @ forces
        moment = self.sides @ cross(x, forces)
        return (self._axes(x) * (moment - cross(x[:, self.origin], total))).sum(2)

    def volume_slope(self, x: Tensor) -> Tensor:
        """d log(volume element) / d(angle), (B, M): cot(theta) for angles, zero for dihedrals (per radian)."""
        a = x[:, self.first[self.turns :]] - x[:, self.origin[self.turns :]]
        b = x[:, self.second[self.turns :]] - x[:, self.origin[self.turns :]]
        cosine = (a * b).sum(2) / (a.norm(dim=2) * b.norm(dim=2))
        cot = cosine / (1 - cosine.square()).clamp(min=1e-6).sqrt()
        return torch.cat((x.new_zeros(len(x), self.turns), cot), 1)

    def turn(self, x: Tensor, amounts: Tensor) -> Tensor:
        """Turn (B, N, 3) by ``amounts`` (B, M) radian, one move after the other."""
        y = x.permute(1, 2, 0).contiguous()  # (N, 3, B): conformations innermost, which vectorises
        angles = amounts.T.contiguous()
        cosines, sines = angles.cos(), angles.sin()
        for m, (side, origin, first, second) in enumerate(self.turned):
            centre = y[origin]
            axis = y[second] - centre
            if m >= self.turns:
                axis = cross(y[first] - centre, axis, dim=0)
            axis = axis * axis.square().sum(0).rsqrt()
            arm = y[side] - centre  # (n, 3, B)
            y[side] = rotated(arm, axis, cosines[m], sines[m], dim=1) + centre
        return y.permute(2, 0, 1).contiguous()

    def values(self, x: Tensor) -> Tensor:
        """(B, N, 3) -> (B, M) radian: what each move changes."""
        cosine, sine = self.dihedrals(x)
        return torch.cat((torch.atan2(sine, cosine), self.cosines(x).clamp(-1, 1).acos()), 1)

    def placed(self, x: Tensor, wanted: Tensor) -> Tensor:
        """(B, N, 3) turned so that what the moves change becomes ``wanted`` (B, M) radian."""
        return self.turn(x, self.signs * (wanted - self.values(x)))

    def widths(self, x: Tensor) -> Tensor:
        """(M,) standard deviation over (T, N, 3) of what each move changes, radian; circular for dihedrals."""
        cosine, sine = Dihedrals(x.shape[1], self.turn_rows).to(x)(x)
        resultant = (cosine.mean(0).square() + sine.mean(0).square()).sqrt().clamp(1e-6, 1 - 1e-6)
        angle = Cosines(x.shape[1], self.bend_rows).to(x)(x).clamp(-1, 1).acos()
        return torch.cat(((-2 * resultant.log()).sqrt(), angle.std(0)))
