"""What is known of one ensemble: surfaces, distances, timescales and geometry, each with its error."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cgsurrogate.frames import Frames

ROLES = ("reference", "surrogate", "baseline", "floor")


@dataclasses.dataclass(frozen=True, eq=False)
class Surface:
    """A free-energy surface over one or two collective variables.

    Attributes:
        labels: name of each axis, e.g. ("TIC 1", "TIC 2").
        edges: bin edges of each axis; the same for every ensemble of a comparison.
        probability: (bins,) or (bins, bins), sums to one.
        free_energy: kJ/mol above its minimum, nan in bins without samples.
        error: kJ/mol, standard error by block bootstrap over runs, nan where unknown.
        outside: share of the samples beyond the edges (they count in the outermost bins).
        periodic: whether each axis is an angle.
    """

    labels: tuple[str, ...]
    edges: tuple[np.ndarray, ...]
    probability: np.ndarray
    free_energy: np.ndarray
    error: np.ndarray
    outside: float
    periodic: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Distance:
    """Jensen-Shannon distance (natural logarithm, square root of the divergence) of an ensemble to the reference.

    ``low`` and ``high`` bound its 95 % bootstrap interval. ``floor`` is what an independent all-atom sample would show
    (``fes.floor`` says how it is made), ``floor_high`` the 95 % quantile of that. ``within`` says value <= floor_high.
    """

    value: float
    low: float
    high: float
    floor: float
    floor_high: float

    @property
    def ratio(self) -> float:
        """How many times the floor; nan without one."""
        return self.value / self.floor if self.floor > 0 else math.nan

    @property
    def judged(self) -> bool:
        """Whether there is a floor to hold it against."""
        return math.isfinite(self.floor_high)

    @property
    def within(self) -> bool:
        return self.value <= self.floor_high


@dataclasses.dataclass(frozen=True, eq=False)
class Timescales:
    """Implied timescales in ps against lag: ``lags`` (L,) ps, the other arrays (L, K), nan where unknown."""

    lags: np.ndarray
    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    physical: bool  # False for force-field time, which is not physical time


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble:
    """One row of a comparison: the reference, a surrogate, a baseline, or the floor.

    Attributes:
        surfaces: by name; the names are the same for every ensemble ("phi 1", "phi 1 / psi 1", "TIC 1",
            "TIC 1 / TIC 2", ...).
        distances: by metric ("torsions", "torsions 2-D", "TIC 1", "TIC 1-2", "RMSD", ...); empty for the reference.
        geometry: by name ("bonds", "angles", "closest approach"): {"unit", "edges", "probability"} of pooled values in
            standard deviations or units, plus {"worst": text} naming the worst term.
        sample: a few hundred frames for the 3-D view, in time order of one replica.
        track: (len(sample), 2) values of the first two TICs of ``sample``.
    """

    name: str
    role: str
    frames_count: int
    surfaces: dict[str, Surface]
    distances: dict[str, Distance]
    timescales: Timescales | None
    geometry: dict[str, dict[str, Any]]
    sample: Frames
    track: np.ndarray
    notes: tuple[str, ...] = ()
    effective: float = float("nan")  # about how many independent frames it has, by its slowest coordinate
