"""A collective variable: one number, or a few, of every frame."""

from __future__ import annotations

import abc
from collections.abc import Callable

import numpy as np

from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures


class TooSmall(ValueError):
    """The molecule has too few beads for this collective variable."""


class CV(abc.ABC):
    """Blind to shifts and turns of the molecule. ``labels`` names its columns;
    ``period`` is 2 pi for angles, else None.

    Attributes:
        pairs: columns that are worth a surface in two dimensions, e.g. phi and psi of each residue.
        average: whether a comparison gives one mean figure over all columns (torsions) or one for each (TICs).
        shown: how many leading columns a comparison looks at; None for all.
        lag: frames of the reference that a time-lagged projection was fitted over; None for all others.
        notes: what a reader must know about how it was made.
    """

    name: str
    labels: tuple[str, ...]
    period: float | None = None
    unit: str = ""
    pairs: tuple[tuple[int, int], ...] = ()
    average: bool = False
    shown: int | None = None
    lag: int | None = None
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def __call__(self, frames: Frames) -> np.ndarray:
        """(T, len(labels)) values; angles in radians within (-pi, pi]."""


class OfPositions(CV):
    """One that looks at the positions of a frame alone; frames are read in chunks.

    Args:
        function: (t, N, 3) nm -> (t,) or (t, len(labels)).
        width: how many numbers it makes of one frame on the way, so that a chunk fits the memory.
    """

    def __init__(
        self,
        name: str,
        labels: tuple[str, ...],
        function: Callable[[np.ndarray], np.ndarray],
        *,
        unit: str = "",
        period: float | None = None,
        width: int = 0,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.name, self.labels, self.function, self.width = name, labels, function, width
        self.unit, self.period, self.notes = unit, period, notes

    def __call__(self, frames: Frames) -> np.ndarray:
        return measures.evaluate(frames, len(self.labels), self.function, self.width)
