"""What the folder of a study knows of itself: its input and settings, and what becomes of it with more minutes."""

from __future__ import annotations

import dataclasses
import datetime
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.core import filesystem
from cgsurrogate.core.differences import differences, words
from cgsurrogate.training.state import CHECKPOINT, METRICS
from cgsurrogate.workflows import training_folder
from cgsurrogate.workflows.provenance import hashes
from cgsurrogate.workflows.settings import StudySettings

RECORD = "run.json"
EARLIER = "earlier"
RENAMED = {"turns": "pivot"}  # settings of folders that are older than a name
MADE = ("force-field*", "stepper*", "comparison", "figures", "report.html", "metrics.json")  # what the budget decides


def record_of(identity: dict[str, Any], settings: StudySettings) -> dict[str, Any]:
    """Input and settings as JSON gives them back."""
    made: dict[str, Any] = json.loads(json.dumps({"input": identity, "settings": dataclasses.asdict(settings)}))
    return made


def refuse_other(out: Path, record: dict[str, Any]) -> float | None:
    """Another input or other settings on the same folder: show the difference, touch nothing.

    Returns:
        The minutes that the folder had, where there are more now; else None.
    """
    if not (out / RECORD).exists():
        if out.exists() and (not out.is_dir() or any(not _of_killed(path) for path in out.iterdir())):
            raise ValueError(f"{out} exists and is not a run folder; choose another folder with -o")
        return None
    before = filesystem.read_json(out / RECORD)
    usual = record_of({}, StudySettings())["settings"]  # of settings that are younger than the folder
    before["settings"] = usual | renamed(before["settings"])
    parts = ("input", "settings")
    changed = differences({part: before[part] for part in parts}, {part: record[part] for part in parts})
    minutes = changed.get("settings.minutes")
    if len(changed) == 1 and minutes is not None and minutes[1] > minutes[0]:
        return float(minutes[0])
    if changed:
        more = "; only --minutes may grow" if minutes is not None else ""
        raise ValueError(f"{out} was made differently ({words(changed)}); choose another folder with -o{more}")
    return None


def _of_killed(path: Path) -> bool:
    """Whether a run that was killed at its very beginning leaves such a file."""
    return path.name == filesystem.LOCK or path.name.startswith(f".{RECORD}.")


def title(record: dict[str, Any]) -> str:
    """By which a run is called: its molecule, its example, or the name of its topology."""
    given = record["input"]
    return str(given.get("molecule") or given.get("example") or Path(str(given.get("topology", "run"))).stem)


def where(sources: Sequence[Path]) -> dict[str, Any]:
    """The folder that paths of the input are relative to, and the sha256 of its files."""
    return {"directory": str(Path.cwd()), "sha256": hashes(sources)}


def renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """With the names of today."""
    return {RENAMED.get(key, key): value for key, value in settings.items()}


def grow(out: Path, before: float, minutes: float) -> None:
    """Set aside what was made in fewer minutes, in ``earlier``; data and their split stay.

    The time-stepper keeps the state of its training, and goes on from there. The force field learns anew, since the
    later part of its training rests on the first. May be stopped at any place, and called again.
    """
    old = out / EARLIER / f"{before:g}-minutes"
    old.mkdir(parents=True, exist_ok=True)
    for pattern in MADE:
        for path in sorted(out.glob(pattern)):
            if not (old / path.name).exists():
                path.rename(old / path.name)
    (out / "stepper").mkdir(exist_ok=True)
    for name in (training_folder.RECORD, METRICS, CHECKPOINT):  # the record first: it says whose state it is
        if (old / "stepper" / name).exists():
            shutil.copyfile(old / "stepper" / name, out / "stepper" / name)
    record = filesystem.read_json(out / RECORD)
    record["settings"]["minutes"] = minutes
    filesystem.write_json(out / RECORD, record)
    log(out, f"{minutes:g} minutes in place of {before:g}: what was made in these is in {old.relative_to(out)}")


def log(out: Path, text: str) -> None:
    """A line with the time in the log of a folder."""
    with open(out / "log.txt", "a") as handle:
        handle.write(f"{datetime.datetime.now().isoformat(timespec='seconds')} {text}\n")
