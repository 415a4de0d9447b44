"""Terms of one type that are not alike: groups by their means, so that each gets a kind of its own.

Terms whose beads have the same types share parameters, as they should where chemistry is the same. It is not always:
the C-O bond of a protonated C-terminus is 5 standard deviations longer than that of a carbonyl, and the improper of a D
residue has the other sign. The means of the terms of a kind, sorted, are parted wherever two neighbours lie further
apart than ``APART`` standard deviations of one term (single linkage). Two normal distributions of equal size have two
maxima only beyond 2 standard deviations, so that what is parted could not have been told by one hump.
"""

from __future__ import annotations

import numpy as np

APART = 2.0  # standard deviations of a term, pooled over the terms of the kind


def groups(values: np.ndarray, share: np.ndarray, periodic: bool, least: float) -> np.ndarray:
    """The group of each term, numbered from 0 in the order of their first terms, (M,).

    Args:
        values: (T, M) of the coordinate in T frames, radian if ``periodic``.
        share: (T,) probabilities of the frames.
        least: standard deviation below which no term counts as narrower.
    """
    means, variances = circular_moments(values, share) if periodic else moments(values, share)
    width = max(float(np.mean(variances)) ** 0.5, least)
    order = np.argsort(means)
    gaps = np.diff(means[order]) > APART * width
    found = np.empty(len(means), int)
    found[order] = np.append(0, np.cumsum(gaps))
    if periodic and means.max() - means.min() > 0:
        around = means.min() + 2 * np.pi - means.max()
        if not around > APART * width:  # the last and the first are neighbours, too
            found[found == found.max()] = 0
    first = list(dict.fromkeys(found.tolist()))
    return np.array([first.index(group) for group in found.tolist()])


def moments(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each term, (M,)."""
    means = share @ values
    return means, share @ (values - means) ** 2


def circular_moments(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean direction and circular variance -2 ln R of each term, (M,) radian and radian^2 (Mardia and Jupp 2000)."""
    mean = share @ np.exp(1j * values)
    return np.angle(mean), -2 * np.log(np.clip(np.abs(mean), 1e-12, 1.0))
