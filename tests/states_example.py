"""Made-up kinetics, convergence and contact map of an ensemble, for tests of the report: exact where that is easy."""

from __future__ import annotations

import numpy as np
from scipy.linalg import expm

from cgsurrogate.analysis.kinetics.metastable_states import mean_first_passage_times
from cgsurrogate.analysis.results import ChapmanKolmogorov, ContactMap, Convergence, Estimate, StateKinetics
from cgsurrogate.comparison.ensemble import Distance

KT = 2.494
NAMES = {"metastable": ("A", "B", "C"), "named": ("unfolded", "folded")}
DESCRIBED = {
    "metastable": [
        {"name": "A", "description": "RMSD 0.12 nm, helix 0.7"},
        {"name": "B", "description": "RMSD 0.31 nm, helix 0.2"},
        {"name": "C", "description": "RMSD 0.45 nm, helix 0.1"},
    ]
}
PUBLISHED = {
    "MDGen": {
        "source": "Jing et al. 2024, arXiv 2409.17808",
        "metrics": {"torsions": "JS distance of the torsions", "TIC 1": "JS distance of TIC 1"},
        "figures": [["MDGen, tetrapeptides", "torsions", 0.107, "Table 1 of Daigavane et al. 2024"]],
        "notes": ["backbone beads, so no side-chain torsions"],
    }
}


def around(value: np.ndarray, share: float = 0.25) -> Estimate:
    """A number with an interval of a share to each side."""
    value = np.asarray(value, float)
    return Estimate(value, value * (1 - share), value * (1 + share))


def rate_matrix(populations: np.ndarray, pace: float) -> np.ndarray:
    """(M, M) 1/ps, reversible: from each state to all others by their populations."""
    rates = pace * np.tile(populations, (len(populations), 1))
    np.fill_diagonal(rates, 0)
    return rates - np.diag(rates.sum(1))


def kinetics(which: str, shift: float = 0.0, physical: bool = True, names: tuple[str, ...] = ()) -> StateKinetics:
    """States in exchange whose first gains population with ``shift``; four times faster where time is not physical."""
    names = names or NAMES[which]
    weights = 0.45 ** np.arange(len(names)) * np.where(np.arange(len(names)) == 0, 1 + 3 * shift, 1)
    populations = weights / weights.sum()
    rates = rate_matrix(populations, 1e-3 * (1 if physical else 4))
    lag = 100.0 if physical else 25.0
    transitions = expm(lag * rates)
    lags = lag * np.arange(1, 6)
    again = np.stack([np.diag(expm(t * rates)) for t in lags], 1)
    times = np.linspace(0, 40 * lag, 60)
    energies = -KT * np.log(populations / populations[0])
    off = np.where(np.eye(len(names), dtype=bool), np.nan, rates * 1000)
    return StateKinetics(
        names,
        around(populations, 0.12),
        Estimate(energies, energies - 0.6, energies + 0.6),
        lag,
        around(transitions, 0.1),
        around(mean_first_passage_times(expm(rates), populations, np.arange(len(names)), len(names)), 0.2),
        np.round(np.nan_to_num(off) * 40),
        around(off, 0.3),
        times,
        np.exp(np.diag(rates)[:, None] * times),
        ChapmanKolmogorov(lags, around(again, 0.05), around(again * 0.97, 0.04)),
        physical,
    )


def convergence(role: str, shift: float) -> Convergence:
    halves = {"TIC 1": 0.03 + abs(shift), "torsions": 0.02}
    limits = {"TIC 1": 0.05, "torsions": 0.03}
    return Convergence(400.0 + 1000 * abs(shift), halves, limits, 12, 1800.0 if role == "reference" else 40.0)


def contact_map(residues: int, shift: float) -> ContactMap:
    """A hairpin: residues at equal distance from the turn touch."""
    place = np.arange(residues)
    gap = np.abs(place[:, None] - place[None])
    contacts = np.exp(-np.abs(place[:, None] + place[None] - residues + 1) / 1.5) * (0.9 - 2 * abs(shift))
    contacts = np.where(gap < 3, np.nan, np.clip(contacts, 0, 1))
    edges = np.linspace(0.3, 2.0, 60)
    pairs = np.exp(-0.5 * ((edges[1:] - 0.9 - shift) / 0.25) ** 2)
    fluctuation = 0.08 + 0.1 * np.abs(place - (residues - 1) / 2) / residues + 0.2 * abs(shift)
    names = tuple(f"ALA {k + 1}" for k in place)
    return ContactMap(names, contacts, 0.8, around(fluctuation, 0.15), edges, pairs / pairs.sum())


def further(distances: dict[str, Distance]) -> dict[str, dict[str, Distance]]:
    """Measures of which one is not judged for want of a floor."""
    nan = float("nan")
    return {
        measure: {
            metric: Distance(d.value * scale, d.low * scale, d.high * scale, d.floor * scale, d.floor_high * scale, d.p)
            for metric, d in distances.items()
        }
        for measure, scale in (("KL divergence", 2.0), ("Wasserstein", 0.7))
        if distances
    } | ({"free-energy error": {"TIC 1": Distance(1.3, 1.0, 1.7, nan, nan)}} if distances else {})
