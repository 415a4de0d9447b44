"""Collective variables and published benchmarks of a comparison, by name or as they are, made from its reference."""

from __future__ import annotations

from collections.abc import Sequence

from cgsurrogate.analysis.cvs._base import CV, TooSmall
from cgsurrogate.comparison.published._base import PublishedBenchmark
from cgsurrogate.comparison.settings import CVS
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames


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
