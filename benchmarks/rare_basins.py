"""What a sharp comparison asks first: the left-handed basin of every residue, compactness, bonds and angles.

    python benchmarks/rare_basins.py RUN/held-out RUN/training RUN/stepper-rollout
    python benchmarks/rare_basins.py RUN/training --stepper RUN/stepper

The first frames are the reference. For each residue: the share of frames with phi between 0 and 120 degrees, the odds
to enter and to leave within a lag (one for all, so that frames of unlike spacing compare), entries per ns at that lag,
and the free energy of the basin and of the barrier before it, relative to the deepest bin; ``>`` where no frame is
there. Errors are standard errors over blocks of at least two statistical inefficiencies. Then means and standard
deviations of RMSD, end-to-end distance and radius of gyration, and the mean shift of every bond (pm) and angle
(degrees): root mean square over terms, the largest, and the root mean square of z, which is one where nothing is wrong.

With ``--stepper`` one jump is drawn from each frame of the reference, ``--draws`` times, and the odds to enter and to
leave the basin are compared with those of the frames themselves, at each of the ``--lags``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Generator

from cgsurrogate.comparison.variables import build_cvs
from cgsurrogate.core import statistics
from cgsurrogate.core.frames import Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.model import Model

BASIN = (0.0, np.deg2rad(120))  # of phi
BARRIER = (np.deg2rad(-40), np.deg2rad(25))
BINS = 72
SHAPES = ("rmsd", "end_to_end", "gyration")


def main() -> None:
    settings = _arguments()
    every = [Frames.load(folder) for folder in settings.frames]
    names, quads = phis(every[0])
    lag = settings.lag or max(f.dt for f in every)
    for title, frames in zip(settings.frames, every, strict=True):
        print(f"\n{title}: {frames}")
        table(names, torsions(frames, quads), frames, lag)
    print("\nshape, nm: mean, sd, and z of both against the first")
    for row in shapes(every):
        print("  " + row)
    for title, frames in zip(settings.frames[1:], every[1:], strict=True):
        print(f"geometry of {title}: {geometry(every[0], frames)}")
    if settings.stepper:
        jumps(Model.load(settings.stepper).module, every[0], quads, names, settings)


# -- the basin --------------------------------------------------------------------------------------------------------
def phis(frames: Frames) -> tuple[list[str], np.ndarray]:
    """Labels and (R, 4) beads of every phi."""
    labels, quads, _ = measures.torsion_quads(frames.beads)
    chosen = [k for k, label in enumerate(labels) if label.startswith("phi")]
    return [labels[k] for k in chosen], quads[chosen]


def torsions(frames: Frames, quads: np.ndarray) -> np.ndarray:
    """(T, R) radians."""
    return measures.evaluate(frames, len(quads), lambda x: measures.dihedrals(x, quads))


def inside(phi: np.ndarray) -> np.ndarray:
    return np.asarray((phi > BASIN[0]) & (phi < BASIN[1]))


def table(names: list[str], phi: np.ndarray, frames: Frames, lag: float) -> None:
    now, later = frames.pairs(max(1, round(lag / frames.dt)))
    there = inside(phi)
    print(f"  residue: share %; P(enter), P(exit) % in {lag:g} ps; entries per ns; F of basin, of barrier, kJ/mol")
    for k, name in enumerate(names):
        one = there[:, k]
        share, error = block_mean(one.astype(float), frames)
        enter, leave = one[later][~one[now]].mean(), (~one[later][one[now]]).mean() if one[now].any() else np.nan
        often = 1000 * (one[later] & ~one[now]).mean() / lag
        basin, barrier = free_energies(phi[:, k], frames.kT)
        print(
            f"  {name}: {100 * share:.2f} +- {100 * error:.2f}; {100 * enter:.3f}, {100 * leave:.1f}; "
            f"{often:.3f}; {basin}, {barrier}"
        )
    share, error = block_mean(there.mean(1), frames)
    print(f"  mean: {100 * share:.3f} +- {100 * error:.3f}")


def free_energies(phi: np.ndarray, kT: float) -> tuple[str, str]:
    """kJ/mol of the deepest bin of the basin and of the highest of the barrier, above the deepest of all; in words."""
    edges = np.linspace(-np.pi, np.pi, BINS + 1)
    counts = np.histogram(phi, edges)[0]
    middle = (edges[1:] + edges[:-1]) / 2
    deepest = counts[(middle > BASIN[0]) & (middle < BASIN[1])].max()
    highest = counts[(middle > BARRIER[0]) & (middle < BARRIER[1])].min()

    def words(count: int) -> str:
        return f"{'' if count else '>'}{kT * np.log(counts.max() / max(1, count)):.1f}"

    return words(deepest), words(highest)


def block_mean(values: np.ndarray, frames: Frames) -> tuple[float, float]:
    """Mean of (T,) values and its standard error over blocks."""
    blocks = statistics.blocks(frames.lengths, statistics.statistical_inefficiency(values[:, None], frames.runs))
    sizes = np.diff(blocks.edges)
    means = np.add.reduceat(values, blocks.edges[:-1]) / sizes
    mean = float(values.mean())
    error = np.sqrt(((sizes * (means - mean)) ** 2).sum() / max(1, len(sizes) - 1) / len(sizes)) / sizes.mean()
    return mean, float(error)


# -- shape and geometry -----------------------------------------------------------------------------------------------
def shapes(every: list[Frames]) -> list[str]:
    rows = []
    for cv in build_cvs(every[0], SHAPES):
        found = []
        for frames in every:
            x = np.asarray(cv(frames))[:, 0]
            found.append((block_mean(x, frames), block_mean((x - x.mean()) ** 2, frames)))
        words = []
        for (mean, error), (square, wide) in found:
            (first, e1), (second, e2) = found[0]
            z = (mean - first) / np.hypot(error, e1), (square - second) / np.hypot(wide, e2)
            words.append(f"{mean:.4f} {square**0.5:.4f} ({z[0]:+.1f} {z[1]:+.1f})" if words else
                         f"{mean:.4f} {square**0.5:.4f}")  # fmt: skip
        rows.append(f"{cv.labels[0]}: " + "; ".join(words))
    return rows


def geometry(reference: Frames, frames: Frames) -> str:
    molecule, words = Molecule.of(frames.beads), []
    for unit, factor, terms, function in (
        ("pm", 1e3, molecule.bonds, measures.distances),
        ("degrees", 180 / np.pi, molecule.all_angles, measures.angles),
    ):
        both = [measures.evaluate(f, len(terms), lambda x, t=terms, g=function: g(x, t)) for f in (reference, frames)]
        means = np.array([[block_mean(v[:, k], f) for k in range(len(terms))]
                          for v, f in zip(both, (reference, frames), strict=True)])  # fmt: skip
        shift = factor * (means[1, :, 0] - means[0, :, 0])
        z = shift / factor / np.hypot(means[0, :, 1], means[1, :, 1])
        rms, worst = np.sqrt((shift**2).mean()), shift[np.abs(shift).argmax()]
        words.append(f"{rms:.3f} (largest {worst:+.3f}) {unit}, rms z {np.sqrt((z**2).mean()):.1f}")
    return "; ".join(words)


# -- one jump ---------------------------------------------------------------------------------------------------------
@torch.no_grad()
def jumps(stepper: Stepper, frames: Frames, quads: np.ndarray, names: list[str], settings: argparse.Namespace) -> None:
    rng = Generator().manual_seed(settings.seed)
    start = inside(torsions(frames, quads))
    low, high = stepper.lags
    for lag in settings.lags or (low, stepper.lag, high):
        stepper.lag = lag
        now, later = frames.pairs(max(1, round(lag / frames.dt)))
        enter, leave = np.zeros(len(names)), np.zeros(len(names))
        for _ in range(settings.draws):
            state = stepper.start(torch.as_tensor(np.array(frames.positions[now])), rng)
            positions = stepper.step(state, rng).positions.numpy()
            drawn = Frames(frames.beads, positions, (len(positions),), frames.dt, frames.temperature)
            after = inside(torsions(drawn, quads))
            enter += (after & ~start[now]).sum(0) / settings.draws
            leave += (~after & start[now]).sum(0) / settings.draws
        true = (start[later] & ~start[now]).sum(0), (~start[later] & start[now]).sum(0)
        print(f"\none jump of {lag:g} ps, pairs that enter and leave: of the stepper (of the frames)")
        for k, name in enumerate(names):
            print(f"  {name}: {enter[k]:.0f} ({true[0][k]}), {leave[k]:.0f} ({true[1][k]})")
        print(f"  all: {enter.sum():.0f} ({true[0].sum()}), {leave.sum():.0f} ({true[1].sum()})")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path, nargs="+", help="folders of frames, the reference first")
    parser.add_argument("--lag", type=float, help="ps between the frames of a pair; the longest spacing by default")
    parser.add_argument("--stepper", type=Path, help="a trained stepper, to draw single jumps of")
    parser.add_argument("--lags", type=float, nargs="+", help="ps, of single jumps; shortest, main, longest by default")
    parser.add_argument("--draws", type=int, default=4, help="jumps from each frame")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
