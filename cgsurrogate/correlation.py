"""How long a time series remembers: the one place where frames become independent samples."""

from __future__ import annotations

import numpy as np


def correlation_time(values: np.ndarray, runs: tuple[slice, ...]) -> np.ndarray:
    """(T, D) values -> (D,) integrated autocorrelation time in frames; 0.5 for white noise and for constants.

    The sum ends where a pair of neighbouring terms is no longer positive (Geyer 1992, initial positive sequence). The
    mean is that of all runs together, so runs that stay in different states count as correlated over all their length.
    """
    values = np.asarray(values, float)
    centred = values - values.mean(0)
    longest = max(run.stop - run.start for run in runs)
    total, terms = np.zeros((longest, values.shape[1])), np.zeros(longest)
    for run in runs:
        x = centred[run]
        size = 1 << (2 * len(x) - 1).bit_length()
        power = np.abs(np.fft.rfft(x, size, axis=0)) ** 2
        total[: len(x)] += np.fft.irfft(power, size, axis=0)[: len(x)]
        terms[: len(x)] += np.arange(len(x), 0, -1)
    variance = total[0] / terms[0]
    rho = (total / terms[:, None]) / np.where(variance > 0, variance, 1)
    if longest % 2:
        rho = np.concatenate([rho, np.zeros((1, rho.shape[1]))])
    even = rho.reshape(-1, 2, values.shape[1]).sum(1)
    ended = np.cumsum(even <= 0, axis=0) > 0
    time = np.where(ended, 0, even).sum(0) - 0.5
    return np.where(variance > 0, np.maximum(time, 0.5), 0.5)


def statistical_inefficiency(values: np.ndarray, runs: tuple[slice, ...]) -> float:
    """Frames for each independent one, 1 + 2 sum of the autocorrelation, of the slowest column."""
    return max(1.0, 2 * float(np.max(correlation_time(values, runs))))


def kish(weights: np.ndarray) -> float:
    """How many equally weighted frames are worth as much as these weights, (sum w)^2 / sum w^2 (Kish 1965)."""
    weights = np.asarray(weights)
    return float(np.sum(weights, dtype=float) ** 2 / np.sum(np.square(weights, dtype=float)))
