"""Gaussian kernel estimates of a density from finely binned counts, on the line and on the circle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

SPIKES = 12  # fine bins with samples; fewer are values of a discrete variable
REACH = 2.0  # bandwidths; a place further than that from every sample is blank


def bandwidth(probability: np.ndarray, edges: np.ndarray, periodic: bool, effective: float, dimensions: int) -> float:
    """Silverman's rule of thumb (1986, eqs. 3.31 and 4.14) for one axis, in the units of the axis.

    0.9 s n^(-1/5) in one dimension and s n^(-1/6) in two, where s is the smaller of the standard deviation and the
    width of the shortest stretch that holds half of the samples over 1.349 (their interquartile range for a normal
    distribution; the shortest half instead, as that has a meaning on a circle and does not span the gap between two
    wells). n is the effective number of samples. Never less than the width of a fine bin.

    Args:
        probability: (bins,) of the fine bins, sums to one.
        effective: the number of equally weighted samples. Correlation in time is left out of it: it changes the best
            bandwidth of neighbouring frames little as long as the whole is much longer (Hall, Lahiri, Truong 1995).
    """
    centres, width = (edges[1:] + edges[:-1]) / 2, float(edges[1] - edges[0])
    length = float(edges[-1] - edges[0])
    if periodic:
        mean = abs(np.sum(probability * np.exp(2j * math.pi * centres / length)))
        spread = min(math.sqrt(-2 * math.log(max(mean, 1e-12))) / (2 * math.pi), 1 / math.sqrt(12)) * length
    else:
        middle = probability @ centres
        spread = math.sqrt(max(probability @ (centres - middle) ** 2, 0.0))
    spread = min(spread, _shortest_half(probability, periodic) * width / 1.349)
    factor = 0.9 * effective ** (-1 / 5) if dimensions == 1 else effective ** (-1 / (dimensions + 4))
    return max(spread * factor, width)


def _shortest_half(probability: np.ndarray, periodic: bool) -> float:
    """Width in bins of the shortest stretch that holds half of the probability."""
    p = np.tile(probability, 2) if periodic else probability
    total = np.concatenate([[0.0], np.cumsum(p)])
    start = np.arange(len(p))
    end = np.searchsorted(total, total[start] + 0.5 - 1e-9)
    inside = end < len(total)
    return float(np.min(end[inside] - start[inside]))


def matrix(centres: np.ndarray, edges: np.ndarray, periodic: bool, width: float) -> np.ndarray:
    """(bins, fine bins) density at the centres that a sample in each fine bin makes.

    A Gaussian of standard deviation ``width``, wrapped round a circle; at the ends of a line what would leak out is
    reflected back (Silverman 1986, section 2.10), so that the density integrates to one between the edges.
    """
    fine, low, high = (edges[1:] + edges[:-1]) / 2, edges[0], edges[-1]
    if periodic:
        images = [fine + turn * (high - low) for turn in (-1, 0, 1)]
    else:
        images = [fine, 2 * low - fine, 2 * high - fine]
    z = [(centres[:, None] - image) / width for image in images]
    return sum(np.exp(-0.5 * d * d) for d in z) / (math.sqrt(2 * math.pi) * width)


def near(centres: np.ndarray, edges: np.ndarray, periodic: bool, width: float) -> np.ndarray:
    """(bins, fine bins) whether a fine bin lies within ``REACH`` bandwidths of a centre."""
    distance = np.abs(centres[:, None] - (edges[1:] + edges[:-1]) / 2)
    if periodic:
        distance = np.minimum(distance, edges[-1] - edges[0] - distance)
    return distance <= REACH * width


def smooth(
    table: np.ndarray,
    fine: Sequence[np.ndarray],
    edges: Sequence[np.ndarray],
    periodic: Sequence[bool],
    effective: float,
) -> tuple[np.ndarray, tuple[float, ...]]:
    """Density at the centres of the bins, block by block.

    Args:
        table: (K, fine bins) weights of the blocks, flattened over one or two axes.
        fine, edges: of the fine and of the wide bins of each axis.

    Returns:
        (K, bins) float32, nan where every block is far from the bin, and the bandwidth of each axis. All is nan where
        the density stands in a few spikes, as that of a variable with a few values does: a kernel says nothing there.
    """
    shape = tuple(len(e) - 1 for e in fine)
    total = table.sum(0, dtype=float).reshape(shape)
    if not total.sum() > 0:
        return np.full((len(table), math.prod(len(e) - 1 for e in edges)), np.nan, np.float32), ()
    total = total / total.sum()
    widths, maps, reach = [], [], []
    for axis, (small, wide, turns) in enumerate(zip(fine, edges, periodic, strict=True)):
        marginal = total.sum(tuple(k for k in range(len(shape)) if k != axis))
        if np.count_nonzero(marginal > 0) < SPIKES:
            return np.full((len(table), math.prod(len(e) - 1 for e in edges)), np.nan, np.float32), ()
        width = bandwidth(marginal, small, turns, effective, len(shape))
        centres = (wide[1:] + wide[:-1]) / 2
        widths.append(width)
        maps.append(matrix(centres, small, turns, width).astype(np.float32))
        reach.append(near(centres, small, turns, width).astype(np.float32))
    blank = _apply((total > 0).astype(np.float32)[None], reach)[0] == 0
    result = np.stack([_apply(one.reshape(1, *shape), maps)[0].reshape(-1) for one in table.astype(np.float32)])
    result[:, blank.reshape(-1)] = np.nan
    return result, tuple(widths)


def _apply(blocks: np.ndarray, maps: Sequence[np.ndarray]) -> np.ndarray:
    """(K, fine, ...) through one (bins, fine) matrix for each axis."""
    if len(maps) == 1:
        return blocks @ maps[0].T
    return maps[0] @ blocks @ maps[1].T
