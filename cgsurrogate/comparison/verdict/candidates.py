"""What is judged, family by family: the figures of each, what amount of error they show, and how much is tolerable."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from cgsurrogate.comparison import damages
from cgsurrogate.comparison.verdict import learned, observables, permutation, visits, words
from cgsurrogate.comparison.verdict.learned import Landscape
from cgsurrogate.comparison.verdict.observables import BlockMeans
from cgsurrogate.comparison.verdict.permutation import (
    Labels,
    Member,
    filtered,
    standard_error,
    standardised,
)
from cgsurrogate.comparison.verdict.samples import Pair
from cgsurrogate.core.frames import Frames

KELVIN, BLUR, SHUFFLE = 15.0, 5.0, 0.10  # the damages that shapes are filtered for
ENDS = 1.645  # standard normal quantile of a 90 % interval
MAJORITY = 0.5
PROBE = 3000  # frames that are damaged to learn a direction
UNITS = {"degrees": "degrees", "pm": "picometres", "sd": "spread"}  # unit -> name of what is tolerable


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """One finding before its test.

    Attributes:
        members: figures that it rests on; the first one carries the amount.
        kind: how a share becomes an amount in ``unit``, see ``amount``; "visits" and "told" have none.
        size: the amount of one whole damage, which is a share of 1.
        share, error: what was found, as a share of a whole damage, and its standard error.
        per: share for one unit of the first member's figure.
        bound: the largest amount that the data leave possible (90 %), where that is not the end of the interval.
        widened: the largest change of a width, added in squares, that they leave possible; nan without widths.
        tolerance: name of what is tolerable, of ``Tolerances``.
        note: what else is known, in words.
        visits: to the state that it is about.
        told: amount with interval, where it is known as it is; ``bound`` is then the smallest amount that shows.
        loosest: of the worst of many figures, amount with interval and name of the one that is known least.
        others: of members that the amount is not of, by name: what they found, in words.
        shown: whether it is a finding even where it does not differ.
    """

    family: str
    name: str
    members: tuple[Member, ...]
    unit: str = ""
    kind: str = "difference"
    size: float = 1.0
    share: float = math.nan
    error: float = math.nan
    per: float = math.nan
    bound: float = math.nan
    widened: float = math.nan
    tolerance: str = "distance"
    note: str = ""
    visits: visits.Visits | None = None
    told: tuple[float, float, float] | None = None
    loosest: tuple[tuple[float, float, float], str] | None = None
    others: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shown: bool = True

    def amount(self, share: float) -> float:
        """A share of a whole damage in the unit of the damage."""
        if self.kind == "root":
            return self.size * math.copysign(math.sqrt(abs(share)), share)
        if self.kind == "factor":
            return float(self.size ** np.clip(share, -8, 8))
        return self.size * share


def geometry(pair: Pair, labels: Labels) -> list[Candidate]:
    """Bonds, angles and impropers: where the means and the widths of single terms are, each as its own worst."""
    figures = observables.Geometry(pair.first.frames)
    if not figures.names:
        return []
    blocks = observables.block_means(pair, figures, {}, {})
    found = []
    for kind, title, unit in (
        ("bond", "bond lengths", "pm"),
        ("angle", "bond angles", "degrees"),
        ("improper", "impropers (how branches stand)", "degrees"),
    ):
        if blocks.of(kind).any():
            found.append(_worst(blocks, labels, "geometry", title, unit, kind, width=f"{kind} width"))
    return found


def _worst(
    blocks: BlockMeans, labels: Labels, family: str, title: str, unit: str, *kinds: str, width: str = ""
) -> Candidate:
    """The largest standardised difference among figures of some kinds; its amount in their unit (or in spreads)."""
    chosen = blocks.of(*kinds)
    scaled, spread = standardised(blocks.values[:, chosen])
    z = labels.differences(scaled)
    k = int(np.argmax(np.abs(z[0])))
    unit_of = blocks.spread[chosen] if unit == "sd" else np.ones(chosen.sum())
    size = np.where(unit_of > 0, spread / np.where(unit_of > 0, unit_of, 1), 0.0)
    members = [Member(title, np.abs(z).max(1))]
    names = np.array(blocks.names)[chosen]
    note, widened, others = f"worst: {names[k]}", math.nan, dict[str, str]()
    if width:
        wide, wide_spread = standardised(blocks.values[:, blocks.of(width)])
        zw = labels.differences(wide)
        members.append(Member(f"{title}, widths", np.abs(zw).max(1)))
        others[members[-1].name] = words.by_other("how widely they are spread")
        w = int(np.argmax(np.abs(zw[0])))
        error = math.sqrt(sum(1 / count for count in labels.counts))
        widened = math.sqrt(float(((np.abs(zw[0]) + ENDS * error) * wide_spread).max()))
        change = float(zw[0, w] * wide_spread[w])
        note += f"; widest change of spread: {np.array(blocks.names)[blocks.of(width)][w]}, "
        note += f"{math.copysign(math.sqrt(abs(change)), change):+.2g} {unit} (added in squares)"
    typical = float(np.median(size[size > 0])) if (size > 0).any() else math.nan
    error = math.sqrt(sum(1 / count for count in labels.counts))
    bounds = np.abs(z[0]) * size + ENDS * size * error
    least = int(np.argmax(bounds))
    center, half = float(z[0, least] * size[least]), float(ENDS * size[least] * error)
    return Candidate(
        family, title, tuple(members), unit,
        share=float(z[0, k] * size[k]), error=float(size[k]) * error, per=typical,
        bound=float(bounds[least]), widened=widened, tolerance=UNITS[unit], note=note,
        loosest=((center, center - half, center + half), f"known least: {names[least]}"), others=others,
    )  # fmt: skip


def amounts(scores: np.ndarray, labels: Labels, name: str) -> tuple[Member, float, float]:
    """Block scores of a filter: its member, the share of a whole damage that was found, and its standard error."""
    signed = labels.differences(scores[:, None])[:, 0]
    return Member(name, np.abs(signed)), float(signed[0]), standard_error(scores, labels.counts)


def shape(blocks: BlockMeans, labels: Labels, rng: np.random.Generator) -> list[Candidate]:
    """Temperature, blurred and uncorrelated torsions, by matched filters."""
    found = []
    for key, title, unit, amount, kind, tolerance in (
        ("temperature", "temperature", "K", KELVIN, "difference", "temperature"),
        ("blurred", "sharpness of torsions", "degrees", BLUR, "root", "blur"),
        ("shuffled", "correlation of angles and torsions", "%", 100 * SHUFFLE, "difference", "shuffled"),
    ):
        if key not in blocks.directions:
            continue
        scores = filtered(blocks.values, blocks.directions[key], rng)
        if scores is None:
            continue
        member, share, error = amounts(scores, labels, title)
        found.append(Candidate("shape", title, (member,), unit, kind, amount, share, error, 1.0, tolerance=tolerance))
    return found


def anything(blocks: BlockMeans, labels: Labels) -> list[Candidate]:
    """Errors that nobody thought of: the largest of all differences of torsions, of pairs of them, and of distances."""
    found = []
    for title, kinds in (
        ("torsions, one by one", ("torsion",)),
        ("neighbouring torsions", ("neighbours", "density")),
        ("distances and slow directions", ("distance", "slow direction")),
    ):
        if blocks.of(*kinds).any():
            found.append(_worst(blocks, labels, "surfaces", title, "sd", *kinds))
    return found


def shape_blocks(
    pair: Pair, landscape: Landscape, rng: np.random.Generator, states: Mapping[str, np.ndarray]
) -> BlockMeans:
    """Figures of the shape with every direction: of the states as ``state NAME``."""
    figures = observables.Shape(landscape, landscape.pooled.beads)
    weightings = {name: damages.state_factors(_any(inside), 2.0) for name, inside in states.items()}
    for name, inside in states.items():
        if inside.ndim == 2:
            weightings |= {part(name, k): damages.state_factors(own, 2.0) for k, own in enumerate(inside.T)}
    if len(landscape.terms):
        total = landscape.log_density @ landscape.signs
        weightings["temperature"] = damages.temperature_factors(total, landscape.pooled, KELVIN)
    probe = _probe(landscape.pooled)
    turned: dict[str, tuple[Frames, Frames]] = {}
    if len(probe.beads) > 3 and probe.beads.bonds:
        turned["blurred"] = (probe, damages.blurred(probe, BLUR, rng))
        turned["shuffled"] = (probe, damages.shuffled(probe, 1.0, rng))
    blocks = observables.block_means(pair, figures, weightings, turned)
    if "shuffled" in blocks.directions:
        blocks.directions["shuffled"] = blocks.directions["shuffled"] * SHUFFLE
    return blocks


def _any(inside: np.ndarray) -> np.ndarray:
    return np.asarray(inside if inside.ndim == 1 else inside.any(1))


def _probe(pooled: Frames) -> Frames:
    """Evenly spaced frames, drawn by weight where they have weights."""
    index = np.linspace(0, len(pooled) - 1, min(PROBE, len(pooled))).round().astype(int)
    if pooled.weights is not None:
        total = np.cumsum(pooled.probabilities)
        index = np.searchsorted(total, (np.arange(len(index)) + 0.5) / len(index) * total[-1])
        index = np.minimum(index, len(pooled) - 1)
    return Frames(pooled.beads, pooled.positions[index], (len(index),), pooled.dt, pooled.temperature)


def populations(
    pair: Pair, states: Mapping[str, np.ndarray], blocks: BlockMeans, labels: Labels, rng: np.random.Generator
) -> list[Candidate]:
    """Every state: how often it is visited, and its population by a matched filter; of several residues also each."""
    found = []
    for name, inside in states.items():
        called = name
        if inside.ndim == 1 and inside.mean() > MAJORITY:  # what is left of the frames is the rarer event
            if name.startswith(learned.METASTABLE):
                continue  # the other ones are judged
            called, inside = f"not {name}", ~inside
        seen = visits.count(pair, called, inside, labels)
        if seen is None:
            continue
        members = [Member(f"visits to {called}", visits.deviances(seen, labels))]
        others = {members[0].name: words.by_other("how often it is visited", seen.often())}
        others |= _by_filter(members, blocks, [name], labels, rng, f"population of {called}")
        note = f"{seen.seen[1]:.3g} visits against {seen.seen[0]:.3g} of the reference"
        note += f", population {100 * seen.populations[1]:.2g} % against {100 * seen.populations[0]:.2g} %"
        if inside.ndim == 2:
            each = {
                part(name, k): visits.count(pair, part(name, k), inside[:, k], labels) for k in range(len(inside.T))
            }
            known = {key: one for key, one in each.items() if one is not None}
            if known:
                drawn = np.stack([visits.deviances(one, labels) for one in known.values()], 1)
                members.append(Member(f"visits of one residue to {called}", drawn.max(1)))
                worst = list(known.values())[int(drawn[0].argmax())]
                others[members[-1].name] = words.by_other(f"how often {worst.name} is visited", worst.often())
                note += f"; most unlike {worst.name}: {100 * worst.populations[1]:.2g} % against"
                note += f" {100 * worst.populations[0]:.2g} %"
            others |= _by_filter(members, blocks, list(known), labels, rng, f"population of one residue in {called}")
        found.append(
            Candidate("populations", called, tuple(members), "x", "visits", tolerance="populations", note=note,
                      visits=seen, others=others)
        )  # fmt: skip
    return found


def part(name: str, residue: int) -> str:
    """A state of one of several residues, from 0."""
    return f"{name}, {residue + 1}"


def _by_filter(
    members: list[Member], blocks: BlockMeans, names: list[str], labels: Labels, rng: np.random.Generator, title: str
) -> dict[str, str]:
    """One more member: the population by a matched filter; of several states, the one that is most unlike. In words."""
    every = {n: one for n in names if (one := filtered(blocks.values, blocks.directions[n], rng)) is not None}
    if not every:
        return {}
    signed = labels.differences(permutation.standardised(np.stack(list(every.values()), 1))[0])
    members.append(Member(title, np.abs(signed).max(1)))
    name, scores = list(every.items())[int(np.abs(signed[0]).argmax())]
    _, share, error = amounts(scores, labels, title)
    ends = [float(2.0 ** np.clip(one, -8, 8)) for one in (share, share - ENDS * error, share + ENDS * error)]
    seen = f"torsions and distances that go with {name} (a matched filter of its population)"
    return {title: words.by_other(seen, (ends[0], ends[1], ends[2]))}
