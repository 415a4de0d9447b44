"""How runs were made: written in the folder of each run, found again when its trajectory is read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem

SPEED = "speed.json"


def record_speed(run: Path, nanoseconds: float, seconds: float, mixed_by: str = "") -> None:
    """Add to the account of a run, whose folder this is: what was simulated, the wall time that it took, and what took
    the order in time from its frames."""
    path = run / SPEED
    before = filesystem.read_json(path) if path.is_file() else {"nanoseconds": 0.0, "seconds": 0.0}
    sums = {"nanoseconds": before["nanoseconds"] + nanoseconds, "seconds": before["seconds"] + seconds}
    filesystem.write_json(path, {**sums, "mixed_by": mixed_by} if mixed_by else sums)


def accounts(trajectories: Sequence[str | Path]) -> list[dict[str, Any]]:
    """How each of ``folder/run0.xtc``, ... was made; empty where one of them has no account."""
    paths = [Path(spec).with_suffix("") / SPEED for spec in trajectories]
    return [filesystem.read_json(path) for path in paths] if all(path.is_file() for path in paths) else []


def known_speed(trajectories: Sequence[str | Path]) -> float | None:
    """ns a day of one process, over all of ``folder/run0.xtc``, ...; None where one of them has no account."""
    found = accounts(trajectories)
    seconds = sum(one["seconds"] for one in found)
    return sum(one["nanoseconds"] for one in found) / seconds * 86400 if seconds > 0 else None


def known_mixing(trajectories: Sequence[str | Path]) -> str:
    """What took the order in time from the frames of these runs; empty if nothing that is known."""
    return next((one["mixed_by"] for one in accounts(trajectories) if one.get("mixed_by")), "")
