"""Implied timescales from a Markov state model whose states come from the reference and serve every ensemble."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from cgsurrogate.blocks import Blocks, resamples
from cgsurrogate.ensemble import Timescales
from cgsurrogate.frames import Frames

STATES, PROCESSES, LAGS, DRAWS = 100, 4, 6, 20
SUBSAMPLE = 20_000


@dataclasses.dataclass(frozen=True, eq=False)
class States:
    """k-means centres (S, D) in the projection; a frame belongs to the nearest."""

    centres: np.ndarray

    def __len__(self) -> int:
        return len(self.centres)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """(T, D) -> (T,) number of the state."""
        from scipy.spatial import cKDTree

        return cKDTree(self.centres).query(values, workers=1)[1].astype(np.int32)


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
    """(K, S, S) transitions over ``lag`` frames by the block that they start in; sliding window, never across runs."""
    now, later = frames.pairs(lag)
    code = labels[now].astype(np.int64) * count + labels[later]
    if cut is None:
        return np.bincount(code, minlength=count * count).reshape(1, count, count).astype(np.float32)
    place = np.searchsorted(now, cut.edges)
    table = [np.bincount(code[a:b], minlength=count * count) for a, b in itertools.pairwise(place)]
    return np.array(table, np.float32).reshape(-1, count, count)


def connected(counts: np.ndarray) -> np.ndarray:
    """Numbers of the largest set of states (by counts) among which every one is reached from every other."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(csr_matrix(counts), directed=True, connection="strong")
    inside = np.array([counts[np.ix_(label == k, label == k)].sum() for k in range(label.max() + 1)])
    return np.flatnonzero(label == int(np.argmax(inside)))


def transition_matrix(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(S, S) connected counts -> reversible maximum-likelihood transition matrix (Prinz et al. 2011), populations."""
    from deeptime.markov.tools.estimation import transition_matrix as estimate

    matrix, stationary = estimate(
        np.asarray(counts, float), reversible=True, return_statdist=True, maxerr=1e-6, warn_not_converged=False
    )
    return np.asarray(matrix), np.asarray(stationary)


def _eigenvalues(matrix: np.ndarray, stationary: np.ndarray) -> np.ndarray:
    """Of a reversible matrix, falling; from the symmetric matrix that is similar to it."""
    root = np.sqrt(stationary)
    symmetric = matrix * root[:, None] / root
    return np.linalg.eigvalsh((symmetric + symmetric.T) / 2)[::-1]


def implied(counts: np.ndarray, lag: float, processes: int = PROCESSES) -> tuple[np.ndarray, float]:
    """(S, S) counts at a lag in ps -> (processes,) timescales in ps, nan where there are none; share of counts used."""
    chosen = connected(counts)
    inner = counts[np.ix_(chosen, chosen)]
    result = np.full(processes, np.nan)
    total = counts.sum()
    if len(chosen) < 2 or not total:
        return result, 0.0
    values = _eigenvalues(*transition_matrix(inner))[1 : processes + 1]
    good = (values > 0) & (values < 1 - 1e-12)
    result[: len(values)][good] = -lag / np.log(values[good])
    return result, float(inner.sum() / total)


def lag_grid(reference: Frames, correlation: float | None = None, count: int = LAGS) -> np.ndarray:
    """Lags in ps, geometric, up to a fifth of the longest run; ``correlation`` (ps, the lag of TICA) lies inside."""
    most = max(reference.lengths) // 5 * reference.dt
    low = reference.dt if correlation is None else max(reference.dt, correlation / 4)
    high = min(most, 40 * low)
    if high < reference.dt:
        return np.empty(0)
    return np.unique(np.round(np.geomspace(min(low, high), high, count) / reference.dt).astype(int)) * reference.dt


def timescales(
    labels: np.ndarray,
    frames: Frames,
    lags: np.ndarray,
    count: int,
    cut: Blocks,
    rng: np.random.Generator,
    *,
    physical: bool = True,
    processes: int = PROCESSES,
    draws: int = DRAWS,
) -> tuple[Timescales | None, tuple[str, ...]]:
    """Timescales of one ensemble at about the given lags (ps), rounded to its own time between frames.

    The 95 % interval is exp(ln t -+ 1.96 s), with s the spread of ln t when blocks are drawn anew.

    Returns:
        The timescales (None where the runs are shorter than every lag) and what must be said about them.
    """
    steps = np.unique(np.maximum(1, np.round(np.asarray(lags) / frames.dt).astype(int)))
    steps = steps[steps < max(frames.lengths)]
    if not len(steps):
        return None, ("no timescales: every run is shorter than the shortest lag",)
    shape = (len(steps), processes)
    values, low, high, share = np.full(shape, np.nan), np.full(shape, np.nan), np.full(shape, np.nan), 1.0
    for row, step in enumerate(steps):
        table = transition_counts(labels, frames, int(step), count, cut)
        values[row], used = implied(table.sum(0), step * frames.dt, processes)
        share = min(share, used)
        kept = table[table.sum((1, 2)) > 0].reshape(-1, count * count)
        if len(kept) < 2:
            continue
        drawn = resamples(len(kept), rng, draws) @ kept
        times = np.array([implied(c.reshape(count, count), step * frames.dt, processes)[0] for c in drawn])
        enough = np.isfinite(times).sum(0) > draws // 2
        spread = np.nanstd(np.log(np.where(enough, times, 1.0)), 0) * math.sqrt(len(kept) / (len(kept) - 1))
        low[row] = np.where(enough, values[row] * np.exp(-1.96 * spread), np.nan)
        high[row] = np.where(enough, values[row] * np.exp(1.96 * spread), np.nan)
    result = Timescales(steps * frames.dt, values, low, high, physical)
    return result, judge(result, frames, share)


def judge(times: Timescales, frames: Frames, share: float) -> tuple[str, ...]:
    """Whether the data allow a statement about kinetics: connectivity, length against the slowest process, flatness."""
    notes = []
    if not times.physical:
        notes.append("its time is that of the force field, not physical time: compare ratios of timescales only")
    if share < 0.95:
        notes.append(
            f"only {share:.0%} of the transitions lie in one connected set of states; its timescales are too short"
        )
    slowest = times.values[:, 0]
    known = np.flatnonzero(np.isfinite(slowest))
    if not len(known):
        return (*notes, "no timescale could be estimated")
    last, middle = slowest[known[-1]], slowest[known[len(known) // 2]]
    total = len(frames) * frames.dt
    if total < 20 * last:
        notes.append(
            f"{total / 1000:.3g} ns in all hold only {total / last:.0f} times the slowest relaxation"
            f" ({last / 1000:.3g} ns); timescales and populations of slow states are uncertain"
        )
    if len(known) > 2 and last > 1.5 * middle and times.low[known[-1], 0] > middle:
        notes.append("the slowest timescale still rises with the lag: the longest lag shown is a lower bound")
    return tuple(notes)
