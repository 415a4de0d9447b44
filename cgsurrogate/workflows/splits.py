"""What is kept to train on and what is held out to judge, and both in words."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cgsurrogate.core.frames import Frames
from cgsurrogate.core.splits import FAR


def contents(frames: Frames) -> str:
    """ "6 runs, 13,500 frames, 27 ns"; blocks of runs that were cut are called so, and time only where there is any."""
    blocks, runs = len(frames.lengths), frames.independent_runs
    parts = f"{runs} run{'s' * (runs != 1)}"
    if runs < blocks:
        parts = f"{blocks} blocks of {parts}"
    words = [parts, f"{len(frames):,} frames"]
    if frames.time_ordered and frames.provenance.physical_time:
        words.append(nanoseconds(len(frames) * frames.dt))
    elif frames.out_of_order:
        words.append(f"{frames.out_of_order}: no order in time")
    return ", ".join(words)


def nanoseconds(time: float) -> str:
    """ps as text, "27 ns" or "1.5 us"."""
    return f"{time / 1e6:.3g} us" if time >= 1e6 else f"{time / 1000:.3g} ns"


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Frames in two parts that share none.

    Attributes:
        kept, held: to train on, and to judge.
        wanted: share that was asked to be held out.
    """

    kept: Frames
    held: Frames
    wanted: float

    @property
    def share(self) -> float:
        """Held out, of all frames that are used."""
        return len(self.held) / (len(self.held) + len(self.kept))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know of how it was made."""
        found = []
        if any(part.independent_runs < len(part.lengths) for part in (self.kept, self.held)):
            found.append(
                "whole runs do not divide so: a run was cut in blocks with gaps between them, which are not independent"
                " as runs are; add runs to be sure"
            )
        if not 1 / FAR < self.share / self.wanted < FAR:
            found.append(f"held out are {self.share:.0%} of the frames, not {self.wanted:.0%}: runs are kept whole")
        return tuple(found)

    def __str__(self) -> str:
        return f"trains on: {contents(self.kept)}; judged on: {contents(self.held)}"


def split(frames: Frames, held_out: float, seed: int = 0) -> Split:
    """Two parts, as ``Frames.split`` makes them."""
    return Split(*frames.split(held_out, seed), held_out)


def make_split(frames: Frames, out: tuple[Path, Path], held_out: float, seed: int = 0) -> Split:
    """Two parts, each stored in a folder: to train on, and to judge."""
    made = split(frames, held_out, seed)
    made.kept.save(out[0])
    made.held.save(out[1])
    return made
