"""What a Monte Carlo move is: other positions, and the ratio with which accepting them keeps a Boltzmann density."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.energy import Energy

PIECE = 4000  # frames that are measured together


def measured(values: Callable[[Tensor], Tensor], positions: np.ndarray) -> Tensor:
    """(T, D): what a move measures at (B, N, 3) nm, of (T, N, 3) nm."""
    pieces = [positions[start : start + PIECE] for start in range(0, len(positions), PIECE)]
    return torch.cat([values(torch.from_numpy(np.array(piece, np.float32))) for piece in pieces])


Turn = Callable[[Tensor], Tensor]
"""Turns vectors (B, N, 3), one for each bead, as a proposal turned the part of the molecule that the bead is in."""


class Proposal(NamedTuple):
    """Positions (B, N, 3) nm; (B,) log of what stands beside the Boltzmann factor in the acceptance,

        min(1, exp(-(U' - U) / kT) ratio),

    -inf or nan where nothing can be accepted; (B,) which of the ``kinds`` of the move it is; and, of a move that turns
    parts of a molecule, how velocities turn with them. They need not, since they do not depend on positions; but at
    a long time step those along a stiff bond are smaller than those across it, and a bond that turned without them
    would be heated.
    """

    positions: Tensor
    log_ratio: Tensor
    kind: Tensor
    turn: Turn | None = None


class Move(nn.Module, abc.ABC):
    """Changes positions and nothing else. ``kinds`` name the proposals that are counted apart."""

    name: ClassVar[str]
    kinds: ClassVar[tuple[str, ...]]

    @abc.abstractmethod
    def propose(self, x: Tensor, rng: Generator) -> Proposal:
        """One proposal for each replica (B, N, 3) nm."""

    def changes(self, term: Energy) -> bool:
        """Whether a proposal can change this term of an energy; terms that none can change are not evaluated."""
        return True

    def about(self) -> dict[str, Any]:
        """What frames should say of the move; JSON can hold it."""
        return {}
