"""A linear map of torsions and distances, fitted on the reference: slowest directions (TICA, VAMP) or widest (PCA)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cgsurrogate.analysis.cvs._base import CV, TooSmall
from cgsurrogate.core import disk_arrays
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import correlation_time
from cgsurrogate.geometry import measures

MOST_DISTANCES = 500
PROBE = 20_000  # frames that are looked at to choose a lag
STILL = 1e-6  # variance of a feature below which deeptime leaves it out
LEAST_RUN = 20  # frames of the longest run, for a time order to be of use


class Features:
    """Sine and cosine of the torsions, then distances in nm, of one kind of molecule.

    Args:
        torsions: whether to use them.
        apart: distances of CA at least so far apart along the chain (1 where that leaves none); None for no distances.
        of_distance: what to make of a distance in nm.
    """

    def __init__(
        self,
        beads: Beads,
        *,
        torsions: bool = True,
        apart: int | None = 2,
        of_distance: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        _, quads, _ = measures.torsion_quads(beads)
        self.quads = quads if torsions else quads[:0]
        chosen, self.of_distance = measures.calphas(beads), of_distance
        pairs = np.empty((0, 2), int) if apart is None else pairs_along(chosen, apart)
        if apart is not None and not len(pairs):
            pairs = pairs_along(chosen, 1)
        if len(pairs) > MOST_DISTANCES:
            pairs = pairs[np.linspace(0, len(pairs) - 1, MOST_DISTANCES).astype(int)]
        self.pairs = pairs
        self.count = 2 * len(self.quads) + len(pairs)
        if not self.count:
            raise TooSmall("a projection needs at least two beads; leave this collective variable out")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(t, N, 3) nm -> (t, count)."""
        turn, length = measures.dihedrals(x, self.quads), measures.distances(x, self.pairs)
        if self.of_distance is not None:
            length = self.of_distance(length)
        return np.concatenate([np.cos(turn), np.sin(turn), length], 1)


def pairs_along(chosen: np.ndarray, apart: int) -> np.ndarray:
    """(P, 2) pairs at least ``apart`` along the chain."""
    return np.array([(a, b) for k, a in enumerate(chosen) for b in chosen[k + apart :]], int).reshape(-1, 2)


class Projection(CV):
    """A linear map of the features; ``lag`` in frames of the reference, None for principal components.

    ``strength`` (d,) is the singular value (the autocorrelation over the lag) of each column, for principal components
    the variance.
    """

    def __init__(
        self,
        features: Features,
        mean: np.ndarray,
        matrix: np.ndarray,
        *,
        name: str,
        short: str,
        lag: int | None,
        strength: np.ndarray,
        notes: tuple[str, ...],
    ) -> None:
        self.features, self.mean, self.lag, self.notes, self.name = features, mean, lag, notes, name
        self._short, self.matrix, self.strength = short, matrix, strength
        self.labels = tuple(f"{short} {k + 1}" for k in range(matrix.shape[1]))
        self.shown = min(2, matrix.shape[1])
        self.pairs = ((0, 1),) if matrix.shape[1] > 1 else ()

    def leading(self, columns: int, lag: int | None) -> Projection:
        """The same with its first columns only, and the lag in frames of another reference."""
        about: Any = {"name": self.name, "short": self._short, "lag": lag, "notes": self.notes}
        kept, strength = self.matrix[:, :columns], self.strength[:columns]
        return Projection(self.features, self.mean, kept, strength=strength, **about)

    def __call__(self, frames: Frames) -> np.ndarray:
        values = disk_arrays.empty((len(frames), len(self.labels)))
        for part in measures.chunks(frames, 8 * self.features.count):
            values[part] = (self.features(np.asarray(frames.positions[part], float)) - self.mean) @ self.matrix
        return values


def no_time_order(reference: Frames) -> str:
    """Why the time order of the reference is of no use; empty where it is of use."""
    if not reference.time_ordered:
        return f"the reference holds {reference.out_of_order}, whose order means nothing"
    if max(reference.lengths) < LEAST_RUN:
        return f"the longest run of the reference has {max(reference.lengths)} frames only"
    return ""


def lag_steps(reference: Frames, features: Features, lag: float | None, name: str) -> int:
    """A lag in ps as frames of the reference; without one, a tenth of the correlation time of the slowest feature."""
    longest = max(reference.lengths)
    steps = round(lag / reference.dt) if lag else _choose_lag(reference, features)
    if not 1 <= steps < longest:
        most = (longest - 1) * reference.dt
        raise ValueError(f"the {name} lag must lie from {reference.dt:g} ps to {most:g} ps, got {lag:g} ps")
    return steps


def _choose_lag(reference: Frames, features: Features) -> int:
    runs: list[slice] = []
    pieces: list[np.ndarray] = []
    start = 0
    stride = max(1, len(reference) // PROBE)
    for run in reference.runs:
        piece = features(np.asarray(reference.positions[run][::stride], float)).astype(np.float32)
        pieces.append(piece)
        runs.append(slice(start, start + len(piece)))
        start += len(piece)
    slowest = stride * float(np.max(correlation_time(np.concatenate(pieces), tuple(runs))))
    return int(np.clip(round(slowest / 10), 1, max(1, max(reference.lengths) // 10)))


def covariances(reference: Frames, features: Features, steps: int, *, reversible: bool) -> Any:
    """deeptime's covariances of the features now and ``steps`` frames later, never across runs.

    Raises:
        ValueError: the features never change.
    """
    from deeptime.covariance import Covariance

    estimator = Covariance(
        lagtime=steps, compute_c0t=True, compute_ctt=not reversible, reversible=reversible, remove_data_mean=True
    )
    piece = max(10 * steps, measures.CHUNK // max(8 * features.count, 1))
    for run in reference.runs:
        for start in range(run.start, run.stop - steps, piece):
            x = features(np.asarray(reference.positions[start : min(start + piece + steps, run.stop)], float))
            if len(x) > steps:
                estimator.partial_fit((x[:-steps], x[steps:]))
    found: Any = estimator.fetch_model()
    if not np.diagonal(found.cov_00).max() > STILL:
        raise ValueError("the reference does not move: all its frames are alike; compare with a reference that does")
    return found


def time_lagged(
    reference: Frames,
    features: Features,
    dimensions: int,
    steps: int,
    *,
    equilibrium: bool = True,
    kinetic_map: bool = True,
) -> Projection:
    """Slowest directions over ``steps`` frames: of runs in ``equilibrium`` (TICA), or as the runs are (VAMP).

    Columns are scaled as a kinetic map, or each has variance one.
    """
    from deeptime.decomposition import TICA, VAMP

    method, short = (TICA, "TIC") if equilibrium else (VAMP, "VAMP")
    found = covariances(reference, features, steps, reversible=equilibrium)
    model: Any = method(dim=dimensions).fit_from_covariances(found).fetch_model()
    matrix = np.asarray(model.instantaneous_coefficients[:, :dimensions], float)
    strength = np.asarray(model.singular_values[: matrix.shape[1]], float)
    matrix = matrix * strength if kinetic_map else matrix
    lag, name = steps * reference.dt, method.__name__
    return Projection(
        features,
        np.asarray(model.mean_0, float),
        oriented(matrix, features),
        name=name.lower(),
        short=short,
        lag=steps,
        strength=strength,
        notes=(f"{name} at a lag of {lag:g} ps on {features.count} features, fitted on the reference only",),
    )


def fitted(reference: Frames, dimensions: int, lag: float | None, equilibrium: bool = True) -> Projection:
    """TICA or VAMP on the usual features at a lag in ps, principal components where time order is of no use."""
    features = Features(reference.beads)
    dimensions = min(dimensions, features.count)
    if why := no_time_order(reference):
        return principal(reference, features, dimensions, why)
    steps = lag_steps(reference, features, lag, "TICA" if equilibrium else "VAMP")
    return time_lagged(reference, features, dimensions, steps, equilibrium=equilibrium)


def principal(reference: Frames, features: Features, dimensions: int, why: str) -> Projection:
    """Weighted principal components, largest first."""
    weight = reference.probabilities
    first, second = np.zeros(features.count), np.zeros((features.count, features.count))
    for part in measures.chunks(reference, 8 * features.count):
        x = features(np.asarray(reference.positions[part], float))
        first += weight[part] @ x
        second += (weight[part, None] * x).T @ x
    values, vectors = np.linalg.eigh(second - np.outer(first, first))
    order = np.argsort(values)[::-1][:dimensions]
    note = f"{why}: principal components of {features.count} features stand in for TICA"
    return Projection(
        features,
        first,
        oriented(vectors[:, order], features),
        name="tica",
        short="PC",
        lag=None,
        strength=values[order],
        notes=(note,),
    )


def oriented(matrix: np.ndarray, features: Features) -> np.ndarray:
    """Columns keep their direction from run to run: the sum of their entries on distances (or on all) is positive."""
    tail = matrix[-len(features.pairs) :] if len(features.pairs) else matrix
    sign = np.sign(tail.sum(0))
    return matrix * np.where(sign == 0, 1, sign)
