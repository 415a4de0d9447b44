"""What a Markov state model is made of: states, transition counts, the matrix, and how its numbers are resampled."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from cgsurrogate.analysis.results import Estimate, Result
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

STATES = 100
SUBSAMPLE = 20_000
CHUNK = 1 << 17  # frames at a time


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class States(Result):
    """k-means centres (S, D) in the projection; a frame belongs to the nearest."""

    centres: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(T, D) -> (T,) int32, number of the state."""
        from scipy.spatial import cKDTree

        tree, labels = cKDTree(self.centres), np.empty(len(values), np.int32)
        for start in range(0, len(values), CHUNK):
            labels[start : start + CHUNK] = tree.query(values[start : start + CHUNK], workers=1)[1]
        return labels


def states(values: np.ndarray, rng: np.random.Generator, count: int = STATES) -> States:
    """k-means on at most ``SUBSAMPLE`` evenly spaced rows of (T, D) values; fewer states for little data."""
    from deeptime.clustering import KMeans

    picked = np.asarray(values[:: max(1, len(values) // SUBSAMPLE)], np.float64)
    count = max(2, min(count, len(picked) // 20))
    seed = int(rng.integers(1 << 31))
    model: Any = KMeans(count, max_iter=50, tolerance=1e-4, fixed_seed=seed, n_jobs=1).fit_fetch(picked)
    return States(np.asarray(model.cluster_centers))


def transition_counts(
    labels: np.ndarray, frames: Frames, lag: int, count: int, cut: Blocks | None = None
) -> np.ndarray:
    """(K, S, S) transitions over ``lag`` frames by the block that they start in; sliding window, never across runs.

    Labels below 0 belong to no state and are left out. Beyond the result, memory is that of ``CHUNK`` frames.

    Raises:
        ValueError: the lag is not at least one frame, or no run is longer than it.
    """
    if lag < 1:
        raise ValueError(f"the lag must be at least one frame, got {lag}")
    if lag >= max(frames.lengths):
        raise ValueError(f"no run is longer than the lag of {lag} frames ({lag * frames.dt:g} ps); use a shorter lag")
    ends = np.cumsum(frames.lengths)
    edges = np.array([0, len(labels)]) if cut is None else cut.edges
    table = np.zeros((len(edges) - 1, count * count))
    for block in range(len(table)):
        for start in range(int(edges[block]), int(edges[block + 1]), CHUNK):
            stop = min(start + CHUNK, int(edges[block + 1]), len(labels) - lag)
            if stop <= start:
                continue
            now, later = labels[start:stop], labels[start + lag : stop + lag]
            good = (now >= 0) & (later >= 0)
            for end in ends[np.searchsorted(ends, start + 1) : np.searchsorted(ends, stop + lag)]:
                good[max(0, int(end) - lag - start) : max(0, int(end) - start)] = False
            code = now[good].astype(np.int64) * count + later[good]
            table[block] += np.bincount(code, minlength=count * count)
    return table.reshape(-1, count, count)


def connected(counts: np.ndarray) -> np.ndarray:
    """Numbers of the largest set of states (by counts) among which every one is reached from every other."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(csr_matrix(counts), directed=True, connection="strong")
    inside = np.array([counts[np.ix_(label == k, label == k)].sum() for k in range(label.max() + 1)])
    return np.flatnonzero(label == int(np.argmax(inside)))


def transition_matrix(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) connected counts -> reversible maximum-likelihood transition matrix (Prinz et al. 2011), populations.

    Counts that lead out of states and hardly ever back have an estimate with populations below what the iteration can
    hold. Transitions are then also counted backwards in time, with the smallest weight (a millionth, or ten times more
    ...) that keeps every state. For counts that are in balance no weight changes the estimate.
    """
    from deeptime.markov.tools.estimation import transition_matrix as estimate

    counts = np.asarray(counts, float)
    for backwards in (0.0, *10.0 ** np.arange(-6, 1)):
        try:
            matrix, stationary = estimate(
                counts + backwards * counts.T,
                reversible=True,
                return_statdist=True,
                maxerr=1e-6,
                warn_not_converged=False,
            )
        except RuntimeError:  # "stationary distribution contains entries smaller than ..."
            continue
        flow = np.asarray(stationary)[:, None] * np.asarray(matrix)
        flow = (flow + flow.T) / 2  # what the iteration leaves unbalanced, a hair where counts are few one way
        total = flow.sum(1)
        return flow / total[:, None], total / total.sum()
    raise ValueError(f"no reversible estimate for these {len(counts)} states; are their counts connected?")


def spectrum(matrix: np.ndarray, stationary: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of a reversible matrix: eigenvalues (S,), falling, and right eigenvectors (S, S), one a column.

    They come from the symmetric matrix that is similar to it.
    """
    root = np.sqrt(stationary)
    symmetric = matrix * root[:, None] / root
    values, vectors = np.linalg.eigh((symmetric + symmetric.T) / 2)
    return values[::-1], vectors[:, ::-1] / root[:, None]


def timescales(values: np.ndarray, lag: float, processes: int) -> np.ndarray:
    """Eigenvalues, falling, at a lag in ps -> (processes,) implied timescales in ps, nan where there are none."""
    result = np.full(processes, np.nan)
    values = values[1 : processes + 1]
    good = (values > 0) & (values < 1 - 1e-12)
    result[: len(values)][good] = -lag / np.log(values[good])
    return result


def implied(counts: np.ndarray, lag: float, processes: int) -> np.ndarray:
    """(S, S) connected counts at a lag in ps -> (processes,) timescales in ps, nan where there are none."""
    return timescales(spectrum(*transition_matrix(counts))[0], lag, processes)


def block_weights(count: int, rng: np.random.Generator, draws: int) -> np.ndarray:
    """(draws, count) weights of ``count`` blocks, each row with mean one: the Bayesian bootstrap (Rubin 1981).

    Uniform on the simplex, so that no block, and no state or transition, is ever missing from a draw.
    """
    return rng.dirichlet(np.ones(count), draws) * count


def interval(value: np.ndarray, drawn: np.ndarray, blocks: int, scale: str = "linear") -> Estimate:
    """95 % interval of (...,) values from (draws, ...) values of the Bayesian bootstrap over ``blocks`` blocks.

    Student's t times the spread of the draws, on a scale where the numbers are about normal: "linear", "log" for
    times, or "logit" for probabilities. The spread is widened to that of an unbiased variance. nan where
    the value or half of the draws are unknown.
    """
    from scipy.stats import t

    value, drawn = np.asarray(value, float), np.asarray(drawn, float)
    known = np.isfinite(drawn).sum(0)
    if blocks < 2:
        return Estimate(value, np.full_like(value, np.nan), np.full_like(value, np.nan))
    forward, back = _SCALES[scale]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        centre, moved = forward(value), forward(drawn)
        moved = np.where(np.isfinite(moved), moved, np.nan)
        mean = np.nansum(moved, 0) / np.maximum(known, 1)
        spread = np.sqrt(np.nansum((moved - mean) ** 2, 0) / np.maximum(known - 1, 1))
        spread *= math.sqrt((blocks + 1) / (blocks - 1))
        freedom = 1 / (1 / (blocks - 1) + 1 / np.maximum(known - 1, 1))
        width = t.ppf(0.975, freedom) * spread
        enough = np.isfinite(centre) & (known > len(drawn) / 2)
        low, high = (np.where(enough, back(centre + sign * width), np.nan) for sign in (-1, 1))
    fixed = np.isfinite(value) & ~np.isfinite(centre)  # e.g. a probability of exactly 0
    return Estimate(value, np.where(fixed, value, low), np.where(fixed, value, high))


_SCALES: dict[str, Any] = {
    "linear": (lambda x: x, lambda x: x),
    "log": (np.log, np.exp),
    "logit": (lambda p: np.log(p) - np.log1p(-p), lambda x: 1 / (1 + np.exp(-x))),
}
