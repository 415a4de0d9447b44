"""The metric of BioEmu for emulating molecular dynamics: error of the free energy over a projection, and coverage."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.cvs import _linear_projection as projections
from cgsurrogate.analysis.cvs._base import TooSmall
from cgsurrogate.comparison.published import _histograms as shared
from cgsurrogate.comparison.published._base import PublishedBenchmark, PublishedFigure
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import draw

DRAWN, NOISE, BINS, HIGHEST, PADDING = 1_000_000, 0.25, 50, 4.0, 0.5
KILOCALORIE = 4.184  # kJ
REACH = 0.8  # nm; a distance r enters as exp(-r / REACH)
PLATITO = "12 fast folders; PLaTITO"


def build(reference: Frames, lag: float | None = None, seed: int = 42) -> BioEmu:
    """As the published benchmark does it, on a projection fitted here.

    Args:
        lag: ps, of TICA; by default a tenth of the slowest correlation time.
        seed: of the drawing of points; the same for the reference and every ensemble, so that equal samples give 0.
    """
    return BioEmu(reference, lag, seed)


class BioEmu(PublishedBenchmark):
    name = "BioEmu"
    source = "Lewis et al. 2025, Science 389, eadv9817 (benchmark of emulating molecular dynamics)"
    metrics = {  # noqa: RUF012
        "free-energy error": "kcal/mol, mean absolute over bins of the reference below 4 kcal/mol that have samples,"
        " after the best shift; 50 x 50 bins",
        "coverage": "share of those bins that have samples",
    }
    figures = (
        PublishedFigure("BioEmu", "free-energy error", 1.11, PLATITO),
        PublishedFigure("PLaTITO, worst of its models", "free-energy error", 0.95, PLATITO),
        PublishedFigure("PLaTITO, best of its models", "free-energy error", 0.81, PLATITO),
    )

    def __init__(self, reference: Frames, lag: float | None, seed: int) -> None:
        features = projections.Features(
            reference.beads, torsions=False, apart=3, of_distance=lambda r: np.exp(-r / REACH)
        )
        if features.count < 2:
            raise TooSmall("BioEmu needs at least two distances of beads; leave this benchmark out")
        self.projection, notes = shared.project(reference, features, lag, kinetic_map=False)
        self.seed = seed
        few = shared.strided(reference)
        values = self.projection(few)[:, :2].astype(float)
        weight = few.probabilities
        self.mean = weight @ values
        self.scale = np.sqrt(np.maximum(weight @ (values - self.mean) ** 2, 1e-24))
        drawn = self._drawn(few)
        self.edges = [_edges(column) for column in drawn.T]
        self.known = self._table(drawn)
        kT = reference.kT / KILOCALORIE
        self.low = self.known > self.known.max() * np.exp(-HIGHEST / kT)
        self.energy = -kT * np.log(self.known[self.low])
        self.notes = (
            "the projection is fitted on this reference, each column of standard deviation one, where the benchmark"
            " has a stored one; the noise of 0.25 is in these units",
            *notes,
        )

    def __call__(self, frames: Frames) -> dict[str, float]:
        own = self._table(self._drawn(shared.strided(frames)))[self.low]
        common = own > 0
        error = np.nan
        if common.any():
            difference = -frames.kT / KILOCALORIE * np.log(own[common]) - self.energy[common]
            error = float(np.mean(np.abs(difference - np.median(difference))))
        return {"free-energy error": error, "coverage": float(common.mean())}

    def _drawn(self, frames: Frames) -> np.ndarray:
        """(DRAWN, 2) points drawn with the weights of the frames, each moved by Gaussian noise."""
        rng = np.random.default_rng(self.seed)
        values = (self.projection(frames)[:, :2] - self.mean) / self.scale
        index = draw(np.cumsum(frames.probabilities), DRAWN, rng)
        return np.asarray(values[index] + NOISE * rng.standard_normal((DRAWN, 2)))

    def _table(self, drawn: np.ndarray) -> np.ndarray:
        """(bins,) densities up to a factor; what lies outside is left out."""
        return shared.table(drawn, np.ones(len(drawn)), self.edges, clip=False)


def _edges(column: np.ndarray) -> np.ndarray:
    low, high = float(column.min()), float(column.max())
    margin = PADDING * (high - low) / (BINS + 1)
    return np.linspace(low - margin, high + margin, BINS + 1)
