"""Many short runs that all start in one basin: how much of the equilibrium behind them can be had, and how.

    python benchmarks/short_runs.py FRAMES -o FOLDER [--runs 75] [--length 10000] [--lag 1000] [--steps 1500] [--seed 0]

FRAMES are long runs of one peptide with `backbone` beads. Short ones are cut out of them, each from a frame in which
all inner residues are helical. The macrostates are those of all data (four, by PCCA+ of a Markov model on time-lagged
components), and so are the intervals of populations and timescales, by a bootstrap over the long runs. Rows: the short
runs as they are; with the weights of a reversible Markov model at several lags (`cgsurrogate reweight`); and rollouts
of time-steppers that learn from pairs as they are, forwards in time, and with such weights, in both directions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from cgsurrogate import workflows
from cgsurrogate.analysis.kinetics import equilibrium_weights, markov_model
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures
from cgsurrogate.simulation.settings import SamplerSettings, SimulationSettings
from cgsurrogate.training.settings import StepperSettings

BASINS, DRAWS = 4, 40
PHI, PSI = (-100, -30), (-80, -5)  # degrees, of a helical residue


def helical(frames: Frames) -> np.ndarray:
    """(T,) whether all residues with both angles are."""
    quads = measures.backbone_torsions(frames.beads)
    inner = [residue for kind, residue in quads if kind == "phi" and ("psi", residue) in quads]
    inside = np.ones(len(frames), bool)
    for residue in inner:
        both = np.array([quads["phi", residue], quads["psi", residue]])
        phi, psi = np.degrees(measures.evaluate(frames, 2, lambda x, both=both: measures.dihedrals(x, both))).T
        inside &= (phi > PHI[0]) & (phi < PHI[1]) & (psi > PSI[0]) & (psi < PSI[1])
    return inside


def cut(frames: Frames, count: int, length: int, seed: int) -> Frames:
    """``count`` runs of ``length`` frames that share none, as many from each long run as from another."""
    rng, good, found = np.random.default_rng(seed), helical(frames), []
    each = -(-count // len(frames.lengths))
    for run in frames.runs:
        chosen: list[int] = []
        for start in rng.permutation(np.flatnonzero(good[run.start : run.stop - length]) + run.start):
            if len(chosen) < each and all(abs(start - other) >= length for other in chosen):
                chosen.append(int(start))
        found += sorted(chosen)
    x = np.concatenate([np.asarray(frames.positions[start : start + length]) for start in found[:count]])
    return Frames(frames.beads, x, (length,) * len(found[:count]), frames.dt, frames.temperature)


class Judge:
    """Populations of the macrostates and slowest timescales at a lag in ps, with those of the long runs."""

    def __init__(self, frames: Frames, lag: float):
        from deeptime.markov.msm import MarkovStateModel

        self.lag, rng = lag, np.random.default_rng(0)
        self.projection = registry.build("cvs", "tica", frames)
        values = self.projection(frames)
        self.states = markov_model.states(values, rng)
        labels = self.states(values)
        counts = markov_model.transition_counts(labels, frames, round(lag / frames.dt), len(self.states))[0]
        inside = markov_model.connected(counts)
        matrix, _ = markov_model.transition_matrix(counts[np.ix_(inside, inside)])
        self.basin = np.full(len(self.states), -1)
        self.basin[inside] = MarkovStateModel(matrix).pcca(BASINS).assignments
        order = np.argsort(-self.populations(labels))
        self.basin[inside] = np.argsort(order)[self.basin[inside]]
        self.whole = self.figures(frames, labels)
        drawn = []
        for _ in range(DRAWS):
            runs = rng.integers(0, len(frames.lengths), len(frames.lengths))
            own = np.concatenate([labels[frames.runs[run]] for run in runs])
            drawn.append(self.figures(frames.take_runs(runs), own))
        self.low, self.high = np.nanpercentile(drawn, [2.5, 97.5], 0)

    def populations(self, labels: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        basin, weight = self.basin[labels], np.ones(len(labels)) if weights is None else weights
        known = basin >= 0
        return np.bincount(basin[known], weight[known], BASINS) / weight[known].sum()

    def figures(
        self, frames: Frames, labels: np.ndarray | None = None, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Populations, and the slowest timescale in ns; nan with weights, which have no time."""
        labels = self.states(self.projection(frames)) if labels is None else labels
        slowest = np.nan
        if weights is None:
            step = max(1, round(self.lag / frames.dt))
            counts = markov_model.transition_counts(labels, frames, step, len(self.states))[0]
            inside = markov_model.connected(counts)
            slowest = markov_model.implied(counts[np.ix_(inside, inside)], step * frames.dt, 1)[0] / 1000
        return np.append(self.populations(labels, weights), slowest)


def row(name: str, values: np.ndarray) -> None:
    print(f"| {name} | " + " | ".join("" if np.isnan(v) else f"{v:.3g}" for v in values) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--runs", type=int, default=75)
    parser.add_argument("--length", type=float, default=10_000.0, help="ps")
    parser.add_argument("--lag", type=float, default=1000.0, help="ps, of jumps and of the Markov model of the judge")
    parser.add_argument("--steps", type=int, default=1500, help="of each training; 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    frames = Frames.load(given.frames)
    short = cut(frames, given.runs, round(given.length / frames.dt), given.seed)
    judge = Judge(frames, given.lag)
    print(f"short runs: {short}\n")
    print("| | " + " | ".join(f"basin {k + 1}" for k in range(BASINS)) + " | slowest, ns |\n|" + "---|" * (BASINS + 2))
    row("all long runs", judge.whole)
    row("their interval, from", judge.low)
    row("to", judge.high)
    row("short runs as they are", judge.figures(short))
    for share in (50, 20, 10, 5):
        lag = max(1, max(short.lengths) // share)
        found = equilibrium_weights.equilibrium_weights(short, lag, equilibrium_weights.torsions)
        row(f"short runs, weights at a lag of {lag * short.dt:g} ps", judge.figures(short, weights=found(short)))
    for reweight in (False, True) if given.steps else ():
        name = "with weights" if reweight else "forwards"
        settings = StepperSettings(steps=given.steps, lag=given.lag, seed=given.seed, reweight_starts=reweight)
        model = workflows.make_stepper(short, given.out / name.replace(" ", "-"), settings)
        sampler = SamplerSettings(lag=given.lag)
        length = SimulationSettings(500 * given.lag, given.lag, replicas=100, seed=given.seed, sampler=sampler)
        made = workflows.make_simulation(model, short, given.out / f"rollout-{name.replace(' ', '-')}", length)
        row(f"stepper, pairs {name}", judge.figures(made.after(max(made.lengths) // 5)))


if __name__ == "__main__":
    main()
