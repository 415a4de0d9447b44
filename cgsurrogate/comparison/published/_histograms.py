"""What several benchmarks need: thinned frames, projections with a fallback, histograms and autocovariances."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from cgsurrogate.analysis.cvs import _linear_projection as projections
from cgsurrogate.analysis.free_energy.surfaces import normalised
from cgsurrogate.core.frames import Frames

MOST_FRAMES, MOST_BYTES = 200_000, 128 << 20  # of positions; enough for any histogram
Compare = Callable[[np.ndarray, np.ndarray], np.ndarray]


def strided(frames: Frames, keep: int = 1, most: int = MOST_FRAMES) -> Frames:
    """Every s-th frame of each run so that no more than ``most`` are left; s divides ``keep`` if that is not 1."""
    most = max(2, min(most, MOST_BYTES // (12 * len(frames.beads))))
    stride = -(-len(frames) // most)
    if keep > 1:
        stride = max(s for s in range(1, stride + 1) if keep % s == 0)
    if stride == 1:
        return frames
    index = np.concatenate([np.arange(run.start, run.stop, stride) for run in frames.runs])
    weights = None if frames.weights is None else np.asarray(frames.weights[index])
    if weights is not None and not weights.sum():
        return frames
    return Frames(
        frames.beads,
        np.asarray(frames.positions[index]),
        tuple(-(-n // stride) for n in frames.lengths),
        frames.dt * stride,
        frames.temperature,
        weights=weights,
        provenance=frames.provenance,
    )


def project(
    reference: Frames,
    features: projections.Features,
    lag: float | None,
    *,
    share: float | None = None,
    kinetic_map: bool = True,
) -> tuple[projections.Projection, tuple[str, ...]]:
    """A projection of (thinned) reference frames, and what differs from what was wanted.

    TICA at a lag in ps (by default a tenth of the slowest correlation time, also where no run is twice as long as the
    lag); principal components where time order is of no use. At least two columns where there are two features; with
    ``share``, as many as hold that share of the kinetic variance.
    """
    notes: tuple[str, ...] = ()
    why = projections.no_time_order(reference)
    if why:
        found = projections.principal(strided(reference), features, 2, why)
        return found, found.notes
    if lag is not None and max(reference.lengths) * reference.dt < 2 * lag:
        notes, lag = (f"no run is twice as long as the lag of {lag:g} ps in the paper",), None
    if lag is not None and lag < reference.dt:
        notes = (f"the reference has frames every {reference.dt:g} ps, the paper's lag is {lag:g} ps",)
        lag = reference.dt
    keep = 1 if lag is None else round(lag / reference.dt)
    few = strided(reference, keep)
    steps = projections.lag_steps(few, features, lag, "TICA")
    found = projections.time_lagged(few, features, features.count, steps, kinetic_map=kinetic_map)
    columns = min(2, found.matrix.shape[1])
    if share is not None:
        held = np.cumsum(found.strength**2) / np.sum(found.strength**2)
        columns = max(columns, int(np.searchsorted(held, share)) + 1)
    return found.leading(columns, round(steps * few.dt / reference.dt)), notes + found.notes


def table(values: np.ndarray, weight: np.ndarray, edges: Sequence[np.ndarray], *, clip: bool) -> np.ndarray:
    """(bins,) probabilities of (T, d) values on even bins; what lies outside counts in the outermost bins, or not.

    All zero where nothing lies inside.
    """
    flat, inside = np.zeros(len(values), np.int64), np.ones(len(values), bool)
    size = 1
    for column, edge in zip(np.asarray(values, float).T, edges, strict=True):
        bins, low, high = len(edge) - 1, edge[0], edge[-1]
        inside &= (column >= low) & (column <= high)
        place = np.clip((column - low) / (high - low) * bins, 0, bins - 1).astype(np.int64)
        flat, size = flat * bins + place, size * bins
    if not clip:
        flat, weight = flat[inside], weight[inside]
    return normalised(np.bincount(flat, weight, minlength=size))


def even_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """(bins + 1,) from the least to the greatest value; one unit wide where they are all alike."""
    low, high = float(values.min()), float(values.max())
    return np.linspace(low, high if high > low else low + 1, bins + 1)


def between(first: np.ndarray, second: np.ndarray, divergence: Compare) -> float:
    """``divergence`` of two sets of probabilities, its greatest value (disjoint) where one of them is empty."""
    if not first.sum() or not second.sum():
        first, second = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    return float(divergence(first, second))


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """(T, d) values of an ensemble, with probabilities."""

    values: np.ndarray
    weight: np.ndarray


def sample(cv: Callable[[Frames], np.ndarray], frames: Frames) -> Sample:
    return Sample(cv(frames), frames.probabilities)


def on_joint_range(first: Sample, second: Sample, bins: int, columns: Sequence[int], divergence: Compare) -> float:
    """``divergence`` of two samples on even bins from the least to the greatest value of both."""
    edges = [even_edges(np.concatenate([first.values[:, k], second.values[:, k]]), bins) for k in columns]
    a, b = (table(s.values[:, columns], s.weight, edges, clip=True) for s in (first, second))
    return between(a, b, divergence)


def autocovariance(values: np.ndarray, runs: Sequence[slice]) -> np.ndarray:
    """(T, D) values -> (L, D) mean of x(t) x(t + k) over all pairs within runs, for k up to the longest run."""
    longest = max(run.stop - run.start for run in runs)
    total, pairs = np.zeros((longest, values.shape[1])), np.zeros(longest)
    for run in runs:
        x = np.asarray(values[run], float)
        size = 1 << (2 * len(x) - 1).bit_length()
        power = np.abs(np.fft.rfft(x, size, axis=0)) ** 2
        total[: len(x)] += np.fft.irfft(power, size, axis=0)[: len(x)]
        pairs[: len(x)] += np.arange(len(x), 0, -1)
    return total / pairs[:, None]
