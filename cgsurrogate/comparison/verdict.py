"""What the numbers say, in sentences a person can read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cgsurrogate.analysis.results import Estimate, Surface, Timescales
from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import LEAST_RUNS

DEEP = 4.0  # kT; above this a reference of usual length knows its own surface badly
SIGNIFICANT = 3.0  # standard errors; of a hundred bins some are two standard errors off by chance
KNOWN = 0.35  # kT; about eight independent visits
OUTSIDE = 0.01
MOST_NAMED = 4  # first-passage times in one sentence


def sentences(ensembles: Sequence[Ensemble], kT: float) -> tuple[str, ...]:
    """One sentence or a few for each surrogate."""
    reference = ensembles[0]
    return tuple(_sentence(one, reference, kT) for one in ensembles if one.role == "surrogate")


def _sentence(one: Ensemble, reference: Ensemble, kT: float) -> str:
    judged = {name: d for name, d in one.distances.items() if d.judged}
    beyond = sorted((n for n, d in judged.items() if not d.within), key=lambda n: -judged[n].ratio)
    within = [name for name, d in judged.items() if d.within]
    if not judged:
        head = f"{one.name}: cannot be judged, the reference is too short for a noise floor."
    elif not beyond:
        head = f"{one.name}: within the reference's own uncertainty on all {len(judged)} figures ({', '.join(within)})."
    else:
        what = ", ".join(
            f"{n} ({judged[n].value:.3f}, {judged[n].ratio:.1f} times the floor of {judged[n].floor:.3f})"
            for n in beyond
        )
        head = f"{one.name}: beyond the reference's own uncertainty on {len(beyond)} of {len(judged)} figures: {what}"
        head += f"; within it on {', '.join(within)}." if within else "."
    parts = [
        head,
        largest_error(one, reference, kT),
        *states(one, reference),
        timescale(one, reference),
        *_structure(one),
    ]
    return " ".join(part for part in parts if part)


def largest_error(one: Ensemble, reference: Ensemble, kT: float) -> str:
    """Where the free energy in 1-D is furthest from the reference, beyond both errors; and what is never visited."""
    worst, where, lost, lost_in = 0.0, "", 0.0, ""
    for name, known in reference.surfaces.items():
        own = one.surfaces[name]
        if len(known.edges) != 1:
            continue
        difference, centres = significant(own, known, kT)
        if np.isfinite(difference).any():
            k = int(np.nanargmax(np.abs(difference)))
            if abs(difference[k]) > abs(worst):
                worst, where = float(difference[k]), f"{name} = {_at(centres[k], known)}"
        missing = float(known.probability[own.probability == 0].sum())
        if missing > lost:
            lost, lost_in = missing, name
    parts = []
    if where:
        parts.append(f"Largest free-energy error {worst:+.1f} kT at {where}.")
    if lost > OUTSIDE:
        parts.append(f"It never visits {lost:.0%} of the reference along {lost_in}.")
    return " ".join(parts)


def significant(own: Surface, known: Surface, kT: float) -> tuple[np.ndarray, np.ndarray]:
    """((bins,) difference of -ln p in kT, nan where unknown or not significant, (bins,) bin centres).

    Only bins where the reference lies below ``DEEP`` kT and neither error is above ``KNOWN`` kT.
    """
    edges = known.edges[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(known.probability) - np.log(own.probability)
        error = np.hypot(own.error, known.error) / kT
        good = (known.free_energy < DEEP * kT) & (known.error < KNOWN * kT) & (own.error < KNOWN * kT)
        good &= np.isfinite(difference) & (np.abs(difference) > SIGNIFICANT * error)
    return np.where(good, difference, np.nan), (edges[1:] + edges[:-1]) / 2


def timescale(one: Ensemble, reference: Ensemble) -> str:
    """The slowest timescale against that of the reference, at the longest lag of the reference and the nearest own."""
    known, own = reference.timescales, one.timescales
    if own is not None and own.time_scaling is not None:
        value, low, high = (float(x) for x in (own.time_scaling.value, own.time_scaling.low, own.time_scaling.high))
        return (
            f"Its time is not physical: by the slowest process, 1 ps of it is worth {value:.3g} ps"
            f" ({low:.3g} to {high:.3g})."
        )
    if known is None or own is None or not (own.physical and known.physical):
        return ""
    rows, own_rows = (np.flatnonzero(np.isfinite(t.low[:, 0])) for t in (known, own))
    if not len(rows) or not len(own_rows):
        return ""
    k = rows[-1]
    j = own_rows[np.argmin(np.abs(np.log(own.lags[own_rows] / known.lags[k])))]
    text = f"Its slowest timescale is {_time(own, j)} against {_time(known, k)} of the reference"
    if own.low[j, 0] > known.high[k, 0]:
        return f"{text}: too slow."
    if own.high[j, 0] < known.low[k, 0]:
        return f"{text}: too fast."
    return f"{text}: the intervals overlap."


def states(one: Ensemble, reference: Ensemble) -> list[str]:
    """Populations of states, mean first-passage times, with an interval that does not overlap the reference's."""
    parts = []
    for kind, known in reference.states.items():
        own = one.states.get(kind)
        if own is None:
            continue
        wrong = [
            f"{name} {_share(own.populations, k)} against {_share(known.populations, k)}"
            for k, name in enumerate(known.names)
            if own.populations.apart(known.populations, k)
        ]
        if wrong:
            parts.append(f"Populations of {kind} states that differ: {'; '.join(wrong)}.")
        if own.physical and known.physical and own.mean_first_passage and known.mean_first_passage:
            pairs = [(a, b) for a in range(len(known.names)) for b in range(len(known.names)) if a != b]
            off = [
                f"{known.names[a]} to {known.names[b]} {_first_passage(own.mean_first_passage, a, b)} against"
                f" {_first_passage(known.mean_first_passage, a, b)}"
                for a, b in pairs
                if own.mean_first_passage.apart(known.mean_first_passage, a, b)
            ]
            if off:
                parts.append(f"Mean first-passage times that differ: {'; '.join(off[:MOST_NAMED])}.")
    return parts


def _share(e: Estimate, k: int) -> str:
    return f"{e.value[k]:.2g} ({e.low[k]:.2g} to {e.high[k]:.2g})"


def _first_passage(e: Estimate, a: int, b: int) -> str:
    value, low, high = (x[a, b] / 1000 for x in (e.value, e.low, e.high))
    return f"{value:.2g} ns ({low:.2g} to {high:.2g})"


def _time(times: Timescales, row: int) -> str:
    value, low, high = (a[row, 0] / 1000 for a in (times.values, times.low, times.high))
    return f"{value:.3g} ns ({low:.3g} to {high:.3g})"


def _at(value: float, surface: Surface) -> str:
    return f"{math.degrees(value):.0f} degrees" if surface.periodic[0] else f"{value:.3g}"


def _structure(one: Ensemble) -> list[str]:
    parts = []
    broken = one.geometry.get("bonds", {}).get("bad frames", 0)
    flipped = one.geometry.get("chirality", {}).get("bad frames", 0)
    if broken:
        parts.append(f"{broken} of {one.frames_count} frames have a broken bond.")
    if flipped:
        parts.append(f"{flipped} of {one.frames_count} frames have a residue of the wrong chirality.")
    close = one.geometry.get("closest approach", {})
    if close.get("below half"):
        parts.append(f"Beads come closer than half of the reference's least distance ({close['worst']}).")
    return parts


def warnings(
    ensembles: Sequence[Ensemble], frames: Mapping[str, Frames], enough: bool, splits: Mapping[str, int]
) -> tuple[str, ...]:
    """What a reader must know before trusting the verdict.

    Args:
        frames: of every ensemble, by name.
        enough: whether the blocks of the reference are longer than its correlation.
        splits: how many splits each noise floor rests on.
    """
    found = []
    reference = frames[ensembles[0].name]
    if not enough:
        found.append(
            "the reference is too short for its own slowest motion: runs are cut into blocks shorter than its"
            " correlation, so errors and noise floor are too small; add runs or longer ones"
        )
    elif len(reference.lengths) < LEAST_RUNS:
        found.append(
            f"the reference has {len(reference.lengths)} run(s): its errors come from blocks within runs, taken as"
            f" independent; {LEAST_RUNS} or more runs would need no such assumption"
        )
    few = [name for name, number in splits.items() if number < 10]
    if few:
        found.append(f"the noise floor of {', '.join(few)} rests on fewer than ten splits; read it as a rough figure")
    own = ensembles[0]
    for one in ensembles[1:]:
        outside = {name: s.outside for name, s in one.surfaces.items() if s.outside > OUTSIDE}
        if outside:
            worst = max(outside, key=lambda name: outside[name])
            found.append(
                f"{one.name}: {outside[worst]:.1%} of the frames lie outside the range of the reference in {worst}"
            )
        if one.role == "surrogate" and one.effective < own.effective / 2:
            found.append(
                f"{one.name}: about {one.effective:.0f} independent frames against {own.effective:.0f} of the"
                " reference; its own sampling error counts against it, so simulate longer before blaming the model"
            )
        own_temperature = frames[one.name].temperature
        if abs(own_temperature - reference.temperature) > 0.5:
            found.append(
                f"{one.name} is at {own_temperature:g} K, the reference at {reference.temperature:g} K; each has free"
                " energies at its own temperature"
            )
    for one in ensembles:
        found += _halves(one)
        found += [f"{one.name}: {note}" for note in one.notes]
        found += [
            f"{one.name}: {note}" for known in one.states.values() for note in known.notes if note not in one.notes
        ]
    return tuple(dict.fromkeys(found))


def _halves(one: Ensemble) -> list[str]:
    """Whether the first half of the runs and the second tell different stories."""
    if one.convergence is None:
        return []
    limits = one.convergence.halves_floor
    moved = {n: v for n, v in one.convergence.halves.items() if v > limits[n]}
    if len(moved) < max(2, len(limits) / 4):  # one in twenty lies beyond by chance
        return []
    worst = max(moved, key=lambda n: moved[n] / limits[n])
    return [
        f"{one.name}: the second half of its runs differs from the first on {len(moved)} of {len(limits)} figures (most"
        f" on {worst}: {moved[worst]:.3f}, by chance up to {limits[worst]:.3f}); it has not come to equilibrium"
    ]
