"""The contact map: contacts, fluctuations and distances of residues, the same way for every ensemble."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from cgsurrogate.analysis.results import ContactMap, Estimate
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import Blocks, resamples
from cgsurrogate.geometry import measures, superposition

CUTOFF = 0.8  # nm from CA to CA, of a contact
APART = 3  # residues; nearer ones always touch
MOST_FRAMES = 20_000
BINS = 100


class ContactMapEstimator:
    """Residues, pairs, bins and the structure to superpose on, all taken from the reference.

    A residue is its CA bead; where there are no CA, every bead counts as one.
    """

    def __init__(self, reference: Frames, cutoff: float = CUTOFF) -> None:
        if not cutoff > 0:
            raise ValueError(f"the cutoff of a contact must be above 0 nm, got {cutoff}")
        self.chosen = measures.calphas(reference.beads)
        self.residues = _names(reference.beads, self.chosen)
        self.cutoff = cutoff
        place = np.zeros(len(reference.beads), int)
        place[self.chosen] = np.arange(len(self.chosen))
        self.pairs = place[measures.separated(reference.beads, self.chosen, APART)]
        self.structure = superposition.medoid(reference, self.chosen)
        index, weight = evenly_spaced(reference)
        total = np.zeros_like(self.structure)
        longest = 0.0
        for part, x in self._chunks(reference, index):
            total += np.einsum("t,tnd->nd", weight[part], superposition.superposed(x, self.structure))
            if len(self.pairs):
                longest = max(longest, float(measures.distances(x, self.pairs).max()))
        self.structure = total
        self.pair_edges = np.linspace(0.0, max(1.05 * longest, cutoff), BINS + 1)

    def measure(self, frames: Frames, cut: Blocks, rng: np.random.Generator) -> ContactMap:
        """Contacts, fluctuations and distances over at most ``MOST_FRAMES`` evenly spaced frames, with their weights.

        Fluctuation is the root of the mean square distance of a residue from its own mean place, after superposing
        every frame on the mean structure of the reference; its interval comes from drawing the blocks of ``cut`` anew.
        """
        index, weight = evenly_spaced(frames)
        centred = self.structure - self.structure.mean(0)
        block = np.clip(np.searchsorted(cut.edges, index, "right") - 1, 0, len(cut) - 1)
        size, bins = len(self.chosen), len(self.pair_edges) - 1
        touching, pooled = np.zeros(len(self.pairs)), np.zeros(bins)
        shares, first, second = np.zeros(len(cut)), np.zeros((len(cut), size, 3)), np.zeros((len(cut), size))
        for part, x in self._chunks(frames, index):
            own = weight[part]
            moved = superposition.superposed(x, self.structure) - centred
            np.add.at(shares, block[part], own)
            np.add.at(first, block[part], own[:, None, None] * moved)
            np.add.at(second, block[part], own[:, None] * np.sum(moved**2, -1))
            if len(self.pairs):
                r = measures.distances(x, self.pairs)
                touching += own @ (r <= self.cutoff)
                place = np.minimum((r / self.pair_edges[1]).astype(int), bins - 1)
                pooled += np.bincount(place.ravel(), np.repeat(own, len(self.pairs)), minlength=bins)
        contacts = np.full((size, size), np.nan)
        contacts[self.pairs[:, 0], self.pairs[:, 1]] = contacts[self.pairs[:, 1], self.pairs[:, 0]] = touching
        pairs = pooled / len(self.pairs) if len(self.pairs) else np.full(bins, np.nan)
        fluctuation = _fluctuation(shares, first, second, rng)
        return ContactMap(self.residues, contacts, self.cutoff, fluctuation, self.pair_edges, pairs)

    def _chunks(self, frames: Frames, index: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """Pieces of the index, and the chosen beads of their frames (t, R, 3) nm."""
        step = max(1, measures.CHUNK // max(9 * len(self.chosen), 6 * len(self.pairs), 1))
        for start in range(0, len(index), step):
            part = slice(start, min(start + step, len(index)))
            yield part, np.asarray(frames.positions[index[part]][:, self.chosen], float)


def evenly_spaced(frames: Frames, most: int = MOST_FRAMES) -> tuple[np.ndarray, np.ndarray]:
    """(n,) evenly spaced frames with a weight, and (n,) their weights, which sum to one."""
    if frames.weights is None:
        count = min(len(frames), most)
        return np.linspace(0, len(frames) - 1, count).round().astype(int), np.full(count, 1 / count)
    index = np.flatnonzero(frames.weights)
    index = index[np.linspace(0, len(index) - 1, min(len(index), most)).round().astype(int)]
    weight = np.asarray(frames.weights[index], float)
    return index, weight / weight.sum()


def _fluctuation(shares: np.ndarray, first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> Estimate:
    """From sums over blocks of weight (K,), places (K, R, 3) nm and their squares (K, R): RMSF (R,) nm.

    The interval is value exp(-+1.96 s), with s the spread of its logarithm over the draws, times sqrt(K / (K - 1)).
    """

    def rmsf(drawn: np.ndarray) -> np.ndarray:
        """(S, K) how often each block counts -> (S, R)."""
        total = np.maximum(drawn @ shares, 1e-300)[:, None]
        mean = np.einsum("sk,knd->snd", drawn, first) / total[..., None]
        return np.sqrt(np.maximum(drawn @ second / total - np.sum(mean**2, -1), 0))

    value = rmsf(np.ones((1, len(shares))))[0]
    kept = np.flatnonzero(shares > 0)
    if len(kept) < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    drawn = np.zeros((100, len(shares)))
    drawn[:, kept] = resamples(len(kept), rng, len(drawn))
    spread = np.log(np.maximum(rmsf(drawn), 1e-12)).std(0) * math.sqrt(len(kept) / (len(kept) - 1))
    return Estimate(value, value * np.exp(-1.96 * spread), value * np.exp(1.96 * spread))


def _names(beads: Beads, chosen: np.ndarray) -> tuple[str, ...]:
    """ "TYR 1"; with the name of the bead where a residue has several. Residues count from 1."""
    names = [f"{beads.residue_names[i]} {beads.residues[i] + 1}" for i in chosen]
    if len(set(names)) < len(names):
        names = [f"{name} {beads.names[i]}" for name, i in zip(names, chosen, strict=True)]
    return tuple(names)
