"""What the training loop asks of an objective: batches, a loss, and what must be stored to go on."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Generator, Tensor, nn

Batch = tuple[Tensor, ...]
Loss = Callable[[Any, Batch, Generator], Tensor]
Fresh = Callable[[], Generator]
NAMED = 5  # members of a batch that are named


class Batches(Protocol):
    """Where training data come from."""

    def draw(self, rng: Generator) -> Batch:
        """A random batch."""

    def fixed(self) -> Sequence[Batch]:
        """The same batches every time, to validate on."""

    def names(self, rng: Generator) -> list[str]:
        """What each member of the batch is, in words, that ``draw`` gives from the same random numbers (as many)."""

    def fixed_names(self) -> list[list[str]]:
        """The same of ``fixed``."""


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

    def blame(self, module: nn.Module, batch: Batch, fresh: Fresh, held_out: int | None = None) -> list[str]:
        """Names of at most ``NAMED`` members of a batch that are enough to make the loss, or its slope, not finite.

        None where it is not known, or where all are: then it is the weights.

        Args:
            fresh: makes the random numbers anew from which the batch was drawn, or its loss was made.
            held_out: its number, where it is one of those that are held out.
        """
        return []

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

    def blame(self, module: nn.Module, batch: Batch, fresh: Fresh, held_out: int | None = None) -> list[str]:
        rng = fresh()
        names = self.train.names(rng) if held_out is None else self.check.fixed_names()[held_out]
        drawn = rng.get_state()

        def fine(chosen: Sequence[int]) -> bool:
            some = tuple(part[list(chosen)] if part.dim() else part for part in batch)
            rng.set_state(drawn)
            with torch.enable_grad():
                return finite_slope(self.loss(module, some, rng), module)

        found = _culprits(fine, range(len(names)), NAMED)
        everything = len(names) > NAMED and found == list(range(NAMED))
        return [] if everything else [names[member] for member in found]


class OnDevice(Objective):
    """An objective whose batches are moved to a device; random numbers stay on the processor."""

    def __init__(self, objective: Objective, device: torch.device):
        self.objective, self.device = objective, device

    @property
    def rate_scale(self) -> float:  # type: ignore[override]
        return self.objective.rate_scale

    def draw(self, rng: Generator) -> Batch:
        return self._moved(self.objective.draw(rng))

    def loss(self, module: nn.Module, batch: Batch, rng: Generator) -> Tensor:
        return self.objective.loss(module, batch, rng)

    def held_out(self) -> Sequence[Batch]:
        return [self._moved(batch) for batch in self.objective.held_out()]

    def blame(self, module: nn.Module, batch: Batch, fresh: Fresh, held_out: int | None = None) -> list[str]:
        return self.objective.blame(module, batch, fresh, held_out)

    def state_dict(self) -> dict[str, Any]:
        return self.objective.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state)

    def _moved(self, batch: Batch) -> Batch:
        return tuple(part.to(self.device) for part in batch)


def finite_slope(loss: Tensor, module: nn.Module) -> bool:
    """Whether a loss and its slope with respect to the weights are finite."""
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    if not torch.isfinite(loss) or not weights or not loss.requires_grad:
        return bool(torch.isfinite(loss))
    slopes = torch.autograd.grad(loss, weights, allow_unused=True)
    return all(bool(torch.isfinite(slope).all()) for slope in slopes if slope is not None)


def _culprits(fine: Callable[[Sequence[int]], bool], members: Sequence[int], most: int) -> list[int]:
    """The first members that are not fine by themselves, at most so many; found by halving."""
    if most < 1 or fine(members):
        return []
    if len(members) == 1:
        return list(members)
    half = len(members) // 2
    found = _culprits(fine, members[:half], most)
    return found + _culprits(fine, members[half:], most - len(found))
