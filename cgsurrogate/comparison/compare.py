"""The same collective variables, grids and estimators on every ensemble, all of them taken from the reference."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cgsurrogate.analysis import convergence
from cgsurrogate.analysis.contact_map import ContactMapEstimator
from cgsurrogate.analysis.cvs._base import CV, TooSmall
from cgsurrogate.analysis.free_energy.divergences import JENSEN_SHANNON, POPULATIONS
from cgsurrogate.analysis.kinetics import state_definitions
from cgsurrogate.analysis.structure import Structure
from cgsurrogate.comparison import verdict
from cgsurrogate.comparison.comparison import Comparison, Ensemble
from cgsurrogate.comparison.dynamics import MICRO, Columns, Dynamics
from cgsurrogate.comparison.published._base import PublishedBenchmark
from cgsurrogate.comparison.thermodynamics import Thermodynamics
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.statistics import Blocks, blocks, groups, statistical_inefficiency

REFERENCE, TRAINING = "reference", "training runs"
CVS = ("tica", "torsions", "rmsd", "gyration", "end_to_end")
SAMPLE = 300
PROBE = 200_000  # frames that the statistical inefficiency is taken from


def build_cvs(reference: Frames, wanted: Sequence[str | CV]) -> tuple[CV, ...]:
    """Collective variables by name or as they are, the last of several of one kind where the first is a usual one.

    Usual ones that the molecule is too small for are left out; labels that come twice are numbered.
    """
    parsed = [(one, ("", {}) if isinstance(one, CV) else registry.parse(one)) for one in dict.fromkeys(wanted)]
    special = {name for _, (name, options) in parsed if options}
    made: list[CV] = []
    for one, (name, options) in parsed:
        if isinstance(one, CV):
            made.append(one)
        elif options or name not in special:
            try:
                made.append(registry.build("cvs", name, reference, **options))
            except TooSmall:
                if one not in CVS:
                    raise
    taken: dict[str, int] = {}
    for cv in made:
        for label in cv.labels:
            taken[label] = taken.get(label, 0) + 1
        number = max(taken[label] for label in cv.labels)
        if number > 1:
            cv.labels = tuple(f"{label} ({number})" for label in cv.labels)
    return tuple(made)


def build_published(reference: Frames, wanted: Sequence[str | PublishedBenchmark]) -> tuple[PublishedBenchmark, ...]:
    """Published benchmarks by name or as they are."""
    parsed = [one if isinstance(one, PublishedBenchmark) else registry.parse(one) for one in dict.fromkeys(wanted)]
    return tuple(
        one if isinstance(one, PublishedBenchmark) else registry.build("published", one[0], reference, **one[1])
        for one in parsed
    )


def compare(
    reference: Frames,
    surrogates: Mapping[str, Frames],
    *,
    training: Frames | None = None,
    baselines: Mapping[str, Frames] | None = None,
    physical: Mapping[str, bool] | None = None,
    cvs: Sequence[str | CV] = CVS,
    states: Sequence[str] = (),
    published: Sequence[str | PublishedBenchmark] = (),
    macrostates: int | None = None,
    seed: int = 0,
    report: Callable[[str], None] | None = None,
) -> Comparison:
    """Measure every ensemble against the reference, with errors, noise floor and a verdict in words.

    Args:
        surrogates, baselines: by the name to show. Baselines are rows to look at and get no verdict.
        training: the runs that the surrogates learned from, where ``reference`` was held out from them. The floor is
            then training against reference; without it, it is one half of the reference against the other.
        physical: by name, False where time is not physical (a force field's); missing names are physical.
        cvs: names (as in ``choose``), or objects made from the reference. The projection (TICA) is always there.
        states: that a user names, "folded=RMSD<0.2"; beside the metastable states of the reference.
        published: names (as in ``choose``), or objects made from the reference.
        macrostates: how many metastable states; by default where the gap in the reference's spectrum is largest.
        report: called with a line of text before each stage.
    """
    rows = _rows(reference, surrogates, training, baselines or {})
    job = _Job(rows, physical or {}, seed, report or (lambda text: None))
    return job.run(cvs, state_definitions.parse_all(states), published, macrostates)


@dataclasses.dataclass(frozen=True, eq=False)
class _Rows:
    frames: dict[str, Frames]
    roles: dict[str, str]


def _rows(
    reference: Frames, surrogates: Mapping[str, Frames], training: Frames | None, baselines: Mapping[str, Frames]
) -> _Rows:
    rows = _Rows({REFERENCE: reference}, {REFERENCE: "reference"})
    groups = [("surrogate", surrogates), ("floor", {} if training is None else {TRAINING: training})]
    for role, group in [*groups, ("baseline", baselines)]:
        for name, frames in group.items():
            if name in rows.frames:
                raise ValueError(f"expected a name of its own for every ensemble, got {name!r} twice; rename one")
            _same_molecule(name, frames, reference)
            rows.frames[name], rows.roles[name] = frames, role
    return rows


class _Job:
    """One comparison while it is made."""

    def __init__(self, rows: _Rows, physical: Mapping[str, bool], seed: int, report: Callable[[str], None]) -> None:
        self.frames, self.roles, self.physical = rows.frames, rows.roles, physical
        self.reference = rows.frames[REFERENCE]
        self.seed, self.report = seed, report

    def rng(self, *names: str) -> np.random.Generator:
        """One stream a purpose, so that a result does not depend on what else is compared."""
        return np.random.default_rng([self.seed, *(zlib.crc32(name.encode()) for name in names)])

    def run(
        self,
        wanted: Sequence[str | CV],
        states: Sequence[state_definitions.StateDefinition],
        published: Sequence[str | PublishedBenchmark],
        macrostates: int | None,
    ) -> Comparison:
        self.report("projection (TICA) of the reference")
        cvs = build_cvs(self.reference, wanted)
        projection = next((cv for cv in cvs if cv.name == "tica"), None) or registry.build(
            "cvs", "tica", self.reference
        )
        state_definitions.check_variables(
            states, [label for cv in dict.fromkeys((projection, *cvs)) for label in cv.labels]
        )
        known = build_published(self.reference, published)
        self.projected = {name: projection(frames) for name, frames in self.frames.items()}
        self.cut = {name: self._blocks(name) for name in self.frames}
        thermodynamics = Thermodynamics(self.frames, self.cut, TRAINING if TRAINING in self.frames else None, self.rng)
        columns = {name: Columns() for name in self.frames}
        for cv in dict.fromkeys((projection, *cvs)):
            self.report(f"surfaces of {', '.join(cv.labels[:3])}{' ...' if len(cv.labels) > 3 else ''}")
            values = self.projected if cv is projection else {name: cv(frames) for name, frames in self.frames.items()}
            thermodynamics.add(cv, values)
            self._keep(cv, values, columns, states, described=cv is not projection and not cv.average)
        self.report("timescales and states")
        dynamics = Dynamics(self.frames, self.cut, self.physical, self.rng)
        dynamics.of_projection(projection, self.projected, columns[REFERENCE], macrostates)
        dynamics.of_definitions(states, columns, self.projected)
        for kind, counted in dynamics.counted.items():
            measures = (JENSEN_SHANNON,) if kind == MICRO else (POPULATIONS,)
            thermodynamics.add_states(kind, counted, measures)
        self.report("bonds, contacts and fluctuations")
        structure, contacts = Structure(self.reference), ContactMapEstimator(self.reference)
        ends = convergence.ends(self.projected[REFERENCE][:, 0], self.reference)
        ensembles = []
        for name, frames in self.frames.items():
            cut = self.cut[name]
            sample, track = self._sample(name, frames)
            ensembles.append(
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
                    published={} if name == REFERENCE else self._published(known, name),
                    sample=sample,
                    track=track,
                    notes=tuple(dynamics.notes[name]),
                )
            )
        settings = {
            "seed": self.seed,
            "temperature": self.reference.temperature,
            "collective variables": [note for cv in dict.fromkeys((projection, *cvs)) for note in cv.notes],
            **thermodynamics.settings(),
            **dynamics.settings(),
            **({"published": {benchmark.name: _about(benchmark) for benchmark in known}} if known else {}),
        }
        return Comparison(
            ensembles[0],
            tuple(ensembles[1:]),
            verdict.sentences(ensembles, self.reference.kT),
            verdict.warnings(ensembles, self.frames, self.cut[REFERENCE].enough, settings["splits"]),
            settings,
        )

    def _blocks(self, name: str) -> Blocks:
        frames = self.frames[name]
        if name == TRAINING:
            ratio = self.reference.dt / frames.dt
            return blocks(frames.lengths, max(1.0, self._inefficiency(REFERENCE) * ratio))
        return blocks(frames.lengths, self._inefficiency(name), groups(frames))

    def _inefficiency(self, name: str) -> float:
        frames, values = self.frames[name], self.projected[name]
        stride = max(1, len(frames) // PROBE)
        pieces = [values[run][::stride, :2] for run in frames.runs]
        ends = np.cumsum([len(p) for p in pieces])
        runs = tuple(slice(int(end) - len(p), int(end)) for end, p in zip(ends, pieces, strict=True))
        return stride * statistical_inefficiency(np.concatenate(pieces), runs)

    def _keep(
        self,
        cv: CV,
        values: Mapping[str, np.ndarray],
        columns: Mapping[str, Columns],
        states: Sequence[state_definitions.StateDefinition],
        described: bool,
    ) -> None:
        """Keep what the conditions of a state ask for, and of the reference what describes its metastable states."""
        asked = {condition.variable.lower() for state in states for condition in state.conditions}
        for name in self.frames:
            for k, label in enumerate(cv.labels):
                if label.lower() in asked or (described and name == REFERENCE):
                    columns[name].add(label, values[name][:, k], cv)

    def _published(self, known: Sequence[PublishedBenchmark], name: str) -> dict[str, dict[str, float]]:
        if known:
            self.report(f"published benchmarks: {name}")
        return {benchmark.name: dict(benchmark(self.frames[name])) for benchmark in known}

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


def _about(benchmark: PublishedBenchmark) -> dict[str, Any]:
    figures = [[p.what, p.metric, p.value, p.source] for p in benchmark.figures]
    return {
        "source": benchmark.source,
        "metrics": dict(benchmark.metrics),
        "figures": figures,
        "notes": list(benchmark.notes),
    }


def _names(beads: Beads) -> list[tuple[str, str]]:
    return list(zip(beads.residue_names, beads.names, strict=True))


def _same_molecule(name: str, frames: Frames, reference: Frames) -> None:
    own, other = frames.beads, reference.beads
    if len(own) != len(other):
        raise ValueError(
            f"expected {len(other)} beads as in the reference, got {len(own)} in {name!r};"
            " map both with the same mapping"
        )
    for k, pair in enumerate(zip(_names(own), _names(other), strict=True)):
        if pair[0] != pair[1]:
            raise ValueError(
                f"bead {k} is {' '.join(pair[1])} in the reference but {' '.join(pair[0])} in {name!r};"
                " map both with the same mapping"
            )
