"""What the training loop asks of an objective: batches, a loss, and what must be stored to go on."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from torch import Generator, Tensor, nn

Batch = tuple[Tensor, ...]
Loss = Callable[[Any, Batch, Generator], Tensor]


class Batches(Protocol):
    """Where training data come from."""

    def draw(self, rng: Generator) -> Batch:
        """A random batch."""

    def fixed(self) -> Sequence[Batch]:
        """The same batches every time, to validate on."""


class Objective(abc.ABC):
    """What a training makes small.

    ``rate_scale`` multiplies the learning rate of the next step. An objective that changes as it is drawn from gives
    all of that in ``state_dict``, so that a training that was stopped goes on bit for bit.
    """

    rate_scale: float = 1.0

    @abc.abstractmethod
    def draw(self, rng: Generator) -> Batch:
        """A batch to learn from."""

    @abc.abstractmethod
    def loss(self, module: nn.Module, batch: Batch, rng: Generator) -> Tensor:
        """The loss of a batch, a number with a gradient; ``module.training`` tells learning from validation."""

    def held_out(self) -> Sequence[Batch]:
        """Batches that choose the best weights, the same every time; with none, the last weights are kept."""
        return ()

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps nothing between steps, but was given {', '.join(state)}")


class BatchObjective(Objective):
    """A loss over batches of stored data, and over others that are held out."""

    def __init__(self, loss: Loss, train: Batches, held_out: Batches):
        self.function, self.train, self.check = loss, train, held_out

    def draw(self, rng: Generator) -> Batch:
        return self.train.draw(rng)

    def loss(self, module: nn.Module, batch: Batch, rng: Generator) -> Tensor:
        return self.function(module, batch, rng)

    def held_out(self) -> Sequence[Batch]:
        return self.check.fixed()
