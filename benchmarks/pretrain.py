"""The package's pretrained model, from sequences or a data set to both models and a measured card; resumable.

    python benchmarks/pretrain.py DATA-SET -o FOLDER --validation VALIDATION-SET [--minutes 60] [--lag 20] [--seed 0]
    python benchmarks/pretrain.py peptides.txt -o FOLDER --ns 4 [--runs 1]
    python benchmarks/pretrain.py ... -o FOLDER --bundle peptides

Sequences (a file) are first simulated and mapped (``cgsurrogate reference``, ``map``). ``--validation`` takes names of
molecules of the data set, or other data sets; without it a part of the molecules is held out (``--held-out``). The
``graph`` stepper and the force field learn from the others, half of the minutes each; then each validation molecule is
simulated with both, and measured as in ``unseen_peptides``. FOLDER gets ``stepper``, ``force-field``, ``measured.json``
and ``card.md``, whose figures are those of ``measured.json``. The same command goes on where it was stopped.
``--bundle NAME`` then copies the models and the card, without what only training needs, to where ``--from NAME`` finds
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import unseen_peptides as unseen

from cgsurrogate import workflows
from cgsurrogate.core import filesystem
from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.core.frames import Frames
from cgsurrogate.models import pretrained
from cgsurrogate.models.model import WEIGHTS, Model
from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import EnergySettings, StepperSettings
from cgsurrogate.workflows.training_folder import finished

MEASURED, CARD = "measured.json", "card.md"
COLUMNS = ("stepper", "force field", "pooled", "nearest", "tenth", "halves")
HELD, DECAY = 0.1, 0.03  # share of the molecules to learn from that choose the best weights; decay of the force field's
NETWORK = "residues:width=32,identity=0.1"  # narrow, and the same for all residues at first: it must not know molecules
LARGEST = 6e6  # bytes of a bundled model
KEPT = ("molecules", "frames", "runs", "best", "reason")  # of what a bundled model says of its training
TIME, EVERY, REPLICAS, PIVOT = 20.0, 0.1, 64, "10:5"  # of the simulations of the force field: ps, ps

TEMPLATE = """# Model card

A time-stepper and a force field of peptides, mapping `{mapping}`, {temperature:g} K. Made and measured by
`python benchmarks/pretrain.py`.

## Data

{molecules} molecules ({sizes} residues), {ns:.1f} ns and {frames:,} frames in all: {names}.
Residues: {residues}.

## Protocol

{protocol}
- The stepper knows lags from {low:g} to {high:g} ps; its usual jump is {lag:g} ps.

## Measured

Validation molecules, which were not trained on: {held}. Jensen-Shannon divergence (natural logarithm, 36 x 36 bins) of
(phi, psi) of the inner residues to all-atom dynamics; less is better. Pooled: the surface of all residues of the same
amino acid in the training data. Nearest: that of the residue there with the likest neighbours. Tenth: that of all-atom
dynamics ten times shorter than the reference. Halves: between the halves of the reference, a quarter of which is its
own sampling error.

{table}

Above the reference's own sampling error ({noise:.3f}): stepper {stepper:.3f}, force field {energy:.3f}.

## Where it is good, and where not

- A pooled surface costs nothing. On average over these molecules, by the distance to the reference:
  {verdicts}.
- The stepper is worst at {worst}.
- Longer chains, other ends and other temperatures than in the data were not measured. Of a residue that was not
  trained on, what is most like it takes the place, and a warning says so.
- Processes slower than the runs of the data are not in it: populations and rates across high barriers are not to be
  relied on.
- It is a start for a model of your own molecule: `cgsurrogate train stepper FRAMES --from` this one.
"""


def run_command(*words: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "cgsurrogate", *map(str, words)], check=True)


def mapped(given: argparse.Namespace) -> Path:
    """The data set; made first where sequences are given."""
    if given.data.is_dir():
        return Path(given.data)
    reference, frames = given.out / "reference", given.out / "frames"
    length = ["--runs", str(given.runs), "--ns", str(given.ns), "--seed", str(given.seed)]
    run_command("reference", "--sequences", given.data, *length, "-o", reference)
    if not (frames / "molecules.json").exists():
        run_command("map", "--config", reference / "system.toml", "--mapping", given.mapping, "-o", frames)
    return Path(frames)


def parts(given: argparse.Namespace) -> tuple[FrameSet, FrameSet]:
    """(to learn from, to measure on); no molecule is in both."""
    whole = FrameSet.load(mapped(given))
    if not given.validation:
        return whole.split(given.held_out, given.seed)
    held: dict[str, Frames] = {}
    for name in given.validation:
        held |= {name: whole[name]} if name in whole else dict(FrameSet.load(Path(name)).items())
    return FrameSet({name: frames for name, frames in whole.items() if name not in held}), FrameSet(held)


def train(kept: FrameSet, given: argparse.Namespace) -> dict[str, Model]:
    first, *others = kept.values()
    budget: dict[str, Any] = {"seed": given.seed, "steps": given.steps}
    budget["minutes"] = None if given.steps else given.minutes / 2
    stepper = StepperSettings(stepper=given.stepper, lag=given.lag, **budget)
    energy = EnergySettings(fine_tune=False, network=given.network, held_out_fraction=HELD, decay=DECAY, **budget)
    made = {}
    for name, folder, settings, make in (
        ("stepper", "stepper", stepper, workflows.make_stepper),
        ("force field", "force-field", energy, workflows.make_energy),
    ):
        out = given.out / folder
        if not finished(out, settings, list(kept.values())):
            make(first, out, settings, others=others)
        made[name] = Model.load(out)
    return made


def simulated(models: dict[str, Model], name: str, frames: Frames, given: argparse.Namespace) -> dict[str, Frames]:
    """Of a molecule that was not trained on, from its first structure: a rollout, and force-field dynamics with pivot
    moves; without those that are refused."""
    start = Frames(frames.beads, np.asarray(frames.positions[:1]), (1,), frames.dt, frames.temperature)
    done = {}
    for kind, model in models.items():
        out = given.out / "validation" / f"{name}-{kind.replace(' ', '-')}"
        try:
            if model.is_stepper:
                done[kind] = unseen.rollout(model, frames, out, given.seed)
            else:
                sampler = SamplerSettings(pivot=PIVOT)
                settings = SimulationSettings(TIME, EVERY, replicas=REPLICAS, seed=given.seed, sampler=sampler)
                done[kind] = workflows.make_simulation(model, start, out, settings)
        except ValueError as error:
            print(f"{name}: {kind} refused: {error}", flush=True)
    return done


def measure(
    models: dict[str, Model], kept: FrameSet, held: FrameSet, given: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each inner residue of each validation molecule: its divergences by column."""
    known = [place for frames in kept.values() for place in unseen.places(frames)]
    rows = []
    for name, frames in held.items():
        made = {kind: unseen.places(one, skip=0.2) for kind, one in simulated(models, name, frames, given).items()}
        for k, wanted in enumerate(unseen.places(frames)):
            pooled, nearest = unseen.baselines(wanted, known)
            row: dict[str, Any] = {"molecule": name, "residue": wanted.residue, "pooled": pooled, "nearest": nearest}
            row |= {kind: unseen.divergence(found[k].whole, wanted.whole) for kind, found in made.items()}
            row |= {"tenth": unseen.divergence(*wanted.tenth), "halves": unseen.divergence(*wanted.halves)}
            rows.append({key: None if value != value else value for key, value in row.items()})
            print(" ".join(f"{key} {row[key]:.3f}" for key in COLUMNS if key in row), name, wanted.residue, flush=True)
    return rows


def mean(rows: list[dict[str, Any]], column: str) -> float:
    found = [row[column] for row in rows if row.get(column) is not None]
    return float(np.mean(found)) if found else float("nan")


def card(kept: FrameSet, held: FrameSet, models: dict[str, Model], rows: list[dict[str, Any]]) -> str:
    """The model card; every figure is of the data, the settings, or the measurement."""
    every, stepper = list(kept.values()), models["stepper"]
    sizes = sorted(len(set(frames.beads.residues)) for frames in every)
    module: Any = stepper.module
    residues = {one for m in stepper.info["training"]["molecules"] for one in m.split("-")}
    average = {column: mean(rows, column) for column in COLUMNS}
    noise = average["halves"] / 4
    worst = sorted((row for row in rows if row.get("stepper") is not None), key=lambda row: -row["stepper"])[:3]
    return TEMPLATE.format(
        mapping=stepper.info.get("mapping", ""),
        temperature=every[0].temperature,
        molecules=len(every),
        sizes=" to ".join(map(str, sorted({sizes[0], sizes[-1]}))),
        ns=sum(len(frames) * frames.dt for frames in every) / 1000,
        frames=sum(map(len, every)),
        names=", ".join(kept),
        residues=", ".join(sorted(residues)),
        protocol="\n".join(f"- {kind}: {_protocol(model)}" for kind, model in models.items()),
        low=module.lags[0],
        high=module.lags[1],
        lag=module.lag,
        held=", ".join(held),
        table=table([*rows, {"molecule": "mean", **average}]),
        noise=noise,
        stepper=average["stepper"] - noise,
        energy=average["force field"] - noise,
        verdicts="; ".join(_against(average, kind) for kind in ("stepper", "force field")),
        worst=", ".join(f"{row['residue']} of {row['molecule']} ({row['stepper']:.3f})" for row in worst),
    )


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| peptide, residue | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
    for row in rows:
        figures = (
            "" if row.get(column) is None or math.isnan(row[column]) else f"{row[column]:.3f}" for column in COLUMNS
        )
        lines.append(f"| {row['molecule']} {row.get('residue', '')} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _against(average: dict[str, float], kind: str) -> str:
    if math.isnan(average[kind] + average["pooled"]):
        return f"the {kind} was not compared with it"
    better = average[kind] < average["pooled"]
    return f"the {kind} is {'closer to it than' if better else 'no closer to it than'} that surface"


def _protocol(model: Model) -> str:
    training = model.info["training"]
    best = training["best"]
    kinds = ", ".join(term.spec.name for term in getattr(model.module, "terms", [model.module]))
    return f"{kinds}; best at step {best['step']:.0f}, validation loss {best['held_out']:.4g}; {training['reason']}"


def bundle(folder: Path, name: str) -> None:
    """Copy both models and the card into the package; the notes that only a training folder needs stay behind.

    Scores of extrapolation go along where they belong to kinds of residues."""
    target = pretrained.HERE / name
    for part in pretrained.PARTS.values():
        model = Model.load(folder / part)
        training = {key: value for key, value in model.info["training"].items() if key in KEPT}
        info = {key: value for key, value in model.info.items() if key != "priors"} | {"training": training}
        shutil.rmtree(target / part, ignore_errors=True)
        known = model.extrapolation if isinstance(model.extrapolation, ResidueExtrapolation) else None
        dataclasses.replace(model, info=info, extrapolation=known).save(target / part)
        size = sum(path.stat().st_size for path in (target / part).iterdir())
        print(f"{target / part}: {size / 1e6:.2f} MB, weights {(target / part / WEIGHTS).stat().st_size / 1e6:.2f} MB")
        if size > LARGEST:
            raise SystemExit(f"{part} is larger than {LARGEST / 1e6:g} MB; make narrower networks")
    filesystem.write_text(target / CARD, (folder / CARD).read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set, or a file of sequences")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--validation", nargs="*", default=[], help="names of molecules of it, or other data sets")
    parser.add_argument("--held-out", type=float, default=0.2)
    parser.add_argument("--minutes", type=float, default=60.0, help="of training, both models together")
    parser.add_argument("--steps", type=int, help="of each training, in place of minutes")
    parser.add_argument("--lag", type=float, default=20.0)
    parser.add_argument("--stepper", default="graph")
    parser.add_argument("--network", default=NETWORK)
    parser.add_argument("--mapping", default="backbone")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--ns", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", metavar="NAME")
    given = parser.parse_args()
    kept, held = parts(given)
    models = train(kept, given)
    about = {"trained": list(kept), "weights": {kind: model.digest for kind, model in models.items()}}
    path = given.out / MEASURED
    if path.exists() and {key: filesystem.read_json(path).get(key) for key in about} == about:
        rows = filesystem.read_json(path)["rows"]
    else:
        rows = measure(models, kept, held, given)
        filesystem.write_json(path, {**about, "validation": list(held), "rows": rows})
    filesystem.write_text(given.out / CARD, card(kept, held, models, rows))
    print((given.out / CARD).read_text())
    if given.bundle:
        bundle(given.out, given.bundle)


if __name__ == "__main__":
    main()
