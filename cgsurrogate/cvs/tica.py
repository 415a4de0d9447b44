"""The slowest directions of the reference (TICA), or its widest (PCA) where its time order means nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgsurrogate.correlation import correlation_time
from cgsurrogate.cv import CV, TooSmall
from cgsurrogate.cvs import _geometry as geometry
from cgsurrogate.frames import Beads, Frames

MOST_DISTANCES = 500
PROBE = 20_000  # frames that are looked at to choose a lag


def build(reference: Frames, dimensions: int = 4, lag: float | None = None) -> Projection:
    """A projection fitted on the reference, from sine and cosine of the torsions and CA-CA distances (|i - j| > 1).

    Time-lagged independent components (Perez-Hernandez et al. 2013), scaled as a kinetic map (Noe and Clementi 2015).
    A reference with weights has no meaningful time order, and one whose runs are too short has none to use: there it
    is a weighted principal component analysis of the same features, labelled "PC".

    Args:
        lag: ps; by default a tenth of the correlation time of the slowest feature, at most a tenth of the longest run.
    """
    features = Features(reference.beads)
    dimensions = min(dimensions, features.count)
    longest = max(reference.lengths)
    if not reference.time_ordered:
        cause = "has weights" if reference.weights is not None else "is of exchanging replicas"
        why = f"the reference {cause}, so its time order means nothing"
    elif longest < 20:
        why = f"the longest run of the reference has {longest} frames only"
    else:
        steps = round(lag / reference.dt) if lag else _choose_lag(reference, features)
        if not 1 <= steps < longest:
            most = (longest - 1) * reference.dt
            raise ValueError(f"the TICA lag must lie from {reference.dt:g} ps to {most:g} ps, got {lag:g} ps")
        return _tica(reference, features, dimensions, steps)
    return _pca(reference, features, dimensions, why)


class Features:
    """Sine and cosine of the torsions, then distances in nm, of one kind of molecule."""

    def __init__(self, beads: Beads) -> None:
        _, self.quads, _ = geometry.torsion_quads(beads)
        chosen = geometry.calphas(beads)
        pairs = np.array([(a, b) for k, a in enumerate(chosen) for b in chosen[k + 2 :]], int).reshape(-1, 2)
        if not len(pairs):
            pairs = np.array([(a, b) for k, a in enumerate(chosen) for b in chosen[k + 1 :]], int).reshape(-1, 2)
        if len(pairs) > MOST_DISTANCES:
            pairs = pairs[np.linspace(0, len(pairs) - 1, MOST_DISTANCES).astype(int)]
        self.pairs = pairs
        self.count = 2 * len(self.quads) + len(pairs)
        if not self.count:
            raise TooSmall("a projection needs at least two beads; leave this collective variable out")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(t, N, 3) nm -> (t, count)."""
        turn = geometry.dihedrals(x, self.quads)
        return np.concatenate([np.cos(turn), np.sin(turn), geometry.distances(x, self.pairs)], 1)


class Projection(CV):
    """A linear map of the features; ``lag`` in frames of the reference, None for principal components."""

    name = "tica"
    shown = 2

    def __init__(
        self,
        features: Features,
        mean: np.ndarray,
        matrix: np.ndarray,
        *,
        short: str,
        lag: int | None,
        notes: tuple[str, ...],
    ) -> None:
        self.features, self.mean, self.matrix, self.lag, self.notes = features, mean, matrix, lag, notes
        self.labels = tuple(f"{short} {k + 1}" for k in range(matrix.shape[1]))
        self.pairs = ((0, 1),) if matrix.shape[1] > 1 else ()

    def __call__(self, frames: Frames) -> np.ndarray:
        def project(x: np.ndarray) -> np.ndarray:
            return (self.features(x) - self.mean) @ self.matrix

        values = np.empty((len(frames), len(self.labels)), np.float32)
        for part in geometry.chunks(frames, 8 * self.features.count):
            values[part] = project(np.asarray(frames.positions[part], float))
        return values


def _choose_lag(reference: Frames, features: Features) -> int:
    """A tenth of the correlation time of the slowest feature, in frames."""
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


def _tica(reference: Frames, features: Features, dimensions: int, steps: int) -> Projection:
    from deeptime.covariance import Covariance
    from deeptime.decomposition import TICA

    estimator = Covariance(lagtime=steps, compute_c0t=True, reversible=True, remove_data_mean=True)
    piece = max(10 * steps, geometry.CHUNK // max(8 * features.count, 1))
    for run in reference.runs:
        for start in range(run.start, run.stop - steps, piece):
            x = features(np.asarray(reference.positions[start : min(start + piece + steps, run.stop)], float))
            if len(x) > steps:
                estimator.partial_fit((x[:-steps], x[steps:]))
    model: Any = TICA(dim=dimensions).fit_from_covariances(estimator.fetch_model()).fetch_model()
    matrix = np.asarray(model.instantaneous_coefficients[:, :dimensions], float)
    matrix = matrix * np.asarray(model.singular_values[: matrix.shape[1]])
    mean = np.asarray(model.mean_0, float)
    note = f"TICA at a lag of {steps * reference.dt:g} ps on {features.count} features, fitted on the reference only"
    return Projection(features, mean, _orient(matrix, features), short="TIC", lag=steps, notes=(note,))


def _pca(reference: Frames, features: Features, dimensions: int, why: str) -> Projection:
    weight = reference.probabilities
    first, second = np.zeros(features.count), np.zeros((features.count, features.count))
    for part in geometry.chunks(reference, 8 * features.count):
        x = features(np.asarray(reference.positions[part], float))
        first += weight[part] @ x
        second += (weight[part, None] * x).T @ x
    values, vectors = np.linalg.eigh(second - np.outer(first, first))
    matrix = vectors[:, np.argsort(values)[::-1][:dimensions]]
    note = f"{why}: principal components of {features.count} features stand in for TICA"
    return Projection(features, first, _orient(matrix, features), short="PC", lag=None, notes=(note,))


def _orient(matrix: np.ndarray, features: Features) -> np.ndarray:
    """Columns keep their direction from run to run: the sum of their entries on distances (or on all) is positive."""
    tail = matrix[-len(features.pairs) :] if len(features.pairs) else matrix
    sign = np.sign(tail.sum(0))
    return matrix * np.where(sign == 0, 1, sign)
