"""What data hold, what is wrong with them, what they can be used for, and what a verdict could tell from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.analysis.convergence import inefficiency
from cgsurrogate.analysis.kinetics import implied_timescales, markov_model, metastable_states, transitions
from cgsurrogate.comparison import power
from cgsurrogate.comparison.judgement import Judgement
from cgsurrogate.comparison.verdict.judge import Question, judge
from cgsurrogate.comparison.wording import sentence
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.statistics import kish
from cgsurrogate.workflows.settings import Report, silent
from cgsurrogate.workflows.splits import Split, contents, nanoseconds, split

PERMUTATIONS = 1000  # enough for a look beforehand


@dataclasses.dataclass(frozen=True)
class Inspection:
    """Findings in words, a tuple of lines a section.

    Attributes:
        sections: by title, in the order to be read.
        wrong: what must be mended before the data can be used.
    """

    sections: dict[str, tuple[str, ...]]
    wrong: tuple[str, ...] = ()

    def __str__(self) -> str:
        every = {**self.sections, "what is wrong": self.wrong or ("nothing was found",)}
        return "\n".join(
            "\n".join([title, *(f"  {line}" for line in lines)]) for title, lines in every.items() if lines
        )


def inspect_files(
    topology: Path | None,
    trajectories: Sequence[Any],
    dt: float | None = None,
    recover: bool = False,
    length_unit: str | None = None,
) -> Inspection:
    """What files hold, and each fault of each of them; without mapping anything."""
    from cgsurrogate.data import topology_facts, validation
    from cgsurrogate.data.formats.sources import Reader, load_topology, sources

    if topology is None or not trajectories:
        raise ValueError("expected a folder of frames, or a topology with -s and trajectories with -f")
    structure, lines, found = load_topology(topology), [], []
    wrong = list(topology_facts.faults(structure))
    for spec in trajectories:
        try:
            runs = sources(spec, structure, length_unit, recover=recover)
            with Reader() as reader:
                for run in runs:
                    step = validation.runs([run], structure.n_atoms, dt)
                    cell = next(iter(reader.blocks(run, np.arange(1), range(1))))[1]
                    box = "no box" if cell is None else f"box {' x '.join(f'{x:.3g}' for x in _edges(cell))} nm"
                    lines.append(
                        f"{Path(run.name).name}: {run.frames:,} frames, {step:g} ps apart,"
                        f" {nanoseconds((run.frames - 1) * step)}, {box}"
                    )
            found += runs
        except (ValueError, OSError) as error:
            wrong.append(str(error))
    if not wrong:
        try:
            validation.runs(found, structure.n_atoms, dt)
        except ValueError as error:
            wrong.append(str(error))
    return Inspection({"topology": topology_facts.facts(structure), "trajectories": tuple(lines)}, tuple(wrong))


def _edges(cell: np.ndarray) -> np.ndarray:
    """(3,) nm, lengths of the cell vectors (n, 3, 3) of the first frame."""
    return np.asarray(np.linalg.norm(cell[0], axis=-1))


def inspect(
    frames: Frames, held_out: float, seed: int = 0, *, files: Inspection | None = None, report: Report = silent
) -> Inspection:
    """All that is known of frames before anything is trained on them.

    Args:
        files: what is known of the files that they were read from.
    """
    made = split(frames, held_out, seed)
    sections = {**(files.sections if files else {}), "frames": _holds(frames), "can be used for": _uses(frames)}
    report(0.1, "slow variables")
    try:
        look = _Look(frames, seed)
    except ValueError as error:
        return Inspection(sections, (*(files.wrong if files else ()), str(error)))
    sections["sampling"] = look.sampling()
    report(0.4, "one half of the runs against the other")
    sections["do the runs agree?"] = look.agreement()
    report(0.7, "what a verdict could tell")
    sections["split"] = (str(made), *made.notes)
    sections["what the verdict could tell"] = look.verdict(made)
    report(1.0, "")
    return Inspection(sections, files.wrong if files else ())


def foresight(made: Split, seed: int = 0) -> tuple[str, ...]:
    """What the verdict could tell from the held-out part of a split, in a few lines."""
    return _Look(made.kept, seed).verdict(made)


def _holds(frames: Frames) -> tuple[str, ...]:
    beads = frames.beads
    residues = len(set(beads.residues))
    lines = [
        f"{contents(frames)}, {frames.dt:g} ps apart, {frames.temperature:g} K",
        f"{len(beads)} beads in {residues} residues: {_sequence(frames)}",
    ]
    if len(set(frames.lengths)) > 1:
        short, long_ = (nanoseconds(n * frames.dt) for n in (min(frames.lengths), max(frames.lengths)))
        lines.append(f"runs of {short} to {long_}")
    if frames.forces is not None:
        part = np.asarray(frames.forces[:: max(1, len(frames) // 2000)], float)
        lines.append(f"forces: root mean square {math.sqrt(np.mean(part**2)):,.0f} kJ/mol/nm a component")
    if frames.weights is not None:
        lines.append(f"weights: as much as {kish(frames.weights):,.0f} equal ones of {len(frames):,} (Kish)")
    return tuple(lines)


def _sequence(frames: Frames) -> str:
    names = list(dict(zip(frames.beads.residues, frames.beads.residue_names, strict=True)).values())
    return "-".join(names if len(names) <= 24 else [*names[:12], "...", *names[-6:]])


def _uses(frames: Frames) -> tuple[str, ...]:
    forces = "force matching and noise contrast" if frames.forces is not None else "denoising and noise contrast"
    lines = [f"force field: yes, by {forces}" + (", with weights" if frames.weights is not None else "")]
    if frames.weights is not None:
        lines.append(f"time-stepper: {WEIGHTED}")
    elif not frames.time_ordered:
        lines.append(f"time-stepper: no, {frames.out_of_order} have no order in time")
    else:
        longest = max(frames.lengths) * frames.dt
        lines.append(f"time-stepper: yes, of lags well below the longest run of {nanoseconds(longest)}")
    return tuple(lines)


WEIGHTED = (
    "pairs of weighted frames carry no time, so it learns to draw independent frames by their weights, which has the"
    " populations and no rates"
)


class _Look:
    """Slow variables of frames, and judgements along them."""

    def __init__(self, frames: Frames, seed: int) -> None:
        self.frames, self.seed = frames, seed
        self.projection: Any = registry.build("cvs", "tica", frames)

    def sampling(self) -> tuple[str, ...]:
        """Independent frames, and transitions between metastable states."""
        frames, values = self.frames, self.projection(self.frames)
        apart = inefficiency(frames, values)
        count = (len(frames) if frames.weights is None else kish(frames.weights)) / apart
        along = f"the slowest variable ({self.projection.labels[0]})"
        if not frames.time_ordered:
            return (f"about {count:,.0f} independent frames along {along}",)
        lines = [f"about {count:,.0f} independent frames along {along}, one every {nanoseconds(apart * frames.dt)}"]
        if apart > max(frames.lengths):
            lines.append("no run is longer than its own memory: each shows where it was started; give longer runs")
        return (*lines, *self._transitions(values))

    def _transitions(self, values: np.ndarray) -> tuple[str, ...]:
        frames, lag = self.frames, self.projection.lag
        lags = implied_timescales.lag_grid(frames, lag * frames.dt) if lag else ()
        if not len(lags):
            return ("metastable states: the runs are too short to find any",)
        micro = markov_model.states(values, np.random.default_rng(self.seed))
        labels = micro(values)
        found = metastable_states.macrostates(labels, frames, float(lags[len(lags) // 2]), len(micro))
        if found is None:
            return (f"metastable states: none, nothing is slower than {nanoseconds(lags[len(lags) // 2])}",)
        seen = transitions.counts(transitions.dwell_times(found.cores[labels], frames), len(found))
        inside = np.bincount(found.assignment[labels] + 1, minlength=len(found) + 1)[1:] / len(frames)
        lines = [
            f"{name}: {100 * share:.2g} % of the frames, entered {int(seen[:, k].sum())} and left"
            f" {int(seen[k].sum())} times"
            for k, (name, share) in enumerate(zip(found.names, inside, strict=True))
        ]
        unseen = [name for k, name in enumerate(found.names) if not seen[k].sum() or not seen[:, k].sum()]
        if unseen:
            lines.append(f"{', '.join(unseen)}: no run enters and leaves it, so no model can learn how often that is")
        return (f"{len(found)} metastable states:", *lines)

    def agreement(self) -> tuple[str, ...]:
        """One half of the runs against the other, by the verdict's own test."""
        two = split(self.frames, 0.5, self.seed)
        return (f"one half against the other: {sentence(self._judge(two, 'other half'))}",)

    def verdict(self, made: Split) -> tuple[str, ...]:
        """The errors that the held-out part would have shown of frames like those that are kept."""
        judged = self._judge(made, "held-out runs")
        return power.lines(judged, len(made.held) * made.held.dt if made.held.time_ordered else math.nan)

    def _judge(self, made: Split, called: str) -> Judgement:
        known, own = made.held, made.kept
        memory = (inefficiency(known, self.projection(known)), inefficiency(own, self.projection(own)))
        rng = np.random.default_rng(self.seed)
        return judge(known, own, memory, rng, Question(called), permutations=PERMUTATIONS)
