"""A time-stepper on peptides that it never saw: free-energy surfaces of (phi, psi), beside what costs nothing.

    python benchmarks/unseen_peptides.py DATA-SET -o FOLDER [--held-out 0.25] [--minutes 5] [--lag 20] [--seed 0]

The data set (``cgsurrogate map --config``) is divided by molecule, the ``graph`` stepper learns from one part, and the
molecules of the other are rolled out from one structure each. Figures are Jensen-Shannon divergences (natural
logarithm, 36 x 36 bins) of (phi, psi) of the inner residues to the held-out reference; less is better.

- stepper: of a rollout, its first fifth left out;
- pooled: of all residues of the same amino acid in the training data (inner ones where there are any);
- nearest: of the inner residue of the training data whose surface is that of the same amino acid beside the likest
  neighbours;
- tenth: of the first tenth of the reference, to all that follows;
- halves: between the halves of the reference; a quarter of it is the reference's own sampling error.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from cgsurrogate import workflows
from cgsurrogate.core import bead_types
from cgsurrogate.core.frame_sets import FrameSet
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures
from cgsurrogate.models.model import Model
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import StepperSettings

BINS, PARTS = 36, 10


@dataclasses.dataclass(frozen=True, eq=False)
class Place:
    """A residue with both angles: its amino acid, those beside it, and histograms of equal parts of its runs."""

    residue: str
    before: str
    after: str
    parts: np.ndarray  # (PARTS, BINS, BINS)

    @property
    def whole(self) -> np.ndarray:
        return self.parts.sum(0)

    @property
    def halves(self) -> tuple[np.ndarray, np.ndarray]:
        return self.parts[: PARTS // 2].sum(0), self.parts[PARTS // 2 :].sum(0)

    @property
    def tenth(self) -> tuple[np.ndarray, np.ndarray]:
        """The first tenth, and the rest."""
        return self.parts[0], self.parts[1:].sum(0)


def places(frames: Frames, skip: float = 0.0) -> list[Place]:
    """Of the inner residues, which have both phi and psi; the first share of every run is left out."""
    quads = measures.backbone_torsions(frames.beads)
    named = dict(zip(frames.beads.residues, frames.beads.residue_names, strict=True))
    names = {residue: bead_types.canonical(name) for residue, name in named.items()}
    found = []
    for _, residue in [key for key in quads if key[0] == "phi" and ("psi", key[1]) in quads]:
        both = np.array([quads["phi", residue], quads["psi", residue]])
        angles = measures.evaluate(frames, 2, lambda x, both=both: measures.dihedrals(x, both))
        parts = np.zeros((PARTS, BINS, BINS))
        for run in frames.runs:
            part = angles[run][int(skip * (run.stop - run.start)) :]
            for k, one in enumerate(np.array_split(part, PARTS)):
                parts[k] += np.histogram2d(*one.T, bins=BINS, range=[(-np.pi, np.pi)] * 2)[0]
        found.append(Place(names[residue], names[residue - 1], names[residue + 1], parts))
    return found


def divergence(first: np.ndarray, second: np.ndarray) -> float:
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2

    def relative(a: np.ndarray) -> float:
        return float((a[a > 0] * np.log(a[a > 0] / middle[a > 0])).sum())

    return (relative(p) + relative(q)) / 2


def baselines(wanted: Place, known: list[Place]) -> tuple[float, float]:
    """(pooled, nearest); nan where training had no such residue between two others."""
    alike = [one for one in known if one.residue == wanted.residue]
    if not alike:
        return np.nan, np.nan
    nearest = max(alike, key=lambda one: (one.before == wanted.before) + (one.after == wanted.after))
    pooled = np.sum([one.whole / one.whole.sum() for one in alike], 0)
    return divergence(pooled, wanted.whole), divergence(nearest.whole, wanted.whole)


def rollout(model: Model, frames: Frames, out: Path, seed: int) -> Frames:
    """100 replicas of 200 jumps from the first structure of the reference."""
    start = Frames(frames.beads, np.asarray(frames.positions[:1]), (1,), frames.dt, frames.temperature)
    module = model.module
    sampler = SamplerSettings(lag=module.lag)
    settings = SimulationSettings(200 * module.lag, module.lag, replicas=100, seed=seed, sampler=sampler)
    return workflows.make_simulation(model, start, out, settings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--held-out", type=float, default=0.25)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--lag", type=float, default=20.0)
    parser.add_argument("--stepper", default="graph")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    kept, held = FrameSet.load(given.data).split(given.held_out, given.seed)
    minutes = None if given.steps else given.minutes
    settings = StepperSettings(
        minutes=minutes, steps=given.steps, seed=given.seed, lag=given.lag, stepper=given.stepper
    )
    first, *others = kept.values()
    model = workflows.make_stepper(first, given.out / "model", settings, others=others)
    known = [place for frames in kept.values() for place in places(frames)]
    print(f"trained on {', '.join(kept)}; {model.info['training']['best']}\n")
    print("| peptide, residue | stepper | pooled | nearest | tenth | halves |\n|---|---|---|---|---|---|")
    rows = []
    for name, frames in held.items():
        try:
            made = rollout(model, frames, given.out / f"rollout-{name}", given.seed)
        except ValueError as error:
            print(f"| {name} | refused: {error} | | | | |")
            continue
        for wanted, got in zip(places(frames), places(made, skip=0.2), strict=True):
            parts = divergence(*wanted.tenth), divergence(*wanted.halves)
            found = (divergence(got.whole, wanted.whole), *baselines(wanted, known), *parts)
            rows.append(found)
            print(f"| {name}, {wanted.residue} | " + " | ".join(f"{value:.3f}" for value in found) + " |", flush=True)
    mean = np.nanmean(rows, 0)
    print("| mean | " + " | ".join(f"{value:.3f}" for value in mean) + " |")
    print(f"\nabove the reference's own sampling error: stepper {mean[0] - mean[4] / 4:.3f}")


if __name__ == "__main__":
    main()
