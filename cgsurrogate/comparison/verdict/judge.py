"""One ensemble judged against another: blocks, families, the joint test, and a mark for each thing with its power."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from cgsurrogate.comparison.judgement import AGREES, DIFFERS, FAMILIES, NOT_APPLICABLE, UNKNOWN, Finding, Judgement
from cgsurrogate.comparison.settings import Tolerances
from cgsurrogate.comparison.thermodynamics import Surfaces
from cgsurrogate.comparison.verdict import candidates, learned, permutation, rates, samples, surface_figures, words
from cgsurrogate.comparison.verdict.candidates import ENDS, Candidate
from cgsurrogate.comparison.verdict.permutation import Labels, Tested
from cgsurrogate.comparison.verdict.samples import Pair
from cgsurrogate.comparison.verdict.visits import POWER, Visits
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import statistical_inefficiency

LEVEL = 0.05
LEAST_BLOCKS = 4  # of either, for anything but geometry
LEAST_RUNS, LEAST_KINETIC_BLOCKS = 3, 7  # of the reference, for kinetics
GEOMETRY_BLOCKS = 8  # fewer slow blocks than that, and geometry gets blocks of its own, shorter ones
GEOMETRY_FRAMES = 4000  # that the memory of the geometry is measured on
MOST_BLOCKS = 2000  # of the reference in the judgement of geometry; longer ones where there would be more
NEGLIGIBLE = 0.2  # of the tolerance: an error that is certain, and that small, is no difference


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What is asked beside the usual.

    Attributes:
        against: what the reference is called.
        drawn: the surfaces that are compared.
        named: states of the user, whether each frame of the reference and of the surrogate lies in it, (T,) bool each.
        tolerances: errors that are small enough to agree.
    """

    against: str = "held-out runs"
    drawn: Sequence[Surfaces] = ()
    named: Mapping[str, tuple[np.ndarray, np.ndarray]] = dataclasses.field(default_factory=dict)
    tolerances: Tolerances = dataclasses.field(default_factory=Tolerances)


def judge(
    reference: Frames,
    own: Frames,
    inefficiencies: tuple[float, float],
    rng: np.random.Generator,
    question: Question | None = None,
    *,
    permutations: int = permutation.PERMUTATIONS,
) -> Judgement:
    """Judge ``own`` against ``reference``.

    Args:
        inefficiencies: frames of each between independent frames, by their slowest motion.
    """
    question = question or Question()
    pair = samples.paired(reference, own, inefficiencies)
    labels = Labels.drawn(pair.counts, rng, permutations)
    found: dict[str, list[Candidate]] = {name: [] for name in FAMILIES}
    found["geometry"] = _geometry(reference, own, pair, labels, rng)
    if min(pair.counts) >= 2:
        landscape = learned.learn(pair, rng)
        states = {**landscape.states, **_named(pair, question.named)}
        blocks = candidates.shape_blocks(pair, landscape, rng, states)
        found["shape"] = candidates.shape(blocks, labels, rng)
        found["surfaces"] = [
            *surface_figures.candidates(pair, question.drawn, labels),
            *candidates.anything(blocks, labels),
        ]
        found["populations"] = candidates.populations(pair, states, blocks, labels, rng)
        if pair.physical:
            found["kinetics"] = rates.kinetics(pair, landscape, labels, rng)
    return _decided(found, pair, question)


def _named(pair: Pair, named: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
    """States of the user for the pooled frames."""
    return {
        name: np.concatenate([one[sample.index] for one, sample in zip(both, pair.samples, strict=True)])
        for name, both in named.items()
    }


def _geometry(reference: Frames, own: Frames, pair: Pair, labels: Labels, rng: np.random.Generator) -> list[Candidate]:
    """Geometry on the blocks of the slow motions, or where these are few on blocks as its own memory asks.

    Those are longer than it asks where there would be more than ``MOST_BLOCKS``: permutations of many short blocks take
    memory in proportion to the frames, and tell no more than those of as many frames in fewer blocks.
    """
    if min(pair.counts) >= GEOMETRY_BLOCKS:
        return candidates.geometry(pair, labels)
    from cgsurrogate.comparison.verdict.observables import Geometry

    figures = Geometry(reference)
    if not figures.names:
        return []
    memory = []
    for frames in (reference, own):
        piece = max(1, GEOMETRY_FRAMES // len(frames.lengths))
        parts = [figures(np.asarray(frames.positions[run][:piece], float)) for run in frames.runs[:GEOMETRY_FRAMES]]
        ends = np.cumsum([len(part) for part in parts])
        runs = tuple(slice(int(end) - len(part), int(end)) for end, part in zip(ends, parts, strict=True))
        needed = statistical_inefficiency(np.concatenate(parts)[:, : len(figures.names) // 2], runs)
        memory.append(max(needed, len(reference) / (samples.INEFFICIENCIES * MOST_BLOCKS)))
    finer = samples.paired(reference, own, (memory[0], memory[1]))
    if min(finer.counts) < LEAST_BLOCKS:
        return []
    return candidates.geometry(finer, Labels.drawn(finer.counts, rng, len(labels.masks) - 1))


def _decided(found: Mapping[str, Sequence[Candidate]], pair: Pair, question: Question) -> Judgement:
    """Test every family, all families jointly, then a mark for every finding."""
    blocked = {name: _blocked(name, pair) for name in found}
    tested: dict[str, Tested] = {}
    for name, some in found.items():
        members = [member for one in some for member in one.members]
        if members and not blocked[name]:
            result = permutation.test(members)
            if result is not None:
                tested[name] = result
    adjusted = permutation.jointly(tested)
    level = permutation.critical_level(tested, LEVEL) if tested else LEVEL
    findings: list[Finding] = []
    for name in FAMILIES:
        for one in found[name]:
            if name in tested:
                critical = tested[name].critical_p(level)
                by = min(one.members, key=lambda m: tested[name].members[m.name]).name
                alone = tested[name].members[by]
                p = max(adjusted[name], min(1.0, alone * adjusted[name] / tested[name].p))
                if one.shown or p <= LEVEL:
                    made = _finding(one, getattr(question.tolerances, one.tolerance), p, critical, pair)
                    findings.append(_explained(made, one.others.get(by, "")))
            else:
                findings.append(Finding(one.name, name, UNKNOWN, one.unit, text=blocked[name], need=_need(name, pair)))
    findings += _absent(found, blocked, pair)
    differs = any(p <= LEVEL for p in adjusted.values()) and any(f.mark == DIFFERS for f in findings)
    applied = [f for f in findings if f.mark != NOT_APPLICABLE]
    agrees = applied and all(f.mark == AGREES for f in applied)
    mark = DIFFERS if differs else AGREES if agrees else UNKNOWN
    judged = Judgement(question.against, mark, "", tuple(findings), adjusted, LEVEL, pair.counts)
    return dataclasses.replace(judged, head=words.head(judged))


def _blocked(family: str, pair: Pair) -> str:
    """Why a family cannot be judged at all; empty if it can."""
    first, second = pair.counts
    if family == "geometry":
        return ""
    if first < LEAST_BLOCKS or second < LEAST_BLOCKS:
        which = "the reference holds" if first <= second else "the surrogate holds"
        return f"{which} only {min(first, second)} stretches of five correlation times"
    if pair.stuck and family != "kinetics":
        return "no run of the surrogate is longer than its own correlation time: it shows where it was started"
    if family == "kinetics" and pair.first.runs < LEAST_RUNS:
        return f"the reference has {pair.first.runs} independent run(s); kinetics need {LEAST_RUNS}"
    if family == "kinetics" and first < LEAST_KINETIC_BLOCKS:
        return f"the reference holds only {first} stretches of five correlation times; kinetics need 7"
    return ""


def _need(family: str, pair: Pair) -> str:
    least = LEAST_KINETIC_BLOCKS if family == "kinetics" else LEAST_BLOCKS
    return words.more(pair, least) if pair.counts[0] < least else "longer runs of the surrogate" if pair.stuck else ""


def _absent(found: Mapping[str, Sequence[Candidate]], blocked: Mapping[str, str], pair: Pair) -> list[Finding]:
    """A finding for each family without any candidate, that says why."""
    rows = []
    for family, title in (("shape", "torsions and distances"), ("populations", "populations"), ("kinetics", "rates")):
        if found[family]:
            continue
        if blocked[family]:
            rows.append(Finding(title, family, UNKNOWN, text=blocked[family], need=_need(family, pair)))
        elif family == "kinetics" and not pair.physical:
            rows.append(Finding(title, family, NOT_APPLICABLE, text=pair.why_not))
        elif min(pair.counts) < 2:
            rows.append(Finding(title, family, UNKNOWN, text="a single block", need=words.more(pair, LEAST_BLOCKS)))
    return rows


def _finding(one: Candidate, tolerance: float, p: float, critical: float, pair: Pair) -> Finding:
    """Amount, interval and smallest visible error of a candidate, and its mark."""
    edge = float(np.quantile(one.members[0].values[1:], 1 - critical))
    if one.visits is not None:
        return _of_visits(one, one.visits, tolerance, p, edge, pair)
    if one.told is not None:
        return _as_told(one, one.told, tolerance, p, pair)
    shares = (one.share, one.share - ENDS * one.error, one.share + ENDS * one.error, edge * one.per + POWER * one.error)
    value, low, high, smallest = (one.amount(share) for share in shares)
    if one.kind == "factor":
        inside, tiny = _factor_within(low, high, tolerance), _factor_within(low, high, tolerance**NEGLIGIBLE)
        ratio = math.log(max(high / value, 1.0001)) / math.log(tolerance)
    else:
        bound = one.bound if math.isfinite(one.bound) else max(abs(low), abs(high))
        inside = bound <= tolerance
        tiny = bound <= NEGLIGIBLE * tolerance and not one.widened > tolerance
        ratio = (bound - abs(value)) / tolerance
    mark = _mark(p, inside, tiny)
    need = words.more(pair, pair.counts[0] * max(ratio, 1.2) ** 2) if mark == UNKNOWN else ""
    note = one.note
    if mark != DIFFERS and one.loosest is not None:
        (value, low, high), note = one.loosest
    return Finding(one.name, one.family, mark, one.unit, value, low, high, smallest, tolerance, p, note, need)


def _explained(finding: Finding, by: str) -> Finding:
    """A difference that its interval does not show tells by which other figure it is certain."""
    none = 1.0 if finding.unit == "x" else 0.0
    if finding.mark != DIFFERS or not by or not finding.low <= none <= finding.high:
        return finding
    return dataclasses.replace(finding, text=f"{by}; {finding.text}")


def _as_told(one: Candidate, told: tuple[float, float, float], tolerance: float, p: float, pair: Pair) -> Finding:
    value, low, high = told
    most = max(one.bound, value)
    mark = _mark(p, most <= tolerance, False)
    need = words.more(pair, pair.counts[0] * max(most / tolerance, 1.2) ** 2) if mark == UNKNOWN else ""
    return Finding(one.name, one.family, mark, one.unit, value, low, high, one.bound, tolerance, p, one.note, need)


def _factor_within(low: float, high: float, tolerance: float) -> bool:
    return low >= 1 / tolerance and high <= tolerance


def _mark(p: float, inside: bool, tiny: bool) -> str:
    """A difference is certain by the joint test, unless it is negligible; agreement is an interval within tolerance."""
    if p <= LEVEL and not tiny:
        return DIFFERS
    return AGREES if inside else UNKNOWN


def _of_visits(one: Candidate, seen: Visits, tolerance: float, p: float, edge: float, pair: Pair) -> Finding:
    value, low, high = seen.ratio()
    fewer, more = seen.detectable(edge)
    mark = _mark(p, _factor_within(low, high, tolerance), _factor_within(low, high, tolerance**NEGLIGIBLE))
    note, need = one.note, ""
    if mark != DIFFERS:
        note += words.other_way(fewer)
    if mark == UNKNOWN:
        wanted = seen.events_needed(tolerance)
        need = words.more(pair, pair.counts[0] * max(wanted / max(seen.seen[0], 1.0), 1.2))
    return Finding(
        one.name, one.family, mark, "x", value, low, high, more, tolerance, p, note, need
    )  # fmt: skip
