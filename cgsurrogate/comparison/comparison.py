"""A comparison: numbers with errors, as a table for people, as JSON, and as a folder that it is read from again."""

from __future__ import annotations

import dataclasses
import html
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.analysis.results import Surface, Timescales
from cgsurrogate.comparison import summary
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
METRICS, SURFACES, SAMPLES = "metrics.json", "surfaces.npz", "samples"


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Every ensemble measured with the same collective variables, grids and estimators.

    Attributes:
        basis: the ensemble that these come from: the reference; without one, the first of the others' equals.
        others: those that are measured against it.
        verdict: what is said of each surrogate in words; an ensemble's ``judgement`` holds what was judged.
        settings: seed, how each floor was made; JSON can hold it.
    """

    basis: Ensemble
    others: tuple[Ensemble, ...]
    verdict: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def reference(self) -> Ensemble | None:
        """The ensemble that all others are judged by; None where they only stand beside each other."""
        return self.basis if self.basis.role == "reference" else None

    @property
    def ensembles(self) -> tuple[Ensemble, ...]:
        return (self.basis, *self.others)

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
        """One row a figure, one column an ensemble."""
        return summary.table(self.ensembles)

    def summary(self) -> str:
        """For each surrogate the sentence to quote and a line for each thing that was judged."""
        return summary.verdict(self.ensembles, self.verdict)

    def __repr__(self) -> str:
        """A line an ensemble."""
        return summary.brief(self.ensembles)

    def _repr_html_(self) -> str:
        """What a notebook shows: what was judged, distances and warnings."""
        text = "".join(f"<pre>{html.escape(part)}</pre>" for part in (self.summary(), self.table()) if part)
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
        filesystem.write_json(folder / METRICS, record | {"sha256": filesystem.sha256(folder / SURFACES)})
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
            if "sha256" in record:  # not in the first ones
                filesystem.verify(folder / SURFACES, record["sha256"], "compare again")
            with np.load(folder / SURFACES, allow_pickle=False) as arrays:
                bare = [serialization.unpack(row, Ensemble, arrays) for row in record["ensembles"]]
            samples = [Frames.load(folder / SAMPLES / str(k)) for k in range(len(bare))]
            rows = tuple(dataclasses.replace(one, sample=own) for one, own in zip(bare, samples, strict=True))
            return cls(rows[0], rows[1:], tuple(record["verdict"]), tuple(record["warnings"]), record["settings"])
        except (KeyError, TypeError, IndexError, AttributeError, OSError, zipfile.BadZipFile) as error:
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
