"""One prediction, or one after the other in folders of their names, with a table of all."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from cgsurrogate.comparison import predicted
from cgsurrogate.comparison.comparison import Comparison, Ensemble
from cgsurrogate.core import filesystem
from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.core.frames import Frames
from cgsurrogate.data.generation.sequences import Peptide
from cgsurrogate.workflows import predicted_models
from cgsurrogate.workflows.predict import RECORD, Update, predict, starting_structure
from cgsurrogate.workflows.predicted_models import Sources
from cgsurrogate.workflows.settings import PredictionSettings

TABLE = "predictions.csv"


def predict_all(
    wanted: Sequence[Peptide] | Path,
    out: Path,
    sources: Sources,
    settings: PredictionSettings,
    *,
    reference: Path | None = None,
    report: Update,
    say: Callable[[str], None],
) -> str:
    """Predict a structure file or one peptide in ``out``, several in folders in it; what to tell a person.

    Writes ``TABLE`` beside what it has made. Arguments as for ``predict``; ``reference`` is a folder of frames or a
    data set.

    Raises:
        ValueError: also for a reference that is not of a peptide.
    """
    known = _references(reference, wanted)
    single = isinstance(wanted, Path) or len(wanted) == 1
    listed: Sequence[Peptide | Path] = [wanted] if isinstance(wanted, Path) else wanted
    if not single and (out / RECORD).exists():
        raise ValueError(f"{out} holds one prediction, got several sequences; choose another folder with -o")
    made: dict[str, Comparison] = {}
    if not isinstance(wanted, Path) and not single:
        _refuse_unknown(wanted, sources)
    for molecule in listed:
        name = molecule.stem if isinstance(molecule, Path) else molecule.name
        told = report if single else functools.partial(_named, name, report)
        where = out if single else out / name
        one = known.get(name, known.get(""))
        made[name] = predict(molecule, where, sources, settings, reference=one, report=told, say=say)
    filesystem.write_text(out / TABLE, table(made))
    pages = [out / "report.html"] if single else [out / name / "report.html" for name in made]
    lines = [_words(name, comparison) for name, comparison in made.items()]
    return "\n".join([*lines, *(f"report: {page}" for page in pages), f"table: {out / TABLE}"])


def _refuse_unknown(wanted: Sequence[Peptide], sources: Sources) -> None:
    """Name the first peptide that the models cannot be of, before any is simulated."""
    models = predicted_models.load(sources.folders)
    for peptide in wanted:
        try:
            predicted_models.bound(models, starting_structure(peptide, models).beads)
        except ValueError as error:
            raise ValueError(f"{peptide.name}: {error}") from None


def _named(name: str, report: Update, label: str, fraction: float | None, text: str = "") -> None:
    report(f"{name}, {label}", fraction, text)


def _references(path: Path | None, wanted: Sequence[Peptide] | Path) -> dict[str, Frames]:
    """Frames by the name of the molecule; those of a single molecule by ""."""
    if path is None:
        return {}
    found = FrameSet.load(path)
    names = [wanted.stem] if isinstance(wanted, Path) else [one.name for one in wanted]
    if len(names) == 1 and len(found) == 1:
        return {"": next(iter(found.values()))}
    missing = next((name for name in names if name not in found), None)
    if missing is not None:
        raise ValueError(f"{path} has no frames of {missing}; it has those of {', '.join(list(found)[:5])}")
    return dict(found)


def table(made: dict[str, Comparison]) -> str:
    """CSV with a row for each ensemble of each molecule: mean helix and strand content, lengths, slowest timescale."""
    text = io.StringIO()
    rows = [
        {"molecule": name, "ensemble": one.name} | {key: f"{value:.4g}" for key, value in _figures(one).items()}
        for name, comparison in made.items()
        for one in comparison.ensembles
        if one.role in ("reference", "surrogate")
    ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, columns, restval="nan")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _figures(one: Ensemble) -> dict[str, float]:
    times = zip(("slowest timescale (ps)", "from (ps)", "to (ps)"), predicted.slowest(one), strict=True)
    return predicted.figures(one) | dict(times)


def _words(name: str, comparison: Comparison) -> str:
    """What both models say of a molecule, for a terminal."""
    shown = [one for one in comparison.ensembles if one.role in ("reference", "surrogate")]
    found = [_figures(one) for one in shown]
    rows = [[name, *(one.name for one in shown)]]
    for key in dict.fromkeys(key for one in found for key in one):
        rows.append([key, *(f"{one[key]:.3g}" if math.isfinite(one.get(key, math.nan)) else "-" for one in found)])
    wide = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, wide, strict=True)).rstrip() for row in rows]
    lines += predicted.disagreements(comparison)
    if comparison.reference is not None:
        lines += ["", comparison.summary()]
    return "\n".join([*lines, ""])
