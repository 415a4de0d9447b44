"""The page that a scientist opens: the verdict in words first, then numbers, then pictures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.comparison import Comparison, Distance, Ensemble
from cgsurrogate.report import checks, figures, html, player
from cgsurrogate.report.player import write_player

__all__ = ["write_player", "write_report"]

MOST_IMAGES = 1_500_000  # characters of all figures in the page
CLOSE = 1.5  # times the floor: beyond the noise, yet near it
SECTIONS = ("distances", "surfaces", "timescales", "geometry", "training")
WORDS = {"within": "within the noise", "close": "close", "beyond": "beyond the noise", "unknown": "not judged"}


@dataclasses.dataclass(frozen=True)
class Judged:
    """One line of the verdict: the sentence, and the state its mark shows."""

    text: str
    state: str
    word: str


def write_report(
    comparison: Comparison,
    out: str | Path,
    *,
    training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    provenance: Mapping[str, Any] | None = None,
    title: str = "Surrogate against reference",
) -> Path:
    """Write the page, and every figure with its numbers into ``figures/`` beside it. Returns the path of the page.

    Args:
        out: a folder, for ``report.html`` in it, or a file that ends in .html.
        training: rows of metrics.csv (step, seconds, train, held_out) of each model, by name.
        provenance: inputs with hashes, versions, the command; shown as it is, nested.
    """
    out = Path(out)
    out = out if out.suffix.lower() in (".html", ".htm") else out / "report.html"
    drawings = figures.draw_all(comparison, out.parent / "figures", training)
    kept = {section: [d for d in drawings if d.section == section] for section in SECTIONS}
    return html.write(
        out,
        "report.html",
        title=title,
        comparison=comparison,
        verdict=judge(comparison),
        table=table(comparison),
        words=WORDS,
        drawings=kept,
        images=images(drawings),
        size=size,
        notes=[
            (e.name, n) for e in comparison.ensembles for n in e.notes if not any(n in w for w in comparison.warnings)
        ],
        geometry=geometry(comparison),
        player=player.payload(comparison),
        provenance=lines(
            {**(provenance or {}), **({"comparison": comparison.settings} if comparison.settings else {})}
        ),
    )


def size(ensemble: Ensemble) -> str:
    """Its frames, and how many of them count as independent where that is known."""
    text = f"{ensemble.frames_count:,} frames"
    return f"{text}, about {ensemble.effective:,.0f} independent" if math.isfinite(ensemble.effective) else text


def images(drawings: Sequence[figures.Drawing]) -> dict[str, str]:
    """Name -> data address: SVG, and the largest as PNG with a palette where all together would be too much."""
    found = {d.name: html.data_image(d.svg, "svg+xml") for d in drawings}
    for drawing in sorted(drawings, key=lambda d: -len(d.svg)):
        if sum(map(len, found.values())) > MOST_IMAGES:
            small = html.data_image(html.small_png(drawing.png), "png")
            found[drawing.name] = min(found[drawing.name], small, key=len)
    return found


def mark(distance: Distance) -> str:
    """ "within" the 95 % band of the floor, "close" (at most 1.5 times it), "beyond", or "unknown" without a floor."""
    if not (math.isfinite(distance.value) and math.isfinite(distance.floor_high)) or distance.floor_high < 0:
        return "unknown"
    if distance.within:
        return "within"
    return "close" if checks.ratio(distance) <= CLOSE else "beyond"


def state(ensemble: Ensemble) -> str:
    """The worst mark of all its distances and of its geometry.

    Frames with broken bonds or wrong hands are "beyond"; beads closer than half of the reference's least distance are
    at best "close".
    """
    checks_ = ensemble.geometry.values()
    marks = {mark(d) for d in ensemble.distances.values()}
    marks |= {"beyond"} if any(check.get("bad frames") for check in checks_) else set()
    marks |= {"close"} if any(check.get("below half") for check in checks_) else set()
    return next((m for m in ("beyond", "close", "within") if m in marks), "unknown")


def judge(comparison: Comparison) -> list[Judged]:
    """The verdict's sentences, each with the state of the surrogate that it speaks of."""
    surrogates = [e for e in comparison.others if e.role == "surrogate"]
    found = []
    for place, text in enumerate(comparison.verdict):
        named = [e for e in surrogates if text.startswith(f"{e.name}:")]
        if not named and len(surrogates) == len(comparison.verdict):
            named = [surrogates[place]]
        judged = state(named[0]) if named else "unknown"
        found.append(Judged(text, judged, WORDS[judged]))
    return found


def table(comparison: Comparison) -> list[dict[str, Any]]:
    """A row a measure: its floor, and of every ensemble distance, ratio and mark (None where it has none)."""
    others = comparison.others
    rows = []
    for metric in dict.fromkeys(m for e in others for m in e.distances):
        found = [e.distances.get(metric) for e in others]
        cells = [d and {"distance": d, "ratio": checks.ratio(d), "state": mark(d)} for d in found]
        rows.append({"metric": metric, "floor": next(d for d in found if d), "cells": cells})
    return rows


def geometry(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """(ensemble, check, worst term, frames broken) of the surrogates and baselines."""
    return [
        (e.name, name, str(check.get("worst") or "\u2013"), _frames(check, e))
        for e in comparison.others
        if e.role != "floor"
        for name, check in e.geometry.items()
    ]


def _frames(check: Mapping[str, Any], ensemble: Ensemble) -> str:
    count = check.get("bad frames", check.get("below half"))
    return "\u2013" if count is None else f"{int(count):,} of {ensemble.frames_count:,}"


def lines(values: Mapping[str, Any], depth: int = 0) -> list[tuple[int, str, str]]:
    """A nested mapping as (depth, key, text) rows."""
    rows: list[tuple[int, str, str]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and depth < 4:
            rows.append((depth, str(key), ""))
            rows += lines(value, depth + 1)
        elif isinstance(value, (list, tuple)) and any(isinstance(v, (Mapping, list, tuple)) for v in value):
            rows.append((depth, str(key), ""))
            rows += lines({str(i + 1): v for i, v in enumerate(value)}, depth + 1)
        elif isinstance(value, (list, tuple)):
            rows.append((depth, str(key), ", ".join(str(v) for v in value)))
        else:
            rows.append((depth, str(key), value if isinstance(value, str) else json.dumps(value, default=str)))
    return rows
