"""Two ensembles cut into blocks that are alike: of one length, with as many frames, and independent of one another.

If both sample the same distribution, blocks of both can change places without anyone noticing. That is all that the
tests need (Lehmann and Romano, Testing Statistical Hypotheses, 3rd ed., section 15.2), so everything here makes them
exchangeable: blocks of the same physical length (where both have physical time), of several correlation times, thinned
to the same spacing of frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import groups

INEFFICIENCIES = 5.0  # statistical inefficiencies in a block: ten correlation times
MOST_RATIO = 10  # times as many blocks as the reference; more gain less than five per cent of the error
LEAST_MOST = 60  # blocks that are always kept
MOST_FRAMES = 30_000  # of one ensemble, after thinning
SLOWER = 2.0  # a surrogate may lengthen the blocks of the reference by so much
SAME_SPACING = 1.02


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One ensemble, thinned.

    Attributes:
        frames: the frames that are kept, with their weights (mean one); runs as they were, less what is left out.
        index: (T,) where they are in the ensemble.
        block: (T,) number of the block of each frame.
        count: number of blocks, B.
        run_of_block: (B,) run (or ladder of exchanging replicas) that a block comes from.
        runs: number of independent runs in the whole ensemble; blocks of one run count once.
        time: ps (or frames, without physical time) of a block.
    """

    frames: Frames
    index: np.ndarray
    block: np.ndarray
    count: int
    run_of_block: np.ndarray
    runs: int
    time: float

    @property
    def weights(self) -> np.ndarray:
        """(T,) of mean one."""
        return self.frames.probabilities * len(self.frames)


@dataclasses.dataclass(frozen=True, eq=False)
class Pair:
    """Reference and surrogate in exchangeable blocks.

    Attributes:
        first, second: reference and surrogate.
        physical: whether frames follow one another in time, equally far apart in both: kinetics can be compared.
        why_not: in words, where they cannot.
        inefficiency: of the reference, ps or frames between independent frames.
        stuck: whether no run of the surrogate is longer than its own memory, so that it shows where it was started.
    """

    first: Sample
    second: Sample
    physical: bool
    why_not: str
    inefficiency: float
    stuck: bool

    @property
    def samples(self) -> tuple[Sample, Sample]:
        return self.first, self.second

    @property
    def counts(self) -> tuple[int, int]:
        """Blocks of the reference and of the surrogate."""
        return self.first.count, self.second.count


def paired(reference: Frames, own: Frames, inefficiencies: tuple[float, float], factor: float = INEFFICIENCIES) -> Pair:
    """Cut both into blocks of ``factor`` statistical inefficiencies.

    Args:
        inefficiencies: of the slowest motion of each, in frames of each.

    With physical time, blocks are as long in ps in both: as the slower of the two asks, but at most ``SLOWER`` times
    what the reference asks, so that a surrogate that hardly moves cannot take all blocks from the reference.
    """
    why = _not_physical(reference, own)
    spacing = max(reference.dt, own.dt)
    slow = inefficiencies[0] * reference.dt
    if not why:
        length = factor * max(slow, min(inefficiencies[1] * own.dt, SLOWER * slow))
        length = max(length, spacing)
        lengths = (length / reference.dt, length / own.dt)
        per_block = max(1.0, length / spacing)
    else:
        lengths = (max(1.0, factor * inefficiencies[0]), max(1.0, factor * inefficiencies[1]))
        per_block = min(lengths)
    total = max(1.0, len(reference) / lengths[0])
    most = int(max(MOST_RATIO * total, LEAST_MOST))
    per_block = min(per_block, max(2.0, MOST_FRAMES / min(most, max(total, len(own) / lengths[1]))))
    strides = tuple(max(1, round(n / per_block)) for n in lengths)
    if not why and not 1 / SAME_SPACING < strides[0] * reference.dt / (strides[1] * own.dt) < SAME_SPACING:
        strides, why = _matched(reference.dt, own.dt, strides)
    units = (1.0, 1.0) if why else (reference.dt, own.dt)
    first = _sample(reference, lengths[0], strides[0], 10**9, units[0])
    second = _sample(own, lengths[1], strides[1], most, units[1])
    stuck = inefficiencies[1] > max(own.lengths) > 1
    return Pair(first, second, not why, why, inefficiencies[0] * units[0], stuck)


def _not_physical(reference: Frames, own: Frames) -> str:
    for frames, name in ((reference, "the reference"), (own, "the surrogate")):
        if not frames.provenance.physical_time:
            return f"the time of {name} is not physical time"
        if not frames.time_ordered:
            return f"{name} holds {frames.out_of_order}, which have no order in time"
    return ""


def _matched(first: float, second: float, strides: tuple[int, ...]) -> tuple[tuple[int, int], str]:
    """Strides whose spacings agree to two per cent, the shortest above those asked for; and why not, in words."""
    for k in range(min(strides), 4 * max(strides) + 1):
        fine, coarse = (first, second) if first < second else (second, first)
        other = max(1, round(k * coarse / fine))
        if 1 / SAME_SPACING < other * fine / (k * coarse) < SAME_SPACING:
            return ((other, k) if first < second else (k, other)), ""
    return (strides[0], strides[1]), f"frames are {first:g} ps apart in one and {second:g} ps in the other"


def _sample(frames: Frames, length: float, stride: int, most: int, unit: float) -> Sample:
    """Thin every run, cut long runs and join short ones to blocks of about ``length`` frames, keep at most ``most``."""
    ladders = groups(frames) or tuple(range(len(frames.lengths)))
    edges, owner = _cut(frames, length, ladders)
    kept = np.arange(len(owner))
    if len(kept) > most:
        kept = np.unique(np.linspace(0, len(kept) - 1, most).round().astype(int))
    number = np.full(len(owner), -1)
    number[kept] = np.arange(len(kept))
    index, lengths = [], []
    block_of = _block_numbers(frames, edges)
    for run in frames.runs:
        here = np.arange(run.start, run.stop, stride)
        here = here[number[block_of[here]] >= 0]
        for piece in np.split(here, np.flatnonzero(np.diff(here) > stride) + 1):
            if len(piece):
                index.append(piece)
                lengths.append(len(piece))
    chosen = np.concatenate(index)
    thin = Frames(
        frames.beads,
        np.asarray(frames.positions[chosen], np.float32),
        tuple(lengths),
        frames.dt * stride,
        frames.temperature,
        weights=None if frames.weights is None else np.asarray(frames.weights, float)[chosen],
    )
    block = number[block_of[chosen]]
    runs = len(set(ladders)) if groups(frames) else frames.independent_runs
    return Sample(thin, chosen, block, len(kept), owner[kept], runs, length * unit)


def _cut(frames: Frames, length: float, ladders: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Edges (B + 1,) in frames, and the ladder (B,) of each block; neighbouring short runs are joined.

    Ladders of exchanging replicas are independent only as a whole, so a block never takes a part of one, unless there
    are fewer than three of them.
    """
    whole = len(set(ladders)) < len(ladders) and len(set(ladders)) >= 3
    edges, owner, open_, at = [0], [], 0.0, 0
    for k, n in enumerate(frames.lengths):
        last = k + 1 == len(frames.lengths) or not whole or ladders[k + 1] != ladders[k]
        pieces = 1 if whole else max(1, round(n / length))
        marks = np.linspace(0, n, pieces + 1).round().astype(int)[1:]
        for mark in marks:
            open_ += n / pieces
            if last and open_ >= 0.75 * length:
                edges.append(at + int(mark))
                owner.append(ladders[k])
                open_ = 0.0
        at += n
    if edges[-1] < len(frames):
        if open_ >= 0.5 * length or not owner:
            edges.append(len(frames))
            owner.append(ladders[-1])
        else:
            edges[-1] = len(frames)
    return np.array(edges), np.array(owner)


def _block_numbers(frames: Frames, edges: np.ndarray) -> np.ndarray:
    """(T,) block of every frame."""
    return np.searchsorted(edges, np.arange(len(frames)), side="right") - 1
