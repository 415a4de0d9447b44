"""The baseline that users would pick instead of a surrogate: a Markov state model of the training runs, resampled."""

from __future__ import annotations

import numpy as np

from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import DRAWS, Provenance
from cgsurrogate.core.statistics import draw


def resample(
    training: Frames,
    *,
    runs: int = 10,
    length: int | None = None,
    lag: float | None = None,
    states: int = markov_model.STATES,
    seed: int = 0,
) -> Frames:
    """Jump between the k-means states of the training data; every frame is one of the training frames of its state.

    The model is a reversible maximum-likelihood Markov state model on four TICs. Geometry is right by construction, and
    nothing new is ever seen. Biased (weighted) data have no time order: there frames are drawn one by one by weight.

    Args:
        runs: chains, each started from the stationary distribution.
        length: frames of a chain; by default as many in all as the training data have.
        lag: ps of one jump, rounded to whole frames; by default the lag of the TICA.
    """
    rng = np.random.default_rng(seed)
    length = length or max(2, len(training) // runs)
    projection = registry.build("cvs", "tica", training)
    if projection.lag is None:
        index = draw(np.cumsum(training.probabilities), runs * length, rng).reshape(runs, length)
        drawn = _frames(training, index, training.dt, "frames of the training data, drawn by weight")
        return drawn.with_provenance(mixed_by=DRAWS)
    step = max(1, round(lag / training.dt)) if lag else projection.lag
    values = projection(training)
    found = markov_model.states(values, rng, states)
    labels = found(values)
    counts = markov_model.transition_counts(labels, training, step, len(found))[0]
    chosen = markov_model.connected(counts)
    matrix, stationary = markov_model.transition_matrix(counts[np.ix_(chosen, chosen)])
    path = _walk(matrix, stationary, runs, length, rng)
    members = [np.flatnonzero(labels == state) for state in chosen]
    sizes = np.array([len(m) for m in members])
    order, offset = np.concatenate(members), np.concatenate([[0], np.cumsum(sizes)[:-1]])
    index = order[offset[path] + (rng.random(path.shape) * sizes[path]).astype(int)]
    note = f"Markov state model of the training data: {len(chosen)} states, lag {step * training.dt:g} ps"
    return _frames(training, index, step * training.dt, note)


def shuffled(training: Frames, *, seed: int = 0) -> Frames:
    """The training frames in random order: right populations, no dynamics."""
    rng = np.random.default_rng(seed)
    index = draw(np.cumsum(training.probabilities), len(training), rng)
    return _frames(training, index[None], training.dt, "training frames in random order")


def _walk(matrix: np.ndarray, stationary: np.ndarray, runs: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """(runs, length) states of chains that start from the stationary distribution."""
    ladder = np.cumsum(matrix, 1)
    path = np.empty((runs, length), int)
    path[:, 0] = draw(np.cumsum(stationary), runs, rng)
    for k in range(1, length):
        level = rng.random((runs, 1)) * ladder[path[:, k - 1], -1:]
        path[:, k] = np.minimum((ladder[path[:, k - 1]] < level).sum(1), len(matrix) - 1)
    return path


def _frames(training: Frames, index: np.ndarray, dt: float, note: str) -> Frames:
    flat = index.ravel()
    unique, back = np.unique(flat, return_inverse=True)
    positions = np.asarray(training.positions[unique], np.float32)[back]
    lengths = (index.shape[1],) * len(index)
    known = Provenance(made_by=note, physical_time=training.provenance.physical_time)
    return Frames(training.beads, positions, lengths, dt, training.temperature, provenance=known)
