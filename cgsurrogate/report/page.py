"""The page that a scientist opens: the verdict in words first, then numbers, then pictures."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.comparison import Comparison, Ensemble
from cgsurrogate.report import checks, figures, html, player

CLOSE = 1.5  # times the floor: beyond the noise, yet near it
SECTIONS = ("distances", "surfaces", "timescales", "geometry", "training")
_WORDS = {"within": "within the noise", "close": "close", "beyond": "beyond the noise", "unknown": "not judged"}


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
    figures_folder: str | Path | None = None,
) -> Path:
    """Write the page to ``out`` and every figure, with its numbers, into ``figures/`` beside it. Returns the page.

    Args:
        training: rows of metrics.csv (step, seconds, train, held_out) of each model, by name.
        provenance: inputs with hashes, versions, the command; shown as it is, nested.
    """
    out = Path(out)
    drawings = figures.draw_all(comparison, figures_folder or out.parent / "figures", training)
    kept = {section: [d for d in drawings if d.section == section] for section in SECTIONS}
    return html.write(
        out,
        "report.html",
        title=title,
        comparison=comparison,
        facts=player.facts(comparison.reference.sample),
        verdict=judge(comparison),
        tables=tables(comparison),
        drawings=kept,
        image=lambda drawing: html.data_image(drawing.svg, "svg+xml"),
        worst=worst_terms(comparison),
        player=player.payload(comparison),
        provenance=lines(provenance or {}),
    )


def state(ensemble: Ensemble) -> str:
    """"within" if every distance is within the floor, "close" if none exceeds 1.5 times its floor or its band, else "beyond"."""
    known = list(ensemble.distances.values())
    if not known:
        return "unknown"
    if all(d.within for d in known):
        return "within"
    return "close" if all(d.within or checks.ratio(d) <= CLOSE for d in known) else "beyond"


def judge(comparison: Comparison) -> list[Judged]:
    """The verdict's sentences, each with the state of the surrogate that it speaks of."""
    surrogates = [e for e in comparison.others if e.role == "surrogate"]
    found = []
    for place, text in enumerate(comparison.verdict):
        named = [e for e in surrogates if text.startswith(e.name)] or [e for e in surrogates if e.name in text]
        if not named and len(surrogates) == len(comparison.verdict):
            named = [surrogates[place]]
        mark = state(max(named, key=lambda e: len(e.name))) if named else "unknown"
        found.append(Judged(text, mark, _WORDS[mark]))
    return found


def tables(comparison: Comparison) -> list[dict[str, Any]]:
    """Rows for the table of distances, one block an ensemble."""
    blocks = []
    for ensemble in comparison.others:
        rows = []
        for metric, d in ensemble.distances.items():
            ratio = checks.ratio(d)
            mark = "within" if d.within else "close" if ratio <= CLOSE else "beyond"
            rows.append({"metric": metric, "distance": d, "ratio": ratio, "state": mark, "word": _WORDS[mark]})
        if rows:
            blocks.append({"ensemble": ensemble, "rows": rows})
    return blocks


def worst_terms(comparison: Comparison) -> list[tuple[str, str, str]]:
    """(ensemble, check, worst term) where one is named."""
    return [
        (e.name, name, str(check["worst"]))
        for e in comparison.others
        for name, check in e.geometry.items()
        if check.get("worst")
    ]


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
