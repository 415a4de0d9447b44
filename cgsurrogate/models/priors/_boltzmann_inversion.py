"""What the fits of the priors share: weighted samples of a kind of term, exponential families, and the misfit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Prior
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.molecule import Molecule

CHUNK = 2000  # frames measured at once
MOST_FRAMES = 50_000  # evenly spaced; more make no visible difference to a one-dimensional fit
WORST_MISFIT = 0.3


class KindPrior(Prior):
    """A prior with terms ``rows`` (M, width), whose parameters belong to kinds of terms; one row of nan a kind.

    ``names`` of the kinds; buffers ``index`` (M,) into them, ``types`` (K, width) of beads and ``misfit`` (K,), and
    one (K, ...) for every parameter of ``shapes``.
    """

    index: Tensor
    types: Tensor
    misfit: Tensor

    def __init__(self, beads: Beads, rows: np.ndarray, **shapes: tuple[int, ...]):
        super().__init__()
        self.beads, self.rows = beads, rows
        index, self.names, types = Molecule.of(beads).kinds(rows)
        self.register_buffer("index", torch.from_numpy(index), persistent=False)
        self.register_buffer("types", torch.from_numpy(types))
        for name, shape in {**shapes, "misfit": ()}.items():
            self.register_buffer(name, torch.full((len(self.names), *shape), torch.nan))

    def samples(
        self, values: Callable[[Tensor], Tensor], frames: Frames, what: str, most: int = MOST_FRAMES
    ) -> Iterator[tuple[int, str, np.ndarray, np.ndarray]]:
        """``values`` of (B, N, 3) positions, (B, M), in at most ``most`` frames, evenly spaced.

        Yields for each kind: its number, the name of the term, samples (S,) float64 and their probabilities (S,).

        Raises:
            ValueError: frames of another molecule, fewer than two, or values that are not finite.
        """
        chosen, weights = self._thinned(frames, most)
        found = _measured(values, frames, chosen)
        for kind, label in enumerate(self.names):
            name = f"{what} {label}"
            columns = found[:, self.index.numpy() == kind]
            if columns.shape[0] < 2:
                raise ValueError(f"{name}: expected two or more frames to fit from, got {columns.shape[0]}; add frames")
            if not np.isfinite(columns).all():
                raise ValueError(f"{name}: its values are not finite; do two of these beads lie on one point?")
            yield kind, name, columns.reshape(-1), np.repeat(weights / columns.shape[1], columns.shape[1])

    def _thinned(self, frames: Frames, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame numbers and their probabilities, which sum to one."""
        if frames.beads != self.beads:
            raise ValueError("the frames hold other beads than the prior was built for; build it for these beads")
        chosen = np.arange(0, len(frames), max(1, -(-len(frames) // most)))
        weights = frames.probabilities[chosen]
        if not weights.sum() > 0:
            raise ValueError(
                "all weights of the thinned frames are zero; give weights with more than a few large values"
            )
        return chosen, weights / weights.sum()


def _measured(values: Callable[[Tensor], Tensor], frames: Frames, chosen: np.ndarray) -> np.ndarray:
    """(T, M) float64 of the chosen frames."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(chosen), CHUNK):
            block = np.array(frames.positions[chosen[start : start + CHUNK]], np.float32)
            parts.append(values(torch.from_numpy(block)).double().numpy())
    return np.concatenate(parts)


def mean_and_variance(name: str, samples: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    mean = float(weights @ samples)
    variance = float(weights @ (samples - mean) ** 2)
    if not np.isfinite(mean) or not np.isfinite(variance):
        raise ValueError(f"{name}: mean {mean} and variance {variance} are not finite; check positions and weights")
    return mean, variance


def misfit(name: str, samples: np.ndarray, weights: np.ndarray, grid: np.ndarray, density: np.ndarray) -> float:
    """Largest difference between the cumulative distribution of the samples and of the density on the even grid.

    Raises:
        ValueError: it is above ``WORST_MISFIT``: the form of the term cannot follow these data.
    """
    order = np.argsort(samples)
    half = (grid[1] - grid[0]) / 2
    edges = np.append(grid - half, grid[-1] + half)
    model = np.interp(samples[order], edges, np.append(0.0, np.cumsum(density) / density.sum()))
    seen = np.cumsum(weights[order])
    value = float(max(np.abs(seen - model).max(), np.abs(seen - weights[order] - model).max()))
    if not value < WORST_MISFIT and np.ptp(samples) > 0:
        raise ValueError(
            f"{name}: a bad fit, cumulative distributions differ by {value:.2f} (at most {WORST_MISFIT}); "
            "check the bonds of the mapping, or leave this prior out"
        )
    return value


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
