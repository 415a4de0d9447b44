"""Compare ensembles with the reference, and draw what came out."""

from __future__ import annotations

import csv
import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cgsurrogate.analysis.kinetics.one_step_relaxation import ONE_STEP
from cgsurrogate.comparison.comparison import METRICS, Comparison
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import Frames
from cgsurrogate.models import extrapolation_scores
from cgsurrogate.workflows.corrections import describe
from cgsurrogate.workflows.settings import Report, silent

if TYPE_CHECKING:
    from cgsurrogate.report.prediction import Prediction

CURVES = "metrics.csv"


def make_comparison(
    reference: Frames | None,
    surrogates: dict[str, Frames],
    out: Path,
    *,
    training: Frames | None = None,
    settings: ComparisonSettings | None = None,
    about: dict[str, Any] | None = None,
    report: Report = silent,
) -> Comparison:
    """Compare, and store the numbers in ``out``, with what simulations say of themselves among the warnings.

    Args:
        reference: None to measure the surrogates side by side, without a verdict.
        training: frames that the surrogates learned from.
        about: what else to note in the settings of the comparison, e.g. ``provenance``.
    """
    from cgsurrogate.comparison.compare import compare, side_by_side

    with filesystem.writing(out, METRICS):
        told = functools.partial(report, None)
        if reference is None:
            comparison, every = side_by_side(surrogates, settings=settings, report=told), surrogates
        else:
            comparison = compare(reference, surrogates, training=training, settings=settings, report=told)
            every = {"reference": reference, **surrogates}
        comparison = _with_notes(comparison, every, surrogates, about or {})
        comparison.save(out)
    return comparison


def _with_notes(
    comparison: Comparison, every: dict[str, Frames], surrogates: dict[str, Frames], about: dict[str, Any]
) -> Comparison:
    """With what simulations, and the files of ``every`` ensemble, say of themselves among the warnings."""
    frozen = tuple(
        f"{name}: {len(lost)} replica(s) were frozen, the first after {lost[0].time:g} ps ({lost[0].reason})"
        for name, frames in surrogates.items()
        if (lost := frames.provenance.quarantined)
    )
    corrected = tuple(f"{name}: corrected: {line}" for name, one in surrogates.items() if (line := describe(one)))
    cut = tuple(f"{name}: {line}" for name, one in every.items() for line in one.provenance.left_out)
    trained = tuple(
        f"{name}: training: {line}"
        for name, one in surrogates.items()
        for line in _of_training(one, comparison.reference is not None)
    )
    said = {name: extrapolation_scores.words(frames) for name, frames in surrogates.items()}
    new = tuple(f"{name}: {one.text}" for name, one in said.items() if one and one.warn)
    return dataclasses.replace(
        _with_scores(comparison, surrogates),
        warnings=(*frozen, *cut, *new, *corrected, *trained, *comparison.warnings),
        settings={**comparison.settings, **about},
    )


def _of_training(frames: Frames, judged: bool) -> list[str]:
    """What the training of the model warned of; a check of single jumps is told from the rates that are judged."""
    apart = "; this tells of single jumps, while the rates of the whole rollout are judged in the verdict"
    return [f"{line}{apart * (judged and ONE_STEP in line)}" for line in frames.provenance.training_notes]


def _with_scores(comparison: Comparison, surrogates: dict[str, Frames]) -> Comparison:
    """The comparison with the extrapolation score of simulated frames, beside that of held-out frames in the basis."""
    made = []
    found = {name: known for name, frames in surrogates.items() if (known := extrapolation_scores.check(frames))}
    for one in comparison.ensembles:
        own, held = found.get(one.name), next(iter(found.values()), None)
        drawn = own[0] if own else held[1] if held and one is comparison.reference else None
        made.append(dataclasses.replace(one, geometry={**one.geometry, "extrapolation": drawn}) if drawn else one)
    return dataclasses.replace(comparison, basis=made[0], others=tuple(made[1:]))


def make_report(
    folder: Path, out: Path, *, models: list[Path], provenance: dict[str, Any] | None = None, title: str | None = None
) -> Path:
    """Draw a stored comparison into ``out``: report.html and figures/.

    Raises:
        FileNotFoundError, ValueError: there is no complete comparison in ``folder``.
        Busy: another process writes to ``out``.
    """
    from cgsurrogate.report.page import page_path

    with filesystem.writing(page_path(out).parent, *filesystem.OWNERS):
        return draw_report(folder, out, models=models, provenance=provenance, title=title)


def draw_report(
    folder: Path,
    out: Path,
    *,
    models: list[Path],
    provenance: dict[str, Any] | None = None,
    title: str | None = None,
    prediction: Prediction | None = None,
) -> Path:
    """As ``make_report``, for who holds the folder already, also of a prediction."""
    from cgsurrogate.comparison.comparison import Comparison
    from cgsurrogate.report.page import write_report

    curves = {}
    for model in models:
        path = model / CURVES
        if path.exists():
            with open(path, newline="") as handle:
                curves[model.name] = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(handle)]
    return write_report(
        Comparison.load(folder), out, training=curves, provenance=provenance or {}, title=title, prediction=prediction
    )
