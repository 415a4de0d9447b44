"""Surfaces of every ensemble of a comparison and their distances to the reference, one variable after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cgsurrogate.analysis import convergence
from cgsurrogate.analysis.cvs._base import CV
from cgsurrogate.analysis.free_energy import divergences, surfaces
from cgsurrogate.analysis.results import Surface
from cgsurrogate.comparison import noise_floor
from cgsurrogate.comparison.ensemble import Distance
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

OF_SURFACES = tuple(m for m in divergences.DIVERGENCES.values() if m is not divergences.POPULATIONS)
Rng = Callable[..., np.random.Generator]


@dataclasses.dataclass(frozen=True, eq=False)
class Surfaces:
    """What is drawn of one collective variable: columns and grid of each surface, and the metrics over them."""

    cv: CV
    columns: dict[str, tuple[int, ...]]
    grids: dict[str, surfaces.Grid]
    metrics: dict[str, list[str]]

    @classmethod
    def of(cls, cv: CV, values: np.ndarray) -> Surfaces:
        """On grids over (T, columns) values."""
        shown = cv.shown or len(cv.labels)
        columns: dict[str, tuple[int, ...]] = {cv.labels[k]: (k,) for k in range(shown)}
        columns |= {f"{cv.labels[a]} / {cv.labels[b]}": (a, b) for a, b in cv.pairs}
        grids = {
            name: surfaces.Grid.over(values[:, which], tuple(cv.labels[k] for k in which), cv.period)
            for name, which in columns.items()
        }
        return cls(cv, columns, grids, metrics(cv, shown))


class Thermodynamics:
    """What the free energies of each ensemble are, by its name; filled by ``add``.

    Attributes:
        surfaces: by ensemble and surface.
        distances: Jensen-Shannon, by ensemble and metric.
        further: other divergences, by ensemble, divergence and metric.
        floors: of the Jensen-Shannon distance, by metric.
        halves: by ensemble and metric, what ``convergence.halves`` gives.
        drawn: the surfaces of each collective variable, as they were added.
    """

    def __init__(
        self,
        frames: Mapping[str, Frames],
        cut: Mapping[str, Blocks],
        training: str | None,
        rng: Rng,
        *,
        pooled: bool = False,
    ) -> None:
        """``frames`` and ``cut`` of every ensemble, the reference first; ``training`` names what makes the floor.

        ``pooled``: grids span the values of all ensembles, not those of the first.
        """
        self.frames, self.cut, self.training, self.rng, self.pooled = frames, cut, training, rng, pooled
        self.reference = next(iter(frames))
        self.surfaces: dict[str, dict[str, Surface]] = {name: {} for name in frames}
        self.distances: dict[str, dict[str, Distance]] = {name: {} for name in frames}
        self.further: dict[str, dict[str, dict[str, Distance]]] = {name: {} for name in frames}
        self.floors: dict[str, noise_floor.Floor] = {}
        self.halves: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in frames}
        self.drawn: list[Surfaces] = []

    def add(self, cv: CV, values: Mapping[str, np.ndarray]) -> None:
        """Surfaces and distances over one collective variable.

        Args:
            values: (T, columns) of every ensemble.
        """
        drawn = Surfaces.of(cv, np.concatenate(list(values.values())) if self.pooled else values[self.reference])
        self.drawn.append(drawn)
        histograms: dict[str, dict[str, surfaces.BlockHistogram]] = {}
        for surface_name, columns in drawn.columns.items():
            grid = drawn.grids[surface_name]
            histograms[surface_name] = {}
            for name, frames in self.frames.items():
                histogram = surfaces.block_histogram(
                    values[name][:, columns], frames, grid, self.cut[name], smooth=True
                )
                histograms[surface_name][name] = histogram
                self.surfaces[name][surface_name] = surfaces.surface(histogram, frames.kT, self.rng(name, surface_name))
        for metric, parts in drawn.metrics.items():
            self.add_distances(metric, [histograms[part] for part in parts], OF_SURFACES)
            for name, frames in self.frames.items():
                pieces = [(drawn.grids[part], values[name][:, drawn.columns[part]]) for part in parts]
                self.halves[name][metric] = convergence.halves(pieces, frames, self.cut[name], self.rng(name, "halves"))

    def add_distances(
        self,
        metric: str,
        parts: Sequence[Mapping[str, surfaces.BlockHistogram]],
        wanted: Sequence[divergences.Divergence],
    ) -> None:
        """Means over ``parts`` (histograms of every ensemble, of surfaces or states), by each divergence ``wanted``."""
        reference = [part[self.reference] for part in parts]
        training = None if self.training is None else [part[self.training] for part in parts]
        for divergence in wanted:
            if any(len(histogram.grid.shape) not in divergence.dimensions for histogram in reference):
                continue
            verdict = divergence is divergences.JENSEN_SHANNON
            purpose = metric if verdict else f"{metric}, {divergence.name}"
            floor = noise_floor.floor(reference, training, self.rng("floor", purpose), divergence)
            if verdict:
                self.floors[metric] = floor
            for name in self.frames:
                if name == self.reference:
                    continue
                own = [part[name] for part in parts]
                found = noise_floor.distance(own, reference, floor, self.rng(name, purpose), divergence)
                group = self.distances[name] if verdict else self.further[name].setdefault(divergence.name, {})
                group[metric] = found

    def settings(self) -> dict[str, Any]:
        """How the floors were made, and of which metrics, for people; from how many splits each."""
        notes: dict[str, list[str]] = {}
        for name, floor in self.floors.items():
            notes.setdefault(floor.note, []).append(name)
        return {
            "floor": notes,
            "splits": {name: floor.splits for name, floor in self.floors.items()},
        }


def metrics(cv: CV, shown: int) -> dict[str, list[str]]:
    """{metric: the surfaces that it is the mean over}."""
    pairs = [f"{cv.labels[a]} / {cv.labels[b]}" for a, b in cv.pairs]
    if cv.average:
        return {cv.name: list(cv.labels[:shown])} | ({f"{cv.name} 2-D": pairs} if pairs else {})
    single = {label: [label] for label in cv.labels[:shown]}
    return single | {joined(cv.labels[a], cv.labels[b]): [pair] for (a, b), pair in zip(cv.pairs, pairs, strict=True)}


def joined(first: str, second: str) -> str:
    """ "TIC 1" and ``TIC 2`` -> ``TIC 1-2``."""
    stem, _, number = second.rpartition(" ")
    return f"{first}-{number}" if stem and first.startswith(f"{stem} ") else f"{first} / {second}"
