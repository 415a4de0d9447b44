"""Weights that give a rollout the populations of another ensemble: a force field's simulation, or training data.

Weights in all coordinates collapse on a few frames. Here a frame is weighted by its k-means state in the first
time-lagged independent components only: by the ratio of two histograms. Within a state nothing changes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.analysis.kinetics import markov_model
from cgsurrogate.core import filesystem, registry
from cgsurrogate.core.frames import MANIFEST, Frames
from cgsurrogate.core.statistics import kish, statistical_inefficiency

STATES = 100  # at most
FRAMES_PER_STATE = 10  # independent ones of the target, from which the number of states follows
COLUMNS = 2  # of the projection


def reweight(
    frames: Frames, target: Frames, *, reference: Frames | None = None, states: int | None = None, seed: int = 0
) -> Frames:
    """``frames`` with weights that give them the macrostate populations of ``target``.

    With N and M independent frames of the two, and shares q and p in a state, the weight is the ratio of

        (M p + S r) / (M + S)   and   (N q + S r) / (N + S),   r = (M p + N q) / (M + N),

    posterior means with one pseudocount for each of the S states, spread as both samples together are. The ratio tends
    to p / q with the data, and to 1 without; it is never infinite. What ``frames`` never visit cannot be weighted.

    Args:
        reference: frames whose slowest directions define the states, usually the training data; the target if None.
        states: how many; by default one for every ten independent frames of the target, 2 to 100.

    ``provenance.correction`` of the result gives the effective sample size of Kish (1965), (sum w)^2 / sum w^2, as
    ``effective`` share of the frames, and ``missing``, the share of the target in states that the frames never visit.

    Raises:
        ValueError: other molecules or temperatures.
    """
    reference = target if reference is None else reference
    _refuse_others(frames, target, reference)
    projection = registry.build("cvs", "tica", reference)
    own, other = (np.asarray(projection(part)[:, :COLUMNS], float) for part in (frames, target))
    n, m = _independent(own, frames), _independent(other, target)
    count = int(np.clip(m // FRAMES_PER_STATE, 2, STATES)) if states is None else states
    if not 1 < count <= len(target):
        raise ValueError(f"expected from 2 to {len(target)} states, one for each frame of the target, got {count}")
    states_ = markov_model.states(other, np.random.default_rng(seed), count)
    count, own_state, other_state = len(states_), states_(own), states_(other)
    q = np.bincount(own_state, frames.probabilities, count)
    p = np.bincount(other_state, target.probabilities, count)
    weights = frames.probabilities * _ratio(p, q, m, n)[own_state]
    weights *= len(frames) / weights.sum()
    about = {
        "kind": "reweight",
        "states": count,
        "coordinates": ", ".join(projection.labels[:COLUMNS]),
        "independent_frames": n,
        "independent_frames_of_target": m,
        "largest_weight": float(weights.max()),
        "effective": kish(weights) / len(frames),
        "missing": float(p[np.bincount(own_state, minlength=count) == 0].sum()),
    }
    return dataclasses.replace(frames, weights=weights).with_provenance(
        correction={**frames.provenance.correction, **about},
        physical_time=False,
        why_not_physical="weighted frames have no order in time",
    )


def _refuse_others(frames: Frames, target: Frames, reference: Frames) -> None:
    for name, other in (("target", target), ("reference", reference)):
        if other.beads != frames.beads:
            raise ValueError(f"the {name} has other beads ({len(other.beads)}) than the frames ({len(frames.beads)})")
    if abs(target.temperature - frames.temperature) > 0.01:
        raise ValueError(
            f"the target was sampled at {target.temperature:g} K, the frames at {frames.temperature:g} K: "
            "populations of one temperature do not weight those of another"
        )


def _ratio(p: np.ndarray, q: np.ndarray, m: float, n: float) -> np.ndarray:
    """(S,) weights of the states, in the symbols of ``reweight``; 1 where neither sample has been."""
    count = len(p)
    r = (m * p + n * q) / (m + n)
    wanted, present = (m * p + count * r) / (m + count), (n * q + count * r) / (n + count)
    return np.divide(wanted, present, out=np.ones(count), where=present > 0)


def store(frames: Frames, folder: str | Path) -> Frames:
    """Add weights and provenance of ``frames`` to the folder that holds their positions; whole or not at all."""
    folder = Path(folder)
    manifest: dict[str, Any] = filesystem.read_json(folder / MANIFEST)
    path = folder / "weights.npy"
    filesystem.write_npy(path, np.asarray(frames.weights, np.float64))
    entry = {"file": path.name, "sha256": filesystem.sha256(path), "shape": [len(frames)]}
    manifest["arrays"]["weights"], manifest["source"] = entry, frames.provenance.to_dict()
    filesystem.write_json(folder / MANIFEST, manifest)
    return Frames.load(folder)


def _independent(values: np.ndarray, frames: Frames) -> float:
    """How many of the frames count as independent, by time order and by weights."""
    share = kish(frames.probabilities) / len(frames)
    return max(1.0, share * len(frames) / statistical_inefficiency(values, frames.runs))
