"""Numbers that cannot be meant, and work that does not fit on the machine, refused before anything is begun."""

from __future__ import annotations

import math
import os
import shutil
from pathlib import Path

MOST_SEED = 2**32 - 1
LARGEST_OPTION = 100_000  # of a kind that is built: a width, a number of layers
LONGEST = 1e9  # ps, hours or minutes
SHORTEST_STEP = 1e-6  # ps
DEVICES = ("auto", "cpu", "cuda", "mps")  # where tensors are computed
MOST_TEMPERATURES, MOST_MOVES = 1000, 1_000_000


def cores() -> int:
    """How many this process may use; a batch system gives a job only its own."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def above_zero(name: str, value: float | None, unit: str, most: float = LONGEST) -> None:
    """Raise ``ValueError`` unless a number is None, or finite, above 0 and at most ``most``."""
    if value is not None and not 0 < value <= most:
        raise ValueError(f"{name} must be above 0 and at most {most:g} {unit}, got {value}")


def seed(value: int) -> None:
    """Raise ``ValueError`` unless it can be the seed of every generator."""
    if not 0 <= value <= MOST_SEED:
        raise ValueError(f"a seed must be a whole number from 0 to {MOST_SEED}, got {value}")


def memory(needed: float, what: str) -> None:
    """Raise ``ValueError`` if so many bytes are more than this machine has."""
    try:
        held = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):  # a system that does not say
        return
    if needed > held:
        raise ValueError(f"{what} need about {_size(needed)} of memory, this machine has {_size(held)}; ask for less")


def disk(needed: float, what: str, folder: Path | None) -> None:
    """Raise ``ValueError`` if so many bytes are more than is free where ``folder`` is, or would be."""
    if folder is None:
        return memory(needed, what)
    there = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), None)
    if there is not None and needed > (free := shutil.disk_usage(there).free):
        raise ValueError(f"{what} need about {_size(needed)} in {folder}, {_size(free)} are free; ask for less")


def _size(count: float) -> str:
    power = min(4, max(0, int(math.log(max(count, 1), 1024)))) if count < 1e300 else 4
    return f"{count / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB', 'TiB')[power]}"
