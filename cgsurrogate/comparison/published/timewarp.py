"""The metric of Timewarp: effective samples for each second of wall time, zero where a part is missed."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.analysis.convergence import wall_seconds
from cgsurrogate.analysis.cvs import _linear_projection as projections
from cgsurrogate.comparison.published import _histograms as shared
from cgsurrogate.comparison.published._base import PublishedBenchmark, PublishedFigure
from cgsurrogate.core.frames import Frames

REGIONS, SHARE = 8, 0.01
MOST_FRAMES = 1_000_000  # of a time series; more are thinned evenly


def build(reference: Frames, lag: float | None = None) -> Timewarp:
    """Effective samples along the slowest coordinate.

    Args:
        lag: ps, of TICA; by default a tenth of the slowest correlation time.
    """
    return Timewarp(reference, lag)


class Timewarp(PublishedBenchmark):
    name = "Timewarp"
    source = "Klein et al. 2023, arXiv 2302.01170"
    metrics = {  # noqa: RUF012
        "effective samples": "frames / (-1 + 2 sum |autocorrelation of TIC 1| up to its first zero); 0 if a region of"
        " the reference is not covered",
        "effective samples per second": "the same for each second of wall time; unknown where the frames do not say",
        "speed-up": "effective samples per second over those of the reference",
        "covered": "share of the regions of the reference that are visited",
    }
    figures = (
        PublishedFigure("Timewarp, tetrapeptides, median", "speed-up", 5.0, "Klein et al. 2023 (Timewarp); MD is 1"),
    )

    def __init__(self, reference: Frames, lag: float | None) -> None:
        self.projection, notes = shared.project(reference, projections.Features(reference.beads), lag)
        few = shared.strided(reference, most=MOST_FRAMES)
        known = shared.sample(self.projection, few)
        self.edges = [shared.even_edges(column, REGIONS) for column in known.values.T[:2]]
        self.regions = self._shares(known) > SHARE
        self.pace = effective(known.values, few) / wall_seconds(reference)
        self.notes = (
            f"regions: bins of {REGIONS} x {REGIONS} over TIC 1 and 2 that hold more than {SHARE:.0%} of the reference,"
            " where the authors looked at the states by eye",
            *notes,
        )

    def __call__(self, frames: Frames) -> dict[str, float]:
        few = shared.strided(frames, most=MOST_FRAMES)
        own = shared.sample(self.projection, few)
        covered = float((self._shares(own)[self.regions] > 0).mean())
        count = effective(own.values, few) if covered == 1 else 0.0
        pace = count / wall_seconds(frames)
        return {
            "effective samples": count,
            "effective samples per second": pace,
            "speed-up": pace / self.pace,
            "covered": covered,
        }

    def _shares(self, sample: shared.Sample) -> np.ndarray:
        return shared.table(sample.values[:, :2], sample.weight, self.edges, clip=False)


def effective(values: np.ndarray, frames: Frames) -> float:
    """Number of effective samples of the first column of (T, D) values; nan for frames without time order.

    The sum begins at lag 0 and ends before the autocorrelation is first 0 or less.
    """
    if not frames.time_ordered:
        return math.nan
    centred = np.asarray(values[:, :1], float) - float(np.mean(values[:, 0], dtype=float))
    curve = shared.autocovariance(centred, frames.runs)[:, 0]
    if not curve[0] > 0:
        return 0.0
    below = np.flatnonzero(curve <= 0)
    kept = curve[: below[0]] if len(below) else curve
    return len(values) / float(-1 + 2 * np.sum(np.abs(kept / curve[0])))
