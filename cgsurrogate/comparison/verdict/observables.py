"""Figures of single frames and of pairs of frames, averaged over blocks: geometry, shape, and how fast both change."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from cgsurrogate.comparison.verdict.learned import Landscape
from cgsurrogate.comparison.verdict.samples import Pair
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.molecule import Molecule

MOST_DISTANCES = 300
LAGS = (1, 5, 20)  # frames
STRETCH = 1.5  # rates that much faster are the direction that kinetics are filtered for
Function = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class BlockMeans:
    """Means over blocks (B, M), those of the reference first, of named figures; ``kinds`` groups them.

    ``directions`` (M,) by name: how a known damage would change the mean of each figure. ``spread`` (M,) is the
    standard deviation over single frames.
    """

    names: tuple[str, ...]
    kinds: np.ndarray
    values: np.ndarray
    spread: np.ndarray
    directions: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def of(self, *kinds: str) -> np.ndarray:
        """(M,) bool, figures of these kinds."""
        return np.isin(self.kinds, kinds)


class Geometry:
    """Bonds in pm, angles and impropers in degrees, and the square of each about its mean."""

    def __init__(self, frames: Frames) -> None:
        molecule = Molecule.of(frames.beads)
        self.rows = (molecule.bonds, molecule.all_angles, molecule.impropers)
        kinds = ("bond", "angle", "improper")
        functions: tuple[Callable[[np.ndarray, np.ndarray], np.ndarray], ...] = (
            measures.distances,
            measures.angles,
            measures.dihedrals,
        )
        self.terms = [(k, rows, f) for k, rows, f in zip(kinds, self.rows, functions, strict=True) if len(rows)]
        labels = [
            molecule.label(row) + f" {frames.beads.residues[row[0]] + 1}" for _, rows, _ in self.terms for row in rows
        ]
        kind = [k for k, rows, _ in self.terms for _ in rows]
        self.names = (*labels, *labels)
        self.kinds = np.array([*kind, *(f"{k} width" for k in kind)])
        self.centre = np.zeros(len(labels))
        probe = np.asarray(frames.positions[:: max(1, len(frames) // 2000)], float)
        raw = self._raw(probe)
        turned = np.array([k == "improper" for k in kind], bool)
        mean = np.degrees(np.angle(np.exp(1j * np.radians(raw)).mean(0)))
        self.centre, self.turned = np.where(turned, mean, raw.mean(0)), turned

    def _raw(self, x: np.ndarray) -> np.ndarray:
        parts = [f(x, rows) * (1000.0 if kind == "bond" else 180 / np.pi) for kind, rows, f in self.terms]
        return np.concatenate(parts, 1) if parts else np.empty((len(x), 0))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(t, N, 3) nm -> (t, 2 terms)."""
        off = self._raw(x) - self.centre
        off = np.where(self.turned, (off + 180) % 360 - 180, off)
        return np.concatenate([off, off**2], 1)


class Shape:
    """Torsions and their neighbours, log density, slow directions and distances of a frame."""

    def __init__(self, landscape: Landscape, beads: Beads) -> None:
        self.landscape = landscape
        self.quads = Molecule.of(beads).dihedrals
        self.quads = self.quads if len(self.quads) else landscape.quads
        self.pairs = far_pairs(beads)
        torsions = [f"torsion {Molecule.of(beads).label(q)} {beads.residues[q[1]] + 1}" for q in self.quads]
        q = len(torsions)
        self.near = [(a, b) for step in (1, 2) for a, b in zip(range(q), range(step, q), strict=False)]
        names = [f"{t}" for t in torsions for _ in range(4)]
        kinds = ["torsion"] * (4 * q)
        names += [f"{torsions[a]} with {torsions[b]}" for a, b in self.near for _ in range(4)]
        kinds += ["neighbours"] * (4 * len(self.near))
        density = len(landscape.terms)
        names += ["log density of torsions"] * (density + 1)
        kinds += ["density"] * (density + 1)
        slow = landscape.projected.shape[1]
        names += [f"slow direction {k + 1}" for k in range(slow)] * 2
        kinds += ["slow direction"] * (2 * slow)
        apart = [f"distance {beads.names[i]} {beads.residues[i] + 1} to {beads.names[j]} {beads.residues[j] + 1}"
                 for i, j in self.pairs]  # fmt: skip
        names += apart * 2
        kinds += ["distance"] * (2 * len(apart))
        self.names, self.kinds = tuple(names), np.array(kinds)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """(t, N, 3) nm -> (t, M)."""
        turn = measures.dihedrals(x, self.quads)
        cos, sin = np.cos(turn), np.sin(turn)
        four = np.stack([cos, sin, cos * cos - sin * sin, 2 * sin * cos], 2).reshape(len(x), -1)
        a, b = np.array(self.near, int).reshape(-1, 2).T
        products = [cos[:, a] * cos[:, b], cos[:, a] * sin[:, b], sin[:, a] * cos[:, b], sin[:, a] * sin[:, b]]
        density = self.landscape.density_of(measures.dihedrals(x, self.landscape.quads))
        slow = self._projected(x)
        d = measures.distances(x, self.pairs)
        return np.concatenate(
            [four, np.stack(products, 2).reshape(len(x), -1), density, (density @ self.landscape.signs)[:, None],
             slow, slow**2, d, d * d], 1,
        )  # fmt: skip

    def _projected(self, x: np.ndarray) -> np.ndarray:
        if self.landscape.projection is None:
            return np.empty((len(x), 0))
        beads = self.landscape.pooled.beads
        return self.landscape.projection(Frames(beads, np.asarray(x, np.float32), (len(x),), 1.0, 300.0)).astype(float)


def far_pairs(beads: Beads) -> np.ndarray:
    """(P, 2) beads at least four bonds apart; of many, those between CA, and of these evenly chosen ones."""
    pairs = Molecule.of(beads).pairs(4)
    if len(pairs) > MOST_DISTANCES:
        chosen = measures.calphas(beads)
        between = pairs[np.isin(pairs, chosen).all(1)]
        pairs = between if len(between) else pairs
    if len(pairs) > MOST_DISTANCES:
        pairs = pairs[np.linspace(0, len(pairs) - 1, MOST_DISTANCES).astype(int)]
    return pairs


def block_means(
    pair: Pair,
    figures: Geometry | Shape,
    weightings: Mapping[str, np.ndarray],
    damages: Mapping[str, tuple[Frames, Frames]],
) -> BlockMeans:
    """Means of figures of single frames.

    Args:
        weightings: (T,) factors of the pooled frames by which a damage changes their weights.
        damages: (as it is, damaged) frames, the same in both, of which the difference of means is a direction.
    """
    count = pair.first.count + pair.second.count
    sums, totals = np.zeros((count, len(figures.names))), np.zeros(count)
    moved = {name: np.zeros(len(figures.names)) for name in weightings}
    whole, square, mass = np.zeros(len(figures.names)), np.zeros(len(figures.names)), 0.0
    offset = blocks = 0
    for sample in pair.samples:
        weight = sample.weights
        for part in measures.chunks(sample.frames, 4 * len(figures.names)):
            values = figures(np.asarray(sample.frames.positions[part], float))
            w = weight[part]
            _add(sums, totals, sample.block[part] + blocks, values, w)
            whole += w @ values
            square += w @ values**2
            mass += w.sum()
            for name, factor in weightings.items():
                moved[name] += (w * factor[offset + part.start : offset + part.stop]) @ values
        offset += len(sample.frames)
        blocks += sample.count
    everything = np.concatenate([sample.weights for sample in pair.samples])
    mean = whole / mass
    directions = {name: moved[name] / max(float(everything @ weightings[name]), 1e-300) - mean for name in weightings}
    for name, (before, after) in damages.items():
        directions[name] = _mean(figures, after) - _mean(figures, before)
    spread = np.sqrt(np.maximum(square / mass - mean**2, 0))
    return BlockMeans(figures.names, figures.kinds, linearised(sums, totals[:, None], mean), spread, directions)


def linearised(sums: np.ndarray, totals: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """(B, M) values whose plain mean over any set of blocks is, to first order, the weighted mean of its frames."""
    size = totals.mean(0)
    return np.asarray(mean + (sums - mean * totals) / np.where(size > 0, size, 1))


def _add(sums: np.ndarray, totals: np.ndarray, block: np.ndarray, values: np.ndarray, weight: np.ndarray) -> None:
    starts = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
    sums[block[starts]] += np.add.reduceat(values * weight[:, None], starts, 0)
    totals[block[starts]] += np.add.reduceat(weight, starts)


def _mean(figures: Geometry | Shape, frames: Frames) -> np.ndarray:
    total = np.zeros(len(figures.names))
    for part in measures.chunks(frames, 4 * len(figures.names)):
        total += figures(np.asarray(frames.positions[part], float)).sum(0)
    return total / len(frames)


def kinetics(pair: Pair, landscape: Landscape) -> BlockMeans:
    """How far torsions, slow directions and states have moved after a few frames; never across runs.

    The direction "rates" is what rates ``STRETCH`` times as fast would do: the same figures at a lag so much longer.
    """
    series = [
        ("torsion", np.exp(1j * landscape.values.astype(float))),
        ("slow direction", landscape.projected.astype(float)),
    ]
    if landscape.macrostates is not None:
        states = landscape.macrostates
        series.append(("state", (states[:, None] == np.arange(states.max() + 1)).astype(float)))
    most = max(1, int(pair.inefficiency / pair.first.frames.dt)) if pair.physical else 1
    lags = [lag for lag in LAGS if lag <= most] or [1]
    block = np.concatenate([pair.first.block, pair.second.block + pair.first.count])
    count = sum(pair.counts)
    left = _frames_left(landscape.pooled)
    names, kinds, values, directions = [], [], [], []
    for lag in lags:
        for kind, x in series:
            if not x.shape[1]:
                continue
            moved, mean = _moved(x, lag, left, block, count)
            low, high = int(STRETCH * lag), -(-int(2 * STRETCH * lag) // 2)
            later = [_moved(x, step, left, block, count)[1] for step in (low, high)]
            values.append(moved)
            directions.append(sum(later) / 2 - mean)
            names += [f"{kind} {k + 1} after {lag * pair.first.frames.dt:g} ps" for k in range(x.shape[1])]
            kinds += [kind if kind == "torsion" else "slow"] * x.shape[1]
    blocks = np.concatenate(values, 1)
    return BlockMeans(tuple(names), np.array(kinds), blocks, blocks.std(0), {"rates": np.concatenate(directions)})


def _frames_left(frames: Frames) -> np.ndarray:
    """(T,) frames that follow in the same run."""
    return np.concatenate([np.arange(n - 1, -1, -1) for n in frames.lengths])


def _moved(x: np.ndarray, lag: int, left: np.ndarray, block: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(B, columns) block values and (columns,) mean of half the squared change over ``lag`` frames."""
    start = np.flatnonzero(left >= lag)
    change = np.abs(x[start + lag] - x[start]) ** 2 / 2
    sums, totals = np.zeros((count, x.shape[1])), np.zeros(count)
    if len(start):
        _add(sums, totals, block[start], change, np.ones(len(start)))
    mean = sums.sum(0) / max(1, totals.sum())
    return linearised(sums, totals[:, None], mean), mean
