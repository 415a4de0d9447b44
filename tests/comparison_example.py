"""A small comparison made of random walks in a made-up landscape, for tests of the report."""

from __future__ import annotations

import numpy as np
import states_example
from known_chains import calphas
from scipy.ndimage import gaussian_filter

from cgsurrogate.analysis.results import Estimate
from cgsurrogate.comparison.comparison import Comparison, Distance, Ensemble, Surface, Timescales
from cgsurrogate.core.frames import Frames

KT = 2.494
HOSTILE = '<img src=x onerror="window.caught=1"><script>window.caught=1</script><a href="javascript:caught=1">it</a>'


def surface(labels: tuple[str, ...], columns: np.ndarray, edges: tuple[np.ndarray, ...], periodic: bool) -> Surface:
    """Histogram of (T, 1 or 2) values, with an error from its counts."""
    counts, _ = np.histogramdd(
        np.stack([np.clip(c, e[0], e[-1]) for c, e in zip(columns.T, edges, strict=True)], 1), edges
    )
    counts = counts.reshape(tuple(len(e) - 1 for e in edges))
    probability = counts / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        energy = np.where(counts > 0, -KT * np.log(probability), np.nan)
        error = np.where(counts > 1, KT / np.sqrt(counts) * 2, np.nan)
    energy = energy - np.nanmin(energy)
    kernel = smooth(probability, periodic)
    error = np.where(np.isfinite(energy), error, np.nan)
    shape = (periodic,) * len(labels)
    return Surface(labels, edges, probability, energy, error, 0.01, shape, kernel, np.where(kernel < 15, 0.4, 0.9))


def smooth(probability: np.ndarray, periodic: bool) -> np.ndarray:
    """A kernel estimate on the bins, kJ/mol; nan above 20."""
    density = gaussian_filter(probability, 1.5, mode="wrap" if periodic else "constant")
    energy = -KT * np.log(np.maximum(density, 1e-300))
    energy -= energy.min()
    return np.where(energy < 20, energy, np.nan)


def ensemble(name: str, role: str, rng: np.random.Generator, shift: float = 0.0, residues: int = 4) -> Ensemble:
    """Two wells whose populations move with ``shift``."""
    count = 4000
    well = rng.random(count) < 0.6 + shift
    tics = np.where(well[:, None], (0.0, 0.6), (1.6, -0.8)) + rng.normal(0, 0.35, (count, 2))
    lines = np.linspace(-1.5, 3, 61), np.linspace(-2.2, 2, 51)
    angle = np.linspace(-np.pi, np.pi, 37)
    surfaces = {
        "TIC 1": surface(("TIC 1",), tics[:, :1], lines[:1], False),
        "TIC 1 / TIC 2": surface(("TIC 1", "TIC 2"), tics, lines, False),
    }
    for residue in range(1, residues + 1):
        helix = np.where(well[:, None], (-1.2, -0.8), (-1.7, 2.3)) + rng.normal(0, 0.4, (count, 2))
        helix = (helix + np.pi) % (2 * np.pi) - np.pi
        surfaces[f"phi {residue}"] = surface((f"phi {residue}",), helix[:, :1], (angle,), True)
        surfaces[f"phi {residue} / psi {residue}"] = surface(
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
    return Ensemble(
        name,
        role,
        count,
        surfaces,
        distances,
        _timescales(role, shift, physical),
        _geometry(rng),
        *_sample(rng, tics, residues),
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


def _geometry(rng: np.random.Generator) -> dict:
    checks = {}
    for name, unit, values in (
        ("bonds", "standard deviations", rng.normal(0, 1, 3000)),
        ("angles", "standard deviations", rng.normal(0, 1.1, 3000)),
        ("closest approach", "nm", rng.normal(0.45, 0.03, 3000)),
    ):
        counts, edges = np.histogram(values, 60)
        checks[name] = {
            "unit": unit,
            "edges": edges,
            "probability": counts / counts.sum(),
            "worst": f"{name}: CA 1 - CA 2",
        }
    return checks


def _sample(rng: np.random.Generator, tics: np.ndarray, residues: int) -> tuple[Frames, np.ndarray]:
    """40 frames of a bent chain whose bend is the first TIC."""
    track = tics[np.argsort(tics[:40, 0])]
    turn = 0.5 + 0.25 * track[:, :1] * np.arange(residues)[None]
    steps = 0.38 * np.stack([np.cos(turn), np.sin(turn), 0.3 * np.sin(2 * turn)], -1)
    positions = np.cumsum(steps, 1) + rng.normal(0, 0.01, (40, residues, 3))
    return Frames(calphas(residues), positions.astype(np.float32), (40,), 10.0, 300.0), track


def comparison(seed: int = 0, residues: int = 4, names: tuple[str, ...] = ("force field", "stepper")) -> Comparison:
    """A reference, a surrogate within the floor, one beyond it, and a baseline."""
    rng = np.random.default_rng(seed)
    others = tuple(ensemble(n, "surrogate", rng, 0.12 * i, residues) for i, n in enumerate(names))
    others += (ensemble("Markov state model", "baseline", rng, 0.05, residues),)
    return Comparison(
        ensemble("reference", "reference", rng, 0.0, residues),
        others,
        tuple(
            f"{e.name}: "
            + ("within the reference's own uncertainty on every measure." if i == 0 else "beyond it on TIC 1.")
            for i, e in enumerate(others[: len(names)])
        ),
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
