"""The same collective variables, grids and estimators on every ensemble, all of them taken from the reference."""

from __future__ import annotations

from collections.abc import Mapping

from cgsurrogate.comparison import baselines
from cgsurrogate.comparison.comparison import Comparison
from cgsurrogate.comparison.measuring import REFERENCE, TRAINING, Measurement, Report
from cgsurrogate.comparison.settings import ComparisonSettings
from cgsurrogate.core.frames import Frames

MARKOV, SHUFFLED = "Markov state model", "independent draws"


def compare(
    reference: Frames,
    surrogates: Mapping[str, Frames],
    *,
    training: Frames | None = None,
    others: Mapping[str, Frames] | None = None,
    settings: ComparisonSettings | None = None,
    report: Report = lambda text: None,
) -> Comparison:
    """Measure every ensemble against the reference, with errors, noise floor and a verdict in words.

    Args:
        surrogates, others: by the name to show. The others are rows to look at, as the baselines, and get no verdict.
        training: the runs that the surrogates learned from, where ``reference`` was held out from them. The floor is
            then training against reference, and baselines are made of it (see the settings); without it, the floor is
            one half of the reference against the other.
        report: called with a line of text before each stage.
    """
    settings = settings or ComparisonSettings()
    rows = {"reference": {REFERENCE: reference}, "surrogate": surrogates, "floor": {}, "baseline": dict(others or {})}
    if training is not None:
        rows["floor"] = {TRAINING: training}
        rows["baseline"] = {**_baselines(training, surrogates, settings, report), **rows["baseline"]}
    return Measurement(rows, settings, report).comparison()


def side_by_side(
    surrogates: Mapping[str, Frames],
    *,
    settings: ComparisonSettings | None = None,
    report: Report = lambda text: None,
) -> Comparison:
    """Measure ensembles of which none is a reference beside each other: no verdict on any of them.

    Collective variables, states and estimators come from the first, so its frames should have physical time; grids
    span the frames of all. Distances are those of the others to the first, beside a floor made of its halves.
    """
    return Measurement({"surrogate": surrogates}, settings or ComparisonSettings(), report).comparison()


def _baselines(
    training: Frames, surrogates: Mapping[str, Frames], settings: ComparisonSettings, report: Report
) -> dict[str, Frames]:
    """Rows made of the training frames, as long as the longest surrogate."""
    made = {}
    if settings.baseline:
        report("Markov state model of the training runs")
        made[MARKOV] = baselines.resample(training, length=max(map(len, surrogates.values())) // 10)
    if settings.draws:
        made[SHUFFLED] = baselines.shuffled(training, seed=settings.seed)
    return made
