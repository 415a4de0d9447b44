"""A comparison: numbers with errors, as a table for people, as JSON, and as a folder that it is read from again."""

from __future__ import annotations

import dataclasses
import html
import math
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.analysis.results import Surface, Timescales
from cgsurrogate.comparison.ensemble import ROLES, Distance, Ensemble
from cgsurrogate.core import filesystem, serialization
from cgsurrogate.core.frames import Frames

__all__ = ["ROLES", "Comparison", "Distance", "Ensemble", "Surface", "Timescales"]

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


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Every ensemble measured with the reference's own collective variables, grids and estimators.

    Attributes:
        verdict: one sentence a surrogate: within the reference's uncertainty or not, and where not.
        settings: seed, how each floor was made; JSON can hold it.
    """

    reference: Ensemble
    others: tuple[Ensemble, ...]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def ensembles(self) -> tuple[Ensemble, ...]:
        return (self.reference, *self.others)

    def metrics(self) -> dict[str, Any]:
        """Every figure; plain numbers, text, lists and None for nan. Large arrays are named by their key in the npz."""
        return self._record({})

    def _record(self, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        rows = []
        for number, one in enumerate(self.ensembles):
            bare = dataclasses.replace(one, sample=None)  # type: ignore[arg-type]  # it is stored as frames of its own
            row = serialization.pack(bare, Ensemble, arrays, str(number))
            groups = [(row["distances"], one.distances), *((row["further"][k], v) for k, v in one.further.items())]
            for group, found in groups:
                for name, d in found.items():
                    group[name] |= {"ratio": serialization.plain(d.ratio), "within": d.within if d.judged else None}
            rows.append(row)
        return {
            "format": FORMAT,
            "units": {"energy": "kJ/mol", "length": "nm", "time": "ps", "rate": "1/ns"},
            "distance": "Jensen-Shannon distance: square root of the divergence with natural logarithm",
            "verdict": list(self.verdict),
            "warnings": list(self.warnings),
            "settings": serialization.plain(self.settings),
            "ensembles": rows,
        }

    def table(self) -> str:
        """One row a figure, one column an ensemble; a star marks what lies beyond the reference's own uncertainty."""
        others = self.others
        if not others:
            return "nothing to compare with the reference"
        names = list(others[0].distances)
        head = ["Jensen-Shannon distance", "floor", "floor 95 %", *(one.name for one in others)]
        rows = [head]
        for name in names:
            d = others[0].distances[name]
            rows.append([name, _number(d.floor), _number(d.floor_high), *(_cell(one, name) for one in others)])
        if any(one.timescales is not None for one in self.ensembles):
            rows.append(["slowest timescale (ps)", _slowest(self.reference), "", *(_slowest(one) for one in others)])
        for label, part in (("broken bonds (frames)", "bonds"), ("wrong chirality (frames)", "chirality")):
            if any(part in one.geometry for one in others):
                counts = [str(one.geometry.get(part, {}).get("bad frames", 0)) for one in others]
                rows.append([label, "", "", *counts])
        rows.append(["frames", str(self.reference.frames_count), "", *(str(one.frames_count) for one in others)])
        widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
        lines = [
            "  ".join(c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True)))
            for row in rows
        ]
        lines.insert(1, "-" * len(lines[0]))
        star = "* beyond the reference's own uncertainty"
        lines.append(f"{star}; the column floor shows the reference in the rows below the distances")
        return "\n".join(lines)

    def __repr__(self) -> str:
        """A line an ensemble: how many of its figures are within the noise, and which is furthest from its floor."""
        lines = [f"Comparison with {self.reference.frames_count:,} frames"]
        for one in self.others[:MOST_LINES]:
            judged = {name: d for name, d in one.distances.items() if d.judged}
            text = f"  {one.name[:MOST_NAME]} ({one.role}, {one.frames_count:,} frames): "
            if judged:
                worst = max(judged, key=lambda name: judged[name].ratio)
                within = sum(d.within for d in judged.values())
                text += f"{within} of {len(judged)} figures within the noise of the reference; "
                text += f"{worst[:MOST_NAME]} {judged[worst].value:.3f} is {judged[worst].ratio:.1f} times its floor"
            lines.append(text if judged else f"{text}not judged")
        more = len(self.others) - MOST_LINES
        return "\n".join(lines + ([f"  and {more} more"] if more > 0 else []))

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, distances and warnings."""
        text = "".join(f"<p>{html.escape(line)}</p>" for line in self.verdict)
        text += f"<pre>{html.escape(self.table())}</pre>"
        listed = "".join(f"<li>{html.escape(line)}</li>" for line in self.warnings)
        return f"<b>Comparison</b>{text}" + (f"<b>Warnings</b><ul>{listed}</ul>" if listed else "")

    def save(self, folder: str | Path) -> Path:
        """Write the folder; ``metrics.json`` appears last. The ensembles' order numbers their arrays and samples."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / METRICS).unlink(missing_ok=True)
        arrays: dict[str, np.ndarray] = {}
        record = self._record(arrays)
        for number, one in enumerate(self.ensembles):
            one.sample.save(folder / SAMPLES / str(number))
        with filesystem.replacing(folder / SURFACES) as handle:
            np.savez_compressed(handle, allow_pickle=False, **arrays)
        filesystem.write_json(folder / METRICS, record)
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """Read what ``save`` wrote.

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
            samples = [Frames.load(folder / SAMPLES / str(k)) for k in range(len(bare))]
            rows = tuple(dataclasses.replace(one, sample=own) for one, own in zip(bare, samples, strict=True))
            return cls(rows[0], rows[1:], tuple(record["verdict"]), tuple(record["warnings"]), record["settings"])
        except (KeyError, TypeError, IndexError, OSError) as error:
            raise ValueError(f"{folder} is not a comparison ({error!r}); make it again") from None


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
