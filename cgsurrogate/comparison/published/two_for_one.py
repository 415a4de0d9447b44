"""The metrics of Two-for-One: Jensen-Shannon divergences of CA distances, of two TICs and of the RMSD."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.analysis.cvs import _linear_projection as projections
from cgsurrogate.analysis.cvs._base import TooSmall
from cgsurrogate.analysis.free_energy.divergences import jensen_shannon_divergence
from cgsurrogate.comparison.published import _histograms as shared
from cgsurrogate.comparison.published._base import PublishedBenchmark
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures

OFFSET, WIDTH = 3, 0.01  # neighbours along the chain; nm
TIC_BINS, RMSD_BINS = 101, 100


def build(reference: Frames, lag: float = 20_000.0, to: str | int | np.ndarray = "medoid") -> TwoForOne:
    """As the published evaluation does it.

    Args:
        lag: ps, of TICA.
        to: the folded structure, as for the collective variable rmsd.
    """
    return TwoForOne(reference, lag, to)


class TwoForOne(PublishedBenchmark):
    name = "Two-for-One"
    source = "Arts et al. 2023, J. Chem. Theory Comput. 19, 6151 (arXiv 2302.00600)"
    metrics = {  # noqa: RUF012
        "pair distances": "Jensen-Shannon divergence (0 to 0.693), 0.1 A bins, mean over CA pairs at least 3 apart",
        "TIC 1-2": "Jensen-Shannon divergence, 101 x 101 bins over the range of the reference",
        "RMSD": "Jensen-Shannon divergence of the CA-RMSD, 100 bins from 0 to the greatest of both",
    }

    def __init__(self, reference: Frames, lag: float, to: str | int | np.ndarray) -> None:
        chosen = measures.calphas(reference.beads)
        self.pairs = projections.pairs_along(chosen, OFFSET)
        if not len(self.pairs):
            raise TooSmall("Two-for-One needs beads at least three apart along the chain; leave this benchmark out")
        self.projection, notes = shared.project(reference, projections.Features(reference.beads, apart=1), lag)
        self.rmsd = registry.build("cvs", "rmsd", reference, to=to)
        few = shared.strided(reference)
        self.counts = self._distances(few)
        tics = shared.sample(self.projection, few)
        self.edges = [shared.even_edges(column, TIC_BINS) for column in tics.values.T[:2]]
        self.tics = shared.table(tics.values[:, :2], tics.weight, self.edges, clip=False)
        self.known = shared.sample(self.rmsd, few)
        self.notes = (
            "sine and cosine of the dihedrals where the paper's TICA takes the angles",
            "TICs outside the range of the reference are left out, as in the published code",
            "the paper draws the RMSD as a free energy and prints no divergence of it",
            *notes,
            *self.rmsd.notes,
        )

    def __call__(self, frames: Frames) -> dict[str, float]:
        few = shared.strided(frames)
        tics = shared.sample(self.projection, few)
        own = shared.table(tics.values[:, :2], tics.weight, self.edges, clip=False)
        return {
            "pair distances": _mean_divergence(self._distances(few), self.counts),
            "TIC 1-2": shared.between(own, self.tics, jensen_shannon_divergence) if len(self.edges) > 1 else math.nan,
            "RMSD": self._deviations(shared.sample(self.rmsd, few)),
        }

    def _deviations(self, own: shared.Sample) -> float:
        top = max(float(own.values.max()), float(self.known.values.max()), 1e-6)
        edges = [np.linspace(0, top, RMSD_BINS + 1)]
        a, b = (shared.table(s.values, s.weight, edges, clip=True) for s in (own, self.known))
        return shared.between(a, b, jensen_shannon_divergence)

    def _distances(self, frames: Frames) -> np.ndarray:
        """(P, bins) probabilities of each pair's distance, bins of ``WIDTH`` from 0 on."""
        counts, weight = np.zeros((len(self.pairs), 1)), frames.probabilities
        for part in measures.chunks(frames, 6 * len(self.pairs)):
            place = (measures.distances(np.asarray(frames.positions[part], float), self.pairs) / WIDTH).astype(int)
            counts = _widened(counts, int(place.max()) + 1)
            flat = place + np.arange(len(self.pairs)) * counts.shape[1]
            own = np.repeat(weight[part], len(self.pairs))
            counts += np.bincount(flat.ravel(), own, minlength=counts.size).reshape(counts.shape)
        return counts


def _widened(counts: np.ndarray, bins: int) -> np.ndarray:
    return np.pad(counts, ((0, 0), (0, max(0, bins - counts.shape[1]))))


def _mean_divergence(first: np.ndarray, second: np.ndarray) -> float:
    bins = max(first.shape[1], second.shape[1])
    return float(np.mean(jensen_shannon_divergence(_widened(first, bins), _widened(second, bins))))
