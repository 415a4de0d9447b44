"""Every ensemble of a comparison measured, with the collective variables, grids and estimators of the first."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cgsurrogate.analysis import backbone_regions, convergence
from cgsurrogate.analysis.contact_map import ContactMapEstimator
from cgsurrogate.analysis.cvs._base import CV
from cgsurrogate.analysis.free_energy.divergences import JENSEN_SHANNON, POPULATIONS
from cgsurrogate.analysis.kinetics import state_definitions
from cgsurrogate.analysis.structure import Structure
from cgsurrogate.comparison import burn_in, sentences, warnings
from cgsurrogate.comparison.comparison import Comparison, Ensemble
from cgsurrogate.comparison.dynamics import MICRO, Columns, Dynamics
from cgsurrogate.comparison.judgement import Judgement
from cgsurrogate.comparison.settings import ComparisonSettings, Tolerances
from cgsurrogate.comparison.thermodynamics import Thermodynamics
from cgsurrogate.comparison.variables import build_cvs, build_published
from cgsurrogate.comparison.verdict.broken import with_broken
from cgsurrogate.comparison.verdict.judge import Question, judge
from cgsurrogate.comparison.verdict.times import with_times
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import Blocks, blocks, groups

REFERENCE, TRAINING = "reference", "training runs"
SAMPLE = 300
Report = Callable[[str], None]


class Measurement:
    """One comparison while it is made: what is taken from its basis, and what is measured so far.

    The basis is the first ensemble: the reference, or, where there is none, the first surrogate.
    """

    def __init__(self, rows: Mapping[str, Mapping[str, Frames]], settings: ComparisonSettings, report: Report) -> None:
        """``rows`` are the ensembles by role and then by name, those of the first role first."""
        self.settings, self.report = settings, report
        self.tolerances = Tolerances.parse(settings.tolerances)
        self.frames: dict[str, Frames] = {}
        self.roles: dict[str, str] = {}
        for role, group in rows.items():
            for name, frames in group.items():
                self._add_row(name, role, frames)
        self.basis = next(iter(self.frames))
        self.judged = self.roles[self.basis] == "reference"
        basis = self.frames[self.basis]
        report(f"projection (TICA) of the {self.basis}")
        cvs = build_cvs(basis, settings.cvs)
        tica = next((cv for cv in cvs if cv.name == "tica"), None)
        self.projection = tica or registry.build("cvs", "tica", basis)
        self.cvs: tuple[CV, ...] = tuple(dict.fromkeys((self.projection, *cvs)))
        self.states = state_definitions.parse_all(settings.states)
        state_definitions.check_variables(self.states, [label for cv in self.cvs for label in cv.labels])
        self.published = build_published(basis, settings.published)
        self.projected = {name: self.projection(frames) for name, frames in self.frames.items()}
        self.of_starts = {name: self._drop_burn_in(name) for name in self.frames}
        self.cut = {name: self._blocks(name) for name in self.frames}
        training = TRAINING if TRAINING in self.frames else None
        self.thermodynamics = Thermodynamics(self.frames, self.cut, training, self.rng, pooled=not self.judged)
        self.dynamics = Dynamics(self.frames, self.cut, self.rng)
        self.columns = {name: Columns() for name in self.frames}

    def _add_row(self, name: str, role: str, frames: Frames) -> None:
        if name in self.frames:
            raise ValueError(f"expected a name of its own for every ensemble, got {name!r} twice; rename one")
        if self.frames:
            first = next(iter(self.frames))
            same_molecule(name, frames, first, self.frames[first])
        self.frames[name], self.roles[name] = frames, role

    def _drop_burn_in(self, name: str) -> tuple[str, ...]:
        """Of a surrogate; what is said of it in words."""
        if self.roles[name] != "surrogate":
            return ()
        frames, values, wanted = self.frames[name], self.projected[name], self.settings.burn_in_time
        try:
            self.frames[name], self.projected[name], notes = burn_in.without_burn_in(
                frames, values, self.projection.labels, wanted, self.rng(name, "burn-in")
            )
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return notes

    def rng(self, *names: str) -> np.random.Generator:
        """One stream a purpose, so that a result does not depend on what else is compared."""
        return np.random.default_rng([self.settings.seed, *(zlib.crc32(name.encode()) for name in names)])

    def comparison(self) -> Comparison:
        """Everything measured."""
        for cv in self.cvs:
            self._add_surfaces(cv)
        self._add_kinetics()
        ensembles = self._ensembles()
        settings = self._notes()
        if self.judged:
            enough = self.cut[self.basis].enough
            told = sentences.sentences(ensembles)
            found = warnings.warnings(ensembles, self.frames, enough, settings["splits"])
        else:
            told, found = (), warnings.of_each(ensembles)
        return Comparison(ensembles[0], tuple(ensembles[1:]), told, found, settings)

    def _add_surfaces(self, cv: CV) -> None:
        self.report(f"surfaces of {', '.join(cv.labels[:3])}{' ...' if len(cv.labels) > 3 else ''}")
        own = cv is self.projection
        values = self.projected if own else {name: cv(frames) for name, frames in self.frames.items()}
        self.thermodynamics.add(cv, values)
        self._keep(cv, values, described=not own and not cv.average)

    def _keep(self, cv: CV, values: Mapping[str, np.ndarray], described: bool) -> None:
        """Keep what the conditions of a state ask for, and of the reference what describes its metastable states."""
        asked = {condition.variable.lower() for state in self.states for condition in state.conditions}
        for name in self.frames:
            for k, label in enumerate(cv.labels):
                if label.lower() in asked or (described and name == self.basis):
                    self.columns[name].add(label, values[name][:, k], cv)

    def _add_kinetics(self) -> None:
        self.report("timescales and states")
        columns = self.columns
        self.dynamics.of_projection(self.projection, self.projected, columns[self.basis], self.settings.macrostates)
        self.dynamics.of_definitions(self.states, columns, self.projected)
        for kind, histograms in self.dynamics.histograms.items():
            self.thermodynamics.add_distances(kind, [histograms], (JENSEN_SHANNON if kind == MICRO else POPULATIONS,))

    def _ensembles(self) -> list[Ensemble]:
        self.report("bonds, contacts and fluctuations")
        basis = self.frames[self.basis]
        structure, contacts = Structure(basis, self.basis), ContactMapEstimator(basis)
        ends = convergence.ends(self.projected[self.basis][:, 0], basis)
        made = []
        for name, frames in self.frames.items():
            thermodynamics, dynamics, cut = self.thermodynamics, self.dynamics, self.cut[name]
            sample, track = self._sample(name, frames)
            made.append(
                Ensemble(
                    name=name,
                    role=self.roles[name],
                    frames_count=len(frames),
                    surfaces=thermodynamics.surfaces[name],
                    distances=thermodynamics.distances[name],
                    further=thermodynamics.further[name],
                    timescales=dynamics.timescales[name],
                    states=dynamics.states[name],
                    convergence=convergence.measure(
                        frames, self.projected[name], cut, thermodynamics.halves[name], ends
                    ),
                    geometry=structure.measure(frames),
                    contact_map=contacts.measure(frames, cut, self.rng(name, "contact map")),
                    regions=backbone_regions.measure(frames, cut, self.rng(name, "backbone regions")),
                    published={} if name == self.basis else self._of_papers(name),
                    sample=sample,
                    track=track,
                    notes=tuple(map(self._worded, (*self.of_starts[name], *dynamics.notes[name]))),
                )
            )
        return self._with_judgements(made) if self.judged else made

    def _worded(self, note: str) -> str:
        """A note, with the name of the basis where that is no reference."""
        return note.replace("the reference", f"the {self.basis}")

    def _with_judgements(self, made: list[Ensemble]) -> list[Ensemble]:
        """Each ensemble with what the verdict says of it, against the reference and against the training runs."""
        known = {one.name: one for one in made}

        def judged(one: Ensemble, against: str) -> Judgement:
            found = with_times(self._judged(one.name, against), known[against], one, self.tolerances.rates)
            return with_broken(found, known[against], one)

        return [
            one
            if one.name == self.basis
            else dataclasses.replace(
                one,
                judgement=judged(one, self.basis),
                learned=judged(one, TRAINING) if self._was_trained(one.name) else None,
            )
            for one in made
        ]

    def _was_trained(self, name: str) -> bool:
        return self.roles[name] == "surrogate" and TRAINING in self.frames

    def _judged(self, name: str, known: str) -> Judgement:
        """One ensemble held against another, by the joint test."""
        called = "training runs" if known == TRAINING else "held-out runs" if TRAINING in self.frames else "reference"
        self.report(f"verdict: {name} against the {called}")
        named = {state: (self.dynamics.named[known][state], own) for state, own in self.dynamics.named[name].items()}
        return judge(
            self.frames[known],
            self.frames[name],
            (self._inefficiency(known), self._inefficiency(name)),
            self.rng(name, known, "verdict"),
            Question(called, self.thermodynamics.drawn, named, self.tolerances),
        )

    def _of_papers(self, name: str) -> dict[str, dict[str, float]]:
        if self.published:
            self.report(f"published benchmarks: {name}")
        return {benchmark.name: dict(benchmark(self.frames[name])) for benchmark in self.published}

    def _sample(self, name: str, frames: Frames) -> tuple[Frames, np.ndarray]:
        """Evenly spaced frames of the longest run, and their first two columns of the projection."""
        run = max(frames.runs, key=lambda r: r.stop - r.start)
        stride = max(1, -(-(run.stop - run.start) // SAMPLE))
        index = np.arange(run.start, run.stop, stride)
        positions = np.asarray(frames.positions[index], np.float32)
        track = np.asarray(self.projected[name][index][:, :2], float)
        if track.shape[1] < 2:
            track = np.pad(track, ((0, 0), (0, 1)))
        return Frames(frames.beads, positions, (len(index),), frames.dt * stride, frames.temperature), track

    def _notes(self) -> dict[str, Any]:
        """What people should know of how it was made; JSON can hold it."""
        notes = {
            "seed": self.settings.seed,
            "temperature": self.frames[self.basis].temperature,
            "collective variables": [note for cv in self.cvs for note in cv.notes],
            **self.thermodynamics.settings(),
        }
        about = {benchmark.name: benchmark.about() for benchmark in self.published}
        further = {"states": self.dynamics.described, "published": about}
        return notes | {name: value for name, value in further.items() if value}

    def _blocks(self, name: str) -> Blocks:
        frames = self.frames[name]
        if name == TRAINING:
            ratio = self.frames[self.basis].dt / frames.dt
            return blocks(frames.lengths, max(1.0, self._inefficiency(self.basis) * ratio))
        return blocks(frames.lengths, self._inefficiency(name), groups(frames))

    def _inefficiency(self, name: str) -> float:
        return convergence.inefficiency(self.frames[name], self.projected[name])


def same_molecule(name: str, frames: Frames, first: str, basis: Frames) -> None:
    """Raise ``ValueError`` where frames have other beads than those of the first ensemble."""
    own, other = frames.beads, basis.beads
    if len(own) != len(other):
        raise ValueError(
            f"expected {len(other)} beads as in the {first}, got {len(own)} in {name!r}; map both with the same mapping"
        )
    named = (zip(b.residue_names, b.names, strict=True) for b in (own, other))
    for k, pair in enumerate(zip(*named, strict=True)):
        if pair[0] != pair[1]:
            raise ValueError(
                f"bead {k} is {' '.join(pair[1])} in the {first} but {' '.join(pair[0])} in {name!r};"
                " map both with the same mapping"
            )
