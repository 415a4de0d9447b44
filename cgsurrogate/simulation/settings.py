"""What is asked of a simulation: settings that decide about its frames, and options that only concern its running.

The command line reads its defaults here, so nothing heavy is imported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cgsurrogate.core.limits import LONGEST, above_zero, seed
from cgsurrogate.core.units import HOTTEST

if TYPE_CHECKING:
    import numpy as np

    from cgsurrogate.core.campaigns import Executors, Share
    from cgsurrogate.core.frames import Frames

StepReport = Callable[[float, float, float, float | None, str], None]
"""Called about once a second with (ps done, ps in all, ns a day of all replicas together, mean kinetic temperature in K
or None where there are no velocities, a note or an empty text)."""

REPLICAS = 100
FRAMES = 500  # of a replica, where nothing else is asked for
INTEGRATOR = "baoab:timestep=0.004"


@dataclasses.dataclass(frozen=True)
class SamplerSettings:
    """How a model moves its replicas. Time-steppers take ``lag``, force fields all else.

    Attributes:
        integrator: kind and options as ``baoab:timestep=0.004``, which is usual.
        lag: ps of one jump of a time-stepper.
        pivot: pivot moves, ``N`` or ``N:STEPS``: how many attempts after every few steps; "0" for none.
        independence: frames between whose states independence moves jump.
        temperatures: K, rising, of replica exchange; the frames are then those at the lowest, and those of all with
            their weights are in the folder ``all-temperatures`` inside.
        exchange: ps between attempts to exchange; by default near 25 steps, so that it divides the time of a frame.
    """

    integrator: str | None = None
    lag: float | None = None
    pivot: str | None = None
    independence: Frames | None = None
    temperatures: tuple[float, ...] | None = None
    exchange: float | None = None

    def __post_init__(self) -> None:
        above_zero("the lag", self.lag, "ps")
        above_zero("the time between exchanges", self.exchange, "ps")


@dataclasses.dataclass(frozen=True, eq=False)
class Limits:
    """Within which a replica is physical; beyond them it is frozen.

    Attributes:
        bonds: watched pairs; the bonds of the beads if None.
        bond_lengths: (len(bonds),) nm, their reference; the mean over the start if None.
        closest: nm, the closest approach in training, for all pairs or as (N, N); a note warns at half of it.
    """

    bonds: Sequence[Sequence[int]] | None = None
    bond_lengths: np.ndarray | None = None
    closest: np.ndarray | float | None = None


@dataclasses.dataclass(frozen=True)
class SimulationSettings:
    """What the frames of a simulation depend on, beside the model and where it starts.

    Attributes:
        time: ps of each replica, a whole number of ``every``.
        every: ps between frames, a whole number of steps; about ``FRAMES`` of a replica if None.
        temperature: K, for the checks and for the frames; that of the model if None, the lowest of several.
        replicas: ``REPLICAS`` if None, or the next number above that fills whole ladders of temperatures.
        seed: of starts and of all that is drawn.
        sampler: how the propagator is made of a model.
        correct: how the rollout of a time-stepper is weighted (``corrections``).
        limits: by which replicas are judged.
    """

    time: float
    every: float | None = None
    temperature: float | None = None
    replicas: int | None = None
    seed: int = 0
    sampler: SamplerSettings = SamplerSettings()
    correct: str | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        above_zero("the time of a simulation", self.time, "ps", 1e15)
        above_zero("the time between frames", self.every, "ps", 1e15)
        above_zero("the temperature", self.temperature, "K", HOTTEST)
        above_zero("the number of replicas", self.replicas, "replicas")
        seed(self.seed)


@dataclasses.dataclass(frozen=True)
class Spread:
    """How a simulation is cut into parts, and who runs them.

    Attributes:
        processes: the number of parts, "auto" for one a core; one, or what the folder was begun with, if None.
        executor: runs them; by default processes of this machine, as many as there are cores.
        share: those that are run here; the others are left to other commands, and nothing is joined.
        join: run nothing, make frames of the parts that others have run.
    """

    processes: int | str | None = None
    executor: Executors | None = None
    share: Share | None = None
    join: bool = False


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """What a simulation does beside making frames; it may differ from one piece of a simulation to the next.

    Attributes:
        folder: where to write; None keeps all in memory, without checkpoints.
        report: progress.
        max_hours: wall time after which to stop, resumable; needs a folder.
        checkpoint_every: seconds of wall time between checkpoints, which is what a kill can lose.
        spread: over which processes the replicas are spread.
    """

    folder: str | Path | None = None
    report: StepReport | None = None
    max_hours: float | None = None
    checkpoint_every: float = 60.0
    spread: Spread = Spread()

    def __post_init__(self) -> None:
        if self.max_hours is not None and (self.folder is None or not 0 < self.max_hours <= LONGEST):
            raise ValueError(
                f"max_hours must be above 0, at most {LONGEST:g}, and needs a folder, got {self.max_hours} "
                f"and folder {self.folder}"
            )
