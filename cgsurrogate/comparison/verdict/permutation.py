"""A permutation test of blocks: the labels of exchangeable blocks are dealt anew, and every figure with them.

Figures of one family are tested together by the smallest of their p-values, whose own distribution comes from the same
permutations (Westfall and Young 1993; step by step in Ge, Dudoit and Speed 2003), and so are the families.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

PERMUTATIONS = 2000
ROWS = 50  # permutations that are dealt at once
FOLDS = 5
SHRINK = ((50, 0.3), (10**9, 0.1))  # of the correlation of blocks, by their number
STILL = 1e-7  # spread over size below which a figure is constant up to rounding


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """Who is who: row 0 as it is, every other row a permutation.

    Attributes:
        masks: (P + 1, B) float32, 1 for the blocks that count as the reference.
        counts: blocks of the reference and of the surrogate.
    """

    masks: np.ndarray
    counts: tuple[int, int]

    @classmethod
    def drawn(cls, counts: tuple[int, int], rng: np.random.Generator, permutations: int = PERMUTATIONS) -> Labels:
        """The true labels, the reference first, and random permutations of them."""
        total = sum(counts)
        masks = np.zeros((permutations + 1, total), np.float32)
        masks[0, : counts[0]] = 1
        for start in range(1, permutations + 1, ROWS):  # the order of thousands of blocks takes more than their masks
            part = masks[start : start + ROWS]
            np.put_along_axis(part, np.argsort(rng.random(part.shape), 1)[:, : counts[0]], 1.0, 1)
        return cls(masks, counts)

    def differences(self, blocks: np.ndarray) -> np.ndarray:
        """(B, M) block values -> (P + 1, M): mean of the surrogate minus mean of the reference."""
        first, second = self.counts
        blocks = np.asarray(blocks, np.float32)
        return np.asarray(blocks.sum(0) / second - (self.masks @ blocks) * (1 / first + 1 / second))


@dataclasses.dataclass(frozen=True, eq=False)
class Member:
    """One figure of a family: larger is further from the null.

    ``values`` (P + 1,) holds what was observed, then what the permutations gave.
    """

    name: str
    values: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Tested:
    """A family after its test.

    Attributes:
        p: of the family alone.
        members: p of each member, adjusted for the family alone.
        smallest: (P + 1,) the smallest p of its members under every labelling.
    """

    p: float
    members: dict[str, float]
    smallest: np.ndarray

    def critical_p(self, level: float) -> float:
        """The p that a single member must fall below for the family to reject at ``level``."""
        return float(np.quantile(self.smallest[1:], level))


def p_values(values: np.ndarray) -> np.ndarray:
    """(P + 1, M) figures -> (P + 1, M), for each row the share of rows that are at least as large."""
    rows = len(values)
    found = np.empty(values.shape)
    for k, column in enumerate(values.T):
        rising = np.sort(np.where(np.isfinite(column), column, -np.inf))
        found[:, k] = (rows - np.searchsorted(rising, column * (1 - 1e-6) - 1e-12, side="left")) / rows
    return found


def test(members: Sequence[Member]) -> Tested | None:
    """Test the members of a family together; None without any."""
    if not members:
        return None
    p = p_values(np.stack([m.values for m in members], 1))
    smallest = p.min(1)
    rising = np.sort(smallest)
    adjusted = np.searchsorted(rising, p[0] * (1 + 1e-9), side="right") / len(rising)
    names = [m.name for m in members]
    return Tested(float(adjusted.min()), dict(zip(names, map(float, adjusted), strict=True)), smallest)


def jointly(families: Mapping[str, Tested]) -> dict[str, float]:
    """p of each family adjusted for all of them, so that one falls below a level with that chance at most.

    The families share their permutations, so the smallest of their p-values has a known distribution, however they
    depend on one another (step-down minP: Westfall and Young 1993, algorithm 2.8; never less powerful than Holm 1979).
    """
    names = sorted(families, key=lambda name: families[name].p)
    each = p_values(-np.stack([families[name].smallest for name in names], 1)) if names else np.empty((1, 0))
    adjusted, largest = {}, 0.0
    for k, name in enumerate(names):
        smallest = each[:, k:].min(1)
        largest = max(largest, float(np.mean(smallest <= each[0, k] * (1 + 1e-9))))
        adjusted[name] = largest
    return {name: adjusted[name] for name in families}


def critical_level(families: Mapping[str, Tested], level: float) -> float:
    """The p of one family that makes the joint test reject at ``level``."""
    each = p_values(-np.stack([one.smallest for one in families.values()], 1))
    return float(np.quantile(each[1:].min(1), level))


def standardised(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(B, M) block values -> (B, M) of mean zero and variance one, and standard deviations (M,), 0 if constant."""
    centred = blocks - blocks.mean(0)
    spread = np.sqrt((centred**2).mean(0))
    known = spread > STILL * np.maximum(np.abs(blocks).max(0), 1e-12)
    return centred * np.where(known, 1 / np.where(known, spread, 1), 0.0), np.where(known, spread, 0.0)


def matched_filter(blocks: np.ndarray, direction: np.ndarray, shrink: float) -> np.ndarray:
    """The weights (M,) that show a change in ``direction`` (M,) best against the noise of blocks (B, M): S^-1 d.

    S is the correlation of the blocks, all together whatever their label, drawn towards the identity by ``shrink``
    (Schafer and Strimmer 2005). Both are in units of the spread of the blocks.
    """
    scaled, spread = standardised(blocks)
    d = np.where(spread > 0, direction / np.where(spread > 0, spread, 1), 0.0)
    count = len(blocks)
    gram = (1 - shrink) / count * (scaled @ scaled.T) + shrink * np.eye(count)
    inner = scaled.T @ np.linalg.solve(gram, scaled @ d)
    weights = (d - (1 - shrink) / count * inner) / shrink
    return np.asarray(np.where(spread > 0, weights / np.where(spread > 0, spread, 1), 0.0))


def standard_error(scores: np.ndarray, counts: tuple[int, int]) -> float:
    """Of the difference of two means, from (B,) block scores and their variance within both ensembles, pooled."""
    first, second = scores[: counts[0]], scores[counts[0] :]
    within = (((first - first.mean()) ** 2).sum() + ((second - second.mean()) ** 2).sum()) / max(1, sum(counts) - 2)
    return float(np.sqrt(within * (1 / counts[0] + 1 / counts[1])))


def filtered(blocks: np.ndarray, direction: np.ndarray, rng: np.random.Generator) -> np.ndarray | None:
    """(B,) how much of a damage each block shows, in units of the whole damage; None where nothing shows it.

    A filter that is learned from the blocks it is applied to would find their noise smaller than it is. So the blocks
    are divided in ``FOLDS`` at random, whatever their labels, and each part is filtered by what the others teach.
    """
    count = len(blocks)
    shrink = next(s for most, s in SHRINK if count < most)
    fold = rng.permutation(count) % min(FOLDS, count)
    scores = np.empty(count)
    for k in range(min(FOLDS, count)):
        own = fold == k
        weights = matched_filter(blocks[~own], direction, shrink)
        whole = float(weights @ direction)
        if not whole > 0:
            return None
        scores[own] = (blocks[own] - blocks[~own].mean(0)) @ weights / whole
    return scores


def unfiltered(blocks: np.ndarray, direction: np.ndarray) -> np.ndarray | None:
    """The same with every figure weighed by its own variance alone: noisier, but no difference is taken for noise.

    A matched filter weighs down whatever varies together over the blocks, and a large difference between the two
    ensembles that does not look like the damage does so as well.
    """
    scaled, spread = standardised(blocks)
    weights = np.where(spread > 0, direction / np.where(spread > 0, spread, 1), 0.0)
    whole = float(weights @ weights)
    return scaled @ weights / whole if whole > 0 else None
