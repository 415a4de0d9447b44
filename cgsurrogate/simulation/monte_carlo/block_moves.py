"""Block moves: a stretch of the chain at once, drawn from what frames say of neighbouring coordinates.

A block of soft dihedrals (and broad angles) that follow one another is drawn anew from a hidden Markov model of the
whole chain, given what lies outside of it. With p the density of that model, and J as in ``pivot``, it is accepted with

    min(1, exp(-(U' - U) / kT) J' / J  p / p')

so the frames decide how often a move is accepted, not what is sampled.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.simulation.monte_carlo import hmm
from cgsurrogate.simulation.monte_carlo.hmm import CELLS, HiddenMarkovModel
from cgsurrogate.simulation.monte_carlo.move import Move, Proposal, measured
from cgsurrogate.simulation.monte_carlo.pivot import PivotMove

LENGTHS = (2, 3, 4, 6)  # of blocks; and all of the chain
SOFT = 1.0  # radian; a dihedral with less room than that has one well, and is in no block
LEAST_FRAMES = 200


class BlockMove(Move):
    """D soft coordinates of ``pivot`` in order along the chain, ``places`` (D,), and their hidden Markov model."""

    name, kinds = "block", ("block",)
    places: Tensor

    def __init__(self, pivot: PivotMove, places: np.ndarray, model: HiddenMarkovModel):
        super().__init__()
        self.pivot, self.model = pivot, model
        self.lengths = sorted({n for n in LENGTHS if n < len(places)} | {len(places)})
        self.register_buffer("places", torch.as_tensor(places), persistent=False)

    def __len__(self) -> int:
        return len(self.places)

    def extra_repr(self) -> str:
        return f"lengths={self.lengths}"

    def changes(self, term: Energy) -> bool:
        return self.pivot.changes(term)

    def propose(self, x: Tensor, rng: Generator) -> Proposal:
        """One block of each replica, all of one length; the ratio is J' / J p / p'."""
        pivot, count, device = self.pivot, len(x), x.device
        length = self.lengths[int(torch.randint(len(self.lengths), (), generator=rng, device=device))]
        begin = torch.randint(len(self) - length + 1, (count,), generator=rng, device=device)
        order = torch.arange(len(self), device=device)
        inside = (order >= begin[:, None]) & (order < begin[:, None] + length)
        now = self.measure(x)
        old = self.cells(now)
        new = self.model.redrawn(old, inside, rng)
        within = torch.rand(now.shape, generator=rng, dtype=x.dtype, device=device)
        later = pivot.low[self.places] + (new + within) * (pivot.span[self.places] / CELLS)
        ratio, turns = self.model.log_likelihood(old) - self.model.log_likelihood(new), []
        for number in range(length):
            column = begin[:, None] + number
            move, one, two = self.places[column[:, 0]], now.gather(1, column)[:, 0], later.gather(1, column)[:, 0]
            x, turn = pivot.rotate(x, move, two - one)
            turns.append(turn)
            ratio = ratio + pivot.log_volume(move, one, two)

        def turned(v: Tensor) -> Tensor:
            for turn in turns:
                v = turn(v)
            return v

        return Proposal(x, ratio, torch.zeros(count, dtype=torch.int64, device=device), turned)

    def measure(self, x: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B, D) radian."""
        return self.pivot.measure_all(x, self.places)

    def cells(self, values: Tensor) -> Tensor:
        """(B, D) radian -> cells."""
        share = (values - self.pivot.low[self.places]) / self.pivot.span[self.places]
        return torch.nan_to_num(share * CELLS).floor().long().clamp(0, CELLS - 1)


def pivot_moves(beads: Beads, energy: Energy, temperature: float, frames: Frames | None = None) -> list[Move]:
    """Pivot moves of a molecule, and block moves where there are frames that say what goes together."""
    pivot = PivotMove(beads, energy, temperature)
    block = None if frames is None else learned(pivot, frames)
    return [pivot] if block is None else [pivot, block]


def learned(pivot: PivotMove, frames: Frames) -> BlockMove | None:
    """What (weighted) frames say of the chain; None where they are few or the chain has no two soft neighbours."""
    soft = [m for m in range(len(pivot)) if m >= pivot.dihedrals or float(pivot.room[m]) >= SOFT]
    if len(soft) < 2 or len(frames) < LEAST_FRAMES:
        return None
    places = np.array(sorted(soft, key=lambda m: (pivot.rows[m].mean(), m)))
    step = max(1, -(-len(frames) // hmm.MOST_FRAMES))
    x, weights = frames.positions[::step], frames.probabilities[::step]
    if not weights.sum() > 0:
        return None
    one = np.ones((len(places), 1, CELLS))
    empty = BlockMove(pivot, places, HiddenMarkovModel(np.ones(1), one[1:, :, :1], one))
    cells = empty.cells(measured(empty.measure, x)).numpy()
    return BlockMove(pivot, places, hmm.fit(cells, weights, places < pivot.dihedrals))
