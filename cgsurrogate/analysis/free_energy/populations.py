"""Populations of states and free-energy differences between them, with intervals, from counts in blocks."""

from __future__ import annotations

import itertools
import math

import numpy as np

from cgsurrogate.analysis import events
from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram, Grid, samples_of, weight_scale
from cgsurrogate.analysis.results import Estimate
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

RATIO_DRAWS = 1000
SELDOM = 4.0  # times as rare as it seems; a state that was never seen, of visits that are known


def populations(
    histogram: BlockHistogram, rng: np.random.Generator, visited: events.Visits | None = None
) -> tuple[Estimate, Estimate]:
    """Populations of ``state_histogram``, and free energies in kJ/mol above the first state, -kT ln(p / p_first).

    A population is a share of all frames, also of those in no state. Intervals as in ``log_ratio``: of p on the scale
    ln(p / (1 - p)). A state that was never seen has population 0,
    bounded above as for so many independent draws as it has independent frames (Clopper and Pearson 1934), and no free
    energy. With ``visited``, of frames in time order, no interval is narrower than the visits allow (``events``), and a
    state that was never seen may last ``SELDOM`` times as long as what was.
    """
    everything, kT = histogram.weights.astype(float), histogram.kT
    own, size = everything[:, :-1], everything.sum()
    total = own.sum(0)
    odds = log_ratio(own, everything.sum(1, keepdims=True) - own, histogram.runs, rng)
    with np.errstate(over="ignore"):
        p, low, high = total / size, 1 / (1 + np.exp(-odds.low)), 1 / (1 + np.exp(-odds.high))
    seldom = 1.0 if visited is None else SELDOM
    none, all_, most = total == 0, total == size, 1 - 0.025 ** (seldom / histogram.effective)
    low, high = np.where(none, 0.0, low), np.where(none, most, high)
    low, high = np.where(all_, 1 - most, low), np.where(all_, 1.0, high)
    ratio = log_ratio(own, np.broadcast_to(own[:, :1], own.shape), histogram.runs, rng)
    shares = Estimate(p, low, high)
    if visited is not None:
        shares = events.shares(shares, visited)
        ratio = events.ratios(ratio, np.minimum(visited.events, visited.events[0]))
        ratio.low[0] = ratio.high[0] = ratio.value[0]  # nothing is known better than a state against itself
    return shares, Estimate(-kT * ratio.value, -kT * ratio.high, -kT * ratio.low)


def state_histogram(labels: np.ndarray, count: int, frames: Frames, cut: Blocks) -> BlockHistogram:
    """A histogram whose bins are states, and one more for frames with a negative label (``outside`` is their share)."""
    labels = np.asarray(labels)
    if labels.shape != (len(frames),) or not np.issubdtype(labels.dtype, np.integer) or labels.max() >= count:
        raise ValueError(
            f"expected ({len(frames)},) whole numbers below {count}, one state a frame, got {labels.dtype}"
            f" {labels.shape}, up to {labels.max()}"
        )
    table = np.empty((len(cut), count + 1), np.float32)
    scale = weight_scale(frames)
    for k, (start, stop) in enumerate(itertools.pairwise(cut.edges)):
        part = labels[start:stop]
        weight = None if frames.weights is None else frames.weights[start:stop] * scale
        table[k] = np.bincount(np.where(part < 0, count, part), weight, minlength=count + 1)
    grid = Grid(("state",), (np.arange(count + 2) - 0.5,), (False,))
    outside = float(table[:, count].sum(dtype=float) / len(frames))
    return BlockHistogram(grid, table, cut.runs, outside, max(samples_of(frames) / cut.inefficiency, 1.0), frames.kT)


def log_ratio(a: np.ndarray, b: np.ndarray, runs: np.ndarray, rng: np.random.Generator) -> Estimate:
    """ln(sum a / sum b) over K blocks of (K, M) weights, nan where either is empty, with 95 % intervals.

    The blocks are given random weights from a flat Dirichlet distribution (Bayesian bootstrap, Rubin 1981), which
    keeps rare states asymmetric; the quantiles are then widened to the variance of K independent blocks and to
    Student's t with K - 1 degrees of freedom, and further where neighbouring blocks of a run are still correlated.
    One block gives no interval.
    """
    from scipy.stats import t

    count = len(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.log(a.sum(0)) - np.log(b.sum(0))
        value = np.where(np.isfinite(value), value, np.nan)
        if count < 2:
            return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
        drawn = rng.dirichlet(np.ones(count), RATIO_DRAWS)
        spread = np.log(drawn @ a) - np.log(drawn @ b) - value
        influence = a / a.sum(0) - b / b.sum(0)
        near = (runs[1:] == runs[:-1])[:, None]
        both = 2 * np.sum(near * influence[1:] * influence[:-1], 0)
        correlated = np.sqrt(1 + np.maximum(np.nan_to_num(both / np.sum(influence**2, 0)), 0))
    low, high = np.quantile(np.where(np.isfinite(value), spread, np.nan), (0.025, 0.975), axis=0)
    wide = t.ppf(0.975, count - 1) / 1.96 * math.sqrt((count + 1) / (count - 1)) * correlated
    return Estimate(value, value + np.minimum(low, 0) * wide, value + np.maximum(high, 0) * wide)
