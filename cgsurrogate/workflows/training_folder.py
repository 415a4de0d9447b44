"""Whose folder a training is: its settings and a digest of its data, so that no other training goes on in it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.core import disk_arrays, filesystem
from cgsurrogate.core.differences import differences, words
from cgsurrogate.core.fingerprints import digest
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import MODEL, Model
from cgsurrogate.training.settings import HOW, TrainingSettings
from cgsurrogate.training.state import CHECKPOINT

RECORD = "training.json"
BUDGET = ("minutes", "steps")  # may change: a training that goes on may be given more


@contextlib.contextmanager
def claimed(
    out: Path, settings: TrainingSettings, every: Sequence[Frames], start: Model | None = None
) -> Iterator[None]:
    """Hold the folder for one training with these settings on these frames, which begins with a model or with none.

    Raises:
        ValueError: a stopped training of other settings, or on other frames, is in it; nothing is touched.
        Busy: another process trains in it.
    """
    record = _record(settings, every, start)
    unknown = next(iter(sorted(out.rglob(CHECKPOINT))), None) if not (out / RECORD).exists() else None
    if unknown is not None and not (out / MODEL).exists():
        raise ValueError(f"{unknown} is of a training that is not known ({RECORD} is missing); choose another folder")
    with filesystem.writing(out, MODEL, RECORD):
        stopped = (out / RECORD).exists() and not (out / MODEL).exists()  # a finished one is replaced, not continued
        before = _without_budget(filesystem.read_json(out / RECORD)) if stopped else {}
        if stopped and (changes := differences(before, _without_budget(record))):
            raise ValueError(
                f"{out} holds a stopped training that is another one ({words(changes)}); choose another folder, or "
                "remove it to train anew"
            )
        filesystem.write_json(out / RECORD, record)
        try:
            with disk_arrays.kept_in(out):
                yield
        finally:
            if not (out / MODEL).exists() and not any(out.rglob(CHECKPOINT)):  # it was not begun
                (out / RECORD).unlink(missing_ok=True)


def finished(out: Path, settings: TrainingSettings, every: Sequence[Frames], start: Model | None = None) -> bool:
    """Whether the folder holds the model of a training with these settings and this budget on these frames, which
    began with the same model."""
    if not ((out / RECORD).exists() and (out / MODEL).exists()):
        return False
    return not differences(filesystem.read_json(out / RECORD), _record(settings, every, start))


def _record(settings: TrainingSettings, every: Sequence[Frames], start: Model | None) -> dict[str, Any]:
    begun = {} if start is None else {"start": {"sha256": start.digest}}
    return {
        "kind": type(settings).__name__.removesuffix("Settings").lower(),
        "settings": {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings) if f.name not in HOW},
        "frames": {str(k): _about(frames) for k, frames in enumerate(every)},
        **begun,
    }


def _without_budget(record: dict[str, Any]) -> dict[str, Any]:
    """What must not change; records of earlier versions hold no budget."""
    settings = {name: value for name, value in record.get("settings", {}).items() if name not in BUDGET}
    return {**record, "settings": settings}


def _about(frames: Frames) -> dict[str, Any]:
    return {
        "temperature": frames.temperature,
        "dt": frames.dt,
        "frames": len(frames),
        "beads": len(frames.beads),
        "sha256": digest(frames),
    }
