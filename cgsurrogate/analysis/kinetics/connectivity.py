"""Whether the runs of a training set say how its states exchange, and whether they are at equilibrium."""

from __future__ import annotations

import dataclasses

import numpy as np

from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.core.frames import Frames

STATES = 50
APART = (
    0.15  # total variation between sampled and stationary populations from which on runs are called out of equilibrium
)
DRIFT, RUNS = 1e-3, 8  # p-value below which they are so as well, told from that many runs or more
BEGINNING = 0.1  # share of a run that is its beginning
SHARE = 0.02  # of the frames, that a group of states must hold to be worth a word


@dataclasses.dataclass(frozen=True)
class Connectivity:
    """``groups`` (G,) share of the frames in sets of states between which no run passes, falling; ``returning`` share
    of the frames in the largest set of states that all reach one another; ``apart`` total variation, from 0 to 1,
    between how often its states were seen and the stationary distribution of the transitions that were seen;
    ``drift`` p-value of no difference between the beginning of the runs and the rest."""

    groups: tuple[float, ...]
    returning: float
    apart: float
    drift: float = 1.0

    @property
    def equilibrium(self) -> bool:
        return self.apart < APART and self.drift > DRIFT

    @property
    def words(self) -> tuple[str, ...]:
        """What a user must know before training; empty where all is well."""
        said = []
        large = [share for share in self.groups if share >= SHARE]
        if len(large) > 1:
            shares = ", ".join(f"{share:.0%}" for share in large[:5])
            said.append(
                f"the training runs never connect {len(large)} groups of states ({shares} of the frames): how fast "
                "they exchange, and how much of each there is, cannot be learned; add runs that pass between them"
            )
        elif self.returning < 1 - 5 * SHARE:
            said.append(
                f"{1 - self.returning:.0%} of the training frames lie in states that are entered or left, but not "
                "both: rates to and from them rest on single events; add longer runs"
            )
        if not self.equilibrium:
            said.append(
                "the training runs are not at equilibrium: "
                + (
                    f"populations are {self.apart:.0%} off those that their own transitions lead to"
                    if self.apart >= APART
                    else f"the beginning of the runs differs from the rest (p = {self.drift:.1g})"
                )
            )
        return tuple(said)


def connectivity(values: np.ndarray, frames: Frames, rng: np.random.Generator, lag: int = 1) -> Connectivity:
    """From (T, D) values of the frames in which near means alike; ``lag`` in frames. Weighted frames have no time."""
    if frames.weights is not None or max(frames.lengths) <= lag:
        return Connectivity((1.0,), 1.0, 0.0)
    found = markov_model.states(values, rng, STATES)
    labels = found(values)
    seen = np.bincount(labels, minlength=len(found)) / len(labels)
    counts = markov_model.transition_counts(labels, frames, lag, len(found))[0].astype(float)
    inside = markov_model.connected(counts)
    returning = float(seen[inside].sum())
    apart = _distance(counts[np.ix_(inside, inside)], seen[inside])
    return Connectivity(_groups(counts, seen), returning, apart, _drift(values, frames))


def _drift(values: np.ndarray, frames: Frames) -> float:
    """p-value of no mean difference, in any column, between the beginning of the runs and the rest: Student's t over
    runs, which are independent, multiplied by the number of columns. 1 for fewer than ``RUNS`` runs."""
    from scipy.stats import ttest_1samp

    runs = [run for run in frames.runs if run.stop - run.start > 1]
    if len(runs) < RUNS:
        return 1.0
    cuts = [max(run.start + 1, run.start + round(BEGINNING * (run.stop - run.start))) for run in runs]
    differences = np.array(
        [values[cut : run.stop].mean(0) - values[run.start : cut].mean(0) for run, cut in zip(runs, cuts, strict=True)]
    )
    differences = differences[:, np.ptp(differences, axis=0) > 0]
    if not differences.shape[1]:
        return 1.0
    return float(min(1.0, np.min(ttest_1samp(differences, 0.0).pvalue) * differences.shape[1]))


def _groups(counts: np.ndarray, seen: np.ndarray) -> tuple[float, ...]:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    _, label = connected_components(csr_matrix(counts), directed=True, connection="weak")
    return tuple(sorted((float(share) for share in np.bincount(label, seen)), reverse=True))


def _distance(counts: np.ndarray, seen: np.ndarray) -> float:
    """Total variation between ``seen`` and the stationary distribution of the (not reversible) transition matrix."""
    rows = counts.sum(1)
    if len(counts) < 2 or not (rows > 0).all():
        return 0.0
    system = np.vstack([(counts / rows[:, None]).T - np.eye(len(counts)), np.ones(len(counts))])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(len(counts)), 1.0), rcond=None)[0].clip(0)
    return float(0.5 * np.abs(stationary / stationary.sum() - seen / seen.sum()).sum())
