"""A comparison as a table for people, as JSON, and as a folder of ``metrics.json``, ``surfaces.npz``, sample frames."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.comparison.ensemble import Compared, Ensemble
from cgsurrogate.core import filesystem, serialization
from cgsurrogate.core.frames import Frames

FORMAT = 3
OLDER = {  # names in a comparison of format 2: where they stand, with * for any key, and what they are called now
    ("shape",): "contact_map",
    ("sampling",): "convergence",
    ("recipes",): "published",
    ("timescales", "clock"): "time_scaling",
    ("states", "*", "passage"): "mean_first_passage",
    ("geometry", "handedness"): "chirality",
    ("geometry", "uncertainty"): "extrapolation",
}
MOST_LINES, MOST_NAME = 10, 40  # of a summary
METRICS, SURFACES, SAMPLES = "metrics.json", "surfaces.npz", "samples"


def metrics(comparison: Compared) -> dict[str, Any]:
    """Every figure; plain numbers, text, lists and None for nan. Large arrays are named by their key in the npz."""
    return _record(comparison, {})


def _record(comparison: Compared, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    rows = []
    for number, one in enumerate(comparison.ensembles):
        bare = dataclasses.replace(one, sample=None)  # type: ignore[arg-type]  # it is stored as frames of its own
        row = serialization.pack(bare, Ensemble, arrays, str(number))
        for group, found in (
            (row["distances"], one.distances),
            *((row["further"][k], v) for k, v in one.further.items()),
        ):
            for name, d in found.items():
                group[name] |= {"ratio": serialization.plain(d.ratio), "within": d.within if d.judged else None}
        rows.append(row)
    return {
        "format": FORMAT,
        "units": {"energy": "kJ/mol", "length": "nm", "time": "ps", "rate": "1/ns"},
        "distance": "Jensen-Shannon distance: square root of the divergence with natural logarithm",
        "verdict": list(comparison.verdict),
        "warnings": list(comparison.warnings),
        "settings": serialization.plain(comparison.settings),
        "ensembles": rows,
    }


def table(comparison: Compared) -> str:
    """One row a figure, one column an ensemble; a star marks what lies beyond the reference's own uncertainty."""
    others = comparison.others
    if not others:
        return "nothing to compare with the reference"
    names = list(others[0].distances)
    head = ["Jensen-Shannon distance", "floor", "floor 95 %", *(one.name for one in others)]
    rows = [head]
    for name in names:
        d = others[0].distances[name]
        rows.append([name, _number(d.floor), _number(d.floor_high), *(_cell(one, name) for one in others)])
    if any(one.timescales is not None for one in comparison.ensembles):
        rows.append(["slowest timescale (ps)", _slowest(comparison.reference), "", *(_slowest(one) for one in others)])
    for label, part in (("broken bonds (frames)", "bonds"), ("wrong chirality (frames)", "chirality")):
        if any(part in one.geometry for one in others):
            counts = [str(one.geometry.get(part, {}).get("bad frames", 0)) for one in others]
            rows.append([label, "", "", *counts])
    rows.append(["frames", str(comparison.reference.frames_count), "", *(str(one.frames_count) for one in others)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    lines = [
        "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    lines.insert(1, "-" * len(lines[0]))
    lines.append(
        "* beyond the reference's own uncertainty; the column floor shows the reference in the rows below the distances"
    )
    return "\n".join(lines)


def summary(comparison: Compared) -> list[str]:
    """A line an ensemble: how many of its figures are within the noise, and which is furthest from its floor."""
    lines = []
    for one in comparison.others[:MOST_LINES]:
        judged = {name: d for name, d in one.distances.items() if d.judged}
        text = f"  {one.name[:MOST_NAME]} ({one.role}, {one.frames_count:,} frames): "
        if judged:
            worst = max(judged, key=lambda name: judged[name].ratio)
            within = sum(d.within for d in judged.values())
            text += f"{within} of {len(judged)} figures within the noise of the reference; "
            text += f"{worst[:MOST_NAME]} {judged[worst].value:.3f} is {judged[worst].ratio:.1f} times its floor"
        lines.append(text if judged else f"{text}not judged")
    more = len(comparison.others) - MOST_LINES
    return lines + ([f"  and {more} more"] if more > 0 else [])


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "?"


def _cell(one: Ensemble, name: str) -> str:
    d = one.distances[name]
    return f"{_number(d.value)}{'*' if one.role != 'floor' and d.judged and not d.within else ' '}"


def _slowest(one: Ensemble) -> str:
    times = one.timescales
    if times is None or not np.isfinite(times.values[:, 0]).any():
        return "-"
    k = int(np.flatnonzero(np.isfinite(times.values[:, 0]))[-1])
    text = f"{times.values[k, 0]:.3g}"
    if np.isfinite(times.low[k, 0]):
        text += f" ({times.low[k, 0]:.3g}-{times.high[k, 0]:.3g})"
    return text if times.physical else text + " not physical"


def save(comparison: Compared, folder: str | Path) -> Path:
    """Write the folder; ``metrics.json`` appears last. The order of the ensembles numbers their arrays and samples."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS).unlink(missing_ok=True)
    arrays: dict[str, np.ndarray] = {}
    record = _record(comparison, arrays)
    for number, one in enumerate(comparison.ensembles):
        one.sample.save(folder / SAMPLES / str(number))
    with filesystem.replacing(folder / SURFACES) as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
    filesystem.write_json(folder / METRICS, record)
    return folder


def load(folder: str | Path) -> tuple[Ensemble, tuple[Ensemble, ...], tuple[str, ...], tuple[str, ...], dict[str, Any]]:
    """Read what ``save`` wrote: reference, others, verdict, warnings and settings.

    Raises:
        FileNotFoundError: there is no complete comparison in the folder.
        ValueError: the files do not belong together.
    """
    folder = Path(folder)
    for name in (METRICS, SURFACES):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} holds no {name}; make it with: cgsurrogate compare")
    record = filesystem.read_json(folder / METRICS)
    try:
        if record["format"] == 2:
            _renew(record)
        elif record["format"] != FORMAT:
            raise ValueError(
                f"expected a comparison of format {FORMAT}, got {record['format']};"
                " make it again with: cgsurrogate compare"
            )
        with np.load(folder / SURFACES, allow_pickle=False) as arrays:
            bare = [serialization.unpack(row, Ensemble, arrays) for row in record["ensembles"]]
        rows = [dataclasses.replace(one, sample=Frames.load(folder / SAMPLES / str(k))) for k, one in enumerate(bare)]
        return rows[0], tuple(rows[1:]), tuple(record["verdict"]), tuple(record["warnings"]), record["settings"]
    except (KeyError, TypeError, IndexError, OSError) as error:
        raise ValueError(f"{folder} is not a comparison ({error!r}); make it again") from None


def _renew(record: dict[str, Any]) -> None:
    """Give everything in a record of format 2 the name that it has now."""
    for row in record["ensembles"]:
        for place, name in OLDER.items():
            _rename(row, place, name)
    for about in record["settings"].setdefault("published", record["settings"].pop("recipes", {})).values():
        _rename(about, ("published",), "figures")


def _rename(record: Any, place: tuple[str, ...], name: str) -> None:
    if not isinstance(record, dict):
        return
    if len(place) == 1 and place[0] in record:
        record[name] = record.pop(place[0])
    elif len(place) > 1:
        for inner in list(record.values()) if place[0] == "*" else [record.get(place[0])]:
            _rename(inner, place[1:], name)
