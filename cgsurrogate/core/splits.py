"""Which frames are held out: whole runs where there are several, blocks with gaps between them where there is one."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Sequence

import numpy as np

Part = tuple[slice, int]
"""Frames, and the number of the run that they are taken from."""
Origin = tuple[int, int]
"""A run, and a frame of it, both counted from 0."""
BLOCKS = 3  # that are held out of a single run
LEAST_BLOCK = 100  # frames of each, and of each that is kept
FAR = 1.5  # times more or less than the share that was asked for
SPARE = 0.05  # of the frames that are cut, left out at the cuts, together


def origins(runs: Sequence[slice], known: Sequence[Origin], parts: Sequence[slice]) -> tuple[Origin, ...]:
    """Where each part of the runs begins; in what the runs were taken from, where that is ``known``."""
    ends, found = [run.stop for run in runs], []
    for part in parts:
        number = bisect.bisect_right(ends, part.start)
        run, first = known[number] if len(known) == len(runs) else (number, 0)
        found.append((run, first + part.start - runs[number].start))
    return tuple(found)


def named(runs: Sequence[slice], known: Sequence[Origin], frames: Sequence[int]) -> list[str]:
    """Frames in words, by their numbers in what they were taken from."""
    places = [origins(runs, known, [slice(frame, frame + 1)])[0] for frame in frames]
    return [f"frame {frame} of run {run}" for run, frame in places]


def divided(
    runs: Sequence[slice], origins: Sequence[int], fraction: float, seed: int = 0
) -> tuple[list[Part], list[Part]]:
    """(kept, held out); about ``fraction`` of the frames are held out.

    Whole runs, chosen by their lengths, so that a long one counts as much as many short ones; at least one run of each.
    Where these hold less than half of what is wanted, as of one long and one short run, the longest run that is kept
    is cut as well. What comes from a single run is cut in blocks.

    Args:
        origins: of each run the number of the unbroken run that it is a block of; its own number where it is whole.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"the held-out fraction must lie between 0 and 1, got {fraction}")
    if len(set(origins)) == 1:
        return _cut([(run, k) for k, run in enumerate(runs)], fraction)
    lengths = [run.stop - run.start for run in runs]
    wanted = fraction * sum(lengths)
    order = np.random.default_rng(seed).permutation(len(runs)).tolist()
    held = _chosen(order, lengths, wanted)
    kept = [run for run in range(len(runs)) if run not in held]
    missing = wanted - sum(lengths[run] for run in held)
    longest = max(kept, key=lambda run: lengths[run])
    if missing <= wanted / 2 or lengths[longest] - missing < LEAST_BLOCK or missing < LEAST_BLOCK:
        return [(runs[run], run) for run in kept], [(runs[run], run) for run in held]
    left, taken = _cut([(runs[longest], longest)], missing / lengths[longest])
    rest = [(runs[run], run) for run in kept if run != longest]
    return sorted(rest + left, key=_start), sorted([(runs[run], run) for run in held] + taken, key=_start)


def _chosen(order: list[int], lengths: Sequence[int], wanted: float) -> list[int]:
    """Runs of about ``wanted`` frames in all, at least one and not all of them.

    They are taken in this order, or in one that begins elsewhere where that comes much closer: of a long and a short
    run the short one is held out, whichever comes first.
    """

    def taken(first: int) -> list[int]:
        found: list[int] = []
        for run in order[first:] + order[:first]:  # take a run where that brings the total closer to what is wanted
            total = sum(lengths[k] for k in found)
            if abs(total + lengths[run] - wanted) < abs(total - wanted) and len(found) < len(order) - 1:
                found.append(run)
        return sorted(found or [min(order, key=lambda run: lengths[run])])

    def far(held: list[int]) -> float:
        return abs(math.log(sum(lengths[k] for k in held) / wanted))

    usual = taken(0)
    return usual if far(usual) <= math.log(FAR) else min(map(taken, range(len(order))), key=far)


def _start(part: Part) -> int:
    return int(part[0].start)


def _cut(parts: list[Part], fraction: float) -> tuple[list[Part], list[Part]]:
    """Cut stretches in two, the later part held out; a single one that is long enough is first cut in stretches.

    Blocks all over a run meet more of its states, in both parts, than its beginning and its end do.
    """
    total = sum(run.stop - run.start for run, _ in parts)
    if len(parts) == 1:
        ((run, number),) = parts
        count = int(np.clip(min(fraction, 1 - fraction) * total // LEAST_BLOCK, 1, BLOCKS))
        edges = np.linspace(run.start, run.stop, count + 1).round().astype(int).tolist()
        parts = [(slice(a, b), number) for a, b in itertools.pairwise(edges)]
    gap = max(1, round(SPARE * total / (2 * len(parts) - 1))) if total > 4 * len(parts) else 0
    kept: list[Part] = []
    held: list[Part] = []
    for run, number in parts:
        first = run.start + (gap if held and held[-1][0].stop == run.start else 0)
        cut = run.stop - max(1, round((run.stop - run.start) * fraction))
        last = max(first + 1, cut - gap)
        if last <= cut < run.stop:
            kept.append((slice(first, last), number))
            held.append((slice(cut, run.stop), number))
        else:  # too short to be cut
            kept.append((run, number))
    if not held:
        raise ValueError(f"a run of {total} frame(s) cannot be cut in two; give longer runs, or more than one")
    return kept, held
