"""Whatever moves positions is a ``Propagator``: an integrator of an energy, or a learned time-stepper."""

from __future__ import annotations

import abc
import math
from typing import ClassVar, NamedTuple

from torch import Generator, Tensor, nn

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.provenance import Provenance


class State(NamedTuple):
    """All that a propagator carries from step to step, so that a checkpoint of it is complete.

    ``positions`` (B, N, 3) nm; ``velocities`` (B, N, 3) nm/ps or None; ``memory`` (B, ...) or None.
    ``energy`` (B,) kJ/mol at the positions, where the step came to know it.
    ``temperature`` (B,) K of each replica; None where all have the propagator's own.
    ``ladder`` (B, C) whole numbers or None: the place of each replica in a ladder of temperatures, -1 for one that was
    frozen and takes no part in exchanges, then what the exchange counts.
    ``counts`` (B, C) whole numbers or None: what a propagator counts of each replica, for its notes.
    """

    positions: Tensor
    velocities: Tensor | None = None
    memory: Tensor | None = None
    energy: Tensor | None = None
    temperature: Tensor | None = None
    ladder: Tensor | None = None
    counts: Tensor | None = None


class Propagator(nn.Module, abc.ABC):
    """TorsionMoves a batch of replicas. ``lag`` is the time in ps that one step advances.

    Replicas are independent unless ``temperatures`` (K) names a ladder on which they exchange. ``mixes_temperatures``
    says that a step moves each replica at its ``State.temperature`` where there is one, and passes on what it does not
    use; ``start`` then draws from its ``temperature`` (K).
    """

    mixes_temperatures: ClassVar[bool] = False
    temperatures: tuple[float, ...] | None = None
    temperature: float
    lag: float

    @abc.abstractmethod
    def start(self, positions: Tensor, rng: Generator) -> State:
        """A state at (B, N, 3) nm with everything else drawn from its equilibrium."""

    @abc.abstractmethod
    def step(self, state: State, rng: Generator) -> State:
        """The state one ``lag`` later; the given one is left alone."""

    def moved(self, state: State, positions: Tensor) -> State:
        """The state after something else, such as a Monte Carlo move, has put it at positions (B, N, 3) nm.

        Velocities stay, and what belongs to positions is found anew. Only an integrator whose velocities are
        independent of positions in equilibrium, and that carries nothing else, may offer this.
        """
        raise ValueError(
            f"{type(self).__name__} cannot go on from positions that something else has moved; for Monte Carlo moves "
            "use an integrator such as baoab"
        )

    def notes(self, state: State, known: Provenance) -> Provenance:
        """What is known of the frames of a finished simulation, and what this propagator, in ``state``, adds to it."""
        return known


class Stepper(Propagator):
    """A learned conditional distribution p(x(t + lag) | x(t), lag) with an exact density, that is rolled out.

    ``lags`` (shortest, longest) in ps is the range that it was trained on; ``lag`` may be set within it. ``memory`` is
    the size of a recurrent memory of the past, which travels in ``State.memory``; 0 where there is none.
    ``transfers`` says that weights do not belong to one molecule: ``calibrate`` takes the frames of several, and
    ``bound`` another molecule.
    """

    transfers: ClassVar[bool] = False
    lags: tuple[float, float]
    memory: int

    @abc.abstractmethod
    def calibrate(self, frames: Frames) -> None:
        """Set means, scales and ranges from training frames; must come before training. See ``transfers``."""

    def begin_from(self, trained: Stepper, frames: Frames, *others: Frames) -> None:
        """Take what a trained stepper of the same kind and options knows, in place of ``calibrate``.

        This one is of the molecule of ``frames``. One that ``transfers`` takes what is new there from the frames.

        Raises:
            ValueError: the trained one belongs to another molecule.
        """
        try:
            self.load_state_dict(trained.state_dict())
        except RuntimeError:
            raise ValueError(
                f"a stepper of the kind {type(self).__name__} belongs to one molecule, and this is another; start from "
                "one of the kind graph"
            ) from None

    def bound(self, beads: Beads) -> Stepper:
        """The stepper of another molecule, which shares all weights with this one.

        Raises:
            ValueError: this kind of stepper belongs to one molecule, or it was not trained on all that ``beads`` have.
        """
        raise ValueError(f"a stepper of the kind {type(self).__name__} belongs to one molecule; train one with graph")

    @abc.abstractmethod
    def encode(self, positions: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B, D): the coordinates in which the density is learned."""

    @abc.abstractmethod
    def remember(self, memory: Tensor | None, now: Tensor, lag: Tensor) -> Tensor | None:
        """The memory (B, M) after the encoded ``now`` (B, D) was seen at steps of ``lag`` (B,) ps; None begins one."""

    @abc.abstractmethod
    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        """Encoded (B, D), encoded (B, D), ps (B,) -> (B,) nats: log p(later | now, lag) per unit of the encoding.

        ``memory`` is what ``remember`` gave for ``now``.
        """

    @abc.abstractmethod
    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """What training makes small, a number of order one a coordinate; arguments as for ``log_density``."""


def supported_lags(frames: Frames) -> tuple[float, float]:
    """ps: the lags that a stepper can learn from these runs, from one frame to a quarter of the longest run."""
    return frames.dt, frames.dt * max(1, max(frames.lengths) // 4)


def divisor_near(steps: int, wanted: float) -> int:
    """The divisor of a number of steps that is nearest to ``wanted`` in ratio."""
    small = [n for n in range(1, math.isqrt(steps) + 1) if steps % n == 0]
    return min(sorted({*small, *(steps // n for n in small)}), key=lambda n: abs(math.log(n / wanted)))
