"""The same collective variables, grids and estimators on every ensemble, all of them taken from the reference."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cgsurrogate import choose, fes, kinetics, verdict
from cgsurrogate.blocks import Blocks, blocks
from cgsurrogate.comparison import Comparison, Distance, Ensemble, Surface
from cgsurrogate.correlation import statistical_inefficiency
from cgsurrogate.cv import CV, TooSmall
from cgsurrogate.ensemble import Sampling
from cgsurrogate.frames import Beads, Frames
from cgsurrogate.structure import Structure

REFERENCE, TRAINING = "reference", "training runs"
CVS = ("tica", "torsions", "rmsd", "gyration", "end_to_end")
SAMPLE = 300
PROBE = 200_000  # frames that the statistical inefficiency is taken from


def build_cvs(reference: Frames, wanted: Sequence[str | CV]) -> tuple[CV, ...]:
    """Collective variables by name or as they are; named ones that the molecule is too small for are left out."""
    made: list[CV] = []
    for one in wanted:
        if isinstance(one, CV):
            made.append(one)
            continue
        name, options = choose.parse(one)
        try:
            made.append(choose.build("cvs", name, reference, **options))
        except TooSmall:
            if one not in CVS:
                raise
    return tuple(made)


def compare(
    reference: Frames,
    surrogates: Mapping[str, Frames],
    *,
    training: Frames | None = None,
    baselines: Mapping[str, Frames] | None = None,
    physical: Mapping[str, bool] | None = None,
    cvs: Sequence[str | CV] = CVS,
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
        report: called with a line of text before each stage.
    """
    job = _Job(reference, surrogates, training, baselines or {}, physical or {}, seed, report or (lambda text: None))
    return job.run(cvs)


class _Job:
    """One comparison while it is made: what each ensemble has so far."""

    def __init__(
        self,
        reference: Frames,
        surrogates: Mapping[str, Frames],
        training: Frames | None,
        baselines: Mapping[str, Frames],
        physical: Mapping[str, bool],
        seed: int,
        report: Callable[[str], None],
    ) -> None:
        self.frames: dict[str, Frames] = {REFERENCE: reference}
        self.roles = {REFERENCE: "reference"}
        groups = [("surrogate", surrogates), ("floor", {} if training is None else {TRAINING: training})]
        for role, group in [*groups, ("baseline", baselines)]:
            for name, frames in group.items():
                if name in self.frames:
                    raise ValueError(f"expected a name of its own for every ensemble, got {name!r} twice; rename one")
                _same_molecule(name, frames, reference)
                self.frames[name], self.roles[name] = frames, role
        self.reference, self.training, self.physical = reference, training, physical
        self.seed, self.report = seed, report
        self.surfaces: dict[str, dict[str, Surface]] = {name: {} for name in self.frames}
        self.distances: dict[str, dict[str, Distance]] = {name: {} for name in self.frames}
        self.floors: dict[str, fes.Floor] = {}
        self.notes: dict[str, list[str]] = {name: [] for name in self.frames}

    def rng(self, *names: str) -> np.random.Generator:
        """One stream a purpose, so that a result does not depend on what else is compared."""
        return np.random.default_rng([self.seed, *(zlib.crc32(name.encode()) for name in names)])

    def run(self, wanted: Sequence[str | CV]) -> Comparison:
        self.report("projection (TICA) of the reference")
        cvs = build_cvs(self.reference, wanted)
        projection = next((cv for cv in cvs if cv.name == "tica"), None) or choose.build("cvs", "tica", self.reference)
        self.projected = {name: projection(frames) for name, frames in self.frames.items()}
        self.cut = {name: self._blocks(name) for name in self.frames}
        self._measure(projection, self.projected)
        for cv in cvs:
            if cv is not projection:
                self.report(f"surfaces of {', '.join(cv.labels[:3])}{' ...' if len(cv.labels) > 3 else ''}")
                self._measure(cv, {name: cv(frames) for name, frames in self.frames.items()})
        self.report("timescales")
        times = self._timescales(projection)
        self.report("bonds, angles and closest approach")
        structure = Structure(self.reference)
        ensembles = []
        for name, frames in self.frames.items():
            sample, track = self._sample(name, frames)
            ensembles.append(
                Ensemble(
                    name=name,
                    role=self.roles[name],
                    frames_count=len(frames),
                    surfaces=self.surfaces[name],
                    distances=self.distances[name],
                    timescales=times[name],
                    geometry=structure.measure(frames),
                    sample=sample,
                    track=track,
                    notes=tuple(self.notes[name]),
                    sampling=Sampling(len(frames) / self.cut[name].inefficiency, {}, {}, float("nan")),
                )
            )
        settings: dict[str, Any] = {
            "seed": self.seed,
            "temperature": self.reference.temperature,
            "collective variables": [note for cv in dict.fromkeys((projection, *cvs)) for note in cv.notes],
            "floor": {name: floor.note for name, floor in self.floors.items()},
            "splits": {name: floor.splits for name, floor in self.floors.items()},
        }
        return Comparison(
            ensembles[0],
            tuple(ensembles[1:]),
            verdict.sentences(ensembles, self.reference.kT),
            verdict.warnings(ensembles, self.reference, self.cut[REFERENCE].enough, settings["splits"]),
            settings,
        )

    def _blocks(self, name: str) -> Blocks:
        frames, reference = self.frames[name], self.frames[REFERENCE]
        if name == TRAINING and TRAINING in self.projected:
            ratio = reference.dt / frames.dt
            return blocks(frames.lengths, max(1.0, self._inefficiency(REFERENCE) * ratio))
        return blocks(frames.lengths, self._inefficiency(name))

    def _inefficiency(self, name: str) -> float:
        frames, values = self.frames[name], self.projected[name]
        stride = max(1, len(frames) // PROBE)
        pieces = [values[run][::stride, :2] for run in frames.runs]
        ends = np.cumsum([len(p) for p in pieces])
        runs = tuple(slice(int(end) - len(p), int(end)) for end, p in zip(ends, pieces, strict=True))
        return stride * statistical_inefficiency(np.concatenate(pieces), runs)

    def _measure(self, cv: CV, values: Mapping[str, np.ndarray]) -> None:
        """Surfaces and distances of every ensemble for one collective variable."""
        shown = cv.shown or len(cv.labels)
        wanted: dict[str, tuple[int, ...]] = {cv.labels[k]: (k,) for k in range(shown)}
        wanted |= {f"{cv.labels[a]} / {cv.labels[b]}": (a, b) for a, b in cv.pairs}
        counted: dict[str, dict[str, fes.Counts]] = {}
        for surface_name, columns in wanted.items():
            labels = tuple(cv.labels[k] for k in columns)
            grid = fes.Grid.over(values[REFERENCE][:, columns], labels, cv.period)
            counted[surface_name] = {}
            for name, frames in self.frames.items():
                counts = fes.count(values[name][:, columns], frames, grid, self.cut[name])
                counted[surface_name][name] = counts
                self.surfaces[name][surface_name] = fes.surface(counts, frames.kT, self.rng(name, surface_name))
        for metric, parts in _metrics(cv, shown).items():
            self._distances(metric, [counted[part] for part in parts])

    def _distances(self, metric: str, parts: Sequence[Mapping[str, fes.Counts]]) -> None:
        reference = [part[REFERENCE] for part in parts]
        training = None if self.training is None else [part[TRAINING] for part in parts]
        floor = self.floors[metric] = fes.floor(reference, training, self.rng("floor", metric))
        for name in self.frames:
            if name != REFERENCE:
                own = [part[name] for part in parts]
                self.distances[name][metric] = fes.distance(own, reference, floor, self.rng(name, metric))

    def _timescales(self, projection: CV) -> dict[str, kinetics.Timescales | None]:
        result: dict[str, kinetics.Timescales | None] = dict.fromkeys(self.frames)
        if projection.lag is None:
            self.notes[REFERENCE].append("no timescales: " + projection.notes[0].split(":")[0])
            return result
        lags = kinetics.lag_grid(self.reference, projection.lag * self.reference.dt)
        if not len(lags):
            self.notes[REFERENCE].append("no timescales: the runs are too short")
            return result
        states = kinetics.states(self.projected[REFERENCE], self.rng("states"))
        for name, frames in self.frames.items():
            if not frames.time_ordered:
                why = "weighted frames" if frames.weights is not None else "frames of exchanging replicas"
                self.notes[name].append(f"no timescales: {why} have no time order")
                continue
            result[name], notes = kinetics.timescales(
                states(self.projected[name]),
                frames,
                lags,
                len(states),
                self.cut[name],
                self.rng(name, "timescales"),
                physical=self.physical.get(name, True),
            )
            self.notes[name] += notes
        return result

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


def _metrics(cv: CV, shown: int) -> dict[str, list[str]]:
    """{metric: the surfaces that it is the mean over}."""
    pairs = [f"{cv.labels[a]} / {cv.labels[b]}" for a, b in cv.pairs]
    if cv.average:
        return {cv.name: list(cv.labels[:shown])} | ({f"{cv.name} 2-D": pairs} if pairs else {})
    single = {label: [label] for label in cv.labels[:shown]}
    return single | {_joined(cv.labels[a], cv.labels[b]): [pair] for (a, b), pair in zip(cv.pairs, pairs, strict=True)}


def _joined(first: str, second: str) -> str:
    """ "TIC 1" and ``TIC 2`` -> ``TIC 1-2``."""
    stem, _, number = second.rpartition(" ")
    return f"{first}-{number}" if stem and first.startswith(f"{stem} ") else f"{first} / {second}"


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
