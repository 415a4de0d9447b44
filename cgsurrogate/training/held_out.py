"""Which molecules only choose the best weights: of many, some are held out whole, as those are that a model is for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cgsurrogate.core.frames import Frames
from cgsurrogate.training.settings import EnergySettings, StepperSettings

MANY = 10  # molecules, of which some are held out whole


def held_out_molecules(
    every: Sequence[Frames], settings: EnergySettings | StepperSettings
) -> tuple[list[Frames], list[Frames]]:
    """(to learn from, to validate on): whole molecules are held out where there are many, else none.

    The first one always learns, since the model is bound to it; so does one with atoms that the others do not have.
    """
    if len(every) < MANY:
        return list(every), []
    count = max(1, round(settings.held_out_fraction * len(every)))
    held = set((1 + np.random.default_rng(settings.seed).permutation(len(every) - 1))[:count].tolist())
    known = {name for k, frames in enumerate(every) if k not in held for name in frames.beads.names}
    held = {k for k in held if known.issuperset(every[k].beads.names)}
    return [f for k, f in enumerate(every) if k not in held], [f for k, f in enumerate(every) if k in held]
