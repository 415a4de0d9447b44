"""Kinetics of every ensemble of a comparison, on states that come from the reference or from the user."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cgsurrogate.analysis.cvs._base import CV
from cgsurrogate.analysis.free_energy import populations, surfaces
from cgsurrogate.analysis.kinetics import (
    implied_timescales,
    markov_model,
    metastable_states,
    state_definitions,
    transitions,
)
from cgsurrogate.analysis.results import StateKinetics, Timescales
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks

MICRO, METASTABLE, NAMED = "MSM states", "metastable", "named"
Rng = Callable[..., np.random.Generator]


class Columns:
    """Values of collective variables by label, (T,) each, with what is needed to speak of them."""

    def __init__(self) -> None:
        self.values: dict[str, np.ndarray] = {}
        self.angles: set[str] = set()
        self.units: dict[str, str] = {}

    def add(self, label: str, values: np.ndarray, cv: CV) -> None:
        """One column of a collective variable."""
        self.values[label] = values
        self.units[label] = cv.unit
        if cv.period is not None:
            self.angles.add(label)


class Dynamics:
    """What the kinetics of each ensemble are, by its name; filled by ``of_projection`` and ``of_definitions``.

    Attributes:
        frames, cut: of every ensemble; the first one is the reference.
        rng: a stream of its own for every purpose.
        histograms: populations of states in blocks, by kind of state and then by ensemble.
        named: by ensemble and state of the user, whether each frame lies in it, (T,) bool.
    """

    def __init__(self, frames: Mapping[str, Frames], cut: Mapping[str, Blocks], rng: Rng) -> None:
        self.frames, self.cut, self.rng, self.reference = frames, cut, rng, next(iter(frames))
        self.timescales: dict[str, Timescales | None] = dict.fromkeys(frames)
        self.states: dict[str, dict[str, StateKinetics]] = {name: {} for name in frames}
        self.notes: dict[str, list[str]] = {name: [] for name in frames}
        self.described: dict[str, list[dict[str, Any]]] = {}
        self.histograms: dict[str, dict[str, surfaces.BlockHistogram]] = {}
        self.named: dict[str, dict[str, np.ndarray]] = {name: {} for name in frames}

    def of_projection(
        self, projection: CV, projected: Mapping[str, np.ndarray], columns: Columns, macrostates: int | None = None
    ) -> None:
        """Implied timescales and metastable states from a Markov state model of the reference's microstates.

        Args:
            projected: (T, D) values of ``projection`` of every ensemble.
            columns: of the reference, to describe its metastable states with.
            macrostates: how many metastable states; None where the gap in the spectrum is largest.
        """
        known = self.frames[self.reference]
        if projection.lag is None:
            self.notes[self.reference].append("no timescales: " + projection.notes[0].split(":")[0])
            return
        lags = implied_timescales.lag_grid(known, projection.lag * known.dt)
        if not len(lags):
            self.notes[self.reference].append("no timescales: the runs are too short")
            return
        micro = markov_model.states(projected[self.reference], self.rng("states"))
        labels = micro(projected[self.reference])
        found = metastable_states.macrostates(labels, known, float(lags[len(lags) // 2]), len(micro), macrostates)
        if found is None:
            self.notes[self.reference].append("no metastable states: nothing in it is slower than the lag")
        else:
            texts = metastable_states.describe(
                found, labels, known, columns.values, angles=columns.angles, units=columns.units
            )
            places = self._places(found.assignment[labels], len(found), projected[self.reference])
            self.described[METASTABLE] = _described(found.names, texts, places)
        for name in self.frames:
            if name != self.reference:
                labels = micro(projected[name])
            self._of_one(name, labels, lags, len(micro), found)

    def _of_one(
        self, name: str, labels: np.ndarray, lags: np.ndarray, count: int, found: metastable_states.Macrostates | None
    ) -> None:
        frames, cut = self.frames[name], self.cut[name]
        self.histograms.setdefault(MICRO, {})[name] = populations.state_histogram(labels, count, frames, cut)
        if not frames.time_ordered:
            self.notes[name].append(f"no timescales: {frames.out_of_order} have no time order")
        else:
            times, notes = implied_timescales.timescales(labels, frames, lags, count, cut, self.rng(name, "timescales"))
            known = self.timescales[self.reference]
            if times is not None and known is not None and known.physical and not times.physical:
                times = dataclasses.replace(times, time_scaling=implied_timescales.time_scaling(known, times))
            self.timescales[name] = times
            self.notes[name] += notes
        if found is not None:
            sets = found.assignment[labels]
            self.histograms.setdefault(METASTABLE, {})[name] = populations.state_histogram(
                sets, len(found), frames, cut
            )
            self.states[name][METASTABLE] = metastable_states.measure(
                found, labels, frames, cut, self.rng(name, METASTABLE)
            )

    def of_definitions(
        self,
        states: Sequence[state_definitions.StateDefinition],
        columns: Mapping[str, Columns],
        projected: Mapping[str, np.ndarray],
    ) -> None:
        """Populations, free-energy differences and rates of states that a user named.

        Args:
            columns, projected: of every ensemble.
        """
        if not states:
            return
        known = columns[self.reference]
        if len(states) == 1 < len(states := state_definitions.with_complement(states, known.values, known.angles)):
            self.notes[self.reference].append(
                f"{states[0].name} and {states[1].name} share a border, so rates between them count every crossing of "
                "it; for rates define two states with a gap between"
            )
        state_definitions.check(states, known.values, known.angles)
        labels = state_definitions.labels(states, known.values, known.angles)
        self.described[NAMED] = _described(
            [s.name for s in states],
            [" and ".join(map(str, s.conditions)) for s in states],
            self._places(labels, len(states), projected[self.reference]),
        )
        for name, frames in self.frames.items():
            own = columns[name]
            labels = state_definitions.labels(states, own.values, own.angles)
            self.named[name] = {state.name: labels == k for k, state in enumerate(states)}
            self.states[name][NAMED] = transitions.measure(
                labels, [s.name for s in states], frames, self.cut[name], self.rng(name, NAMED)
            )

    def _places(self, labels: np.ndarray, count: int, plane: np.ndarray) -> np.ndarray:
        """(M, 2) mean of the first two columns of the projection in each state of the reference."""
        weights = self.frames[self.reference].probabilities
        inside = labels >= 0
        total = np.bincount(labels[inside], weights[inside], minlength=count)
        sums = [
            np.bincount(labels[inside], weights[inside] * column[inside], minlength=count) for column in plane.T[:2]
        ]
        means = np.stack(sums, 1) / np.where(total > 0, total, 1)[:, None]
        return np.pad(means, ((0, 0), (0, 2 - means.shape[1])))


def _described(names: Sequence[str], texts: Sequence[str], places: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"name": name, "description": text, "place": [float(x) for x in place]}
        for name, text, place in zip(names, texts, places, strict=True)
    ]
