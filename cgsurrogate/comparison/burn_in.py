"""Simulations without the frames that still remember what they started from, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cgsurrogate.analysis import convergence
from cgsurrogate.analysis.results import Starts
from cgsurrogate.core.frames import Frames

SLOW = 2  # columns of the projection that are looked at


def without_burn_in(
    frames: Frames, values: np.ndarray, labels: Sequence[str], wanted: float | None, rng: np.random.Generator
) -> tuple[Frames, np.ndarray, tuple[str, ...]]:
    """A simulation without its burn-in, its values, and notes on it in words; nothing is dropped from other frames.

    Of replicas that exchange temperatures or have weights nothing is dropped, as what settles there has no weight.

    Args:
        values: (T, D) of the projection on slow coordinates, whose first ``labels`` are given.
        wanted: ps to drop from each replica, of one shorter than twice that the first half; None: as long as the
            replicas remember their first frames.

    Raises:
        ValueError: no replica is longer than what is wanted.
    """
    if frames.weights is not None or frames.provenance.exchange is not None:
        return frames, values, ()
    found = convergence.starts(values[:, :SLOW], frames.runs, rng)
    notes = [_of_frozen(found, frames)] if found.frozen else []
    simulated = frames.provenance.simulation is not None
    count = (found.burn_in if simulated else 0) if wanted is None else round(wanted / frames.dt)
    if count >= max(frames.lengths):
        longest = max(frames.lengths) * frames.dt
        raise ValueError(f"a burn-in of {wanted:g} ps leaves nothing of runs of at most {longest:g} ps; give less")
    if simulated and found.remembered:
        notes.append(_of_memory(found, labels))
    if not count:
        return frames, values, tuple(notes)
    kept = frames.after(count)
    places = np.concatenate([np.arange(r.stop - n, r.stop) for r, n in zip(frames.runs, kept.lengths, strict=True)])
    notes.append(_of_dropped(frames, kept, count, why=wanted is None))
    return kept, values[places], tuple(notes)


def _of_frozen(found: Starts, frames: Frames) -> str:
    return (
        f"{found.frozen} of its {len(frames.lengths)} replicas never move: each is one structure over and over and no"
        " sample of anything; do not believe its figures, mend the simulation or leave these replicas out"
    )


def _of_memory(found: Starts, labels: Sequence[str]) -> str:
    return (
        f"the starts still explain {found.explained:.0%} of the variance of {labels[found.coordinate]} in the second"
        f" half of its replicas (by chance up to {found.by_chance:.1%}): part of what is right in it comes from the"
        " frames that it was started from; simulate longer"
    )


def _of_dropped(frames: Frames, kept: Frames, count: int, why: bool) -> str:
    share = 1 - len(kept) / len(frames)
    unit = "" if frames.provenance.physical_time else " of its own time"
    reason = ", in which they still remember the frames that they started from" if why else ", as asked"
    if short := sum(length < 2 * count for length in frames.lengths):
        reason += f"; of {short} that are shorter than twice that, only the first half"
    return (
        f"the first {count * frames.dt:.4g} ps{unit} of each of its {len(frames.lengths)} replicas ({share:.1%} of its"
        f" frames) were dropped{reason}"
    )
