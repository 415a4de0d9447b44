"""The metrics of MDGen: Jensen-Shannon distances of torsions, TICs and metastable states, and decorrelation times."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.analysis.cvs import _linear_projection as projections
from cgsurrogate.analysis.free_energy.divergences import jensen_shannon
from cgsurrogate.comparison.published import _histograms as shared
from cgsurrogate.comparison.published import _metastable as states
from cgsurrogate.comparison.published._base import PublishedBenchmark, PublishedFigure
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames

JAMUN = "tetrapeptides; MDGen run again by Daigavane et al. 2024 (JAMUN), Table 1"


def build(reference: Frames, lag: float = 100.0) -> MDGen:
    """As the published scripts do it.

    Args:
        lag: ps, of TICA and of the Markov state model.
    """
    return MDGen(reference, lag)


class MDGen(PublishedBenchmark):
    name = "MDGen"
    source = "Jing et al. 2024, arXiv 2409.17808"
    metrics = {  # noqa: RUF012
        "torsions": "Jensen-Shannon distance (0 to 0.833), 100 bins, mean over the backbone torsions",
        "TIC 1": "Jensen-Shannon distance, 100 bins over the range of both",
        "TIC 1-2": "Jensen-Shannon distance, 50 x 50 bins over the range of both",
        "MSM states": "Jensen-Shannon distance of the populations of 10 metastable states",
        "decorrelation": "mean |log10| of the ratio of torsion decorrelation times (to 1/e) to the reference's",
    }
    figures = (
        PublishedFigure("MDGen", "torsions", 0.129, JAMUN),
        PublishedFigure("MDGen", "TIC 1", 0.228, JAMUN),
        PublishedFigure("MDGen", "TIC 1-2", 0.320, JAMUN),
        PublishedFigure("MDGen", "MSM states", 0.233, JAMUN),
        PublishedFigure("MDGen, side chains", "torsions", 0.089, JAMUN),
        PublishedFigure("MDGen, all torsions", "torsions", 0.107, JAMUN),
        PublishedFigure("molecular dynamics ten times shorter, all torsions", "torsions", 0.095, JAMUN),
    )

    def __init__(self, reference: Frames, lag: float) -> None:
        self.torsions = registry.build("cvs", "torsions", reference)
        features = projections.Features(reference.beads, apart=None)
        self.projection, notes = shared.project(reference, features, lag, share=0.95)
        few = shared.strided(reference, self.projection.lag or 1)
        self.known = shared.sample(self.projection, few)
        self.edges = [np.linspace(-math.pi, math.pi, 101)]
        angles = self.torsions(few)
        self.tables = self._tables(angles, few)
        self.times, self.resolution = _decorrelation(angles, few), few.dt
        self.states = None
        if self.projection.lag is not None:
            steps = round(self.projection.lag * reference.dt / few.dt)
            self.states = states.metastable(self.known.values, few, steps)
        if self.states is not None:
            self.populations = self.states.populations(self.known.values, self.known.weight)
        backbone = self.torsions.labels[0].startswith(("phi", "psi"))
        where = "phi and psi" if backbone else "torsions of the beads in place of phi and psi"
        self.notes = (
            f"{where}; the paper's TICA also uses side chains",
            "metastable states by the inner simplex that PCCA+ starts from, without its optimisation",
            "decorrelation: times shorter than the time between frames count as that; the paper draws the times only",
            *notes,
        )

    def __call__(self, frames: Frames) -> dict[str, float]:
        few = shared.strided(frames)
        angles, own = self.torsions(few), shared.sample(self.projection, few)
        tables = self._tables(angles, few)
        torsions = [shared.between(a, b, jensen_shannon) for a, b in zip(tables, self.tables, strict=True)]
        two = own.values.shape[1] > 1
        populations = math.nan
        if self.states is not None:
            shares = self.states.populations(own.values, own.weight)
            populations = shared.between(shares, self.populations, jensen_shannon)
        return {
            "torsions": float(np.mean(torsions)),
            "TIC 1": shared.on_joint_range(own, self.known, 100, [0], jensen_shannon),
            "TIC 1-2": shared.on_joint_range(own, self.known, 50, [0, 1], jensen_shannon) if two else math.nan,
            "MSM states": populations,
            "decorrelation": _ratio(_decorrelation(angles, few), self.times, max(few.dt, self.resolution)),
        }

    def _tables(self, angles: np.ndarray, frames: Frames) -> list[np.ndarray]:
        weight = frames.probabilities
        return [shared.table(column[:, None], weight, self.edges, clip=True) for column in angles.T]


def _decorrelation(angles: np.ndarray, frames: Frames) -> np.ndarray:
    """(T, Q) radians -> (Q,) ps until the autocorrelation of (cos, sin) is 1/e; nan where it is not reached.

    The autocorrelation is (C(t) - b) / (1 - b) with C(t) the mean of cos(a(t') - a(t' + t)) and b = |<exp(ia)>|^2.
    """
    count = angles.shape[1]
    if not frames.time_ordered or not frames.provenance.physical_time or max(frames.lengths) < 4:
        return np.full(count, math.nan)
    times = np.full(count, math.nan)
    for k in range(count):
        turn = np.stack([np.cos(angles[:, k]), np.sin(angles[:, k])], 1, dtype=float)
        base = float(np.sum(turn.mean(0) ** 2))
        if base > 1 - 1e-9:
            continue
        curve = (shared.autocovariance(turn, frames.runs).sum(1) - base) / (1 - base)
        below = np.flatnonzero(curve[: max(2, len(curve) // 2)] < 1 / math.e)
        if len(below) and below[0]:
            j = int(below[0])
            times[k] = (j - 1 + (curve[j - 1] - 1 / math.e) / (curve[j - 1] - curve[j])) * frames.dt
    return times


def _ratio(own: np.ndarray, known: np.ndarray, resolution: float) -> float:
    """Of times in ps, nan where unknown; shorter ones than ``resolution`` count as that, and not where both are."""
    both = np.isfinite(own) & np.isfinite(known) & ((own > resolution) | (known > resolution))
    if not both.any():
        return math.nan
    own, known = (np.maximum(times[both], resolution) for times in (own, known))
    return float(np.mean(np.abs(np.log10(own / known))))
