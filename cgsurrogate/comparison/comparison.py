"""What a comparison holds: numbers with errors, ready to be drawn, printed and stored."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from cgsurrogate.analysis.results import Surface, Timescales
from cgsurrogate.comparison import storage
from cgsurrogate.comparison.ensemble import ROLES, Compared, Distance, Ensemble

__all__ = ["ROLES", "Comparison", "Distance", "Ensemble", "Surface", "Timescales"]


class Comparison(Compared):
    """Every ensemble measured with the reference's own collective variables, grids and estimators."""

    def metrics(self) -> dict[str, Any]:
        """Every figure but the surfaces, as JSON can hold it; nan becomes None."""
        return storage.metrics(self)

    def table(self) -> str:
        """The distances of every ensemble beside the floor, as plain text."""
        return storage.table(self)

    def __repr__(self) -> str:
        return "\n".join([f"Comparison with {self.reference.frames_count:,} frames", *storage.summary(self)])

    def _repr_html_(self) -> str:
        """What a notebook shows: verdict, distances and warnings."""
        text = "".join(f"<p>{html.escape(line)}</p>" for line in self.verdict)
        text += f"<pre>{html.escape(self.table())}</pre>"
        listed = "".join(f"<li>{html.escape(line)}</li>" for line in self.warnings)
        return f"<b>Comparison</b>{text}" + (f"<b>Warnings</b><ul>{listed}</ul>" if listed else "")

    def save(self, folder: str | Path) -> Path:
        """Write ``metrics.json``, ``surfaces.npz`` and the sample frames."""
        return storage.save(self, folder)

    @classmethod
    def load(cls, folder: str | Path) -> Comparison:
        """The inverse of ``save``."""
        return cls(*storage.load(folder))
