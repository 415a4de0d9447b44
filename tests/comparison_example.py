"""A small comparison made of random walks in a made-up landscape, for tests of the report."""

from __future__ import annotations

import dataclasses

import numpy as np
import states_example
from judgement_example import TRAINING as TRAINING_RUNS
from judgement_example import judgement
from known_chains import calphas, histogram_of

from cgsurrogate.analysis.free_energy import surfaces
from cgsurrogate.analysis.results import Estimate
from cgsurrogate.analysis.structure import Structure
from cgsurrogate.comparison.comparison import Comparison, Distance, Ensemble, Surface, Timescales
from cgsurrogate.comparison.judgement import AGREES, DIFFERS, UNKNOWN
from cgsurrogate.core.frames import Frames

KT = 2.494
HOSTILE = '<img src=x onerror="window.caught=1"><script>window.caught=1</script><a href="javascript:caught=1">it</a>'


def surface(labels: tuple[str, ...], columns: np.ndarray, edges: tuple[np.ndarray, ...], periodic: bool) -> Surface:
    """Of (4000, 1 or 2) values, in twenty runs."""
    grid = surfaces.Grid(labels, edges, (periodic,) * len(labels))
    return surfaces.surface(histogram_of(columns, (200,) * 20, grid, smooth=True), KT, np.random.default_rng(0))


def ensemble(name: str, role: str, rng: np.random.Generator, shift: float = 0.0, residues: int = 4) -> Ensemble:
    """Two wells whose populations move with ``shift``."""
    count = 4000
    well = rng.random(count) < 0.6 + shift
    tics = np.where(well[:, None], (0.0, 0.6), (1.6, -0.8)) + rng.normal(0, 0.35, (count, 2))
    lines = np.linspace(-1.5, 3, 61), np.linspace(-2.2, 2, 51)
    angle = np.linspace(-np.pi, np.pi, 37)
    drawn = {
        "TIC 1": surface(("TIC 1",), tics[:, :1], lines[:1], False),
        "TIC 1 / TIC 2": surface(("TIC 1", "TIC 2"), tics, lines, False),
    }
    for residue in range(1, residues + 1):
        helix = np.where(well[:, None], (-1.2, -0.8), (-1.7, 2.3)) + rng.normal(0, 0.4, (count, 2))
        helix = (helix + np.pi) % (2 * np.pi) - np.pi
        drawn[f"phi {residue}"] = surface((f"phi {residue}",), helix[:, :1], (angle,), True)
        drawn[f"phi {residue} / psi {residue}"] = surface(
            (f"phi {residue}", f"psi {residue}"), helix, (angle, angle), True
        )
    distances = {}
    if role != "reference":
        for place, metric in enumerate(("torsions", "torsions 2-D", "TIC 1", "TIC 1-2")):
            value = 0.03 + 0.01 * place + abs(shift)
            floor = 0.03 + 0.01 * place
            p = 0.5 if value < floor + 0.02 else 0.004
            distances[metric] = Distance(value, 0.8 * value, 1.3 * value, floor, floor + 0.02, p)
    physical = role != "surrogate" or shift < 0.1
    sample, track = _sample(rng, tics, residues)
    return Ensemble(
        name,
        role,
        count,
        drawn,
        distances,
        _timescales(role, shift, physical),
        Structure(sample).measure(sample),
        sample,
        track,
        convergence=states_example.convergence(role, shift),
        contact_map=states_example.contact_map(residues, shift),
        states={which: states_example.kinetics(which, shift, physical) for which in ("metastable", "named")},
        further=states_example.further(distances),
        published={"MDGen": {"torsions": 0.05 + abs(shift), "TIC 1": 0.06}} if role != "reference" else {},
    )


def _timescales(role: str, shift: float, physical: bool) -> Timescales | None:
    if role == "floor":
        return None
    lags = np.array([10.0, 20, 50, 100, 200, 500])
    values = np.stack([900 * (1 - np.exp(-lags / 80)) * (1 + shift), 200 * (1 - np.exp(-lags / 60)) + lags * 0.2], 1)
    scaling = None if physical else Estimate(np.array(3.2), np.array(2.1), np.array(4.8))
    return Timescales(lags, values, 0.75 * values, 1.4 * values, physical, scaling)


def _sample(rng: np.random.Generator, tics: np.ndarray, residues: int) -> tuple[Frames, np.ndarray]:
    """40 frames of a bent chain whose bend is the first TIC."""
    track = tics[np.argsort(tics[:40, 0])]
    turn = 0.5 + 0.25 * track[:, :1] * np.arange(residues)[None]
    steps = 0.38 * np.stack([np.cos(turn), np.sin(turn), 0.3 * np.sin(2 * turn)], -1)
    positions = np.cumsum(steps, 1) + rng.normal(0, 0.01, (40, residues, 3))
    return Frames(calphas(residues), positions.astype(np.float32), (40,), 10.0, 300.0), track


def comparison(
    seed: int = 0, residues: int = 4, names: tuple[str, ...] = ("force field", "stepper"), training: bool = False
) -> Comparison:
    """A reference, a surrogate that cannot be judged, one that differs, a baseline, ``training`` runs that agree."""
    rng = np.random.default_rng(seed)
    others = tuple(ensemble(n, "surrogate", rng, 0.12 * i, residues) for i, n in enumerate(names))
    others += (ensemble("Markov state model", "baseline", rng, 0.05, residues),)
    if training:
        others += (ensemble("training", "floor", rng, 0.0, residues),)
    judged = {"baseline": DIFFERS, "floor": AGREES}
    others = tuple(
        dataclasses.replace(
            one,
            judgement=judgement(judged.get(one.role, UNKNOWN if place == 0 else DIFFERS)),
            learned=judgement(AGREES, TRAINING_RUNS) if one.role == "surrogate" else None,
        )
        for place, one in enumerate(others)
    )
    return Comparison(
        ensemble("reference", "reference", rng, 0.0, residues),
        others,
        tuple(f"{e.name}: {e.judgement.head}" for e in others[: len(names)]),
        ("The reference has 3 runs only; its own uncertainty is itself uncertain.",),
        {"seed": seed, "states": states_example.DESCRIBED, "published": states_example.PUBLISHED},
    )


TRAINING = {
    "force field": [
        {"step": s, "seconds": s * 0.1, "train": 5 + 20 / (1 + s / 50), "held_out": 6 + 20 / (1 + s / 40) + s * 0.003}
        for s in range(0, 1000, 50)
    ],
    "stepper": [
        {"step": str(s), "seconds": s * 0.1, "train": -s / 400, "held_out": "" if s % 200 else -s / 500}
        for s in range(0, 1000, 50)
    ],
}


def older(made: Comparison) -> Comparison:
    """The same as it was before anything was judged, without training runs."""
    bare = tuple(dataclasses.replace(one, judgement=None, learned=None) for one in made.others if one.role != "floor")
    said = tuple(f"{one.name}: as far as {place}." for place, one in enumerate(bare) if one.role == "surrogate")
    return dataclasses.replace(made, others=bare, verdict=said)
