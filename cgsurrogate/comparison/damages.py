"""Frames that are damaged on purpose, by a known amount: what a verdict must find, and what its power is measured with.

Each function leaves its input alone and returns frames of the same molecule. Those that change the weights of frames
(temperature, populations) give weighted frames; those that change positions keep the order in time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cgsurrogate.core.frames import Frames
from cgsurrogate.core.provenance import Provenance
from cgsurrogate.geometry import measures

if TYPE_CHECKING:
    from cgsurrogate.geometry.rebuilding import Rebuilder

BINS, WIDTH = 36, 1.0  # of the density of torsions; width of the kernel in bins


def reweighted(frames: Frames, factors: np.ndarray) -> Frames:
    """The same frames, their weights multiplied by (T,) factors."""
    weights = factors if frames.weights is None else np.asarray(frames.weights, float) * factors
    return dataclasses.replace(frames, weights=np.asarray(weights, float))


def state_factors(inside: np.ndarray, factor: float) -> np.ndarray:
    """(T,) weights that multiply the population of a state, (T,) bool, by ``factor``; 0 where it is to be missing."""
    return np.where(inside, factor, 1.0)


def temperature_factors(log_density: np.ndarray, frames: Frames, kelvin: float) -> np.ndarray:
    """(T,) weights that make the frames ``kelvin`` hotter: p^(T0 / T - 1), from (T,) log densities at T0."""
    exponent = frames.temperature / (frames.temperature + kelvin) - 1
    return np.asarray(np.exp(exponent * (log_density - log_density.max())))


def torsion_log_density(frames: Frames) -> np.ndarray:
    """(T,) log density of the torsions of each frame, by smoothed histograms of the frames, see ``density_terms``."""
    _, quads, pairs = measures.torsion_quads(frames.beads)
    values = measures.evaluate(frames, len(quads), lambda x: measures.dihedrals(x, quads), 12 * len(quads))
    terms, signs = density_terms(len(quads), pairs)
    return np.asarray(log_densities(values, terms, frames.probabilities) @ signs)


def density_terms(count: int, pairs: Sequence[tuple[int, int]]) -> tuple[tuple[tuple[int, ...], ...], np.ndarray]:
    """Marginal densities whose logarithms, times (terms,) factors, add up to the log density of ``count`` torsions.

    That of each pair (phi and psi of a residue), less that of a torsion for each further pair that it is in, plus that
    of torsions in no pair: exact for a chain in which only pairs depend on one another (Bethe 1935).

    >>> density_terms(3, [(0, 1), (1, 2)])
    (((0, 1), (1, 2), (1,)), array([ 1.,  1., -1.]))
    """
    times = np.bincount(np.ravel(pairs).astype(int), minlength=count) if len(pairs) else np.zeros(count, int)
    single = [k for k in range(count) if times[k] != 1]
    terms = (*(tuple(pair) for pair in pairs), *((k,) for k in single))
    return terms, np.array([1.0] * len(pairs) + [1.0 - times[k] for k in single])


def angle_bins(values: np.ndarray) -> np.ndarray:
    """Angles in radian -> numbers of bins of 10 degrees."""
    return np.asarray(np.minimum(((values + np.pi) / (2 * np.pi) * BINS).astype(int), BINS - 1))


def log_densities(values: np.ndarray, terms: Sequence[tuple[int, ...]], weights: np.ndarray) -> np.ndarray:
    """(T, Q) angles -> (T, terms) log density, in bins of 10 degrees, of the columns that each term names."""
    from scipy.ndimage import gaussian_filter

    found = np.empty((len(values), len(terms)))
    bins = angle_bins(values)
    for k, columns in enumerate(terms):
        flat = np.ravel_multi_index(tuple(bins[:, list(columns)].T), (BINS,) * len(columns))
        table = np.bincount(flat, weights, minlength=BINS ** len(columns)).reshape((BINS,) * len(columns))
        smooth = gaussian_filter(table, WIDTH, mode="wrap").ravel()
        found[:, k] = np.log(np.maximum(smooth, 1e-3 / len(values)))[flat]
    return found


def shuffled(frames: Frames, share: float, rng: np.random.Generator) -> Frames:
    """A share of the frames with every angle and torsion taken from another frame, each from one of its own."""
    chosen = rng.permutation(len(frames))[: round(share * len(frames))]
    positions = np.array(frames.positions, np.float32)
    if len(chosen):
        tree = _rebuilder(frames)
        bonds, angles, turns = tree.taken_apart(positions[chosen])
        donors = rng.integers(len(frames), size=min(len(frames), max(1000, len(chosen))))
        _, other_angles, other_turns = tree.taken_apart(positions[donors])
        for k in np.arange(angles.shape[1]):
            angles[:, k] = other_angles[rng.integers(len(donors), size=len(angles)), k]
        for k in np.flatnonzero(tree.torsion):
            turns[:, k] = other_turns[rng.integers(len(donors), size=len(turns)), k]
        positions[chosen] = tree.built((bonds, angles, turns))
    return dataclasses.replace(frames, positions=positions, forces=None)


def blurred(frames: Frames, degrees: float, rng: np.random.Generator) -> Frames:
    """Normal noise of a standard deviation in degrees on every torsion."""
    tree = _rebuilder(frames)
    spread = float(np.radians(degrees)) * tree.torsion
    positions = tree.changed(frames.positions, lambda i: (i[0], i[1], i[2] + spread * rng.normal(size=i[2].shape)))
    return dataclasses.replace(frames, positions=positions, forces=None)


def opened(frames: Frames, degrees: float) -> Frames:
    """Every bond angle of the Z-matrix wider by so many degrees."""
    wider = float(np.radians(degrees))
    positions = _rebuilder(frames).changed(frames.positions, lambda i: (i[0], i[1] + wider, i[2]))
    return dataclasses.replace(frames, positions=positions, forces=None)


def widened(frames: Frames, bond: tuple[int, int], factor: float) -> Frames:
    """The distribution of one bond so many times as wide about its mean."""
    tree = _rebuilder(frames)
    column = int(np.flatnonzero((tree.bonds == np.sort(bond)).all(1))[0])
    mean = float(np.mean(measures.distances(np.asarray(frames.positions[:1000], float), tree.bonds[[column]])))
    factors = np.where(np.arange(len(tree.bonds)) == column, factor, 1.0)
    positions = tree.changed(frames.positions, lambda i: (mean + factors * (i[0] - mean), i[1], i[2]))
    return dataclasses.replace(frames, positions=positions, forces=None)


def _rebuilder(frames: Frames) -> Rebuilder:
    from cgsurrogate.geometry.rebuilding import Rebuilder

    return Rebuilder(frames.beads)


def jittered(frames: Frames, picometres: float, rng: np.random.Generator, beads: np.ndarray | None = None) -> Frames:
    """Normal noise of a standard deviation in picometres on every coordinate of the beads (of all by default)."""
    positions = np.array(frames.positions, np.float32)
    chosen = np.arange(positions.shape[1]) if beads is None else beads
    noise = rng.normal(0, picometres / 1000, (len(positions), len(chosen), 3))
    positions[:, chosen] += noise.astype(np.float32)
    return dataclasses.replace(frames, positions=positions)


def mirrored(frames: Frames) -> Frames:
    """The mirror image."""
    return dataclasses.replace(
        frames, positions=np.asarray(frames.positions) * np.array([1, 1, -1], np.float32), forces=None
    )


def faster(frames: Frames, factor: float) -> Frames:
    """All rates multiplied by a factor above 1: frames are left out, and the rest is said to be as far apart as before.

    Runs get shorter by the factor.
    """
    index, lengths = [], []
    for run in frames.runs:
        kept = (run.start + np.arange(int((run.stop - run.start - 1) / factor) + 1) * factor).astype(int)
        index.append(kept)
        lengths.append(len(kept))
    chosen = np.concatenate(index)
    weights = None if frames.weights is None else frames.weights[chosen]
    return dataclasses.replace(
        frames,
        positions=np.asarray(frames.positions[chosen]),
        lengths=tuple(lengths),
        forces=None,
        weights=weights,
        extrapolation=None,
    )


def frozen(frames: Frames, count: int, length: int, rng: np.random.Generator) -> Frames:
    """``count`` frames, each of which stands still for ``length`` frames."""
    chosen = rng.integers(len(frames), size=count)
    positions = np.repeat(np.asarray(frames.positions[np.sort(chosen)]), length, 0)
    return Frames(frames.beads, positions, (length,) * count, frames.dt, frames.temperature)


def without(frames: Frames, inside: np.ndarray) -> Frames:
    """The frames outside a state, (T,) bool; a run that visits it falls into pieces, between which there is no time."""
    return _pieces(frames, _stretches(frames, ~inside))


def visited(frames: Frames, inside: np.ndarray, factor: float, rng: np.random.Generator) -> Frames:
    """A state, (T,) bool, visited ``factor`` times as often: its visits are drawn anew, with replacement.

    They are put between frames outside the state, anywhere; what lies outside stays as it is, and runs grow or shrink.
    """
    visits, outside = _stretches(frames, inside), np.flatnonzero(~inside)
    drawn = rng.integers(max(1, len(visits)), size=rng.poisson(factor * len(visits)))
    places = np.sort(rng.integers(len(outside), size=len(drawn)))
    index, begin = [], 0
    for place, k in zip(places, drawn, strict=True):
        index += [outside[begin : place + 1], np.arange(visits[k].start, visits[k].stop)]
        begin = place + 1
    index.append(outside[begin:])
    owner = np.searchsorted(np.cumsum(frames.lengths), outside, side="right")
    lengths = np.bincount(owner, minlength=len(frames.lengths))
    np.add.at(lengths, owner[places], [visits[k].stop - visits[k].start for k in drawn])
    return _taken(frames, np.concatenate(index), tuple(int(n) for n in lengths if n))


def _stretches(frames: Frames, inside: np.ndarray) -> list[slice]:
    """Unbroken stretches of frames that are ``inside``, never across runs."""
    found = []
    for run in frames.runs:
        edges = np.flatnonzero(np.diff(np.r_[False, inside[run], False].astype(int))) + run.start
        found += [slice(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
    return found


def _pieces(frames: Frames, parts: list[slice]) -> Frames:
    index = np.concatenate([np.arange(part.start, part.stop) for part in parts])
    return _taken(frames, index, tuple(part.stop - part.start for part in parts))


def _taken(frames: Frames, index: np.ndarray, lengths: tuple[int, ...]) -> Frames:
    weights = None if frames.weights is None else frames.weights[index]
    return Frames(
        frames.beads,
        np.asarray(frames.positions[index]),
        lengths,
        frames.dt,
        frames.temperature,
        weights=weights,
        provenance=Provenance(physical_time=frames.provenance.physical_time, mixed_by=frames.provenance.mixed_by),
    )
