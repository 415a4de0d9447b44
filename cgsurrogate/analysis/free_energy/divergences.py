"""What a distance between two sets of probabilities over the same bins is: one function and one entry each.

``DIVERGENCES`` holds them by name; ``comparison.noise_floor`` gives each an interval and a noise floor of its own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram

DEEP = 4.0  # kT; the free-energy error looks at bins that the reference visits below this


@dataclasses.dataclass(frozen=True)
class Divergence:
    """``function(p, q, reference)`` of an ensemble p and a reference q, both (..., bins), is (...,); 0 for the same.

    Attributes:
        unit: "" for a pure number, "axis" for that of the collective variable.
        most: the largest possible value.
        power: it falls at most with this power of the sample size.
        dimensions: of the grids that it is defined on.
    """

    name: str
    unit: str
    function: Callable[[np.ndarray, np.ndarray, BlockHistogram], np.ndarray]
    most: float = math.inf
    power: float = 0.5
    dimensions: tuple[int, ...] = (1, 2)


def jensen_shannon_divergence(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Jensen-Shannon divergence (natural logarithm, 0 to ln 2) over the last axis of two sets of probabilities."""
    p, q = np.asarray(p, float), np.asarray(q, float)
    m = (p + q) / 2

    def relative(a: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sum(np.where(a > 0, a * np.log(a / m), 0.0), -1)

    return np.clip((relative(p) + relative(q)) / 2, 0, math.log(2))


def jensen_shannon(p: np.ndarray, q: np.ndarray, reference: BlockHistogram | None = None) -> np.ndarray:
    """Square root of the divergence: 0 for equal, sqrt(ln 2) = 0.833 for disjoint probabilities."""
    return np.sqrt(jensen_shannon_divergence(p, q))


def filled(p: np.ndarray, reference: BlockHistogram) -> np.ndarray:
    """``p`` with one more independent frame, spread as the reference is, so that no bin of the reference is empty.

    The number of independent frames before is that of the reference, so that all ensembles are treated alike.
    """
    share = 1 / (reference.effective + 1)
    return (1 - share) * p + share * reference.probability


def kullback_leibler(p: np.ndarray, q: np.ndarray, reference: BlockHistogram) -> np.ndarray:
    """Relative entropy of the reference to the ensemble, sum q ln(q / p), of the ``filled`` probabilities.

    Over the bins that the whole reference has seen, as nothing else has a part in the sum. At most ln(n + 1), for n
    independent frames of the reference.
    """
    seen = reference.probability > 0
    p, q = (filled(np.asarray(x, float), reference)[..., seen] for x in (p, q))
    return np.maximum(np.sum(q * np.log(q / p), -1), 0.0)


def wasserstein(p: np.ndarray, q: np.ndarray, reference: BlockHistogram) -> np.ndarray:
    """First Wasserstein distance in the units of the variable: the mean way that probability must go.

    The integral of |P - Q| over the cumulative sums; on a circle of |P - Q - median(P - Q)| (Rabin et al. 2011), as
    the way may lead through the ends. What lies outside the range counts as lying in the outermost bins.
    """
    (edges,), (periodic,) = reference.grid.edges, reference.grid.periodic
    gap = np.cumsum(np.asarray(p, float) - q, -1)
    if periodic:
        gap = gap - np.median(gap, -1, keepdims=True)
    return np.sum(np.abs(gap), -1) * (edges[-1] - edges[0]) / (len(edges) - 1)


def free_energy_error(p: np.ndarray, q: np.ndarray, reference: BlockHistogram) -> np.ndarray:
    """Root mean squared difference of -kT ln p and -kT ln q in kJ/mol, after the shift that makes it least.

    Mean over the whole reference, as far as it lies less than ``DEEP`` kT above its minimum; of the ``filled``
    probabilities, so that a bin never visited counts as one seen by less than one independent frame.
    """
    known = reference.probability
    region = known > known.max() * math.exp(-DEEP)
    weight = known[region] / known[region].sum()
    p, q = (np.log(filled(np.asarray(x, float), reference)[..., region]) for x in (p, q))
    first = (q - p) @ weight
    return reference.kT * np.sqrt((q - p - first[..., None]) ** 2 @ weight)


def total_variation(p: np.ndarray, q: np.ndarray, reference: BlockHistogram) -> np.ndarray:
    """Half the sum of |p - q|: the share of the probability that lies in the wrong state or bin."""
    return np.sum(np.abs(np.asarray(p, float) - q), -1) / 2


JENSEN_SHANNON = Divergence("Jensen-Shannon", "", jensen_shannon, most=math.sqrt(math.log(2)))
KULLBACK_LEIBLER = Divergence("KL divergence", "", kullback_leibler, power=1.0)
WASSERSTEIN = Divergence("Wasserstein", "axis", wasserstein, dimensions=(1,))
FREE_ENERGY = Divergence("free-energy error", "kJ/mol", free_energy_error)
POPULATIONS = Divergence("populations", "", total_variation, most=1.0, dimensions=(1,))
DIVERGENCES = {m.name: m for m in (JENSEN_SHANNON, KULLBACK_LEIBLER, WASSERSTEIN, FREE_ENERGY, POPULATIONS)}
