"""A comparison as a table for people, as JSON, and as a folder of ``metrics.json``, ``surfaces.npz``, sample frames."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from cgsurrogate import files
from cgsurrogate.ensemble import Distance, Ensemble, Surface, Timescales
from cgsurrogate.frames import Frames

FORMAT = 1
METRICS, SURFACES = "metrics.json", "surfaces.npz"


class Compared(Protocol):
    """What these functions need of a ``Comparison``."""

    @property
    def verdict(self) -> tuple[str, ...]: ...
    @property
    def warnings(self) -> tuple[str, ...]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def reference(self) -> Ensemble: ...
    @property
    def others(self) -> tuple[Ensemble, ...]: ...
    @property
    def ensembles(self) -> tuple[Ensemble, ...]: ...


def metrics(comparison: Compared) -> dict[str, Any]:
    """Every figure but the surfaces and pooled histograms; plain numbers, text, lists and None for nan."""
    rows = []
    for one in comparison.ensembles:
        times = one.timescales
        rows.append(
            {
                "name": one.name,
                "role": one.role,
                "frames": one.frames_count,
                "independent frames": one.effective,
                "distances": {
                    name: dataclasses.asdict(d) | {"ratio": d.ratio, "within": d.within if d.judged else None}
                    for name, d in one.distances.items()
                },
                "outside": {name: s.outside for name, s in one.surfaces.items()},
                "timescales": None
                if times is None
                else {f.name: getattr(times, f.name) for f in dataclasses.fields(times)},
                "geometry": {
                    name: {k: v for k, v in entry.items() if k not in ("edges", "probability")}
                    for name, entry in one.geometry.items()
                },
                "notes": list(one.notes),
            }
        )
    return _plain(
        {
            "format": FORMAT,
            "units": {"energy": "kJ/mol", "length": "nm", "time": "ps"},
            "distance": "Jensen-Shannon distance: square root of the divergence with natural logarithm",
            "verdict": list(comparison.verdict),
            "warnings": list(comparison.warnings),
            "settings": comparison.settings,
            "ensembles": rows,
        }
    )


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
    for label, part in (("broken bonds (frames)", "bonds"), ("wrong hand (frames)", "handedness")):
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


def _plain(value: Any) -> Any:
    """Numpy to plain Python, nan and infinity to None."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def save(comparison: Compared, folder: str | Path) -> Path:
    """Write the folder; ``metrics.json`` appears last. The order of the ensembles numbers their arrays and samples."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / METRICS).unlink(missing_ok=True)
    arrays: dict[str, np.ndarray] = {}
    record = metrics(comparison)
    for number, (one, row) in enumerate(zip(comparison.ensembles, record["ensembles"], strict=True)):
        row["surfaces"] = []
        for k, (name, s) in enumerate(one.surfaces.items()):
            row["surfaces"].append(
                {"name": name, "labels": s.labels, "periodic": s.periodic, "outside": _plain(s.outside)}
            )
            for axis, edges in enumerate(s.edges):
                arrays[f"{number}/surface/{k}/edges/{axis}"] = edges
            for field in ("probability", "free_energy", "error"):
                arrays[f"{number}/surface/{k}/{field}"] = getattr(s, field)
        for name, entry in one.geometry.items():
            for field in ("edges", "probability"):
                arrays[f"{number}/geometry/{name}/{field}"] = np.asarray(entry[field])
        arrays[f"{number}/track"] = one.track
        one.sample.save(folder / "samples" / str(number))
    with files.replacing(folder / SURFACES) as handle:
        np.savez_compressed(handle, allow_pickle=False, **arrays)
    files.write_json(folder / METRICS, record)
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
    record = files.read_json(folder / METRICS)
    try:
        if record["format"] != FORMAT:
            raise ValueError(f"expected a comparison of format {FORMAT}, got {record['format']}; update cgsurrogate")
        with np.load(folder / SURFACES, allow_pickle=False) as arrays:
            rows = [_ensemble(k, row, arrays, folder) for k, row in enumerate(record["ensembles"])]
        return rows[0], tuple(rows[1:]), tuple(record["verdict"]), tuple(record["warnings"]), record["settings"]
    except (KeyError, TypeError, IndexError, OSError) as error:
        raise ValueError(f"{folder} is not a comparison ({error!r}); make it again") from None


def _ensemble(number: int, row: dict[str, Any], arrays: Any, folder: Path) -> Ensemble:
    surfaces = {}
    for k, entry in enumerate(row["surfaces"]):
        key = f"{number}/surface/{k}"
        surfaces[entry["name"]] = Surface(
            tuple(entry["labels"]),
            tuple(arrays[f"{key}/edges/{axis}"] for axis in range(len(entry["labels"]))),
            arrays[f"{key}/probability"],
            arrays[f"{key}/free_energy"],
            arrays[f"{key}/error"],
            entry["outside"],
            tuple(entry["periodic"]),
        )
    times = row["timescales"]
    if times is not None:
        numbers = {k: np.array(v, float) for k, v in times.items() if k != "physical"}  # None becomes nan
        times = Timescales(**numbers, physical=times["physical"])
    fields = [f.name for f in dataclasses.fields(Distance)]
    return Ensemble(
        name=row["name"],
        role=row["role"],
        frames_count=row["frames"],
        surfaces=surfaces,
        distances={n: Distance(*(_nan(d[f]) for f in fields)) for n, d in row["distances"].items()},
        timescales=times,
        geometry={
            name: entry | {f: arrays[f"{number}/geometry/{name}/{f}"] for f in ("edges", "probability")}
            for name, entry in row["geometry"].items()
        },
        sample=Frames.load(folder / "samples" / str(number)),
        track=arrays[f"{number}/track"],
        notes=tuple(row["notes"]),
        effective=_nan(row["independent frames"]),
    )


def _nan(value: float | None) -> float:
    return math.nan if value is None else float(value)
