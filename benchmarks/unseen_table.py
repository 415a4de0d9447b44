"""The figures of several pretrained models together: molecules that none of them saw, several seeds and splits.

    python benchmarks/unseen_table.py FOLDER... --reference DATA-SET

Each FOLDER is one of ``pretrain.py``, best made with another seed and other validation molecules, of which DATA-SET has
the frames. What was simulated there is compared with these frames (``cgsurrogate compare``, stored beside it), and the
table shows, for the stepper and the force field, with standard errors over molecules:

- Jensen-Shannon divergences of (phi, psi) of the inner residues, above the sampling error of the reference (a quarter
  of the divergence between its halves), beside those of pooled and nearest surfaces and of a tenth of the reference;
- Jensen-Shannon distances of torsions, TIC 1 and MSM states over the floor: what a run as long as the reference would
  show;
- in how many molecules the slowest timescale, and the first passages, lie in the 95 % interval of the reference;
- the rank correlation of the extrapolation score with the divergence, over molecules.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from pretrain import COLUMNS, MEASURED
from scipy.stats import spearmanr

from cgsurrogate import workflows
from cgsurrogate.core import filesystem
from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.core.frames import Frames
from cgsurrogate.models.model import Model
from cgsurrogate.workflows.simulate import of_molecule

SKIP = 50  # of the frames that are scored, each such one
SURROGATES, FIGURES = ("stepper", "force field"), ("torsions", "TIC 1", "MSM states")
PARTS = {"stepper": "stepper", "force field": "force-field"}


def compared(name: str, reference: Frames, folder: Path) -> dict[str, Any]:
    """The metrics of ``compare`` by surrogate; made once."""
    out = folder / f"{name}-comparison"
    if not (out / "metrics.json").exists():
        paths = {kind: folder / f"{name}-{part}" for kind, part in PARTS.items()}
        found = {kind: Frames.load(path) for kind, path in paths.items() if (path / "frames.json").exists()}
        workflows.make_comparison(reference, found, out)
    rows = filesystem.read_json(out / "metrics.json")["ensembles"]
    return {row["name"]: row for row in rows}


def inside(value: float | None, low: float | None, high: float | None) -> bool | None:
    """None where the reference does not know."""
    return None if value is None or low is None or high is None else low <= value <= high


def times(reference: dict[str, Any], row: dict[str, Any]) -> dict[str, list[bool]]:
    """Of the slowest timescale at the longest lag that both have, and of first passages between metastable states."""
    slow: list[bool | None] = []
    if row["timescales"] and reference["timescales"]:
        lags = [lag for lag in row["timescales"]["lags"] if lag in reference["timescales"]["lags"]]
        slow = [inside(slowest(row, lag)[0], *slowest(reference, lag)[1:]) for lag in lags[-1:]]
    own, known = ((one["states"].get("metastable") or {}).get("mean_first_passage") for one in (row, reference))
    passages: list[bool | None] = []
    if own and known:
        pairs = [(i, j) for i, j in np.ndindex(np.shape(known["value"])) if i != j]
        passages = [inside(own["value"][i][j], known["low"][i][j], known["high"][i][j]) for i, j in pairs]
    return {"timescale": [x for x in slow if x is not None], "passages": [x for x in passages if x is not None]}


def slowest(row: dict[str, Any], lag: float) -> tuple[float | None, float | None, float | None]:
    """With its interval, ps."""
    times = row["timescales"]
    at = times["lags"].index(lag)
    return times["values"][at][0], times["low"][at][0], times["high"][at][0]


def score(folder: Path, name: str) -> float:
    """Of extrapolation, of what the stepper simulated: the mean over frames of the largest of their beads."""
    made = Frames.load(folder / "validation" / f"{name}-stepper")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = of_molecule(Model.load(folder / "stepper"), made.beads)
    if model.extrapolation is None:
        return float("nan")
    return float(model.extrapolation.score(np.asarray(made.positions[::SKIP])).max(1).mean())


def mean(values: list[float]) -> str:
    if not values:
        return ""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    return f"{np.mean(values):.3f} -+ {error:.3f}"


def correlation(molecules: list[tuple[str, str, float, dict[str, Any]]]) -> float:
    pairs = [(strange, own["stepper"]) for _, _, strange, own in molecules if strange == strange and "stepper" in own]
    return float(spearmanr(*zip(*pairs, strict=True)).statistic) if len(pairs) > 2 else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--reference", type=Path, nargs="+", required=True)
    given = parser.parse_args()
    references = {name: frames for path in given.reference for name, frames in FrameSet.load(path).items()}
    divergences: dict[str, list[float]] = {column: [] for column in COLUMNS}
    ratios: dict[tuple[str, str], list[float]] = {(k, f): [] for k in SURROGATES for f in FIGURES}
    known: dict[tuple[str, str], list[bool]] = {(k, f): [] for k in SURROGATES for f in ("timescale", "passages")}
    molecules = []
    for folder in given.folders:
        measured = filesystem.read_json(folder / MEASURED)
        for name in measured["validation"]:
            rows = [row for row in measured["rows"] if row["molecule"] == name]
            own = {c: np.mean(v) for c in COLUMNS if (v := [r[c] for r in rows if r.get(c) is not None])}
            for column, value in own.items():
                divergences[column].append(float(value))
            molecules.append((folder.name, name, score(folder, name), own))
            found = compared(name, references[name], folder / "validation")
            for kind in SURROGATES:
                if kind not in found:
                    continue
                for figure in FIGURES:
                    ratios[kind, figure].append(found[kind]["distances"][figure]["ratio"])
                for what, values in times(found["reference"], found[kind]).items():
                    known[kind, what] += values
    print(f"{len(molecules)} molecules in {len(given.folders)} models; means -+ standard errors over molecules\n")
    print("| | " + " | ".join(COLUMNS) + " |\n|---|" + "---|" * len(COLUMNS))
    print("| divergence of (phi, psi) | " + " | ".join(mean(divergences[column]) for column in COLUMNS) + " |")
    noise = np.mean(divergences["halves"]) / 4
    above = [f"{np.mean(divergences[c]) - noise:.3f}" if divergences[c] else "" for c in COLUMNS[:-1]]
    print(f"| above the sampling error ({noise:.3f}) | " + " | ".join(above) + " | |\n")
    print("| | stepper | force field |\n|---|---|---|")
    for figure in FIGURES:
        print(f"| {figure}, over the floor | " + " | ".join(mean(ratios[kind, figure]) for kind in SURROGATES) + " |")
    for what in ("timescale", "passages"):
        shares = [f"{sum(known[kind, what])} of {len(known[kind, what])}" for kind in SURROGATES]
        print(f"| {what} inside the 95 % of the reference | " + " | ".join(shares) + " |")
    print(f"\nrank correlation of extrapolation scores with divergences of the stepper: {correlation(molecules):.2f}")
    for folder_name, name, strange, own in molecules:
        columns = " ".join(f"{column} {own[column]:.3f}" for column in COLUMNS if column in own)
        print(f"{folder_name} {name}: score {strange:.2f}; {columns}")


if __name__ == "__main__":
    main()
