"""A published benchmark: the metrics of one paper, computed as the paper does, to stand beside its table."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

from cgsurrogate.core.frames import Frames


@dataclasses.dataclass(frozen=True)
class PublishedFigure:
    """One figure that a paper prints: of which system and model, by which metric of the benchmark, and where."""

    what: str
    metric: str
    value: float
    source: str


class PublishedBenchmark(abc.ABC):
    """Made from the reference, then applied to any ensemble of the same molecule.

    Attributes:
        name: of the benchmark, as its authors call it.
        source: the paper.
        metrics: what each metric is, with its unit, by the key that a call returns.
        published: figures to stand beside.
        notes: where this differs from the paper, e.g. beads in place of all atoms.
    """

    name: str
    source: str
    metrics: dict[str, str]
    figures: tuple[PublishedFigure, ...] = ()
    notes: tuple[str, ...] = ()

    @abc.abstractmethod
    def __call__(self, frames: Frames) -> dict[str, float]:
        """Every metric of ``frames`` against the reference; nan where the data do not allow it."""

    def about(self) -> dict[str, Any]:
        """Source, metrics, printed figures and notes, as JSON can hold them."""
        figures = [[f.what, f.metric, f.value, f.source] for f in self.figures]
        return {"source": self.source, "metrics": dict(self.metrics), "figures": figures, "notes": list(self.notes)}
