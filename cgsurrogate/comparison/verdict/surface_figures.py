"""Free-energy surfaces on the blocks of a pair: how unlike they are, where, and what one of them never visits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram, block_histogram
from cgsurrogate.comparison import landscape
from cgsurrogate.comparison.landscape import Tested
from cgsurrogate.comparison.thermodynamics import Surfaces
from cgsurrogate.comparison.verdict.candidates import Candidate
from cgsurrogate.comparison.verdict.permutation import Labels, Member
from cgsurrogate.comparison.verdict.samples import Pair, Sample
from cgsurrogate.core.statistics import Blocks

TITLES = {
    landscape.FREE_ENERGY: "free energy along one variable",
    landscape.POPULATION: "a basin of the surfaces",
    landscape.BARRIER: "a barrier",
    landscape.FORBIDDEN: "regions that the reference forbids",
    landscape.UNVISITED: "regions that are missed",
}
MOST = 3  # places that a finding names


def candidates(pair: Pair, drawn: Sequence[Surfaces], labels: Labels) -> list[Candidate]:
    """The distances of all surfaces as one, and of each kind of difference the largest in any surface."""
    pairs: dict[str, tuple[BlockHistogram, BlockHistogram]] = {}
    metrics: dict[str, list[str]] = {}
    for one in drawn:
        both = [_histograms(one, sample) for sample in pair.samples]
        pairs |= {name: (both[0][name], both[1][name]) for name in one.columns}
        metrics |= one.metrics
    if not pairs:
        return []
    tested = landscape.landscape(pairs, metrics, labels.masks)
    by_kind = {kind: [t for t in tested if t.kind == kind] for kind in landscape.KINDS}
    single = [t for t in by_kind[landscape.DISTANCE] if len(pairs[metrics[t.surface][0]][0].grid.shape) == 1]
    found = [_distances(by_kind[landscape.DISTANCE], single)]
    return found + [_worst(kind, by_kind[kind]) for kind in TITLES if by_kind[kind]]


def _histograms(one: Surfaces, sample: Sample) -> dict[str, BlockHistogram]:
    values = one.cv(sample.frames)
    edges = np.searchsorted(sample.block, np.arange(sample.count + 1))
    cut = Blocks(edges, sample.run_of_block, 1.0, enough=True)
    return {
        name: block_histogram(values[:, columns], sample.frames, one.grids[name], cut, smooth=False)
        for name, columns in one.columns.items()
    }


def _distances(tested: Sequence[Tested], single: Sequence[Tested]) -> Candidate:
    """Amounts are of surfaces in one dimension; in two, frames are too few for their bins."""
    most = _largest(tested)[0]
    excess = [(_beyond(t.value, t.low), t) for t in single or tested]
    value, worst = max(excess, key=lambda pair: pair[0])
    shows = max(_beyond(t.high, t.low) for t in single or tested)
    note = f"worst in one dimension: {worst.surface}, {worst.text}"
    told = (value, math.nan, math.nan)
    member = Member("distances of surfaces", most)
    return Candidate(
        "surfaces",
        "free-energy surfaces",
        (member,),
        "",
        "told",
        bound=shows,
        note=note,
        told=told,
    )


def _beyond(value: float, usual: float) -> float:
    """Of distances, which add in squares."""
    return math.sqrt(max(value**2 - usual**2, 0.0))


def _worst(kind: str, tested: Sequence[Tested]) -> Candidate:
    """All figures of one kind as one: the furthest from its null, and the places that stand out."""
    most, worst, named = _largest(tested)
    note = "; ".join(f"{t.name}{f' ({t.place})' if t.place and t.place not in t.name else ''}: {t.text}" for t in named)
    told = (worst.value, worst.low, worst.high)
    return Candidate(
        "surfaces", TITLES[kind], (Member(TITLES[kind], most),), worst.unit, "told", note=note, told=told, shown=False
    )


def _largest(tested: Sequence[Tested]) -> tuple[np.ndarray, Tested, list[Tested]]:
    """(P + 1,) largest of the figures under every labelling, the largest of the true one, and all that stand out."""
    every = np.stack([np.r_[t.observed, t.null] for t in tested])
    order, p = np.argsort(-every[:, 0]), landscape.adjusted(tested)
    worst = tested[int(order[0])]
    return every.max(0), worst, [tested[k] for k in order[:MOST] if p[k] <= 0.05] or [worst]
