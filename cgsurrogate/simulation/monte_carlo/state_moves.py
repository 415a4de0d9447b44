"""Independence moves: many dihedrals and angles at once, drawn from a density that overlaps with the states of frames.

A move replaces the dihedrals and angles z_b of a stretch b of the molecule, or all of them, by values drawn from a
mixture q that was fitted to frames (``mixture``), with those of the rest as they are: from q(z_b | rest). It is
accepted (Hastings 1970; an independence sampler, Tierney, Ann. Stat. 22, 1701 (1994)) with the probability

    min(1, exp(-(U' - U) / kT) J' / J  q(z) / q(z')),

J the product of sin(theta) over angles. So the distribution of the energy is left as it is whatever the frames are;
they decide only how often a move is accepted. Folded and unfolded states that dynamics seldom connects are in
equilibrium after a few accepted moves.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry.torsion_moves import TorsionMoves
from cgsurrogate.simulation.monte_carlo.mixture import Mixture, choose
from cgsurrogate.simulation.monte_carlo.move import Move, Proposal, measured

MOST_FRAMES = 100_000  # that the mixture is fitted to, and as many that choose it
LEFT_OUT = 0.2  # share of the frames, by whole runs, on which the number of groups is chosen
WHOLE = 0.5  # share of moves of all dihedrals and angles


class IndependenceMove(Move):
    """Connects the states that ``frames`` have; ``coordinates`` are the M dihedrals and angles that it changes."""

    name, kinds = "independence", ("independence",)

    def __init__(self, frames: Frames):
        super().__init__()
        self.coordinates = TorsionMoves(frames.beads)
        self.density = fitted(self.coordinates, frames)

    def extra_repr(self) -> str:
        return f"{len(self.density.shares)} groups of likelihood {self.density.fit:.6g}"

    def propose(self, x: Tensor, rng: Generator) -> Proposal:
        now = self.coordinates.values(x)
        later = self.redrawn(now, rng)
        ratio = self.log_ratio(later) - self.log_ratio(now)
        kind = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        moved = self.coordinates.turn(x, self.coordinates.signs * (later.to(x) - now))
        return Proposal(moved, ratio, kind)

    def log_ratio(self, z: Tensor) -> Tensor:
        """(B, M) radian -> (B,) ln J - ln q; inf where q is zero, from where no move begins."""
        z = z.double()
        volume = z[:, self.coordinates.turns :].sin().clamp(min=1e-12).log().sum(1)
        return torch.where(self.density.covers(z), volume - self.density.log_density(z), torch.inf)

    def redrawn(self, z: Tensor, rng: Generator) -> Tensor:
        """(B, M) radian: all values drawn anew, or those of a stretch given the others."""
        count, turns, bends = z.shape[1], self.coordinates.turns, self.coordinates.bends
        ends = torch.rand(3, len(z), generator=rng, device=z.device)
        first, last = (ends[:2].sort(0).values * count).floor()
        place = torch.cat((torch.arange(turns), torch.arange(bends))).to(z.device) * (count / max(turns, bends, 1))
        chosen = (place >= first[:, None]) & (place <= last[:, None]) | (ends[2] < WHOLE)[:, None]
        return torch.where(chosen, self.density.draw_given(z, ~chosen, rng), z.double())

    def about(self) -> dict[str, Any]:
        return {"groups": len(self.density.shares)}


def fitted(moves: TorsionMoves, frames: Frames) -> Mixture:
    """The mixture of frames that suits runs left out of its fit best; of at most ``MOST_FRAMES``, evenly spaced."""

    def part(some: Frames) -> tuple[Tensor, Tensor]:
        step = -(-len(some) // MOST_FRAMES)
        return measured(moves.values, some.positions[::step]), torch.from_numpy(np.array(some.probabilities[::step]))

    kept, held = map(part, frames.split(LEFT_OUT, 0))
    return choose(*kept, moves.turns, held, Generator().manual_seed(0))
