"""Markov chains whose populations, timescales, first-passage times and rates are known exactly."""

import math

import numpy as np
from scipy.signal import lfilter

from cgsurrogate.analysis.free_energy import surfaces
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import blocks, statistical_inefficiency

ONE = Beads(("CA",), (0,), (1.0,), (0,), ("ALA",))


def calphas(count):
    """Beads of a chain of alanines, a CA each."""
    bonds = tuple((k, k + 1) for k in range(count - 1))
    return Beads(("CA",) * count, (12,) * count, (12.0,) * count, tuple(range(count)), ("ALA",) * count, bonds)


CHAIN = np.array([[0.97, 0.02, 0.01], [0.04, 0.95, 0.01], [0.01, 0.01, 0.98]])


def reversible(matrix):
    """The chain whose flows are the symmetric part of those of ``matrix``, and its stationary distribution."""
    values, vectors = np.linalg.eig(matrix.T)
    stationary = np.abs(vectors[:, np.argmax(values.real)].real)
    flow = (stationary / stationary.sum())[:, None] * matrix
    flow = (flow + flow.T) / 2
    return flow / flow.sum(1, keepdims=True), flow.sum(1)


def double_well(bins=24, barrier=2.5, speed=0.02):
    """Overdamped dynamics in U = barrier (x^2 - 1)^2 (kT), its Fokker-Planck operator discretised and exponentiated.

    Returns:
        positions of the bins, transition matrix for one frame, stationary distribution.
    """
    from scipy.linalg import expm

    x = np.linspace(-1.6, 1.6, bins)
    energy = barrier * (x**2 - 1) ** 2
    hop = np.exp(-np.diff(energy) / 2)
    rate = np.diag(hop, 1) + np.diag(1 / hop, -1)
    rate -= np.diag(rate.sum(1))
    matrix = np.abs(expm(rate * speed / (x[1] - x[0]) ** 2))
    stationary = np.exp(-energy)
    return x, matrix / matrix.sum(1, keepdims=True), stationary / stationary.sum()


def simulate(rng, matrix, stationary, runs, length):
    """(runs * length,) states of chains that start in equilibrium."""
    state = rng.choice(len(matrix), runs, p=stationary)
    ladder, path = np.cumsum(matrix, 1), np.empty((runs, length), np.int32)
    for k in range(length):
        path[:, k] = state
        state = (ladder[state] < rng.random((runs, 1))).sum(1).clip(max=len(matrix) - 1)
    return path.ravel()


def autoregressive(rng, runs, length, decay):
    """(runs * length,) normal samples, each ``decay`` times the one before and noise, that start in equilibrium."""
    noise = rng.normal(size=(runs, length)) * math.sqrt(1 - decay**2)
    noise[:, 0] = rng.normal(size=runs)
    return lfilter([1], [1, -decay], noise, axis=1).ravel()


def two_states(rng, runs, length, share=0.5, slow=0.05):
    """(runs * length,) bool of a chain that is in its second state for a ``share``; (1 - 2 slow) is its eigenvalue."""
    out, back = 2 * slow * share, 2 * slow * (1 - share)
    matrix = np.array([[1 - out, out], [back, 1 - back]])
    return simulate(rng, matrix, np.array([1 - share, share]), runs, length) == 1


def frames_of(lengths, dt=2.0, weights=None):
    return Frames(ONE, np.zeros((sum(lengths), 1, 3), np.float32), tuple(lengths), dt, 300.0, weights=weights)


def histogram_of(values, lengths, grid, inefficiency=1.0, weights=None, smooth=False):
    """Of values (T, d), in blocks of runs of these lengths."""
    frames = frames_of(lengths, weights=weights)
    return surfaces.block_histogram(values, frames, grid, blocks(lengths, inefficiency), smooth=smooth)


def exact_timescales(matrix, dt=2.0):
    return np.sort(-dt / np.log(np.sort(np.linalg.eigvals(matrix).real)[:-1]))[::-1]


def blocks_of(values, frames):
    """Blocks as a comparison makes them: from the statistical inefficiency of what is measured."""
    values = np.asarray(values, float).reshape(len(frames), -1)
    return blocks(frames.lengths, statistical_inefficiency(values, frames.runs))
