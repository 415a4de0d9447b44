"""How well an ensemble has sampled its own distribution: independent frames, halves, round trips, memory of starts."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np

from cgsurrogate.analysis.contact_map import evenly_spaced
from cgsurrogate.analysis.free_energy.divergences import jensen_shannon
from cgsurrogate.analysis.free_energy.surfaces import Grid, normalised
from cgsurrogate.analysis.results import Convergence, Starts
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks, kish, statistical_inefficiency

SPLITS = 200
PROBE = 200_000  # frames that the statistical inefficiency is taken from
MOST_FRAMES = 400_000  # evenly spaced frames are enough for histograms of halves
ENDS = (0.1, 0.9)  # quantiles of the reference
LEAST_REPLICAS = 10  # fewer have no correlation between starts and later frames to speak of
WINDOWS = 40  # of a replica
DRIFT = 3.0  # standard errors of the mean over replicas, or standard deviations of the means of each
STILL = 1e-3  # standard deviations of all frames; a replica that moves less is frozen


def measure(
    frames: Frames,
    projected: np.ndarray,
    cut: Blocks,
    halves: Mapping[str, tuple[float, float]],
    ends: tuple[float, float],
) -> Convergence:
    """All of it for one ensemble.

    Args:
        projected: (T, D); the first column is the slowest coordinate.
        halves: by metric, what the function ``halves`` gives.
        ends: of the first column, from the function ``ends`` of the reference.
    """
    return Convergence(
        effective(frames, cut),
        {name: own for name, (own, _) in halves.items()},
        {name: floor for name, (_, floor) in halves.items()},
        float(round_trips(projected[:, 0], frames.runs, ends)),
        wall_seconds(frames),
    )


def effective(frames: Frames, cut: Blocks) -> float:
    """About how many independent frames: (sum w)^2 / sum w^2 over the statistical inefficiency (Kish 1965)."""
    count = len(frames) if frames.weights is None else kish(frames.weights)
    return count / max(cut.inefficiency, 1.0)


def inefficiency(frames: Frames, projected: np.ndarray) -> float:
    """Frames for each independent one, by the first two columns of a projection (T, D)."""
    stride = max(1, len(frames) // PROBE)
    pieces = [projected[run][::stride, :2] for run in frames.runs]
    ends = np.cumsum([len(p) for p in pieces])
    runs = tuple(slice(int(end) - len(p), int(end)) for end, p in zip(ends, pieces, strict=True))
    return stride * statistical_inefficiency(np.concatenate(pieces), runs)


def ends(values: np.ndarray, frames: Frames) -> tuple[float, float]:
    """The weighted 10 % and 90 % quantiles of (T,) values of the reference."""
    index, weight = evenly_spaced(frames, MOST_FRAMES)
    kept = np.asarray(values[index], float)
    order = np.argsort(kept)
    share = np.cumsum(weight[order])
    low, high = np.interp(ENDS, share / share[-1], kept[order])
    return float(low), float(high)


def round_trips(values: np.ndarray, runs: Sequence[slice], ends: tuple[float, float]) -> int:
    """How often (T,) values went from one end to the other and back, counted within runs, all together.

    A run is at an end from when it reaches it (values <= low or >= high) until it reaches the other; two changes in a
    run are one round trip.
    """
    low, high = ends
    if not low < high:
        return 0
    trips = 0
    for run in runs:
        at = np.asarray(values[run])
        side = np.where(at <= low, -1, np.where(at >= high, 1, 0)).astype(np.int8)
        side = side[side != 0]
        trips += int(np.count_nonzero(side[1:] != side[:-1])) // 2
    return trips


def halves(
    parts: Sequence[tuple[Grid, np.ndarray]], frames: Frames, cut: Blocks, rng: np.random.Generator
) -> tuple[float, float]:
    """Jensen-Shannon distance of the first half of every run to its second half, and how large it is by chance.

    Args:
        parts: grids, each with (T, d) values in its columns; the distance is the mean over them.

    Returns:
        The distance, and the 95 % quantile of that distance between random halves of the blocks; nan where there are
        fewer than four blocks.
    """
    index, weight = evenly_spaced(frames, MOST_FRAMES)
    second = _in_second_half(frames)[index]
    block = np.clip(np.searchsorted(cut.edges, index, "right") - 1, 0, len(cut) - 1)
    masks = _random_halves(len(cut), rng)
    own, drawn = [], np.zeros(len(masks))
    for grid, values in parts:
        flat, _ = grid.index(np.asarray(values[index]).reshape(len(index), -1))
        bins = math.prod(grid.shape)
        two = np.bincount(flat + bins * second, weight, minlength=2 * bins).reshape(2, bins)
        own.append(_distance(two[:1], two[1:])[0])
        table = np.bincount(flat + bins * block, weight, minlength=len(cut) * bins).reshape(-1, bins)
        drawn += _distance(masks @ table, (1 - masks) @ table) / len(parts)
    floor = float(np.quantile(drawn, 0.95)) if len(cut) >= 4 else math.nan
    return float(np.mean(own)), floor


def starts(values: np.ndarray, runs: Sequence[slice], rng: np.random.Generator) -> Starts:
    """Whether replicas have forgotten the frames that they started from, and how much of each to drop.

    With ten replicas or more: a stretch of time is settled where its mean in each replica correlates with the first
    frames no more than by chance (the 95 % quantile over starts dealt out at random), and its mean over replicas is
    within three standard errors of that of the second half, for each coordinate. The burn-in ends with the first
    that is. With fewer replicas it is what leaves most independent frames (Chodera 2016).

    Args:
        values: (T, D) slow coordinates.
        runs: one replica each; those shorter than half of the longest are not looked at.
    """
    values = np.asarray(values, float)
    longest = max(run.stop - run.start for run in runs)
    frozen = _frozen(values, runs)
    long = [run for run in runs if 2 * (run.stop - run.start) >= longest]
    length = min(run.stop - run.start for run in long)
    if length < 4:
        return Starts(math.nan, math.nan, 0, 0, frozen)
    table = np.stack([values[run.start : run.start + length] for run in long])  # (R, length, D)
    if len(long) < LEAST_REPLICAS:
        return Starts(math.nan, math.nan, 0, _settled_after(table, None), frozen)
    first = _standardised(table[:, 0])
    drawn = np.stack([first, *(first[rng.permutation(len(first))] for _ in range(SPLITS))])  # (1 + SPLITS, R, D)
    later = table[:, length // 2 :]
    covariance = np.einsum("srd,rd->sd", drawn, later.mean(1)) / len(first)
    variance = later.var((0, 1))
    share = covariance**2 / np.where(variance > 0, variance, np.inf)
    worst = int(np.argmax(share[0]))
    by_chance = float(np.quantile(share[1:].max(1), 0.95))
    return Starts(float(share[0, worst]), by_chance, worst, _settled_after(table, drawn), frozen)


def _frozen(values: np.ndarray, runs: Sequence[slice]) -> int:
    """How many runs of two frames or more stay where they are in (T, D) values."""
    scale = values.std(0)
    still = [np.ptp(values[run], 0) <= STILL * scale for run in runs if run.stop - run.start > 1]
    return sum(bool(one.all()) for one in still)


def _settled_after(table: np.ndarray, drawn: np.ndarray | None) -> int:
    """Frames before the first settled stretch of (R, length, D) values, at most half of them.

    Args:
        drawn: (1 + SPLITS, R, D) standardised first frames, of each replica and then dealt out at random; None for
            few replicas.
    """
    count, length, _ = table.shape
    edges = np.unique(np.linspace(1, length, min(WINDOWS, length - 1) + 1).astype(int))
    means = np.stack([table[:, a:b].mean(1) for a, b in itertools.pairwise(edges)], 1)  # (R, windows, D)
    late = means[:, edges[:-1] >= length // 2].reshape(-1, means.shape[-1])
    for start, mean in zip(edges[:-1].tolist(), means.transpose(1, 0, 2), strict=True):
        if start > length // 2:
            break
        away = np.abs(mean - late.mean(0)).max(0) / late.std(0).clip(min=np.finfo(float).tiny)
        if drawn is not None:
            away = np.abs(mean.mean(0) - late.mean(0)) / (mean.std(0) / math.sqrt(count)).clip(np.finfo(float).tiny)
            alike = (np.einsum("srd,rd->sd", drawn, _standardised(mean)) / count).max(1)
        if (away <= DRIFT).all() and (drawn is None or alike[0] <= np.quantile(alike[1:], 0.95)):
            return start - 1
    return length // 2


def _standardised(values: np.ndarray) -> np.ndarray:
    """(R, D) with mean 0 and variance 1 of each column; a constant one is 0."""
    spread = values.std(0)
    return np.asarray((values - values.mean(0)) / np.where(spread > 0, spread, np.inf))


def wall_seconds(frames: Frames) -> float:
    """The wall time that the frames took to make, as far as they know it; nan where they do not.

    The speed of the simulation in their provenance goes before the wall time there.
    """
    if speed := frames.provenance.ns_per_day:
        return len(frames) * frames.dt / 1000 / speed * 86400
    return frames.provenance.wall_seconds or math.nan


def _in_second_half(frames: Frames) -> np.ndarray:
    """(T,) whether a frame lies in the second half of its run; the middle frame of an odd run counts to the first."""
    later = np.zeros(len(frames), np.int64)
    for run in frames.runs:
        later[run.start + (run.stop - run.start + 1) // 2 : run.stop] = 1
    return later


def _random_halves(count: int, rng: np.random.Generator) -> np.ndarray:
    """(SPLITS, count) ones for a random half of the blocks."""
    return (np.argsort(rng.random((SPLITS, count)), 1) < count // 2).astype(float)


def _distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(S, bins) twice -> (S,); nan where a half has no weight."""
    known = (first.sum(-1) > 0) & (second.sum(-1) > 0)
    return np.where(known, jensen_shannon(normalised(first), normalised(second)), np.nan)
