"""What the fits of the priors share: moments, exponential families, and the misfit."""

from __future__ import annotations

import numpy as np


def mean_and_variance(name: str, samples: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    mean = float(weights @ samples)
    variance = float(weights @ (samples - mean) ** 2)
    if not np.isfinite(mean) or not np.isfinite(variance):
        raise ValueError(f"{name}: mean {mean} and variance {variance} are not finite; check positions and weights")
    return mean, variance


def misfit(samples: np.ndarray, weights: np.ndarray, grid: np.ndarray, density: np.ndarray) -> float:
    """Largest difference between the cumulative distribution of the samples and of the density on the even grid."""
    order = np.argsort(samples)
    half = (grid[1] - grid[0]) / 2
    edges = np.append(grid - half, grid[-1] + half)
    model = np.interp(samples[order], edges, np.append(0.0, np.cumsum(density) / density.sum()))
    seen = np.cumsum(weights[order])
    return float(max(np.abs(seen - model).max(), np.abs(seen - weights[order] - model).max()))


def exponential_family(features: np.ndarray, target: np.ndarray, base: np.ndarray, penalty: np.ndarray) -> np.ndarray:
    """Coefficients a of the density base * exp(-features a) on a grid, of maximum likelihood for a histogram.

    Args:
        features: (M, K) on the grid points.
        target: (M,) histogram of the samples, sums to one.
        base: (M,) density without any energy, not normalised.
        penalty: (K,) of a^2 / 2 in nats a sample.

    Returns:
        (K,) energies in units of kT. The problem is convex; Newton's method with step halving.
    """
    a = np.zeros(features.shape[1])
    wanted = features.T @ target

    def objective(a: np.ndarray) -> tuple[float, np.ndarray]:
        with np.errstate(divide="ignore"):
            logarithm = np.log(base) - features @ a
        top = logarithm.max()
        density = np.exp(logarithm - top)
        total = density.sum()
        return wanted @ a + np.log(total) + top + 0.5 * penalty @ a**2, density / total

    value, density = objective(a)
    for _ in range(200):
        mean = features.T @ density
        slope = wanted - mean + penalty * a
        curvature = (features * density[:, None]).T @ features - np.outer(mean, mean) + np.diag(penalty + 1e-12)
        move = np.linalg.solve(curvature, slope)
        size = 1.0
        while size > 1e-6:
            trial, trial_density = objective(a - size * move)
            if trial <= value - 1e-4 * size * (slope @ move):
                break
            size /= 2
        else:
            break
        done = value - trial < 1e-10
        a, value, density = a - size * move, trial, trial_density
        if done:
            break
    return a
