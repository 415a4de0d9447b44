"""Macrostates: metastable sets of the reference's microstates (PCCA+), and every ensemble's kinetics between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from cgsurrogate.analysis import events
from cgsurrogate.analysis.kinetics import markov_model, transitions
from cgsurrogate.analysis.results import ChapmanKolmogorov, Estimate, LogDifference, Result, StateKinetics
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

MOST, LEAST_POPULATION, CORE = 5, 0.01, 0.75
DRAWS, MULTIPLES = 60, 5


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Macrostates(Result):
    """M sets of S microstates (macrostates), by falling population in the reference.

    Attributes:
        names: of the macrostates, "A", "B", ...
        assignment: (S,) macrostate of each microstate, -1 where the reference does not connect it with the others.
        cores: (S,) the same, and -1 also for microstates of low membership: between two cores, nothing changes.
        lag: ps, of the Markov state model.
        timescales: ps, of the reference at this lag, the slowest first; the first M - 1 lie between the macrostates.
    """

    names: tuple[str, ...]
    assignment: np.ndarray
    cores: np.ndarray
    lag: float
    timescales: np.ndarray

    def __post_init__(self) -> None:
        if self.assignment.shape != self.cores.shape or not self.lag > 0:
            raise ValueError(
                f"expected one macrostate and one core a microstate and a lag, got {self.assignment.shape}, {self.lag}"
            )

    def __len__(self) -> int:
        return len(self.names)


def macrostates(
    labels: np.ndarray, frames: Frames, lag: float, count: int, wanted: int | None = None
) -> Macrostates | None:
    """Macrostates, between which the reference moves slowly, by PCCA+ (Roeblitz and Weber 2013).

    Args:
        labels: (T,) number of the microstate of each frame of the reference, below ``count``.
        lag: ps, rounded to whole frames.
        wanted: how many; by default where the gap in the spectrum is largest, at most ``MOST``, each with at least
            ``LEAST_POPULATION``, the slowest process between them slower than the lag.

    Returns:
        None where there are no such sets: weighted frames, runs shorter than the lag, or no process slower than it.
    """
    from deeptime.markov import pcca

    if wanted is not None and wanted < 2:
        raise ValueError(f"expected at least 2 macrostates, got {wanted}")
    step = max(1, round(lag / frames.dt))
    if not frames.time_ordered or step >= max(frames.lengths):
        return None
    table = markov_model.transition_counts(labels, frames, step, count)[0]
    chosen = markov_model.connected(table)
    if len(chosen) < (wanted or 2) + 1:
        return None
    matrix, stationary = markov_model.transition_matrix(table[np.ix_(chosen, chosen)])
    slow = markov_model.timescales(markov_model.spectrum(matrix, stationary)[0], step * frames.dt, MOST + 1)
    for number in (wanted,) if wanted else _by_gap(slow, step * frames.dt):
        members = np.asarray(pcca(matrix, number, stationary_distribution=stationary).memberships)
        which = members.argmax(1)
        shares = np.bincount(which, stationary, minlength=number)
        if shares.min() < (0 if wanted else LEAST_POPULATION) or not shares.all():
            continue
        order = np.argsort(-shares)
        return _made(members[:, order], chosen, count, step * frames.dt, slow)
    return None


def _by_gap(slow: np.ndarray, lag: float) -> list[int]:
    """Numbers of macrostates, the one before the largest gap of the spectrum first."""
    filled = np.maximum(np.nan_to_num(slow, nan=0.0), lag / 10)
    ratios = {k + 2: filled[k] / filled[k + 1] for k in range(min(MOST, len(slow)) - 1) if filled[k] > lag}
    return sorted(ratios, key=lambda number: -ratios[number])


def _made(members: np.ndarray, chosen: np.ndarray, count: int, lag: float, slow: np.ndarray) -> Macrostates:
    sets, cores = np.full(count, -1, np.int8), np.full(count, -1, np.int8)
    sets[chosen] = members.argmax(1)
    core = np.where(members.max(1) >= CORE, members.argmax(1), -1)
    for number in range(members.shape[1]):
        if not (core == number).any():
            core[members[:, number].argmax()] = number
    cores[chosen] = core
    names = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: members.shape[1]])
    return Macrostates(names, sets, cores, lag, slow)


def describe(
    found: Macrostates,
    labels: np.ndarray,
    frames: Frames,
    columns: Mapping[str, np.ndarray],
    *,
    angles: Collection[str] = (),
    units: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """A short text on each macrostate: the means of collective variables over its core, e.g. "RMSD 0.12 nm, helix 0.7".

    Args:
        columns: (T,) values by name.
        angles: names of the columns that are angles in radians; they get a circular mean in degrees.
        units: by name.
    """
    where, texts = found.cores[labels], []
    for number in range(len(found)):
        inside = np.flatnonzero(where == number)
        weight = None if frames.weights is None else np.asarray(frames.weights[inside], float)
        if not len(inside) or (weight is not None and not weight.sum() > 0):
            texts.append("no frames")
            continue
        parts = []
        for name, values in columns.items():
            own = np.asarray(values)[inside].astype(float)
            if name in angles:
                turn = np.average(np.exp(1j * own), weights=weight)
                parts.append(f"{name} {math.degrees(float(np.angle(turn))):.0f}\N{DEGREE SIGN}")
            else:
                unit = (units or {}).get(name, "")
                parts.append(f"{name} {np.average(own, weights=weight):.2g}{' ' if unit else ''}{unit}")
        texts.append(", ".join(parts))
    return tuple(texts)


def measure(
    found: Macrostates,
    labels: np.ndarray,
    frames: Frames,
    cut: Blocks,
    rng: np.random.Generator,
) -> StateKinetics:
    """Kinetics of any ensemble between the macrostates of the reference; nan and a note where its data do not allow it.

    The model is a reversible Markov state model of the microstates, at the lag of the macrostates rounded to the frames
    of the ensemble. Transitions are between macrostates; first passages lead from core to core, started from the
    equilibrium within the first. Every interval comes from a Bayesian bootstrap over blocks, but that of rates from a
    Poisson process.
    """
    if labels.shape != (len(frames),):
        raise ValueError(f"expected one microstate a frame, ({len(frames)},), got {labels.shape}")
    sets, cores = found.assignment[labels], found.cores[labels]
    seen = transitions.measure(sets, found.names, frames, cut, rng, cores)
    if not frames.time_ordered:
        return seen
    model, notes = _model(found, labels, frames, cut, markov_model.block_weights(len(cut), rng, DRAWS))
    return dataclasses.replace(seen, notes=seen.notes + notes, **model)


def _model(
    found: Macrostates, labels: np.ndarray, frames: Frames, cut: Blocks, weights: np.ndarray
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a Markov state model adds to ``StateKinetics``, by field, and what must be said about it."""
    step = max(1, round(found.lag / frames.dt))
    if step >= max(frames.lengths):
        return {}, (f"no model of the transitions: every run is shorter than the lag of {found.lag:g} ps",)
    notes = []
    if abs(step * frames.dt / found.lag - 1) > 0.2:
        notes.append(f"its lag is {step * frames.dt:g} ps, not {found.lag:g} ps: frames are {frames.dt:g} ps apart")
    size = len(found.assignment)
    table = markov_model.transition_counts(labels, frames, step, size, cut)
    total = table.sum(0)
    chosen = markov_model.connected(total)
    if not total.any() or len(chosen) < 2:
        return {}, (*notes, "no model of the transitions: no two states are connected both ways")
    inner = np.ascontiguousarray(table[:, chosen][:, :, chosen]).reshape(len(table), -1)
    if inner.sum() < 0.95 * total.sum():
        notes.append(f"only {inner.sum() / total.sum():.0%} of the transitions lie in one connected set of microstates")
    gone = [name for k, name in enumerate(found.names) if not (found.cores[chosen] == k).any()]
    if gone:
        notes.append(f"not connected both ways with the rest: {', '.join(gone)}")
    most = min(MULTIPLES, (max(frames.lengths) - 1) // step)
    kept = int((inner.sum(1) > 0).sum())

    def solve(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        matrix, stationary = markov_model.transition_matrix(flat.reshape(len(chosen), len(chosen)))
        sets, cores = found.assignment[chosen], found.cores[chosen]
        powers = lumped(matrix, stationary, sets, len(found), most)
        return (
            powers[0],
            mean_first_passage_times(matrix, stationary, cores, len(found)) * step * frames.dt,
            _diagonals(powers),
        )

    value = solve(inner.sum(0))
    drawn = [solve(one) for one in weights @ inner]
    jumps, times, predicted = (
        markov_model.interval(value[k], np.array([one[k] for one in drawn]), kept, scale)
        for k, scale in enumerate(("logit", "log", "logit"))
    )
    counted = _counted(found, labels, frames, cut, weights, chosen, step, most)
    seen = transitions.dwell_times(found.cores[labels], frames)
    jumps, times, predicted, counted = _by_events(seen, len(found), jumps, times, predicted, counted)
    if (np.isfinite(times.value) & np.isnan(times.low)).any():
        notes.append(f"passages that were seen fewer than {events.LEAST} times have no interval")
    check = ChapmanKolmogorov(np.arange(1, most + 1) * step * frames.dt, predicted, counted)
    return {"lag": step * frames.dt, "transitions": jumps, "mean_first_passage": times, "check": check}, tuple(notes)


def _by_events(
    dwells: transitions.DwellTimes, count: int, jumps: Estimate, times: Estimate, *stays: Estimate
) -> tuple[Estimate, ...]:
    """Transition probabilities, passages and (M, L) probabilities to stay, no narrower than what was seen allows."""
    counts, worth = transitions.counts(dwells, count), transitions.worth(dwells, count)[:, None]
    exits = np.minimum(counts.sum(1, keepdims=True), worth)
    stay, *again = (events.stays(one, exits) for one in (jumps, *stays))
    move, fields = events.probabilities(jumps, np.minimum(counts, worth)), ("value", "low", "high")
    both = (np.where(np.eye(count) > 0, getattr(stay, field), getattr(move, field)) for field in fields)
    return Estimate(*both), events.times(times, np.minimum(transitions.passages(dwells, count), worth)), *again


def lumped(matrix: np.ndarray, stationary: np.ndarray, sets: np.ndarray, count: int, most: int) -> np.ndarray:
    """(most, M, M) probability to go from set to set, in equilibrium, over 1, ..., ``most`` steps; -1 is no set."""
    member = (sets[:, None] == np.arange(count)).astype(float)
    start = member * stationary[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        start /= start.sum(0)
    result, later = [], member
    for _ in range(most):
        later = matrix @ later
        result.append(start.T @ later)
    return np.clip(np.array(result), 0, 1)


def mean_first_passage_times(matrix: np.ndarray, stationary: np.ndarray, cores: np.ndarray, count: int) -> np.ndarray:
    """(M, M) mean first-passage times in steps from core to core, from (I - P) m = 1 outside the target; -1 is no core.

    The start is the stationary distribution within the first core. nan on the diagonal and without states.
    """
    result = np.full((count, count), np.nan)
    for target in range(count):
        outside = np.flatnonzero(cores != target)
        if len(outside) == len(cores) or not len(outside):
            continue
        system = np.eye(len(outside)) - matrix[np.ix_(outside, outside)]
        steps = np.linalg.solve(system, np.ones(len(outside)))
        for start in range(count):
            own = cores[outside] == start
            if own.any():
                result[start, target] = np.average(steps[own], weights=stationary[outside][own])
    return result


def log_differences(reference: StateKinetics, own: StateKinetics) -> LogDifference | None:
    """(M, M) ln(own / reference) of the mean first-passage times, with both errors; None without a model of either."""
    if reference.mean_first_passage is None or own.mean_first_passage is None:
        return None
    return LogDifference.of(reference.mean_first_passage, own.mean_first_passage)


def _diagonals(powers: np.ndarray) -> np.ndarray:
    """(L, M, M) -> (M, L)."""
    return np.diagonal(powers, axis1=1, axis2=2).T


def _counted(
    found: Macrostates,
    labels: np.ndarray,
    frames: Frames,
    cut: Blocks,
    weights: np.ndarray,
    chosen: np.ndarray,
    step: int,
    most: int,
) -> Estimate:
    """(M, L) share of the frames in a set that lie in it again after 1, ..., ``most`` lags."""
    reached = np.full_like(found.assignment, -1)
    reached[chosen] = found.assignment[chosen]
    inside, made = reached[labels], []
    for k in range(1, most + 1):
        table = markov_model.transition_counts(inside, frames, k * step, len(found), cut)
        drawn = np.einsum("dk,kab->dab", weights, table)
        blocks = int((table.sum((1, 2)) > 0).sum())
        made.append(markov_model.interval(_again(table.sum(0)), _again(drawn), blocks, "logit"))
    return Estimate(*(np.array([getattr(m, field) for m in made]).T for field in ("value", "low", "high")))


def _again(table: np.ndarray) -> np.ndarray:
    """(..., M, M) counts -> (..., M) share that stays."""
    total = table.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(total > 0, np.diagonal(table, axis1=-2, axis2=-1) / total, np.nan)
