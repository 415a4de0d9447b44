"""Pivot moves: one dihedral or one angle of each replica is changed, with all that lies beyond it.

A rotation about a bond (Lal, Mol. Phys. 17, 57 (1969)) changes one dihedral and no other internal coordinate of
``Molecule``; one about the normal of an angle changes that angle. The new value is drawn either

    from a density g that knows nothing of the old one       chance ``drawn``
    near the old one, normal, the width log-uniform in NEAR   otherwise

and accepted (Metropolis et al. 1953; Hastings 1970) with the probability

    min(1, exp(-(U' - U) / kT) J' / J  g / g')

J = sin(theta) for an angle, the volume element of its internal coordinate, and 1 for a dihedral; g / g' only for values
drawn from g. Each of the two kinds of proposals obeys detailed balance by itself. g is the Boltzmann density of the
terms of the energy that depend on that dihedral or angle alone, on a grid, with a small uniform share. Where the other
terms say little about one coordinate with all others given, most moves are accepted, however high the barrier.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core import units
from cgsurrogate.core.energy import Energy, Internal
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import angle, dihedral, rotated
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.evaluation.evaluator import terms_of
from cgsurrogate.simulation.monte_carlo.move import Move, Proposal, Turn

GRID = 360
UNIFORM = 0.02  # share of uniform draws
NEAR = (0.03, 0.6)  # radian
MANY = 2000  # distances; a term of so many is evaluated without looking whether it can change
NARROWEST = 0.4  # radian; an angle with less room, or of which no term speaks alone, is left to the dynamics


def can_pivot(beads: Beads) -> bool:
    """Whether a molecule has a dihedral that can be rotated."""
    return len(Molecule.of(beads).rotatable[0]) > 0


class PivotMove(Move):
    """M rotations of a molecule, dihedrals first.

    A rotation is tried in proportion to the room that its coordinate has, the exponential of the entropy of g. Buffers:
    ``beads`` (M, 4), the middle one twice for an angle; ``sides`` (M, N) the beads that move; ``low`` and ``span`` (M,)
    of the coordinate; of the grids of all rotations, one after the other, ``log_density`` of a cell and ``below``, its
    cumulative sum; ``room`` (M,) radian, and ``chance``, its cumulative share.

    Args:
        drawn: share of the values that are drawn from g.

    Raises:
        ValueError: the molecule has no dihedral that can be rotated, or the energy is not fitted.
    """

    name, kinds = "pivot", ("drawn", "near")
    beads: Tensor
    sides: Tensor
    sign: Tensor  # (M,) 1 or -1: what rotating the side does to the coordinate
    low: Tensor
    span: Tensor
    log_density: Tensor
    below: Tensor
    chance: Tensor
    room: Tensor

    def __init__(self, beads: Beads, energy: Energy, temperature: float, drawn: float = 0.5):
        super().__init__()
        if not 0 <= drawn <= 1:
            raise ValueError(f"expected the share of drawn values between 0 and 1, got {drawn}")
        self.drawn, molecule = drawn, Molecule.of(beads)
        (dihedrals, sides), (angles, arms) = molecule.rotatable, molecule.openable
        if not len(dihedrals):
            raise ValueError(
                f"pivot moves need a dihedral that can be rotated, these {len(beads)} beads have none; simulate "
                "without --pivot"
            )
        kT = units.thermal_energy(temperature)
        phi = _centres(-math.pi, math.pi)
        theta = _centres(0.0, math.pi)
        volume = theta.sin()
        curves = _curves(energy, angles, theta.cos())
        of_angles = _normal(_exponential(curves, kT) * volume)
        broad = ((_room(of_angles) * math.pi >= NARROWEST) & (curves != 0).any(1)).numpy()
        angles, arms, of_angles = angles[broad], arms[broad], of_angles[torch.as_tensor(broad)]
        density = torch.cat((_normal(_exponential(_curves(energy, dihedrals, phi), kT)), of_angles))
        span = torch.tensor([2 * math.pi] * len(dihedrals) + [math.pi] * len(angles))
        if not torch.isfinite(density).all():
            raise ValueError("pivot moves need an energy with fitted terms; fit its priors first")
        room = _room(density) * span
        density = (1 - UNIFORM) * density + UNIFORM / GRID
        self.dihedrals, self.rows = len(dihedrals), np.concatenate([dihedrals, angles[:, [0, 1, 1, 2]]])
        last = np.concatenate([sides, arms])[np.arange(len(self.rows)), self.rows[:, 3]]
        sizes = {
            "beads": torch.from_numpy(self.rows),  # (M, 4)
            "sides": torch.tensor(np.concatenate([sides, arms])),
            "sign": torch.where(torch.tensor(last), 1.0, -1.0),
            "low": torch.where(torch.arange(len(room)) < len(dihedrals), -math.pi, 0.0),
            "span": span,
            "log_density": density.log().flatten(),
            "below": (density.cumsum(1) + torch.arange(len(room))[:, None]).flatten(),
            "chance": (room / room.sum()).cumsum(0),
            "room": room,
        }
        for name, value in sizes.items():
            self.register_buffer(name, value, persistent=False)

    def __len__(self) -> int:
        return len(self.rows)

    def extra_repr(self) -> str:
        return f"drawn={self.drawn:g}"

    def changes(self, term: Energy) -> bool:
        form = term.analytic()
        if form is None or len(form.distances) > MANY:
            return True
        sides = self.sides.cpu().numpy()
        for rows in (form.distances, form.angles, form.dihedrals):
            for side, own in zip(sides, self.rows, strict=True):
                on_axis = np.isin(rows, own[1:3])
                inside, outside = side[rows] | on_axis, ~side[rows] | on_axis
                if not (inside.all(1) | outside.all(1)).all():
                    return True
        return False

    def propose(self, x: Tensor, rng: Generator) -> Proposal:
        """The ratio is J' / J g / g'; zero for a value that does not exist."""
        u = torch.rand((5, len(x)), generator=rng, dtype=x.dtype, device=x.device)
        width = NEAR[0] * (NEAR[1] / NEAR[0]) ** u[3]
        step = width * torch.randn(len(x), generator=rng, dtype=x.dtype, device=x.device)
        move = torch.searchsorted(self.chance, u[0].to(self.chance)).clamp_(max=len(self) - 1)
        drawn = u[1] < self.drawn
        now = self.measure(x, move)
        later = torch.where(drawn, self.draw(move, u[2], u[4]), now + step)
        ratio = self.log_ratio(move, now, later, drawn)
        moved, turn = self.rotate(x, move, later - now)
        return Proposal(moved, ratio, torch.where(drawn, 0, 1), turn)

    def draw(self, move: Tensor, cell: Tensor, within: Tensor) -> Tensor:
        """(B,) radian from the density of each rotation (B,), by two uniform numbers: the cell, and where in it."""
        found = torch.searchsorted(self.below, move + cell.to(self.below)) - move * GRID
        return self.low[move] + (found.clamp_(0, GRID - 1) + within) * (self.span[move] / GRID)

    def log_ratio(self, move: Tensor, now: Tensor, later: Tensor, drawn: Tensor) -> Tensor:
        """(B,) log of J' / J, and of g / g' where the value was drawn."""
        guess = self.log_density[self._cell(move, now)] - self.log_density[self._cell(move, later)]
        return torch.where(drawn, guess.to(now.dtype), 0.0) + self.log_volume(move, now, later)

    def log_volume(self, move: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """(B,) log of J' / J."""
        if self.dihedrals == len(self):
            return torch.zeros_like(now)
        volume = later.sin().clamp(min=0).log() - now.sin().clamp(min=1e-6).log()  # no angle is outside (0, pi)
        return torch.where(move < self.dihedrals, 0.0, volume)

    def _cell(self, move: Tensor, value: Tensor) -> Tensor:
        """(B,) the cell of the grids of all rotations; dihedrals are periodic."""
        cell = torch.nan_to_num((value - self.low[move]) * (GRID / self.span[move])).floor().long()
        return move * GRID + torch.where(move < self.dihedrals, cell % GRID, cell.clamp(0, GRID - 1))

    def measure(self, x: Tensor, move: Tensor) -> Tensor:
        """(B, N, 3) nm and the number of a rotation (B,) -> (B,) radian, what it would change."""
        return self._values(self._corners(x, move), move)

    def measure_all(self, x: Tensor, moves: Tensor) -> Tensor:
        """(B, N, 3) nm and rotations (D,) -> (B, D) radian."""
        corners = x[:, self.beads[moves].flatten()].view(-1, 4, 3).unbind(1)
        return self._values(corners, moves.repeat(len(x))).view(len(x), -1)

    def _values(self, corners: tuple[Tensor, ...], move: Tensor) -> Tensor:
        a, b, c, d = corners
        turn = dihedral(b - a, c - b, d - c)
        return turn if self.dihedrals == len(self) else torch.where(move < self.dihedrals, turn, angle(a - b, d - b))

    def rotate(self, x: Tensor, move: Tensor, amount: Tensor) -> tuple[Tensor, Turn]:
        """(B, N, 3) nm with the side of each rotation (B,) moved so that its coordinate grows by (B,) radian; and what
        turns other vectors in the same way."""
        a, b, c, d = self._corners(x, move)
        axis = c - b
        if self.dihedrals < len(self):
            axis = torch.where((move < self.dihedrals)[:, None], axis, torch.linalg.cross(a - b, d - b))
        axis, amount = (axis / axis.norm(dim=1, keepdim=True))[:, None], (amount * self.sign[move].to(x))[:, None, None]
        side, cosine, sine = self.sides[move][:, :, None], amount.cos(), amount.sin()

        def turn(v: Tensor) -> Tensor:
            return torch.where(side, rotated(v, axis, cosine, sine), v)

        return turn(x - b[:, None]) + b[:, None], turn

    def _corners(self, x: Tensor, move: Tensor) -> tuple[Tensor, ...]:
        """Four times (B, 3)."""
        return x[torch.arange(len(x), device=x.device)[:, None], self.beads[move]].unbind(1)


def _centres(low: float, high: float) -> Tensor:
    return low + (high - low) / GRID * (torch.arange(GRID, dtype=torch.float64) + 0.5)


def _curves(energy: Energy, rows: np.ndarray, values: Tensor) -> Tensor:
    """(M, GRID) kJ/mol: what the terms of nothing but angles, or of nothing but dihedrals, say of each row alone."""
    total, width = torch.zeros(len(rows), len(values), dtype=torch.float64), rows.shape[1]
    found = [t for t in [*energy.parameters(), *energy.buffers()] if t.is_floating_point()]
    values = values.to(found[0]) if found else values
    place = {tuple(row): m for m, row in enumerate(rows.tolist())}
    for term in terms_of(energy):
        form = term.analytic()
        if form is None or len(form.distances) or len(form.angles if width == 4 else form.dihedrals):
            continue
        own = form.dihedrals if width == 4 else form.angles
        for k, row in enumerate(own.tolist()):
            m = place.get(tuple(row), place.get(tuple(row[::-1])))
            if m is None:
                continue
            at = values.new_zeros(len(own), len(values))
            at[k] = values
            none = at[:0]
            total[m] += form.value(Internal(none, none, at) if width == 4 else Internal(none, at, none)).double().cpu()
    return total


def _exponential(energy: Tensor, kT: float) -> Tensor:
    return (-(energy - energy.amin(1, keepdim=True)) / kT).exp()


def _normal(density: Tensor) -> Tensor:
    return density / density.sum(1, keepdim=True)


def _room(density: Tensor) -> Tensor:
    """(M,) share of the range: the exponential of the entropy of (M, GRID)."""
    return (-torch.special.xlogy(density, density).sum(1)).exp() / GRID
