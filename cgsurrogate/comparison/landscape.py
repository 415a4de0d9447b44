"""Free-energy surfaces of two ensembles under permutations of their blocks: distances, differences, basins, barriers.

What is looked at (bins that are pooled, basins, saddles, bandwidths) is found in the blocks of both ensembles together,
which does not know the labels. So each figure has the same distribution for the true labels and for permuted ones
wherever the blocks are exchangeable, and the test is exact (Lehmann and Romano, Testing Statistical Hypotheses, 15.2).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from cgsurrogate.analysis.free_energy.basins import Basins, Saddle
from cgsurrogate.analysis.free_energy.divergences import jensen_shannon
from cgsurrogate.analysis.free_energy.surfaces import BlockHistogram, normalised
from cgsurrogate.analysis.results import Result
from cgsurrogate.comparison import pooled_blocks
from cgsurrogate.comparison.pooled_blocks import PooledBlocks

DISTANCE, FREE_ENERGY, POPULATION, BARRIER, FORBIDDEN, UNVISITED = KINDS = (
    "distance",
    "free energy",
    "population",
    "barrier",
    "forbidden",
    "unvisited",
)
NUMBERED = re.compile(r"(.*\S) \d+")  # "phi 2"
ROWS = 256  # permutations at once, in two dimensions
TIE = 1e-9  # relative; the same labels in another order of summation


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Tested(Result):
    """One figure of the true labels beside those of permuted ones.

    Attributes:
        name: "free energy along phi 2", "population of the basin of phi 2 at 55 degrees".
        kind: of ``KINDS``.
        surface: or metric, that it is made of.
        observed: about in standard errors; large means unlike.
        null: (P,) the same under permutations.
        value, low, high: the amount with its 90 % interval: kJ/mol of own above reference, a factor of own over
            reference, or a share; of a distance, median and 95 % quantile between permuted blocks instead. The
            interval is of ln p by the spread of the blocks; where one of the ensembles has no weight it is open on
            one side, and the value infinite (a factor: 0 or infinite).
        unit: "kJ/mol", "x", "%" or "".
        place: where, "phi 2 = 55 degrees".
        text: both amounts, "17.9 against 11.4 kJ/mol in the reference".
    """

    name: str
    kind: str
    surface: str
    observed: float
    null: np.ndarray
    value: float
    low: float
    high: float
    unit: str
    place: str
    text: str

    @property
    def p(self) -> float:
        """Of this figure alone."""
        return float(adjusted([self])[0])


def adjusted(tested: Sequence[Tested]) -> np.ndarray:
    """(n,) p values for the largest of all these figures together, under the same permutations.

    By the maximum statistic in one step (Westfall and Young 1993, 2.5): one of them is at most 0.05 in 5 % of
    perfect surrogates, however the figures depend on one another.
    """
    largest = np.max([one.null for one in tested], 0)
    observed = np.array([one.observed for one in tested])
    beyond = (largest >= (observed - TIE * np.abs(observed))[:, None]).sum(1)
    return np.asarray((1 + beyond) / (1 + len(largest)))


def landscape(
    pairs: Mapping[str, tuple[BlockHistogram, BlockHistogram]], metrics: Mapping[str, Sequence[str]], masks: np.ndarray
) -> list[Tested]:
    """All figures of the surfaces.

    Args:
        pairs: by surface, histograms of the reference and of the ensemble over one grid. Their blocks are exchangeable
            if the ensemble samples what the reference does: of equal physical length, longer than the correlation, and
            of equal numbers of frames.
        metrics: by name, the surfaces whose distances it is the mean of.
        masks: (P + 1, blocks of the reference and then of the ensemble), 1 for the reference. The first row is the true
            labelling, the others are permutations of it.

    Returns:
        A distance for each metric. For each surface in one dimension the largest difference of free energies, the
        population of each basin but the largest, the height of each barrier; and for all surfaces what one ensemble
        visits and the other does not. Angles of one name are looked at together as well ("phi of all residues").
    """
    known = {name: pooled_blocks.pool(*pair) for name, pair in pairs.items()}
    masks = np.asarray(masks, float)
    count = len(next(iter(known.values())).table)
    if masks.ndim != 2 or masks.shape[1] != count:
        raise ValueError(f"expected masks of {count} columns, a block each, got {masks.shape}")
    found = [_distance(name, [known[part] for part in parts], masks) for name, parts in metrics.items()]
    for name, one in {**known, **_together(known)}.items():
        if one.grid.labels == ("state",):
            continue
        if len(one.grid.shape) == 1:
            found += [_largest_difference(name, one, masks), *_of_basins(name, one, masks)]
        found += _not_shared(name, one, masks)
    return found


def _together(known: Mapping[str, PooledBlocks]) -> dict[str, PooledBlocks]:
    """Angles that differ in their number only, all in one histogram: an error that all residues share stands out."""
    groups: dict[str, list[PooledBlocks]] = {}
    for name, one in known.items():
        match = NUMBERED.fullmatch(name)
        if match and one.grid.periodic == (True,):
            groups.setdefault(match[1], []).append(one)
    return {f"{stem} of all residues": pooled_blocks.together(group) for stem, group in groups.items() if group[1:]}


def _distance(name: str, parts: Sequence[PooledBlocks], masks: np.ndarray) -> Tested:
    """Mean over the grids of the Jensen-Shannon distance."""
    each = np.empty((len(parts), len(masks)))
    for row, one in zip(each, parts, strict=True):
        table = one.table[:, one.table.any(0)]
        for start in range(0, len(masks), ROWS):
            some = masks[start : start + ROWS]
            row[start : start + ROWS] = jensen_shannon(normalised(some @ table), normalised((1 - some) @ table))
    drawn = each.mean(0)
    worst = parts[int(np.argmax(each[:, 0]))].name
    text = f"{drawn[0]:.3f}; between permuted blocks {np.median(drawn[1:]):.3f}"
    values = (float(drawn[0]), float(np.median(drawn[1:])), float(np.quantile(drawn[1:], 0.95)))
    return _tested(f"distance of {name}", DISTANCE, name, _standard(drawn), values, "", worst, text)


def _largest_difference(name: str, one: PooledBlocks, masks: np.ndarray) -> Tested:
    """Of the free energies of bins, each as unlike as its own blocks make it; bins that few blocks visit are pooled."""
    regions = pooled_blocks.visited_regions(one.table)
    drawn = np.abs(pooled_blocks.deviance(one.shares(regions), masks))
    k = int(np.argmax(drawn[0]))
    value, low, high = one.free_energy_difference(regions[k])
    text = _against(*one.heights(regions[k]))
    place = f"{one.name} {one.words(regions[k])}"
    found = (value, low, high)
    return _tested(f"free energy along {name}", FREE_ENERGY, name, drawn.max(1), found, "kJ/mol", place, text)


def _of_basins(name: str, one: PooledBlocks, masks: np.ndarray) -> list[Tested]:
    """Populations of the basins and heights of the barriers between them."""
    found = one.basins()
    inside = [found.labels == k for k in range(len(found.minima))]
    told = [k for k, bins in enumerate(inside) if one.visits(bins) >= pooled_blocks.VISITS]
    if len(told) < 2:
        return []
    told.remove(max(told, key=lambda k: one.table[:, inside[k]].sum()))  # it is what the others leave
    drawn = np.abs(pooled_blocks.deviance(one.shares([inside[k] for k in told]), masks))
    made = []
    for k, column in zip(told, drawn.T, strict=True):
        own, known = one.populations(inside[k])
        place = f"{one.name} = {one.centre(int(found.minima[k]))}"
        label = f"population of the basin at {place}"
        text = _against(*(f"{100 * share:.3g}%" if share else "never visited" for share in (own, known)))
        made.append(_tested(label, POPULATION, name, column, one.factor(inside[k]), "x", place, text))
    return made + [barrier for saddle in found.saddles if (barrier := _barrier(name, one, found, saddle, masks))]


def _barrier(name: str, one: PooledBlocks, found: Basins, saddle: Saddle, masks: np.ndarray) -> Tested | None:
    """How far the saddle lies above the lower of the two minima; None where too few blocks cross it."""
    top, bottom = one.top(found, saddle), one.bottom(found, saddle.lower)
    if top is None:
        return None
    drawn = np.abs(pooled_blocks.deviance(one.shares([top]), masks, one.shares([bottom])))[:, 0]
    value, low, high = one.free_energy_difference(top, bottom)
    ends = sorted((int(found.minima[saddle.lower]), int(found.minima[saddle.higher])))
    place = f"{one.name} = {one.centre(saddle.bin)}"
    label = f"barrier of {one.name} at {one.centre(saddle.bin)}, between {' and '.join(map(one.centre, ends))}"
    text = _against(*one.heights(top, bottom))
    return _tested(label, BARRIER, name, drawn, (value, low, high), "kJ/mol", place, text)


def _not_shared(name: str, one: PooledBlocks, masks: np.ndarray) -> Iterable[Tested]:
    """The share of each ensemble in bins that the other never visits; in two dimensions of bins twice as wide."""
    table, centre = one.wide()
    reference, own = masks @ table, (1 - masks) @ table
    for kind, first, second in ((FORBIDDEN, own, reference), (UNVISITED, reference, own)):
        alone = normalised(first) * (second <= 0)
        share = alone.sum(1)
        usual, most = np.quantile(share[1:], (0.5, 0.95))
        who = "of it lies where the reference" if kind == FORBIDDEN else "of the reference lies where it"
        text = f"{100 * share[0]:.2g}% {who} never is; by chance {100 * usual:.2g}%, up to {100 * most:.2g}%"
        values = (100 * float(share[0]), np.nan, np.nan)
        place = f"mostly near {one.name} = {centre(int(np.argmax(alone[0])))}" if share[0] > 0 else ""
        drawn = pooled_blocks.excess(share)
        label = f"{'forbidden' if kind == FORBIDDEN else 'missed'} regions of {name}"
        yield _tested(label, kind, name, drawn, values, "%", place, text)


def _standard(drawn: np.ndarray) -> np.ndarray:
    """In standard deviations above the mean, the true labelling counted as one of all."""
    spread = float(drawn.std())
    return (drawn - drawn.mean()) / spread if spread > 0 else np.zeros_like(drawn)


def _tested(
    name: str,
    kind: str,
    surface: str,
    drawn: np.ndarray,
    amount: tuple[float, float, float],
    unit: str,
    place: str,
    text: str,
) -> Tested:
    return Tested(name, kind, surface, float(drawn[0]), drawn[1:], *amount, unit, place, text)


def _against(own: str, known: str) -> str:
    """``17.9 against 11.4 kJ/mol in the reference``."""
    unit = known.partition(" ")[2]
    return f"{own.removesuffix(f' {unit}') if unit == 'kJ/mol' else own} against {known} in the reference"
