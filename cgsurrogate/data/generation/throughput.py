"""How fast all-atom trajectories were made: written beside each generated run, found again when the run is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cgsurrogate.core import filesystem

NAME = "speed.json"


def record(run: Path, nanoseconds: float, seconds: float) -> None:
    """Add to the account of a run, whose folder this is: what was simulated, and the wall time that it took."""
    path = run / NAME
    before = filesystem.read_json(path) if path.is_file() else {"nanoseconds": 0.0, "seconds": 0.0}
    sums = {"nanoseconds": before["nanoseconds"] + nanoseconds, "seconds": before["seconds"] + seconds}
    filesystem.write_json(path, sums)


def known(trajectories: Sequence[str | Path]) -> float | None:
    """ns a day of one process, over all of ``folder/run0.xtc``, ...; None where one of them has no account."""
    accounts = [Path(spec).with_suffix("") / NAME for spec in trajectories]
    if not accounts or not all(path.is_file() for path in accounts):
        return None
    found = [filesystem.read_json(path) for path in accounts]
    seconds = sum(one["seconds"] for one in found)
    return sum(one["nanoseconds"] for one in found) / seconds * 86400 if seconds > 0 else None
