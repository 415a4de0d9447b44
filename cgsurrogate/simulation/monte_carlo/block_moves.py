"""Monte Carlo turns of a stretch of the chain at once, drawn from what frames say of neighbouring coordinates.

A window of soft dihedrals (and broad angles) that follow one another is drawn anew from a hidden Markov model of the
whole chain, given what lies outside of it. With p the density of that model, and J as in ``turns``, it is accepted with

    min(1, exp(-(U' - U) / kT) J' / J  p / p')

so the frames decide how often a turn is accepted, not what is sampled.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.frames import Frames
from cgsurrogate.simulation.monte_carlo import hmm
from cgsurrogate.simulation.monte_carlo.hmm import CELLS, Hidden
from cgsurrogate.simulation.monte_carlo.pivot import Turns

LENGTHS = (2, 3, 4, 6)  # of windows; and all of the chain
SOFT = 1.0  # radian; a dihedral with less room than that has one well, and is in no window
LEAST_FRAMES = 200
BLOCK = 4000


class Windows(nn.Module):
    """D soft coordinates of ``turns`` in their order along the chain, ``moves`` (D,), and their hidden Markov model."""

    def __init__(self, turns: Turns, moves: np.ndarray, model: Hidden):
        super().__init__()
        self.turns, self.model = [turns], model  # in a list: it belongs to another module
        self.lengths = sorted({n for n in LENGTHS if n < len(moves)} | {len(moves)})
        self.register_buffer("moves", torch.as_tensor(moves), persistent=False)

    def __len__(self) -> int:
        return len(self.moves)

    def propose(self, x: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
        """One window of each replica (B, N, 3) nm: positions, and (B,) log of J' / J p / p'."""
        turns, count, device = self.turns[0], len(x), x.device
        length = self.lengths[int(torch.randint(len(self.lengths), (), generator=rng, device=device))]
        begin = torch.randint(len(self) - length + 1, (count,), generator=rng, device=device)
        place = torch.arange(len(self), device=device)
        inside = (place >= begin[:, None]) & (place < begin[:, None] + length)
        now = self.measure(x)
        old = self.cells(now)
        new = self.model.redrawn(old, inside, rng)
        within = torch.rand(now.shape, generator=rng, dtype=x.dtype, device=device)
        later = turns.low[self.moves] + (new + within) * (turns.span[self.moves] / CELLS)
        ratio = self.model.log_likelihood(old) - self.model.log_likelihood(new)
        for number in range(length):
            column = begin[:, None] + number
            move, one, two = self.moves[column[:, 0]], now.gather(1, column)[:, 0], later.gather(1, column)[:, 0]
            x = turns.turn(x, move, two - one)
            ratio = ratio + turns.log_volume(move, one, two)
        return x, ratio.to(x.dtype)

    def measure(self, x: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B, D) radian."""
        return self.turns[0].measure_all(x, self.moves)

    def cells(self, values: Tensor) -> Tensor:
        """(B, D) radian -> cells."""
        turns = self.turns[0]
        share = (values - turns.low[self.moves]) / turns.span[self.moves]
        return torch.nan_to_num(share * CELLS).floor().long().clamp(0, CELLS - 1)


def learned(turns: Turns, frames: Frames) -> Windows | None:
    """What (weighted) frames say of the chain; None where they are few or the chain has no two soft neighbours."""
    soft = [m for m in range(len(turns)) if m >= turns.dihedrals or float(turns.room[m]) >= SOFT]
    if len(soft) < 2 or len(frames) < LEAST_FRAMES:
        return None
    moves = np.array(sorted(soft, key=lambda m: (turns.rows[m].mean(), m)))
    step = max(1, -(-len(frames) // hmm.MOST_FRAMES))
    x, weights = frames.positions[::step], frames.probabilities[::step]
    if not weights.sum() > 0:
        return None
    empty = Windows(turns, moves, Hidden(np.ones(1), np.ones((len(moves) - 1, 1, 1)), np.ones((len(moves), 1, CELLS))))
    blocks = [torch.from_numpy(np.array(x[start : start + BLOCK], np.float32)) for start in range(0, len(x), BLOCK)]
    cells = torch.cat([empty.cells(empty.measure(block)) for block in blocks]).numpy()
    return Windows(turns, moves, hmm.fit(cells, weights, moves < turns.dihedrals))
