"""Terms of one type that are not alike: groups by their means, so that each gets a kind of its own.

Terms whose beads have the same types share parameters, as they should where chemistry is the same. It is not always:
the C-O bond of a protonated C-terminus is 5 standard deviations longer than that of a carbonyl, and the improper of a D
residue has the other sign. The means of the terms of a kind, sorted, are parted wherever two neighbours lie further
apart than so many standard deviations of one term (single linkage). For impropers these are two
(``APART``): two normal distributions of equal size have two maxima only beyond that. For bonds and angles it is one
(``STIFF_APART``): their means are known far better than that from any run, and the C-terminus of a pentapeptide, whose
CA-C bond is 1.3 and whose CA-C-O angle 1.6 standard deviations from those of the same residue inside, kept much of that
error when they were pooled.
"""

from __future__ import annotations

import numpy as np

APART, STIFF_APART = 2.0, 1.0  # standard deviations of a term, pooled over the terms of the kind


def groups(means: np.ndarray, variances: np.ndarray, periodic: bool, least: float) -> np.ndarray:
    """The group of each term, numbered from 0 in the order of their first terms, (M,).

    Args:
        means, variances: (M,) of the coordinate of each term (``moments_of``), radian if ``periodic``.
        least: standard deviation below which no term counts as narrower.
    """
    width = max(float(np.mean(variances)) ** 0.5, least)
    apart = (APART if periodic else STIFF_APART) * width
    order = np.argsort(means)
    gaps = np.diff(means[order]) > apart
    found = np.empty(len(means), int)
    found[order] = np.append(0, np.cumsum(gaps))
    if periodic and means.max() - means.min() > 0:
        around = means.min() + 2 * np.pi - means.max()
        if not around > apart:  # the last and the first are neighbours, too
            found[found == found.max()] = 0
    first = list(dict.fromkeys(found.tolist()))
    return np.array([first.index(group) for group in found.tolist()])


def moments_of(values: np.ndarray, share: np.ndarray, periodic: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (M,) of each term, from (T, M) of the coordinate and the probabilities (T,) of the frames."""
    return circular_moments(values, share) if periodic else moments(values, share)


def moments(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of each term, (M,)."""
    means = share @ values
    return means, share @ (values - means) ** 2


def circular_moments(values: np.ndarray, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean direction and circular variance -2 ln R of each term, (M,) radian and radian^2 (Mardia and Jupp 2000)."""
    mean = share @ np.exp(1j * values)
    return np.angle(mean), -2 * np.log(np.clip(np.abs(mean), 1e-12, 1.0))
