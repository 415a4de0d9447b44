"""What a whole study can be told; the command line reads its options' defaults here, so nothing heavy is imported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cgsurrogate.core import limits
from cgsurrogate.training.settings import EnergySettings, StepperSettings

Report = Callable[[float | None, str], None]
"""Takes the share that is done (None: not known) and a word on it."""


def silent(fraction: float | None, text: str) -> None:
    """No progress."""


@dataclasses.dataclass(frozen=True)
class StudySettings:
    """What ``cgsurrogate run`` can be told beside its input; its options and their defaults are these fields.

    Attributes:
        minutes: wall time in all.
        lag: ps of one jump of the stepper; None: chosen from the data.
        objective: of the force field, beside noise contrast.
        network: kind of network, name:key=value.
        priors: prior terms of the force field, each name:key=value.
        stepper: kind of stepper, name:key=value.
        start: pretrained model that the graph stepper begins with where it helps, a name or a folder; "none" for none;
            None for the bundled one, if there is one and it suits.
        held_out: share of the runs that only judge.
        replicas: simulated side by side.
        pivot: pivot moves of the force field, N:STEPS; "0" for plain dynamics.
        fine_tune: whether the larger part of the force field's training tells data from its own equilibrium.
        states, cvs, published: as in ``ComparisonSettings``; the variables beside the usual ones.
        seed: of all that is random.
    """

    minutes: float = 7.0
    lag: float | None = None
    objective: str = EnergySettings.objective
    network: str = EnergySettings.network
    priors: tuple[str, ...] = EnergySettings.priors
    stepper: str = StepperSettings.stepper
    start: str | None = None
    held_out: float = 0.34
    replicas: int = 200
    pivot: str = "10:5"
    fine_tune: bool = EnergySettings.fine_tune
    states: tuple[str, ...] = ()
    cvs: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        limits.above_zero("--minutes", self.minutes, "minutes")
        limits.above_zero("--lag", self.lag, "ps")
        limits.seed(self.seed)
        if not 0 < self.held_out < 1:
            raise ValueError(f"--held-out must lie between 0 and 1, got {self.held_out}")


@dataclasses.dataclass(frozen=True)
class PredictionSettings:
    """What ``cgsurrogate predict`` can be told beside its molecules and models.

    Attributes:
        jumps: of each replica of the time-stepper.
        time: ps of each replica of the force field, of its own time.
        replicas: of each, simulated side by side.
        pivot: pivot moves of the force field, N:STEPS; "0" for plain dynamics.
        seed: of all that is random.
    """

    jumps: int = 500
    time: float = 10.0
    replicas: int = 100
    pivot: str = "10:5"
    seed: int = 0

    def __post_init__(self) -> None:
        limits.above_zero("--jumps", self.jumps, "jumps", 1e9)
        limits.above_zero("--time", self.time, "ps", 1e9)
        limits.seed(self.seed)
