"""A ladder of temperatures: its rungs, what replica exchange on it achieved, and weights for its lowest temperature.

The frames of all rungs are samples of one potential energy U at several kT; ``core.mbar`` weights each of them for the
ensemble at one temperature. U of a coarse-grained model is a free energy that belongs to the temperature of its
training data: the upper rungs help to sample, they do not predict the molecule at theirs.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cgsurrogate.core import filesystem, mbar, units
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import EXCHANGE, Exchange
from cgsurrogate.core.statistics import kish

ALL = "all-temperatures"  # the folder, inside that of the target temperature, of the frames of all rungs
# Columns of ``State.ladder``; then come, for each pair of neighbouring rungs, the attempts and after them the
# successes, counted by the replica that held the lower rung.
LOW_ACCEPTANCE = 0.1
PLACE, EXCHANGES, END, TRIPS, COUNTS = range(5)


def check_replicas(replicas: int, number: int) -> None:
    """ValueError unless the replicas fill whole ladders."""
    if replicas < 1 or replicas % number:
        below, above = replicas // number * number, -(-max(replicas, 1) // number) * number
        near = f"{below} or {above}" if below else f"{above}"
        raise ValueError(f"{replicas} replicas do not fill ladders of {number} temperatures; use {near}")


def notes(table: np.ndarray, temperatures: Sequence[float]) -> Exchange:
    """What an exchange achieved, from the (B, C) whole numbers of ``State.ladder``."""
    pairs = len(temperatures) - 1
    tried, done = table[:, COUNTS:].sum(0).reshape(2, pairs)
    return {
        "temperatures": [float(t) for t in temperatures],
        "acceptance": [float(d / t) if t else None for t, d in zip(tried, done, strict=True)],
        "attempts": [int(t) for t in tried],
        "exchanges": int(table[:, EXCHANGES].max()),
        "round_trips": int(table[:, TRIPS].sum()),
    }


def sentences(exchange: Exchange) -> list[str]:
    """``notes`` in words, with a warning where neighbours are too far apart."""
    rungs, shares = exchange["temperatures"], [a or 0.0 for a in exchange["acceptance"]]
    lines = [
        f"exchanges accepted: {', '.join(f'{a:.0%}' for a in shares)} between neighbours of "
        f"{', '.join(f'{t:.0f}' for t in rungs)} K; {exchange['round_trips']} round trips of replicas, "
        f"{exchange['effective_frames']:,.0f} effective frames by weight",
    ]
    least = int(np.argmin(shares))
    if shares[least] < LOW_ACCEPTANCE:
        lines.append(
            f"warning: only {shares[least]:.0%} of the exchanges between {rungs[least]:.0f} and {rungs[least + 1]:.0f} "
            "K were accepted; use more temperatures"
        )
    elif not exchange["round_trips"]:
        lines.append("warning: no replica went up the ladder and back; simulate for longer")
    return lines


def weights(
    energies: np.ndarray, places: np.ndarray, temperatures: Sequence[float] | np.ndarray, target: float
) -> np.ndarray:
    """(T,) weights at ``target`` K, summing to one, of frames with energies (T,) kJ/mol at rungs ``places`` (T,)."""
    counts = np.bincount(places, minlength=len(temperatures))
    rungs = [t for t, n in zip(temperatures, counts, strict=True) if n]
    shifted = np.asarray(energies, float) - np.mean(energies)
    *reduced, wanted = (shifted / units.thermal_energy(t) for t in (*rungs, target))
    return mbar.weights(np.array(reduced), counts[counts > 0], wanted).weights


def assemble(exchange: Exchange, whole: Frames, labels: np.ndarray, folder: Path | None = None) -> Frames:
    """Sort simulated frames by temperature; those of the lowest, a run a ladder that follows it through the replicas.

    All frames, a run a replica that follows it from rung to rung, are weighted for the lowest temperature. Frames of
    the time before the energies have settled (``pymbar.timeseries.detect_equilibration`` on their mean over all
    replicas, in units of kT) get no weight; the frames of the lowest rung are given as they are, all of them.

    Args:
        exchange: what ``notes`` gave.
        whole: a run a replica, ``provenance.replicas`` naming them; ``temperature`` is the target.
        labels: (T, 2) rung and potential energy in kJ/mol of each frame.
        folder: where to save what is given, and in the folder ``ALL`` inside all frames with their energies (T,)
            kJ/mol and temperatures (T,) K.
    """
    rungs = np.array(exchange["temperatures"])
    places, energies = labels[:, 0].astype(int), labels[:, 1]
    when = np.concatenate([np.arange(n) for n in whole.lengths])
    settled = _settled(np.nan_to_num(energies / (units.BOLTZMANN * rungs[places])), when)
    used = (when >= settled) & np.isfinite(energies)
    share = np.zeros(len(whole))
    share[used] = weights(energies[used], places[used], rungs, whole.temperature)
    achieved: Exchange = {
        **exchange,
        "settled": settled * whole.dt,
        "frames_at_target": int((places == 0).sum()),
        "effective_frames": kish(share),
    }
    whole = whole.with_provenance(exchange=achieved, mixed_by=EXCHANGE)
    target = _lowest(whole, places, when, len(rungs))
    if folder is not None:
        inside = dataclasses.replace(whole, weights=share).save(folder / ALL)
        filesystem.write_npy(inside / "energies.npy", energies)
        filesystem.write_npy(inside / "temperatures.npy", rungs[places])
        target.save(folder)
    return target


def _settled(reduced: np.ndarray, when: np.ndarray) -> int:
    """The frame from which on the mean reduced energy is stationary; at most half of all frames are left out."""
    logging.getLogger("pymbar").setLevel(logging.ERROR)
    from pymbar.timeseries import detect_equilibration

    count = int(when.max()) + 1
    if count < 20:
        return 0
    mean = np.bincount(when, reduced) / np.bincount(when)
    return min(int(detect_equilibration(mean, nskip=max(1, count // 50))[0]), count // 2)


def _lowest(whole: Frames, places: np.ndarray, when: np.ndarray, number: int) -> Frames:
    """The frames at the lowest rung, ladder by ladder in order of time; a frame that is missing ends a run."""
    ladder = np.repeat(np.array(whole.provenance.replicas, int) // number, whole.lengths)
    chosen = np.flatnonzero(places == 0)
    if not len(chosen):
        raise ValueError("no frame at the lowest temperature is left; use a shorter timestep, or train for longer")
    chosen = chosen[np.lexsort((when[chosen], ladder[chosen]))]
    new = (np.diff(ladder[chosen]) != 0) | (np.diff(when[chosen]) != 1)
    edges = np.flatnonzero(np.concatenate([[True], new, [True]]))
    ladders = tuple(int(g) for g in ladder[chosen][edges[:-1]])
    lengths = tuple(int(n) for n in np.diff(edges))
    target = dataclasses.replace(whole, positions=np.asarray(whole.positions[chosen]), lengths=lengths)
    return target.with_provenance(replicas=(), ladders=ladders)
