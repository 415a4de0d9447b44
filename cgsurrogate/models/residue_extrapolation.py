"""How far the surroundings of each residue are from all that several molecules showed of residues of its kind.

For a model that is bound to molecules it was not trained on. A residue is described by cosine and sine of its torsions
and of those of its neighbours (*torsions*), and by how near its centre the nearest centres of residues 2, 3, ... before
and after it are (*contacts*). Landmarks, and the distance to the nearest, are as in ``extrapolation``; they belong to a
kind of residue at the start, inside or at the end of a chain. What training did not have at such a place is compared
with all residues there. Each molecule is left out in turn to see how
far the surroundings of a new molecule usually are: a score of 1 is what 95 % of its residues stay below that the others
have at such a place.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry import measures
from cgsurrogate.models.extrapolation import (
    BEAD_LEVEL,
    CHANNELS,
    HEIGHT,
    LEAST,
    LEVEL,
    NEAR,
    SOFT,
    farthest,
    nearest,
    quantile,
)

KIND = "residues"
LANDMARKS, POOL = 128, 1000  # of a kind of residue, and the frames of each molecule that they are chosen from
OFFSETS = 5  # residues along the chain
TURNS = 2  # torsions of a residue, at most
BESIDE = 0.5  # what torsions of the neighbours count
ANY = "any"
PLACES = ("first", "inner", "last", ANY)
PIECE = 4096  # frames at a time


class ResidueSurroundings:
    """(T, N, 3) nm -> for each channel (R, D, T), of the R residues of one molecule."""

    def __init__(self, beads: Beads):
        _, quads, _ = measures.torsion_quads(beads)
        home = np.asarray(beads.residues)
        self.count, self.quads = int(home.max()) + 1, quads
        own: list[list[int]] = [[] for _ in range(self.count)]
        for k, quad in enumerate(quads):
            own[home[quad[1]]].append(k)
        table = np.full((self.count + 2, TURNS), len(quads))  # a residue more at both ends, without torsions
        for residue, found in enumerate(own, 1):
            table[residue, : len(found)] = found[:TURNS]
        self.columns = np.concatenate([table[:-2], table[1:-1], table[2:]], 1)  # before, own, after
        names = dict(zip(beads.residues, beads.residue_names, strict=True))
        self.names = [bead_types.canonical(names[r]) for r in range(self.count)]
        self.places = ["first", *["inner"] * max(0, self.count - 2), "last"][: self.count]
        centres = measures.calphas(beads)
        self.centres = [
            next((int(c) for c in centres if home[c] == r), int(np.argmax(home == r))) for r in range(self.count)
        ]

    def __call__(self, x: np.ndarray) -> list[Tensor]:
        turn = measures.dihedrals(np.asarray(x, float), self.quads)
        both = np.stack([np.cos(turn), np.sin(turn)])  # (2, T, Q)
        both = np.concatenate([both, np.zeros((*both.shape[:2], 1))], 2)[:, :, self.columns]  # (2, T, R, 3 TURNS)
        both[..., :TURNS] *= BESIDE
        both[..., 2 * TURNS :] *= BESIDE
        torsions = both.transpose(2, 0, 3, 1).reshape(self.count, -1, len(x))
        centre = torch.as_tensor(np.asarray(x[:, self.centres], np.float32))
        apart = torch.cdist(centre, centre)  # (T, R, R)
        contacts = torch.zeros(self.count, 2 * OFFSETS, len(x))
        for column, shift in enumerate([k for k in range(-OFFSETS, OFFSETS + 1) if abs(k) > 1 or k == 0]):
            for residue in range(self.count):
                other = range(self.count) if shift == 0 else [residue + shift]
                seen = [o for o in other if 0 <= o < self.count and (shift or abs(o - residue) > OFFSETS)]
                if seen:
                    near = torch.exp(-apart[:, residue, seen] / SOFT).sum(1)
                    contacts[residue, column] = HEIGHT * near.pow(SOFT / NEAR)
        return [torch.from_numpy(torsions.astype(np.float32)), contacts]

    def kinds(self) -> list[tuple[str, ...]]:
        """Of each residue: where its landmarks are looked for, the likest first."""
        pairs = zip(self.names, self.places, strict=True)
        return [(f"{name} {place}", f"{ANY} {place}", f"{ANY} {ANY}") for name, place in pairs]


@dataclasses.dataclass(frozen=True, eq=False)
class ResidueExtrapolation:
    """Landmarks of kinds of residues, bound to one molecule; it answers as ``Extrapolation`` does.

    Attributes:
        landmarks: of each channel and kind (M, D).
        scales: (channels,), of the distance to the nearest landmark.
        limit: the score that ``LEVEL`` of the frames of molecules that were left out stay below.
        about: how it was calibrated; JSON can hold it.
    """

    beads: Beads
    landmarks: dict[str, dict[str, Tensor]]
    scales: Tensor
    limit: float
    about: dict[str, Any]

    def bound(self, beads: Beads) -> ResidueExtrapolation:
        """The same for another molecule."""
        return dataclasses.replace(self, beads=beads)

    def score(self, positions: np.ndarray) -> np.ndarray:
        """(T, N, 3) nm -> (T, N) without a unit, that of the residue of a bead; infinite where not finite."""
        return self.channels(positions).max(0)

    def channels(self, positions: np.ndarray) -> np.ndarray:
        """(T, N, 3) nm -> (channels, T, N)."""
        if positions.ndim != 3 or positions.shape[1:] != (len(self.beads), 3):
            raise ValueError(f"expected positions (T, {len(self.beads)}, 3) nm, got {positions.shape}")
        surroundings = ResidueSurroundings(self.beads)
        found = [np.zeros((len(CHANNELS), 0, len(self.beads)), np.float32)]
        for start in range(0, len(positions), PIECE):
            x = np.asarray(positions[start : start + PIECE], np.float32)
            good = np.asarray(np.isfinite(x).all((1, 2)))
            distances = _distances(surroundings, np.where(good[:, None, None], x, 0.0), self.landmarks)
            scores = (distances / self.scales[:, None, None]).transpose(1, 2).numpy()  # (channels, T, R)
            scores[:, ~good] = np.inf
            found.append(scores[:, :, list(self.beads.residues)])
        return np.concatenate(found, 1)

    @property
    def digest(self) -> str:
        """Tells one from another."""
        found = hashlib.sha256(repr(self.limit).encode())
        for name, tensor in sorted(self.tensors().items()):
            found.update(name.encode() + tensor.numpy().tobytes())
        return found.hexdigest()[:16]

    def tensors(self) -> dict[str, Tensor]:
        """All numbers, to be stored."""
        marks = {f"{channel}/{kind}": x for channel, kinds in self.landmarks.items() for kind, x in kinds.items()}
        return {**marks, "scales": self.scales}

    @classmethod
    def build(cls, beads: Beads, tensors: dict[str, Tensor], about: dict[str, Any]) -> ResidueExtrapolation:
        """The inverse of ``tensors`` and ``about``."""
        marks: dict[str, dict[str, Tensor]] = {name: {} for name in CHANNELS}
        for name, tensor in tensors.items():
            channel, _, kind = name.partition("/")
            if kind:
                marks[channel][kind] = tensor
        return cls(beads, marks, tensors["scales"], float(about["limit"]), about)


def fit_residue_extrapolation(
    every: Sequence[Frames], seed: int = 0, report: Callable[[float], None] = lambda fraction: None
) -> ResidueExtrapolation:
    """From the frames of several molecules, mapped alike; each is left out in turn to find scales and limit.

    Raises:
        ValueError: fewer than two molecules.
    """
    if len(every) < 2:
        raise ValueError("expected frames of two molecules or more, got one")
    rng = np.random.default_rng(seed)
    surroundings = [ResidueSurroundings(frames.beads) for frames in every]
    chosen = [_some(frames, rng) for frames in every]
    features = [own(x) for own, x in zip(surroundings, chosen, strict=True)]
    parts = [_by_kind(own, found) for own, found in zip(surroundings, features, strict=True)]
    left, every_kind = [], []
    for out, (own, x) in enumerate(zip(surroundings, chosen, strict=True)):
        marks = _landmarks([part for k, part in enumerate(parts) if k != out])
        every_kind.append(_distances(own, x, marks))  # (channels, R, T)
        known = [kinds[0] in marks[CHANNELS[0]] for kinds in own.kinds()]
        if any(known):
            left.append(every_kind[-1][:, known])
        report((out + 1) / len(every))
    left = left or every_kind  # no two molecules have a kind of residue in common
    pooled = torch.cat([part.flatten(1) for part in left], 1).numpy()
    scales = np.maximum(quantile(pooled, BEAD_LEVEL, None), LEAST).astype(np.float32)
    scores = np.concatenate([(part.numpy() / scales[:, None, None]).max((0, 1)) for part in left])
    limit = float(quantile(scores, LEVEL, None))
    edges = np.linspace(0, 2 * limit, 41)
    counts = np.histogram(np.minimum(scores, edges[-1]), edges)[0]
    about = {
        "kind": KIND,
        "limit": limit,
        "level": LEVEL,
        "runs": sum(len(frames.lengths) for frames in every),
        "molecules": len(every),
        "frames": len(scores),
        "edges": edges.round(4).tolist(),
        "held_out": (counts / counts.sum()).round(6).tolist(),
    }
    return ResidueExtrapolation(every[0].beads, _landmarks(parts), torch.from_numpy(scales), limit, about)


def _some(frames: Frames, rng: np.random.Generator) -> np.ndarray:
    """At most ``POOL`` frames of those with any weight."""
    weights = frames.weights
    used = np.arange(len(frames)) if weights is None else np.flatnonzero(np.asarray(weights) > 0)
    index = used if len(used) <= POOL else np.sort(rng.choice(used, POOL, replace=False))
    return np.asarray(frames.positions[index], np.float32)


def _by_kind(surroundings: ResidueSurroundings, features: list[Tensor]) -> dict[str, dict[str, Tensor]]:
    """Of each channel and kind (D, T) features of one molecule, over all residues that may stand for the kind."""
    found: dict[str, dict[str, list[Tensor]]] = {channel: {} for channel in CHANNELS}
    for channel, of_residue in zip(CHANNELS, features, strict=True):
        for residue, keys in enumerate(surroundings.kinds()):
            for key in keys:
                found[channel].setdefault(key, []).append(of_residue[residue])
    return {c: {key: torch.cat(parts, 1) for key, parts in kinds.items()} for c, kinds in found.items()}


def _landmarks(parts: Sequence[dict[str, dict[str, Tensor]]]) -> dict[str, dict[str, Tensor]]:
    """Of each channel and kind (M, D), from the features of several molecules."""
    marks: dict[str, dict[str, Tensor]] = {}
    for channel in CHANNELS:
        kinds = sorted({kind for part in parts for kind in part[channel]})
        joined = {
            kind: torch.cat([part[channel][kind] for part in parts if kind in part[channel]], 1) for kind in kinds
        }
        marks[channel] = {kind: farthest(_thinned(x)[None], LANDMARKS)[0] for kind, x in joined.items()}
    return marks


def _thinned(x: Tensor) -> Tensor:
    """(D, T) at most 4 ``POOL`` of the frames, evenly spaced."""
    return x[:, :: max(1, x.shape[1] // (4 * POOL))].contiguous()


def _distances(surroundings: ResidueSurroundings, x: np.ndarray, landmarks: dict[str, dict[str, Tensor]]) -> Tensor:
    """(channels, R, T) distance to the nearest landmark of the likest kind that has any."""
    found = []
    for channel, features in zip(CHANNELS, surroundings(x), strict=True):
        marks = [landmarks[channel][_likest(keys, landmarks[channel])] for keys in surroundings.kinds()]
        found.append(torch.cat([nearest(f[None], m[None]) for f, m in zip(features, marks, strict=True)]))
    return torch.stack(found)


def _likest(kinds: tuple[str, ...], marks: dict[str, Tensor]) -> str:
    return next(kind for kind in kinds if kind in marks)
