"""The page that a scientist opens: the verdict in words first, then numbers, then pictures."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cgsurrogate.comparison.comparison import Comparison, Ensemble
from cgsurrogate.report import captions, figures, html, marks, player, tables, verdict
from cgsurrogate.report.player import write_player
from cgsurrogate.report.plots import kinetics
from cgsurrogate.report.prediction import Prediction, lead

__all__ = ["write_player", "write_report"]

MOST = 2_900_000  # characters of the page
ELSEWHERE = ("states", "published", "splits")  # settings that the page says in other places


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: its heading, the name a link finds it by, sentences, figures and tables."""

    key: str
    title: str
    sentences: Sequence[str]
    drawings: Sequence[figures.Drawing]
    tables: Sequence[tables.Table]

    @property
    def empty(self) -> bool:
        return not (self.sentences or self.drawings or self.tables)


def write_report(
    comparison: Comparison,
    out: str | Path,
    *,
    training: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    provenance: Mapping[str, Any] | None = None,
    title: str | None = None,
    prediction: Prediction | None = None,
) -> Path:
    """Write the page, and every figure with its numbers into ``figures/`` beside it. Returns the path of the page.

    Args:
        out: a folder, for ``report.html`` in it, or a file that ends in .html.
        training: rows of metrics.csv (step, seconds, train, held_out) of each model, by name.
        provenance: inputs with hashes, versions, the command; shown as it is, nested.
        prediction: what is known of the models and of the molecule, where the surrogates are a prediction.
    """
    out = page_path(out)
    drawings = figures.draw_all(comparison, out.parent / "figures", training)
    warned = comparison.warnings
    notes = [(e.name, n) for e in comparison.ensembles for n in e.notes if not any(n in w for w in warned)]
    settings = {key: value for key, value in comparison.settings.items() if key not in ELSEWHERE}
    described = lines({"comparison": settings}) if settings else []
    told = lines(provenance or {})
    told += [
        (deep, captions.worded(key, comparison), captions.worded(text, comparison)) for deep, key, text in described
    ]
    values: dict[str, Any] = {
        "title": title or ("Surrogates beside their reference" if comparison.reference else "Surrogates side by side"),
        "comparison": comparison,
        "lead": lead(prediction, comparison) if prediction else None,
        "entries": verdict.entries(comparison),
        "made": verdict.made(comparison),
        "judged": verdict.judged(comparison),
        "learned": verdict.learned(comparison),
        "captions": captions,
        "called": tables.CALLED,
        "trained": any(one.learned is not None for one in comparison.others),
        "distances": _worded(tables.distances(comparison), comparison),
        "further": [_worded(one, comparison) for one in tables.further(comparison)],
        "words": marks.WORDS,
        "plates": [d for d in drawings if d.section == "distances"],
        "sections": sections(comparison, drawings),
        "size": size,
        "notes": notes,
        "player": player.payload(comparison),
        "provenance": told,
    }
    values["contents"] = contents(values)
    bare = html.render("report.html", images=dict.fromkeys((d.name for d in drawings), ""), **values)
    return html.write(out, "report.html", images=images(drawings, MOST - len(bare.encode())), **values)


def page_path(out: str | Path) -> Path:
    """Of the page in a folder, or of a file that ends in .html."""
    out = Path(out)
    return out if out.suffix.lower() in (".html", ".htm") else out / "report.html"


def sections(comparison: Comparison, drawings: Sequence[figures.Drawing]) -> list[Section]:
    """The parts of the page that come after the player; those without anything in them are left out."""
    sets = kinetics.set_names(comparison.ensembles)

    def of(*names: str) -> list[figures.Drawing]:
        return [d for name in names for d in drawings if d.section == name]

    def held(*made: tables.Table | None) -> list[tables.Table]:
        return [_worded(one, comparison) for one in made if one is not None]

    states = [tables.populations(comparison, which) for which in sets]
    moves = [made(comparison, which) for which in sets for made in (tables.first_passage, tables.rates)]
    found = [
        Section("regions", "Helix and strand", (), of("regions"), held(tables.regions(comparison))),
        Section("surfaces", "Free energies", (), of("surfaces"), ()),
        Section("states", "States", (), of(*(f"states {which}" for which in sets)), held(*states)),
        Section(
            "kinetics", "Kinetics", tables.time_scalings(comparison.ensembles),
            of("kinetics", *(f"kinetics {which}" for which in sets)), held(*moves),
        ),
        Section("structure", "Structure", (), of("structure"), ()),
        Section("geometry", "Geometry", (), of("geometry"), held(tables.geometry(comparison))),
        Section("convergence", "Convergence", (), (), held(tables.convergence(comparison))),
        Section("published", "Beside published figures", (), (), tables.published(comparison)),
        Section("training", "Training", (), of("training"), ()),
    ]  # fmt: skip
    return [section for section in found if not section.empty]


def contents(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(name, heading) of every part of the page that has anything in it."""
    comparison: Comparison = values["comparison"]
    first = [
        ("prediction", "Prediction", values["lead"]),
        ("verdict", "Verdict", comparison.reference),
        ("judged", "What was judged", values["judged"]),
        ("distances", "Distances", comparison.reference),
        ("player", "Trajectories", values["player"]["ensembles"]),
    ]
    last = [("distances", "Distances", comparison.reference is None and values["distances"])]
    last += [("notes", "Notes", values["notes"]), ("provenance", "Provenance", values["provenance"])]
    middle = [(s.key, s.title, True) for s in values["sections"]]
    return [(key, heading) for key, heading, there in (*first, *middle, *last) if there]


def _worded(table: Any, comparison: Comparison) -> Any:
    """A table that names no reference where there is none; None stays None."""
    if table is None or comparison.reference is not None:
        return table
    head = tuple((name, "" if small == "surrogate" else small) for name, small in table.head)
    return dataclasses.replace(table, caption=captions.worded(table.caption, comparison), head=head)


def size(ensemble: Ensemble) -> str:
    """Its frames, and how many of them count as independent where that is known."""
    text = f"{ensemble.frames_count:,} frames"
    return f"{text}, about {ensemble.effective:,.0f} independent" if math.isfinite(ensemble.effective) else text


def images(drawings: Sequence[figures.Drawing], most: int) -> dict[str, str]:
    """Name -> data address, ``most`` characters in all: SVG, and the largest as ever coarser PNG."""
    found = {d.name: html.data_image(d.svg, "svg+xml") for d in drawings}
    for scale in (1.0, 0.7, 0.5, 0.35, 0.25, 0.15):
        for one in sorted(drawings, key=lambda d: -len(found[d.name])):
            if sum(map(len, found.values())) <= most:
                return found
            small = html.data_image(html.small_png(one.png, scale), "png")
            found[one.name] = min(found[one.name], small, key=len)
    return found


def lines(values: Mapping[str, Any], depth: int = 0) -> list[tuple[int, str, str]]:
    """A nested mapping as (depth, key, text) rows."""
    rows: list[tuple[int, str, str]] = []
    for key, value in values.items():
        if isinstance(value, (list, tuple)):
            nested = any(isinstance(v, (Mapping, list, tuple)) for v in value)
            value = {str(i + 1): v for i, v in enumerate(value)} if nested else ", ".join(map(str, value))
        if isinstance(value, Mapping) and depth < 4:
            rows += [(depth, str(key), ""), *lines(value, depth + 1)]
        else:
            rows.append((depth, str(key), value if isinstance(value, str) else json.dumps(value, default=str)))
    return rows
