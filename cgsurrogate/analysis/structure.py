"""Whether a molecule is still that molecule: bonds, angles, chirality and closest approach against the reference."""

from __future__ import annotations

from typing import Any

import numpy as np

from cgsurrogate.analysis.contact_map import evenly_spaced
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry import measures
from cgsurrogate.geometry.molecule import Molecule

SIGMAS = np.linspace(-8.0, 8.0, 81)
CHIRALITIES = np.linspace(-1.0, 1.0, 81)
THINNED = 20_000  # evenly spaced frames are enough for pooled angles and closest approach
LONG, SHORT = 1.5, 0.5  # a bond is broken beyond these multiples of its mean length in the reference


class Structure:
    """The terms of a molecule with their mean and spread in the reference; measures any ensemble against them."""

    def __init__(self, reference: Frames, called: str = "reference") -> None:
        """``called`` names it in what is said of others."""
        self.called = called
        beads = reference.beads
        self.beads = beads
        self.bonds = Molecule.of(beads).bonds
        self.angles = Molecule.of(beads).all_angles
        self.centres = _chiral_centres(beads)
        self.pairs = Molecule.of(beads).pairs(4)
        weight = reference.probabilities
        self.bond_scale = self._scale(reference, weight, self.bonds, measures.distances)
        self.angle_scale = self._scale(reference, weight, self.angles, measures.angles)
        self.sign = np.sign(self._scale(reference, weight, self.centres, chirality)[0])
        closest, _ = self._closest(thinned(reference))
        self.approach = float(closest.min()) if len(closest) else 0.0
        top = float(closest.max()) if len(closest) else 1.0
        self.approach_edges = np.linspace(0.0, max(1.1 * top, 1e-3), 81)

    def _scale(
        self, frames: Frames, weight: np.ndarray, terms: np.ndarray, function: Any
    ) -> tuple[np.ndarray, np.ndarray]:
        """Weighted mean and standard deviation (terms,) of a geometric function."""
        first, second = np.zeros(len(terms)), np.zeros(len(terms))
        for part in measures.chunks(frames, 6 * len(terms)):
            values = function(np.asarray(frames.positions[part], float), terms)
            first += weight[part] @ values
            second += weight[part] @ values**2
        return first, np.sqrt(np.maximum(second - first**2, 1e-12))

    def measure(self, frames: Frames) -> dict[str, dict[str, Any]]:
        """{"bonds" | "angles" | "chirality" | "closest approach": {"unit", "edges", "probability", "worst", ...}}.

        "bonds" also counts frames with a broken bond ("bad frames"), "chirality" those with a mirrored centre; both
        look at every frame, the others at ``THINNED`` frames.
        """
        few = thinned(frames)
        result: dict[str, dict[str, Any]] = {}
        if len(self.bonds):
            result["bonds"] = self._deviations(frames, self.bonds, self.bond_scale, measures.distances, broken=True)
        if len(self.angles):
            result["angles"] = self._deviations(few, self.angles, self.angle_scale, measures.angles)
        if len(self.centres):
            result["chirality"] = self._chirality(frames)
        if len(self.pairs):
            result["closest approach"] = self._approach(few)
        return result

    def _deviations(
        self,
        frames: Frames,
        terms: np.ndarray,
        scale: tuple[np.ndarray, np.ndarray],
        function: Any,
        broken: bool = False,
    ) -> dict[str, Any]:
        mean, spread = scale
        weight = frames.probabilities
        table, first, second, bad = np.zeros(len(SIGMAS) - 1), np.zeros(len(terms)), np.zeros(len(terms)), 0
        for part in measures.chunks(frames, 6 * len(terms)):
            values = function(np.asarray(frames.positions[part], float), terms)
            z = (values - mean) / spread
            first += weight[part] @ z
            second += weight[part] @ z**2
            table += _pool(z, weight[part], SIGMAS)
            if broken:
                bad += int(((values > LONG * mean) | (values < SHORT * mean)).any(1).sum())
        rms = np.sqrt(second)
        k = int(np.argmax(rms))
        own = np.sqrt(max(second[k] - first[k] ** 2, 0))
        worst = f"{self._name(terms[k])}: mean {first[k]:+.2f}, spread {own:.2f} {self.called} standard deviations"
        return {
            "unit": f"{self.called} standard deviations",
            "edges": SIGMAS,
            "probability": table / len(terms),
            "worst": worst,
            "rms": float(np.sqrt(np.mean(second))),
            "worst rms": float(rms[k]),
        } | ({"bad frames": bad} if broken else {})

    def _chirality(self, frames: Frames) -> dict[str, Any]:
        weight, table = frames.probabilities, np.zeros(len(CHIRALITIES) - 1)
        bad, wrong = 0, np.zeros(len(self.centres))
        for part in measures.chunks(frames, 9 * len(self.centres)):
            values = chirality(np.asarray(frames.positions[part], float), self.centres) * self.sign
            table += _pool(values, weight[part], CHIRALITIES)
            flipped = values < 0
            wrong += flipped.sum(0)
            bad += int(flipped.any(1).sum())
        k = int(np.argmax(wrong))
        where = self.beads.residues[self.centres[k, 0]] + 1
        worst = (
            f"CA of residue {where}: {wrong[k] / len(frames):.2%} of the frames"
            if wrong[k]
            else "none of the wrong chirality"
        )
        return {
            "unit": f"triple product, positive as in the {self.called}",
            "edges": CHIRALITIES,
            "probability": table / len(self.centres),
            "worst": worst,
            "bad frames": bad,
        }

    def _closest(self, frames: Frames) -> tuple[np.ndarray, tuple[int, int]]:
        """(T,) nm least distance of beads more than three bonds apart, and the pair that came closest of all."""
        if not len(self.pairs):
            return np.empty(0), (0, 0)
        least, best, pair = [], np.inf, 0
        for part in measures.chunks(frames, 3 * len(self.pairs)):
            d = measures.distances(np.asarray(frames.positions[part], float), self.pairs)
            least.append(d.min(1))
            if least[-1].min() < best:
                best, pair = least[-1].min(), int(np.argmin(d.min(0)))
        return np.concatenate(least), tuple(self.pairs[pair])

    def _approach(self, frames: Frames) -> dict[str, Any]:
        least, pair = self._closest(frames)
        table = _pool(least[:, None], frames.probabilities, self.approach_edges)
        worst = f"{self._name(np.array(pair))}: {least.min():.3f} nm ({self.called} {self.approach:.3f} nm)"
        return {
            "unit": "nm",
            "edges": self.approach_edges,
            "probability": table,
            "worst": worst,
            "least": float(least.min()),
            "below half": int((least < self.approach / 2).sum()),
        }

    def _name(self, term: np.ndarray) -> str:
        beads = self.beads
        return "-".join(f"{beads.residue_names[i]}{beads.residues[i] + 1}.{beads.names[i]}" for i in term)


def thinned(frames: Frames) -> Frames:
    """At most ``THINNED`` evenly spaced frames, with their weights."""
    if len(frames) <= THINNED:
        return frames
    index, weight = evenly_spaced(frames, THINNED)
    weights = None if frames.weights is None else weight
    return Frames(frames.beads, frames.positions[index], (len(index),), frames.dt, frames.temperature, weights=weights)


def chirality(x: np.ndarray, terms: np.ndarray) -> np.ndarray:
    """(t, N, 3) and (P, 4) centre and three neighbours -> (t, P) triple product of unit vectors, -1 to 1."""
    arms = [x[:, terms[:, k]] - x[:, terms[:, 0]] for k in (1, 2, 3)]
    a, b, c = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-12) for v in arms)
    return np.sum(np.cross(a, b) * c, -1)


def _pool(values: np.ndarray, weight: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Weighted histogram of (t, P) values, all columns together; what lies outside counts in the outermost bins."""
    bins = len(edges) - 1
    place = np.clip((values - edges[0]) / (edges[1] - edges[0]), 0, bins - 1).astype(int)
    return np.bincount(place.ravel(), np.repeat(weight, values.shape[1]), minlength=bins)


def _chiral_centres(beads: Beads) -> np.ndarray:
    """(P, 4): CA, N, C, CB of every residue that has all four."""
    at = {(r, n): i for i, (r, n) in enumerate(zip(beads.residues, beads.names, strict=True))}
    rows = [[at.get((r, n)) for n in ("CA", "N", "C", "CB")] for r in sorted(set(beads.residues))]
    return np.array([row for row in rows if None not in row], int).reshape(-1, 4)
