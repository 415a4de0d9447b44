"""Weights that turn biased simulations into the unbiased ensemble; they go into ``Frames.weights``."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np

from cgsurrogate.core import units
from cgsurrogate.core.statistics import kish

FEW = 0.01  # share of the frames that the weights must be worth
OVERLAP = 0.01  # entry of the overlap matrix that joins two states


def from_bias(bias: np.ndarray, temperature: float) -> np.ndarray:
    """Weights exp(V / kT) of frames simulated with a fixed bias V, (T,) in kJ/mol at every frame; their mean is one.

    For metadynamics V is the final bias, or the bias at the time less its offset c(t) (Tiwary and Parrinello 2015).
    Warns where few frames carry most of the weight.
    """
    bias = np.asarray(bias, float)
    if bias.ndim != 1 or not len(bias) or not np.isfinite(bias).all():
        raise ValueError(f"expected one finite bias in kJ/mol a frame, (T,), got {bias.shape}; leave bad frames out")
    weights = np.exp((bias - bias.max()) / units.thermal_energy(temperature))
    return checked(weights)


def mbar(biases: np.ndarray, counts: np.ndarray, temperature: float) -> np.ndarray:
    """(T,) weights of the unbiased state from K biased simulations, by MBAR (Shirts and Chodera 2008; pymbar).

    Args:
        biases: (K, T) kJ/mol; the bias of every one of the K states at every frame, whichever state it came from.
        counts: (K,) frames from each state; the frames come in this order, and the counts sum to T.
        temperature: K; the same in all states.

    Returns:
        Weights of mean one. Frames should be about as correlated in all states. Warns where few of them carry most of
        the weight, and where neighbouring states share so few configurations that MBAR cannot join them.
    """
    biases, counts = np.asarray(biases, float), np.asarray(counts)
    if biases.ndim != 2 or counts.shape != biases.shape[:1] or counts.sum() != biases.shape[1] or counts.min() < 0:
        raise ValueError(
            f"expected biases (K, T) in kJ/mol and K counts that sum to T, got {biases.shape} and counts"
            f" {counts.shape} that sum to {counts.sum()}"
        )
    if not np.isfinite(biases).all():
        state, frame = np.argwhere(~np.isfinite(biases))[0]
        raise ValueError(f"the bias of state {state} is not finite at frame {frame}; leave that frame out")
    model = _solve(biases / units.thermal_energy(temperature), counts)
    _check_overlap(model)
    energies = np.asarray(model.f_k)
    exponent = energies[:, None] - biases / units.thermal_energy(temperature)
    used = counts > 0
    highest = exponent[used].max(0)
    mixture = highest + np.log(counts[used] @ np.exp(exponent[used] - highest))
    return checked(np.exp(-(mixture - mixture.min())))


def _solve(reduced: np.ndarray, counts: np.ndarray) -> Any:
    import logging

    logging.getLogger("pymbar").setLevel(logging.ERROR)  # its banner and hints; failures are raised
    from pymbar import MBAR
    from scipy.optimize import OptimizeWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptimizeWarning)  # pymbar hands every solver the options of all
        return MBAR(reduced, counts)


def _check_overlap(model: Any) -> None:
    """Warn where the overlap matrix falls into parts (Klimovich, Shirts and Mobley 2015)."""
    from scipy.sparse.csgraph import connected_components

    used = np.asarray(model.N_k) > 0
    if used.sum() < 2:
        return
    matrix = np.asarray(model.compute_overlap()["matrix"])
    groups, _ = connected_components(matrix[np.ix_(used, used)] > OVERLAP, directed=False)
    if groups > 1:
        warnings.warn(
            f"the biased states fall into {groups} groups that share less than {OVERLAP:.0%} of their configurations;"
            " the free energy between the groups is badly known, add states in between",
            stacklevel=4,
        )


def checked(weights: np.ndarray) -> np.ndarray:
    """Weights scaled to a mean of one; warns where they are worth less than ``FEW`` of the frames."""
    worth = effective(weights)
    if worth < FEW * len(weights):
        warnings.warn(
            f"the weights are worth {worth:.0f} of {len(weights)} frames; a few frames carry the result, so simulate"
            " longer, or with a bias closer to none",
            stacklevel=3,
        )
    return weights * (len(weights) / math.fsum(weights))


def effective(weights: np.ndarray) -> float:
    """How many equally weighted frames the weights are worth (Kish 1965), correlation in time left aside."""
    return kish(weights)
