"""One ensemble of a comparison: what is known of it, and how far it lies from the reference."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cgsurrogate.analysis.results import (
    BackboneRegions,
    ContactMap,
    Convergence,
    Result,
    StateKinetics,
    Surface,
    Timescales,
)
from cgsurrogate.comparison.judgement import Judgement
from cgsurrogate.core.frames import Frames

ROLES = ("reference", "surrogate", "baseline", "floor")


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far an ensemble lies from the reference by one divergence; 0 for the same.

    ``low`` and ``high`` bound its 95 % bootstrap interval. ``floor`` is what an independent all-atom sample would show
    (``noise_floor.floor`` says how it is made), ``floor_high`` the 95 % quantile of that, ``p`` the share of such
    samples that would lie at least as far. ``within`` says value <= floor_high.
    """

    value: float
    low: float
    high: float
    floor: float
    floor_high: float
    p: float = math.nan

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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Ensemble(Result):
    """One row of a comparison: the reference, a surrogate, a baseline, or the floor.

    Attributes:
        surfaces: by name; the names are the same for every ensemble ("phi 1", "phi 1 / psi 1", "TIC 1",
            "TIC 1 / TIC 2", ...).
        distances: Jensen-Shannon, by metric ("torsions", "torsions 2-D", "TIC 1", "TIC 1-2", "RMSD", ...); empty for
            the reference. They describe; ``judgement`` holds the verdict.
        timescales: implied timescales of its Markov state model.
        geometry: by name ("bonds", "angles", "closest approach"): {"unit", "edges", "probability"} of pooled values in
            standard deviations or units, plus {"worst": text} naming the worst term.
        sample: a few hundred frames for the 3-D view, in time order of one replica.
        track: (len(sample), 2) values of the first two TICs of ``sample``.
        convergence: how well it has sampled.
        contact_map: contacts, fluctuations and pair distances.
        regions: helix and strand content of each residue; None where the beads have no phi and psi.
        states: kinetics between named states, by the name of the set ("metastable", or "named" by the user).
        further: other divergences, by divergence and then by metric, each with a floor of its own: "KL divergence",
            "Wasserstein", "free-energy error", "populations".
        published: published metrics, by benchmark and then by metric.
        judgement: against the reference; of surrogates, baselines and training runs. None where it was not asked for.
        learned: of a surrogate, against the runs that it was trained on: did it learn them?
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
    convergence: Convergence | None = None
    contact_map: ContactMap | None = None
    regions: BackboneRegions | None = None
    states: dict[str, StateKinetics] = dataclasses.field(default_factory=dict)
    further: dict[str, dict[str, Distance]] = dataclasses.field(default_factory=dict)
    published: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    judgement: Judgement | None = None
    learned: Judgement | None = None

    @property
    def effective(self) -> float:
        """About how many independent frames it has; nan where unknown."""
        return self.convergence.effective if self.convergence else math.nan
