"""Rates of torsions and of slow motions: by matched filters for rates half as fast again, and without a filter."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.comparison.verdict import observables
from cgsurrogate.comparison.verdict.candidates import Candidate, amounts
from cgsurrogate.comparison.verdict.learned import Landscape
from cgsurrogate.comparison.verdict.permutation import Labels, filtered, unfiltered
from cgsurrogate.comparison.verdict.samples import Pair


def kinetics(pair: Pair, landscape: Landscape, labels: Labels, rng: np.random.Generator) -> list[Candidate]:
    """All rates, and those of the slow motions, by a filter for rates half as fast again; and any other of them."""
    blocks = observables.kinetics(pair, landscape)
    if not len(blocks.names):
        return []
    found = []
    for title, kinds in (("rates of torsions", ("torsion",)), ("slow rates", ("slow",))):
        chosen = blocks.of(*kinds)
        if not chosen.any():
            continue
        found += _of_rates(pair, title, blocks.values[:, chosen], blocks.directions["rates"][chosen], labels, rng)
    return found


def _of_rates(
    pair: Pair, title: str, values: np.ndarray, direction: np.ndarray, labels: Labels, rng: np.random.Generator
) -> list[Candidate]:
    """By a matched filter and by none; the amount is that of whichever is further from its null."""
    both = []
    for name, scores in ((title, filtered(values, direction, rng)), (f"{title}, all", unfiltered(values, direction))):
        if scores is None:
            continue
        member, share, error = amounts(scores, labels, name)
        wide = math.sqrt(_between_runs(pair, scores[: pair.first.count]))
        member.values[0] /= wide
        beyond = float(member.values[0] / np.quantile(member.values[1:], 0.95))
        both.append((beyond, member, share, error * wide, wide))
    if not both:
        return []
    both.sort(key=lambda one: -one[0])
    _, _, share, error, wide = both[0]
    members = tuple(one[1] for one in both)
    size = observables.STRETCH
    return [Candidate("kinetics", title, members, "x", "factor", size, share, error, wide, tolerance="rates")]


def _between_runs(pair: Pair, scores: np.ndarray) -> float:
    """How much more the means of the reference's runs vary than its blocks explain (ratio of variances), at least 1."""
    _, run = np.unique(pair.first.run_of_block, return_inverse=True)
    size = np.bincount(run)
    runs, count = len(size), len(scores)
    if runs < 2 or count - runs < 1:
        return 1.0
    means = np.bincount(run, scores) / size
    within = float(((scores - means[run]) ** 2).sum()) / (count - runs)
    between = float((size * (means - scores.mean()) ** 2).sum()) / (runs - 1)
    return max(1.0, between / within) if within > 0 else 1.0
