"""What a training can be told. Every default stands here, once, for Python and the command line alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from cgsurrogate.core import limits

MINUTES = 10.0  # the budget where none is given
GENTLE = 0.25  # of the learning rate where pretrained weights learn on: few data should not undo what many have taught
OWN = (  # options of a Lightning Trainer that follow from the settings, or from the device of the model
    *("accelerator", "devices", "gradient_clip_val", "inference_mode"),
    *("max_steps", "max_epochs", "max_time", "min_steps", "min_epochs"),
)
HOW = ("devices", "trainer")  # fields that say how it is computed
OBJECTIVES = ("auto", "force", "denoise", "likelihood")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Of one training loop: its budget, its optimizer, and when it ends early.

    Args:
        minutes, steps: the budget; whichever is used up first ends the training. ``MINUTES`` where neither is given.
        seed: of the order of the data, of noise, and of what is held out.
        rate: peak learning rate of AdamW; ``decay`` is its weight decay, ``betas`` how it averages gradients.
        average: factor of the exponential moving average of the weights, which is what is validated and kept.
        every: steps between two validations; after ``patience`` of them without improvement the training ends.
        clip: largest norm of the gradient.
        devices: processes (on a CPU) or GPUs of each machine that train together, each on batches of its own.
        trainer: more options of the Lightning ``Trainer``: num_nodes, strategy, precision, callbacks, logger and others
            that are not ``OWN``.

    The last two (``HOW``) are not part of what a folder with a training is asked for.
    """

    minutes: float | None = None
    steps: int | None = None
    seed: int = 0
    rate: float = 1e-3
    decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    average: float = 0.999
    patience: int = 20
    every: int = 200
    clip: float = 1.0
    devices: int = 1
    trainer: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        own = next((name for name in self.trainer if name in OWN), None)
        if own is not None:
            raise ValueError(f"expected options of a Trainer that a training does not set itself, got {own}")
        if self.devices < 1:
            raise ValueError(f"expected one or more devices, got {self.devices}")
        if self.minutes is None and self.steps is None:
            object.__setattr__(self, "minutes", MINUTES)
        limits.above_zero("the budget of a training", self.minutes, "minutes")
        limits.above_zero("the budget of a training", self.steps, "steps", 1e12)
        limits.seed(self.seed)

    def split(self, share: float) -> tuple[Self, Self]:
        """The same settings with a share of the budget, and with the rest of it; at least one step each."""
        minutes = (None, None) if self.minutes is None else (share * self.minutes, (1 - share) * self.minutes)
        first = None if self.steps is None else max(1, round(share * self.steps))
        rest = None if self.steps is None or first is None else max(1, self.steps - first)
        return self.within(minutes[0], first), self.within(minutes[1], rest)

    def gentle(self) -> Self:
        """The same settings for pretrained weights."""
        return dataclasses.replace(self, rate=GENTLE * self.rate)

    def within(self, minutes: float | None, steps: int | None, **changes: Any) -> Self:
        """The same settings with another budget, and what else changes."""
        return dataclasses.replace(self, minutes=minutes, steps=steps, **changes)


@dataclasses.dataclass(frozen=True)
class EnergySettings(TrainingSettings):
    """Of an energy: the terms that are fitted and trained, and by what.

    Args:
        objective: ``force`` needs forces in the frames, ``denoise`` does not; ``auto`` takes forces where they are.
            Either is learned beside noise contrast, which sets the populations and chooses the weights. ``likelihood``
            spends most of the budget on maximum likelihood after that, with replicas that move between the states of
            the frames: for molecules that fold.
        fine_tune: spend the larger part of the budget on telling data from the model's own equilibrium, which it
            simulates. Of no effect with ``likelihood``, which takes its place.
        network, priors: kinds, each as ``name:key=value,key=value``.
        held_out_fraction: share of the frames, in whole runs, on which the best weights are chosen.
    """

    rate: float = 4e-3
    decay: float = 1e-3
    objective: str = "auto"
    fine_tune: bool = True
    network: str = "residues"
    priors: tuple[str, ...] = ("bonds", "angles", "dihedrals", "impropers", "repulsion")
    held_out_fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.objective not in OBJECTIVES:
            raise ValueError(f"expected an objective out of {', '.join(OBJECTIVES)}, got {self.objective!r}")


@dataclasses.dataclass(frozen=True)
class StepperSettings(TrainingSettings):
    """Of a time-stepper.

    Args:
        stepper: kind, as ``name:key=value,key=value``.
        lag: main lag in ps; None keeps the stepper's own, or chooses one from the lengths of the runs.
        reweight_starts: give pairs of runs that were started out of equilibrium the weights of a reversible Markov
            model, so that they are learned in both directions of time; else forwards only, as they are.
        held_out_fraction: share of the frames, in whole runs, that only validate.
    """

    rate: float = 2e-3
    patience: int = 12
    every: int = 100
    stepper: str = "autoregressive"
    lag: float | None = None
    reweight_starts: bool = False
    held_out_fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        limits.above_zero("the lag", self.lag, "ps")
