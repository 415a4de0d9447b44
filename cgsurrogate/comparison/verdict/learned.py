"""What a test needs to know of a molecule's landscape, learned from both ensembles together, blind to which is which.

A projection, states, or a density that is learned from one of two ensembles fits the accidents of that one, and the
two then differ by construction. What is learned from all blocks together does not depend on their labels, so the
permutation test stays exact.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from cgsurrogate.analysis.cvs._base import CV, TooSmall
from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.comparison.damages import BINS, angle_bins, density_terms, log_densities
from cgsurrogate.comparison.verdict.samples import Pair
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames
from cgsurrogate.geometry import measures

MOST_STATES = 6
LEFT = "left-handed residues (phi > 0)"
HELIX = "helix (three residues in a row)"
METASTABLE = "state "
HELIX_RUN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Landscape:
    """Attributes:
    pooled: both samples, the reference first.
    values: (T, Q) torsions in radian, of all pooled frames.
    terms, signs: columns of the torsions that have a log density, and with which factor these add up.
    log_density: (T, terms).
    projection: of the pooled frames; None for a molecule too small for it.
    projected: (T, D).
    states: name -> (T,) bool, or (T, residues) for a state of several residues at once.
    macrostates: (T,) number of the metastable state, -1 for none; None where there are none.
    """

    pooled: Frames
    labels: tuple[str, ...]
    quads: np.ndarray
    values: np.ndarray
    terms: tuple[tuple[int, ...], ...]
    signs: np.ndarray
    log_density: np.ndarray
    projection: CV | None
    projected: np.ndarray
    states: dict[str, np.ndarray]
    macrostates: np.ndarray | None

    @functools.cached_property
    def _tables(self) -> list[np.ndarray]:
        """The log density of every bin of each term; the lowest that was seen where nothing was."""
        bins, tables = angle_bins(self.values), []
        for column, term in zip(self.log_density.T, self.terms, strict=True):
            table = np.full((BINS,) * len(term), column.min())
            table[tuple(bins[:, list(term)].T)] = column
            tables.append(table)
        return tables

    def density_of(self, values: np.ndarray) -> np.ndarray:
        """(t, Q) torsions -> (t, terms) log density, by the same table."""
        bins, found = angle_bins(values), np.empty((len(values), len(self.terms)))
        for k, (table, term) in enumerate(zip(self._tables, self.terms, strict=True)):
            found[:, k] = table[tuple(bins[:, list(term)].T)]
        return found


def learn(pair: Pair, rng: np.random.Generator) -> Landscape:
    """Torsions, densities, slow directions and metastable states of the pooled frames."""
    pooled = pool(pair)
    labels, quads, pairs = measures.torsion_quads(pooled.beads)
    values = measures.evaluate(pooled, len(quads), lambda x: measures.dihedrals(x, quads), 12 * len(quads))
    terms, signs = density_terms(len(quads), pairs)
    density = log_densities(values, terms, pooled.probabilities)
    projection: CV | None
    try:
        projection = registry.build("cvs", "tica", pooled)
        projected = projection(pooled)
    except (TooSmall, ValueError):
        projection, projected = None, np.empty((len(pooled), 0), np.float32)
    macro = macrostates(projection, projected, pooled, rng)
    states = basins(labels, values)
    if macro is not None:
        states |= {f"{METASTABLE}{name}": macro == k for k, name in enumerate("ABCDEFGH"[: macro.max() + 1])}
    return Landscape(
        pooled,
        labels,
        quads,
        values,
        terms,
        signs,
        density,
        projection,
        projected,
        states,
        macro,
    )


def pool(pair: Pair) -> Frames:
    """Both samples as one, the reference first."""
    first, second = (sample.frames for sample in pair.samples)
    weighted = first.weights is not None or second.weights is not None
    weights = np.concatenate([sample.weights for sample in pair.samples]) if weighted else None
    return Frames(
        first.beads,
        np.concatenate([first.positions, second.positions]),
        (*first.lengths, *second.lengths),
        first.dt,
        first.temperature,
        weights=weights,
    )


def macrostates(
    projection: CV | None, projected: np.ndarray, pooled: Frames, rng: np.random.Generator
) -> np.ndarray | None:
    """(T,) metastable state by PCCA+ (Roeblitz and Weber 2013), as many as processes are slower than twice the lag."""
    from deeptime.markov import pcca

    if projection is None or projection.lag is None:
        return None
    micro = markov_model.states(projected, rng)
    labels = micro(projected)
    lag = int(projection.lag)
    counts = markov_model.transition_counts(labels, pooled, lag, len(micro))[0]
    chosen = markov_model.connected(counts)
    if len(chosen) < 3:
        return None
    matrix, stationary = markov_model.transition_matrix(counts[np.ix_(chosen, chosen)])
    slow = markov_model.timescales(markov_model.spectrum(matrix, stationary)[0], lag, MOST_STATES)
    number = min(MOST_STATES, 1 + int((slow > 2 * lag).sum()), len(chosen) - 1)
    if number < 2:
        return None
    members = np.asarray(pcca(matrix, number, stationary_distribution=stationary).memberships)
    which = members.argmax(1)
    order = np.argsort(-np.bincount(which, stationary, minlength=number))
    rank = np.empty(number, int)
    rank[order] = np.arange(number)
    found = np.full(len(micro), -1)
    found[chosen] = rank[which]
    return np.asarray(found[labels])


def basins(labels: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    """States that need no learning: residues on the left of the Ramachandran map, and helix."""
    column = {label: k for k, label in enumerate(labels)}
    residues = [label.removeprefix("phi ") for label in labels if label.startswith("phi ")]
    if not residues:
        return {}
    states = {}
    left = np.stack([values[:, column[f"phi {r}"]] > 0 for r in residues], 1)
    states[LEFT] = left
    both = [r for r in residues if f"psi {r}" in column]
    if len(both) >= HELIX_RUN:
        phi, psi = (np.stack([values[:, column[f"{kind} {r}"]] for r in both], 1) for kind in ("phi", "psi"))
        alpha = (np.degrees(phi) > -120) & (np.degrees(phi) < -20) & (np.degrees(psi) > -90) & (np.degrees(psi) < 10)
        in_row = np.ones((len(values), alpha.shape[1] - HELIX_RUN + 1), bool)
        for k in range(HELIX_RUN):
            in_row &= alpha[:, k : alpha.shape[1] - HELIX_RUN + 1 + k]
        states[HELIX] = np.asarray(in_row.any(1))
    return states
