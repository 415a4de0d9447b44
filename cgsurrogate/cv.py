"""A collective variable: one number, or a few, of every frame."""

from __future__ import annotations

import abc

import numpy as np

from cgsurrogate.frames import Frames


class CV(abc.ABC):
    """Blind to shifts and turns of the molecule. ``labels`` names its columns; ``period`` is 2 pi for angles, else None."""

    name: str
    labels: tuple[str, ...]
    period: float | None = None
    unit: str = ""

    @abc.abstractmethod
    def __call__(self, frames: Frames) -> np.ndarray:
        """(T, len(labels)) values; angles in radians within (-pi, pi]."""
