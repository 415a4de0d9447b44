"""Weights for frames that were not sampled at equilibrium: from their own transitions, or from other frames."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cgsurrogate.analysis.kinetics import equilibrium_weights as own
from cgsurrogate.analysis.reweighting import reweight
from cgsurrogate.core.frames import Frames

FEW = 10  # passages one way, from which on populations can be told


def make_reweighted(
    frames: Frames, out: Path, *, to: Frames | None = None, lag: float | None = None, seed: int = 0
) -> tuple[Frames, tuple[str, ...]]:
    """The frames with weights in a folder, and what a user must know.

    Args:
        to: frames whose populations of states they get; without, those that their own transitions lead to.
        lag: ps, of the Markov model of these transitions; a fifth of a run by default.

    Raises:
        ValueError: frames with weights or without an order in time, a lag that no run is longer than, or runs from
            which nothing can be told.
    """
    if to is not None:
        weighted = reweight(frames, to, seed=seed)
        about = weighted.provenance.correction
        lost = about["missing"]
        words = [_worth(about["effective"])]
        words += [f"{lost:.1%} of the target lies in states that these frames never visit"] if lost > 0 else []
    else:
        weighted, words = _to_equilibrium(frames, lag, seed)
    weighted.save(out)
    return weighted, tuple(words)


def _to_equilibrium(frames: Frames, lag: float | None, seed: int) -> tuple[Frames, list[str]]:
    if not frames.time_ordered:
        raise ValueError(f"{frames.out_of_order} have no order in time; give --to FRAMES")
    steps = own.usual_lag(frames) if lag is None else max(1, round(lag / frames.dt))
    found = own.equilibrium_weights(frames, steps, own.torsions, seed)
    about = {
        "kind": "equilibrium of the runs by a reversible Markov model",
        "lag": steps * frames.dt,
        "states": len(found.states),
        "effective": found.effective,
        "kept": found.kept,
        "slowest": found.slowest,
        "passages": list(found.passages),
    }
    weighted = dataclasses.replace(frames, weights=found(frames)).with_provenance(
        correction={**frames.provenance.correction, **about},
        physical_time=False,
        why_not_physical="weighted frames have no order in time",
    )
    return weighted, _words(found, steps * frames.dt)


def _words(found: own.EquilibriumWeights, lag: float) -> list[str]:
    there, back = found.passages
    words = [
        f"{_worth(found.effective)}; Markov model of {len(found.states)} states at a lag of {lag:g} ps, slowest "
        f"process {found.slowest:.3g} ps, gone through {there} times there and {back} times back"
    ]
    if found.kept < 1:
        words.append(
            f"{1 - found.kept:.1%} of the frames lie in states that are not both left and entered: they get no weight, "
            "and how much there is of these states is not told; add runs from there"
        )
    if min(there, back) < FEW:
        words.append(
            "these runs do not tell how much there is on both sides of the slowest process: it was gone through fewer "
            f"than {FEW} times one way; add runs, best from the rare side"
        )
    return words


def _worth(effective: float) -> str:
    return f"the weighted frames are worth {effective:.0%} of their number"
