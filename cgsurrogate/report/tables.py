"""Tables of the page: kinetics, further divergences, convergence, published figures; plain text in cells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cgsurrogate.analysis.results import Estimate, StateKinetics
from cgsurrogate.comparison.comparison import Comparison, Ensemble
from cgsurrogate.report import numbers
from cgsurrogate.report.marks import mark, p_value
from cgsurrogate.report.plots import drawing, kinetics

ALIKE = 1.5  # counts of transitions can be compared where frames are about as far apart
MOST_OPEN = 6  # rows; a longer table of kinetics is folded away
FORCE_FIELD = "force-field time"


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value, what stands in small letters beneath it, and the mark before it ("" for none)."""

    text: str
    under: str = ""
    state: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
    """``head`` holds (name, small print) of each column; a row is its name and its cells."""

    title: str
    caption: str
    head: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, tuple[Cell, ...]], ...]
    folded: bool = False
    summary: str = ""


def first_passage(comparison: Comparison, which: str) -> Table | None:
    """Mean first-passage times of every ensemble, marked where the interval does not overlap the reference's."""
    caption = (
        "Mean time from one state to the first visit of another, by any route, from the Markov state model; beneath, "
        "its 95 % interval. The cross marks an interval that does not overlap that of the reference, the tick one that "
        "does. Time of a simulation with a coarse-grained force field is not physical time and gets no mark."
    )
    return _transitions(comparison, which, "mean_first_passage", "Mean first-passage times", caption)


def rates(comparison: Comparison, which: str) -> Table | None:
    """Counted rates between the cores of the states."""
    caption = (
        "Transitions from core to core over the time spent in the first state, with the 95 % interval of a Poisson "
        "process, and how many were seen. Marks as for the first-passage times, where frames are about as far apart as "
        "those of the reference: frames further apart miss short visits."
    )
    return _transitions(comparison, which, "rates", "Rates, counted", caption)


def _transitions(comparison: Comparison, which: str, field: str, title: str, caption: str) -> Table | None:
    drawn = [e for e in drawing.shown(comparison.ensembles) if which in e.states]
    drawn = [e for e in drawn if getattr(e.states[which], field) is not None]
    if not drawn:
        return None
    names = drawn[0].states[which].names
    known = comparison.reference.states.get(which)
    rows = []
    for i in range(len(names)):
        for j in range(len(names)):
            cells = tuple(_transition(e.states[which], known, field, i, j) for e in drawn)
            if i != j and any(cell.text != numbers.DASH or cell.under for cell in cells):
                process = numbers.process(drawn[0].states[which], i, j)
                rows.append((Cell(f"{names[i]} \u2192 {names[j]}", process), cells))
    if not rows:
        return None
    head = tuple((e.name, e.role if e.states[which].physical else FORCE_FIELD) for e in drawn)
    title = f"{title}, {kinetics.called(which)}"
    return Table(title, caption, head, tuple(rows), len(rows) > MOST_OPEN or (field == "rates" and which != "named"))


def _transition(own: StateKinetics, known: StateKinetics | None, field: str, i: int, j: int) -> Cell:
    values: Estimate = getattr(own, field)
    value, low, high = (float(a[i, j]) for a in (values.value, values.low, values.high))
    if field == "mean_first_passage":
        text, under = numbers.duration(value, low, high)
    else:
        text, bounds = numbers.rate(value, low, high)
        seen = f"{own.counts[i, j]:,.0f} seen" if math.isfinite(own.counts[i, j]) else ""
        under = "; ".join(filter(None, (bounds, seen)))
    reference = getattr(known, field) if known is not None else None
    if own is known or reference is None or not (own.physical and known.physical):
        return Cell(text, under)
    if field == "rates" and not 1 / ALIKE < own.spacing / known.spacing < ALIKE:
        return Cell(text, f"{under}; frames {numbers.duration(own.spacing)[0]} apart")
    apart = numbers.apart(low, high, float(reference.low[i, j]), float(reference.high[i, j]))
    return Cell(text, under, {None: "", True: "beyond", False: "within"}[apart])


def populations(comparison: Comparison, which: str) -> Table | None:
    """Population and free-energy difference of every named state."""
    drawn = [e for e in drawing.shown(comparison.ensembles) if which in e.states]
    if not drawn:
        return None
    described = {str(s.get("name")): str(s.get("description") or "") for s in described_states(comparison, which)}
    rows = []
    for k, name in enumerate(drawn[0].states[which].names):
        cells = []
        for one in (e.states[which] for e in drawn):
            share, energy = one.populations, one.free_energies
            bounds = numbers.interval(float(share.low[k]), float(share.high[k]), 100)
            under = f"{bounds} %" if bounds else ""
            if k and math.isfinite(energy.value[k]):
                limits = numbers.interval(float(energy.low[k]), float(energy.high[k]))
                under += f"; {numbers.digits(float(energy.value[k]))} kJ/mol" + (f" ({limits})" if limits else "")
            cells.append(Cell(numbers.percent(float(share.value[k])), under.removeprefix("; ")))
        rows.append((Cell(name, described.get(name, "")), tuple(cells)))
    caption = (
        "Population with its 95 % interval; then the free energy above the first state, -kT ln(p / p first), with its "
        "interval."
    )
    head = tuple((e.name, e.role) for e in drawn)
    title = f"Populations and free energies, {kinetics.called(which)}"
    return Table(title, caption, head, tuple(rows), len(rows) > MOST_OPEN)


def described_states(comparison: Comparison, which: str) -> list[Mapping[str, Any]]:
    """What the settings say of the states of a set; nothing where they say nothing."""
    sets = comparison.settings.get("states")
    found = sets.get(which) if isinstance(sets, Mapping) else None
    return [s for s in found if isinstance(s, Mapping)] if isinstance(found, Sequence) else []


def time_scalings(ensembles: Sequence[Ensemble]) -> list[str]:
    """What is known of the time of each ensemble whose time is not physical, a sentence each."""
    found = []
    for one in drawing.shown(ensembles):
        sets = [s for s in one.states.values() if not s.physical]
        if (one.timescales is None or one.timescales.physical) and not sets:
            continue
        text = f"{one.name}: its time is not physical time."
        scaling = one.timescales.time_scaling if one.timescales is not None else None
        value, low, high = (
            (float(a.ravel()[0]) for a in (scaling.value, scaling.low, scaling.high)) if scaling else (math.nan,) * 3
        )
        if math.isfinite(value):
            bounds = numbers.interval(low, high)
            text += f" One picosecond of it stands for about {numbers.digits(value)} ps of physical time"
            text += f" (95 % interval {bounds})" if bounds else ""
            text += ", if the slowest timescale is taken for the same process in both."
        found.append(text)
    return found


def further(comparison: Comparison) -> list[Table]:
    """A folded table for each further divergence: value, ratio to its floor, p, mark."""
    others = comparison.others
    found = []
    for divergence in dict.fromkeys(m for e in others for m in e.further):
        having = [e for e in others if e.further.get(divergence)]
        rows = []
        for metric in dict.fromkeys(m for e in having for m in e.further[divergence]):
            values = [e.further[divergence].get(metric) for e in having]
            first = next(v for v in values if v is not None)
            floor = Cell(
                numbers.digits(first.floor, 3), f"to {numbers.digits(first.floor_high, 3)}" if first.judged else ""
            )
            rows.append((Cell(metric), (floor, *(_distance(v) for v in values))))
        caption = (
            "The first column is the floor, what an independent all-atom sample would show, with its 95 % quantile. "
            "Beneath each value its ratio to the floor, and p, the share of such samples that would lie as far."
        )
        head = (("floor", ""), *((e.name, e.role) for e in having))
        found.append(Table(divergence, caption, head, tuple(rows), True, _count(having, divergence)))
    return found


def _distance(value: Any) -> Cell:
    if value is None:
        return Cell(numbers.DASH)
    parts = [f"{numbers.digits(value.ratio)} \u00d7 floor" if math.isfinite(value.ratio) else "", p_value(value.p)]
    return Cell(numbers.digits(value.value, 3), " \u00b7 ".join(filter(None, parts)), mark(value))


def _count(having: Sequence[Ensemble], divergence: str) -> str:
    """ "force field 3 of 8 beyond"."""
    parts = []
    for one in having:
        judged = [d for d in one.further[divergence].values() if d.judged]
        if one.role == "surrogate" and judged:
            beyond = sum(not d.within for d in judged)
            parts.append(f"{one.name}: {len(judged) - beyond} of {len(judged)} within the noise")
    return "; ".join(parts)


def convergence(comparison: Comparison) -> Table | None:
    """How much each ensemble was sampled: independent frames, their rate, halves against their limit, round trips."""
    drawn = [e for e in comparison.ensembles if e.convergence is not None]
    if not drawn:
        return None
    known = comparison.reference.convergence
    pace = known.per_second if known is not None else math.nan
    rows = []
    for one in drawn:
        own = one.convergence
        ratio = own.per_second / pace if pace > 0 and one is not comparison.reference else math.nan
        under = f"{numbers.digits(ratio)} \u00d7 the reference" if math.isfinite(ratio) else ""
        cells = (
            Cell(f"{one.frames_count:,}"),
            Cell(f"{own.effective:,.0f}" if math.isfinite(own.effective) else numbers.DASH),
            Cell(numbers.seconds(own.wall_seconds)),
            Cell(numbers.digits(own.per_second), under),
            _halves(own.halves, own.halves_floor),
            Cell(f"{own.round_trips:,.0f}" if math.isfinite(own.round_trips) else numbers.DASH),
        )
        rows.append((Cell(one.name), cells))
    heads = ("frames", "independent frames", "wall time", "independent per second", "halves", "round trips")
    caption = (
        "Independent frames: frames over the statistical inefficiency of the slowest coordinate. Halves: Jensen\u2013"
        "Shannon distance of the first half of every run to its second half, beside the 95 % quantile of that distance "
        "between random halves; beyond it, the runs have not come to equilibrium (the worst figure is shown). Round "
        "trips: from one end of the slowest coordinate to the other and back, over all replicas."
    )
    empty = [all(cells[k].text == numbers.DASH for _, cells in rows) for k in range(len(heads))]
    kept = [k for k in range(len(heads)) if not empty[k]]
    return Table(
        "", caption, tuple((heads[k], "") for k in kept),
        tuple((name, tuple(cells[k] for k in kept)) for name, cells in rows),
    )  # fmt: skip


def _halves(halves: Mapping[str, float], floor: Mapping[str, float]) -> Cell:
    """The figure that lies furthest above (or nearest to) its limit."""
    judged = {m: v / floor[m] for m, v in halves.items() if floor.get(m, math.nan) > 0 and math.isfinite(v)}
    if not judged:
        return Cell(numbers.DASH)
    worst = max(judged, key=lambda m: judged[m])
    beyond = sum(ratio > 1 for ratio in judged.values())
    text = f"{len(judged) - beyond} of {len(judged)} within"
    return Cell(text, f"{worst} {halves[worst]:.3f}, limit {floor[worst]:.3f}", "beyond" if beyond else "within")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def published(comparison: Comparison) -> list[Table]:
    """Published metrics of every ensemble beside the figures that papers print."""
    settings = comparison.settings.get("published")
    settings = settings if isinstance(settings, Mapping) else {}
    found = []
    for benchmark in dict.fromkeys(name for e in comparison.others for name in e.published):
        about = settings.get(benchmark)
        about = about if isinstance(about, Mapping) else {}
        having = [e for e in comparison.ensembles if e.published.get(benchmark)]
        meaning, published = about.get("metrics") or {}, about.get("figures") or []
        rows = []
        for metric in dict.fromkeys(m for e in having for m in e.published[benchmark]):
            cells = [Cell(numbers.digits(float(e.published[benchmark].get(metric, math.nan)), 3)) for e in having]
            printed = [row for row in published if len(row) == 4 and row[1] == metric]
            if published:
                text = "; ".join(f"{row[0]}: {numbers.digits(float(row[2]), 3)}" for row in printed)
                cells.append(Cell(text or numbers.DASH, "; ".join(dict.fromkeys(str(row[3]) for row in printed))))
            rows.append((Cell(metric, str(meaning.get(metric) or "")), tuple(cells)))
        head = tuple((e.name, e.role) for e in having) + ((("published", "as printed"),) if published else ())
        source = f"As in {about['source']}." if about.get("source") else ""
        caption = " ".join([source, *(_sentence(str(note)) for note in about.get("notes") or [])]).strip()
        found.append(Table(benchmark, caption, head, tuple(rows)))
    return found
