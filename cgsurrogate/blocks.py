"""Stretches of frames that can be taken as independent, and drawing them anew: where every error comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

MOST_BLOCKS, LEAST_BLOCKS = 128, 8
LEAST_RUNS = 6  # from here on the noise floor splits whole runs; below it splits blocks
DRAWS = 100


@dataclasses.dataclass(frozen=True, eq=False)
class Blocks:
    """Stretches of frames that never cross runs: block k holds frames edges[k] to edges[k + 1] of run runs[k]."""

    edges: np.ndarray
    runs: np.ndarray
    inefficiency: float  # frames between independent ones
    enough: bool  # whether the blocks are longer than the correlation

    def __len__(self) -> int:
        return len(self.runs)


def blocks(lengths: Sequence[int], inefficiency: float = 1.0) -> Blocks:
    """Cut runs into blocks of at least two statistical inefficiencies, a whole run where it is shorter than that.

    There are at most ``MOST_BLOCKS``; more runs than that are pooled into groups of neighbours. There are at least
    ``LEAST_BLOCKS``, if need be shorter than the correlation asks; ``enough`` is then False.
    """
    total, longest = sum(lengths), max(lengths)
    wanted = max(2 * inefficiency, total / MOST_BLOCKS, 1.0)
    most = max(1.0, total / LEAST_BLOCKS)
    length = min(wanted, most)
    edges, runs = [np.zeros(1, int)], []
    for run, n in enumerate(lengths):
        count = max(1, int(n / length)) if len(lengths) < LEAST_BLOCKS else max(1, int(n / wanted))
        edges.append(sum(lengths[:run]) + np.linspace(0, n, count + 1).round().astype(int)[1:])
        runs += [run] * count
    enough = inefficiency * 1.01 < longest and (len(lengths) >= LEAST_BLOCKS or wanted <= most * 1.01)
    all_edges, all_runs = np.concatenate(edges), np.array(runs)
    if len(lengths) > MOST_BLOCKS:
        keep = np.linspace(0, len(all_runs), MOST_BLOCKS + 1).round().astype(int)
        all_edges, all_runs = all_edges[keep], all_runs[keep[:-1]]
    return Blocks(all_edges, all_runs, float(inefficiency), bool(enough))


def resamples(count: int, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """(draws, count) how often each of ``count`` blocks is drawn, with replacement."""
    return rng.multinomial(count, np.full(count, 1 / count), draws).astype(np.float32)
