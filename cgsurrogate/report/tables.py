"""Tables of the page: distances, geometry, states, transitions, convergence, published figures; plain text in cells."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from cgsurrogate.analysis.results import Estimate, StateKinetics
from cgsurrogate.comparison.comparison import Comparison, Distance, Ensemble
from cgsurrogate.report import captions, marks, numbers
from cgsurrogate.report.plots import drawing, kinetics

ALIKE = 1.5  # counts of transitions can be compared where frames are about as far apart
MOST_OPEN = 6  # rows; a longer table of kinetics is folded away
FORCE_FIELD = "force-field time"
CALLED = {"floor": "training runs"}  # a role that is called otherwise on the page


@dataclasses.dataclass(frozen=True)
class Cell:
    """A value, what stands in small letters beneath it, and the mark before it ("" for none)."""

    text: str
    under: str = ""
    state: str = ""


EMPTY = Cell(numbers.DASH)


@dataclasses.dataclass(frozen=True)
class Table:
    """``head`` holds (name, small print) of each column; a row is its name and its cells."""

    title: str
    caption: str
    head: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Cell, tuple[Cell, ...]], ...]
    folded: bool = False


def distances(comparison: Comparison) -> Table | None:
    """Jensen-Shannon distances, of every ensemble and metric."""
    judged = any(e.judgement is not None for e in comparison.others)
    caption = captions.DISTANCE_TABLE + (captions.DESCRIBED if judged else "")
    return _measure("", caption, {e.name: e.distances for e in comparison.others}, comparison)


def further(comparison: Comparison) -> list[Table]:
    """A folded table for each further measure."""
    found = []
    for measure in dict.fromkeys(m for e in comparison.others for m in e.further):
        values = {e.name: e.further.get(measure, {}) for e in comparison.others}
        table = _measure(measure, captions.FURTHER_TABLE, values, comparison)
        found += [dataclasses.replace(table, folded=True)] if table else []
    return found


def _measure(
    title: str, caption: str, values: Mapping[str, Mapping[str, Distance]], comparison: Comparison
) -> Table | None:
    """A row a metric: the floor, and of every ensemble (name -> metric -> distance) value, ratio, p, interval."""
    having = [e for e in comparison.others if values[e.name]]
    rows = []
    for metric in dict.fromkeys(m for e in having for m in values[e.name]):
        found = [values[e.name].get(metric) for e in having]
        first = next(d for d in found if d is not None)
        high = f"to {numbers.digits(first.floor_high, 3)}" if first.judged else ""
        rows.append((Cell(metric), (Cell(numbers.digits(first.floor, 3), high), *map(_distance, found))))
    return Table(title, caption, (("floor", ""), *_head(having)), tuple(rows)) if rows else None


def _beneath(*parts: str) -> str:
    """The parts that are not empty; a line is broken between them, or before a bracket, only."""
    return ", ".join(part.replace(" ", "\u00a0").replace("\u00a0(", " (") for part in parts if part)


def _head(drawn: Sequence[Ensemble]) -> tuple[tuple[str, str], ...]:
    return tuple((e.name, CALLED.get(e.role, e.role)) for e in drawn)


def _distance(d: Distance | None) -> Cell:
    if d is None:
        return EMPTY
    ratio = f"{numbers.digits(d.ratio)} \u00d7 floor" if math.isfinite(d.ratio) else ""
    under = _beneath(ratio, _p_value(d.p), numbers.interval(d.low, d.high))
    return Cell(numbers.digits(d.value, 3), under)


def _p_value(p: float) -> str:
    """ "p = 0.03"; nothing where it is unknown. The splits that it is counted over resolve no less than 0.01."""
    if not math.isfinite(p):
        return ""
    return "p < 0.01" if p < 0.01 else f"p = {p:.2f}"


def regions(comparison: Comparison) -> Table | None:
    """Helix and strand content of each residue, a row a residue and region."""
    drawn = [(e, e.regions) for e in drawing.shown(comparison.ensembles) if e.regions is not None]
    if not drawn:
        return None
    first, rows = drawn[0][1], []
    for r, residue in enumerate(first.residues):
        for k, region in enumerate(first.regions):
            cells = []
            for _, own in drawn:
                value, low, high = numbers.at(own.shares, r, k)
                bounds = numbers.interval(low, high, 100)
                cells.append(Cell(numbers.percent(value), f"{bounds}\u00a0%".replace(" ", "\u00a0") if bounds else ""))
            rows.append((Cell(residue, region), tuple(cells)))
    head = _head([e for e, _ in drawn])
    return Table("Helix and strand of each residue", "", head, tuple(rows), len(rows) > MOST_OPEN)


def geometry(comparison: Comparison) -> Table | None:
    """Frames that are broken or too close, and the worst term, by every check of the surrogates and baselines."""
    drawn = [e for e in drawing.shown(comparison.others) if e.geometry]
    rows = []
    for name in dict.fromkeys(n for e in drawn for n in e.geometry):
        cells = []
        for one in drawn:
            check = one.geometry.get(name, {})
            count = next((check[k] for k in ("bad frames", "below half", "above limit") if k in check), None)
            text = numbers.DASH if count is None else f"{int(count):,} of {one.frames_count:,}"
            cells.append(Cell(text, str(check.get("worst") or ""), marks.broken(check)))
        rows.append((Cell(name), tuple(cells)))
    return Table("Frames that fail a check", captions.GEOMETRY_TABLE, _head(drawn), tuple(rows), True) if rows else None


def first_passage(comparison: Comparison, which: str) -> Table | None:
    """Mean first-passage times of every ensemble."""
    return _transitions(
        comparison, which, "mean_first_passage", "Mean first-passage times", captions.FIRST_PASSAGE_TABLE
    )


def rates(comparison: Comparison, which: str) -> Table | None:
    """Counted rates between the cores of the states."""
    return _transitions(comparison, which, "rates", "Rates from counted transitions", captions.RATES_TABLE)


def _transitions(comparison: Comparison, which: str, field: str, title: str, caption: str) -> Table | None:
    drawn = [e for e in drawing.shown(comparison.ensembles) if which in e.states]
    drawn = [e for e in drawn if getattr(e.states[which], field) is not None]
    if not drawn:
        return None
    names = drawn[0].states[which].names
    known = comparison.basis.states.get(which)
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
    if field == "mean_first_passage":
        text, under = numbers.duration(*numbers.at(values, i, j))
    else:
        text, bounds = numbers.rate(*numbers.at(values, i, j))
        seen = f"{own.counts[i, j]:,.0f} seen" if math.isfinite(own.counts[i, j]) else ""
        under = _beneath(bounds, seen)
    physical = known is not None and own.physical and known.physical
    if field == "rates" and known is not None and physical and not 1 / ALIKE < own.spacing / known.spacing < ALIKE:
        under = _beneath(under, f"frames {numbers.duration(own.spacing)[0]} apart")
    return Cell(text, under)


def populations(comparison: Comparison, which: str) -> Table | None:
    """Population and free-energy difference of every named state."""
    drawn = [e for e in drawing.shown(comparison.ensembles) if which in e.states]
    if not drawn:
        return None
    described = {str(s.get("name")): str(s.get("description") or "") for s in described_states(comparison, which)}
    rows = [
        (Cell(name, described.get(name, "")), tuple(_population(e.states[which], k) for e in drawn))
        for k, name in enumerate(drawn[0].states[which].names)
    ]
    title = f"Populations and free energies, {kinetics.called(which)}"
    return Table(title, captions.POPULATIONS_TABLE, _head(drawn), tuple(rows), len(rows) > MOST_OPEN)


def _population(states: StateKinetics, k: int) -> Cell:
    share, low, high = numbers.at(states.populations, k)
    bounds = numbers.interval(low, high, 100)
    energy, low, high = numbers.at(states.free_energies, k)
    above = f"{numbers.digits(energy)} kJ/mol" if k and math.isfinite(energy) else ""
    if above and (limits := numbers.interval(low, high)):
        above += f" ({limits})"
    return Cell(numbers.percent(share), _beneath(f"{bounds} %" if bounds else "", above))


def described_states(comparison: Comparison, which: str) -> list[Mapping[str, Any]]:
    """What the settings say of the states of a set; nothing where they say nothing."""
    sets = comparison.settings.get("states")
    found = sets.get(which) if isinstance(sets, Mapping) else None
    return [s for s in found if isinstance(s, Mapping)] if isinstance(found, Sequence) else []


def time_scalings(ensembles: Sequence[Ensemble]) -> list[str]:
    """What is known of the time of each ensemble whose time is not physical, a sentence each."""
    found = []
    for one in drawing.shown(ensembles):
        parts = [one.timescales, *one.states.values()]
        if all(part is None or part.physical for part in parts):
            continue
        text = f"{one.name}: its time is not physical time."
        scaling = one.timescales.time_scaling if one.timescales is not None else None
        value, low, high = numbers.at(scaling) if scaling is not None else (math.nan,) * 3
        if math.isfinite(value):
            bounds = numbers.interval(low, high)
            text += f" One picosecond of it stands for about {numbers.digits(value)} ps of physical time"
            text += f" (95 % interval {bounds})" if bounds else ""
            text += ", if the slowest timescale is taken for the same process in both."
        found.append(text)
    return found


def convergence(comparison: Comparison) -> Table | None:
    """How much each ensemble was sampled: independent frames, their rate, halves against their limit, round trips."""
    drawn = [(e, e.convergence) for e in comparison.ensembles if e.convergence is not None]
    known = comparison.basis.convergence
    pace = known.per_second if known is not None else math.nan
    rows = []
    for one, own in drawn:
        ratio = own.per_second / pace if pace > 0 and own is not known else math.nan
        cells = (
            Cell(f"{one.frames_count:,}"),
            Cell(f"{own.effective:,.0f}" if math.isfinite(own.effective) else numbers.DASH),
            Cell(numbers.seconds(own.wall_seconds)),
            Cell(
                numbers.digits(own.per_second),
                f"{numbers.digits(ratio)} \u00d7 the {comparison.basis.name}" if math.isfinite(ratio) else "",
            ),
            _halves(own.halves, own.halves_floor),
            Cell(f"{own.round_trips:,.0f}" if math.isfinite(own.round_trips) else numbers.DASH),
        )
        rows.append((Cell(one.name), cells))
    heads = ("frames", "independent frames", "wall time", "independent per second", "halves of runs", "round trips")
    kept = [k for k in range(len(heads)) if any(cells[k].text != numbers.DASH for _, cells in rows)]
    filled = tuple((name, tuple(cells[k] for k in kept)) for name, cells in rows)
    return Table("", captions.CONVERGENCE_TABLE, tuple((heads[k], "") for k in kept), filled) if rows else None


def _halves(halves: Mapping[str, float], floor: Mapping[str, float]) -> Cell:
    """The measure that lies furthest above (or nearest to) its limit."""
    judged = {m: v / floor[m] for m, v in halves.items() if floor.get(m, math.nan) > 0 and math.isfinite(v)}
    if not judged:
        return EMPTY
    worst = max(judged, key=lambda m: judged[m])
    beyond = sum(ratio > 1 for ratio in judged.values())
    text = f"{len(judged) - beyond} of {len(judged)} within"
    return Cell(text, f"{worst} {halves[worst]:.3f}, limit {floor[worst]:.3f}", "caution" if beyond else "")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def published(comparison: Comparison) -> list[Table]:
    """Published metrics of every ensemble beside the figures that papers print."""
    settings = comparison.settings.get("published") or {}
    found = []
    for benchmark in dict.fromkeys(name for e in comparison.others for name in e.published):
        about = settings.get(benchmark) or {}
        having = [e for e in comparison.ensembles if e.published.get(benchmark)]
        meaning, printed = about.get("metrics") or {}, about.get("figures") or []
        rows = []
        for metric in dict.fromkeys(m for e in having for m in e.published[benchmark]):
            cells = [Cell(numbers.digits(float(e.published[benchmark].get(metric, math.nan)), 3)) for e in having]
            own = [row for row in printed if len(row) == 4 and row[1] == metric]
            if printed:
                text = "; ".join(f"{row[0]}: {numbers.digits(float(row[2]), 3)}" for row in own)
                cells.append(Cell(text or numbers.DASH, "; ".join(dict.fromkeys(str(row[3]) for row in own))))
            rows.append((Cell(metric, str(meaning.get(metric) or "")), tuple(cells)))
        head = (*_head(having), *([("published", "as printed")] if printed else []))
        source = f"As in {about['source']}." if about.get("source") else ""
        caption = " ".join([source, *(_sentence(str(note)) for note in about.get("notes") or [])]).strip()
        found.append(Table(benchmark, caption, head, tuple(rows)))
    return found
