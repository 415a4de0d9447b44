"""How far the surroundings of each bead are from all that training has seen: a warning of extrapolation.

Two things are looked at, because a model can leave its data in either: the *torsions* around a bead (cosine and sine of
the dihedrals whose axis touches it, with its angles and bonds in tenths of their standard deviation), and its
*contacts* (how near the nearest bead of the residues 1, 2, ... 5 before and after it is, and of all others). In each of
the two the distance to the nearest of some landmarks is taken. Landmarks are training frames, chosen one by one as the
frame farthest from those chosen before (Gonzalez, Theor. Comput. Sci. 38, 293 (1985)), so that rare states have some.

Distances are divided by what 95 % of held-out frames stay below at that bead: that is the score, and 1 is unusual but
known. The score of a frame is the largest of its beads. For calibration every run is left out in turn (in at
most ``FOLDS`` groups) and scored against the others. Shares of frames are shares of their weight where they have one.

Nothing is asked of the model, so any energy or stepper can have one. It notices what is new; it does not know errors
that a model makes on what it has seen.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.internal_coordinates import Cosines, Dihedrals
from cgsurrogate.geometry.molecule import Molecule

LEVEL = 0.999  # share of held-out frames below the limit
BEAD_LEVEL = 0.95  # share of held-out frames below score 1, at each bead
FOLDS, LANDMARKS = 5, 256
POOL, CALIBRATION = 2500, 20_000  # frames that landmarks are chosen from, and that are scored for the limit;
MOST = 500_000  # frames, evenly spaced, that any of these are drawn from
POOL_BEADS, CALIBRATION_BEADS = 150_000, 2_000_000  # fewer where frames times beads are more than this
STIFF = 0.1  # of a standard deviation of an angle or bond
OFFSETS, APART = 5, 4  # residues along the chain; bonds from which on a bead is a contact
NEAR, SOFT, HEIGHT = 0.3, 0.1, 3.0  # nm, nm, and the largest value of a contact
FAINT = -30.0  # logarithm of what is too far to count; smaller numbers are slow
LEAST = 0.05  # of a distance between surroundings that is ever taken as usual
PIECE = 1 << 22  # numbers in the largest array
CHANNELS = ("torsions", "contacts")


class Surroundings:
    """Positions -> numbers that describe the surroundings of each bead, in two channels; blind to shift and turn."""

    def __init__(self, beads: Beads, means: Tensor | None = None, widths: Tensor | None = None):
        """``means`` and ``widths`` (A + B,) of angles in radian and bonds in nm; set by ``fit``."""
        count, molecule = len(beads), Molecule.of(beads)
        dihedrals = np.concatenate([molecule.dihedrals, molecule.impropers])
        angles, self.bonds = molecule.angles, torch.tensor(molecule.bonds)
        self.count, self.means, self.widths = count, means, widths
        self.dihedrals = Dihedrals(count, dihedrals) if len(dihedrals) else None
        self.angles = Cosines(count, angles) if len(angles) else None
        self.size = len(angles) + len(self.bonds)  # of the stiff coordinates
        apart, t = molecule.separations, len(dihedrals)
        rows: list[list[int]] = []  # columns: cosines, sines, angles, bonds
        for bead in range(count):
            turns = [k for k, row in enumerate(dihedrals) if min(apart[bead, row[1]], apart[bead, row[2]]) <= 1]
            stiff = [k for k, row in enumerate([*angles.tolist(), *self.bonds.tolist()]) if bead in row]
            rows.append([*turns, *(t + k for k in turns), *(2 * t + k for k in stiff)])
        widest = max(1, max(map(len, rows)))
        none = 2 * t + self.size  # a column of zeros
        self.index = torch.tensor([row + [none] * (widest - len(row)) for row in rows])
        residue = np.asarray(beads.residues)
        offset = residue[None] - residue[:, None]  # (N, N) of the seen from the seeing bead
        kinds = [*range(-OFFSETS, 0), *range(1, OFFSETS + 1)]
        groups = [offset == k for k in kinds] + [(abs(offset) > OFFSETS) | (offset == 0)]
        self.groups = torch.tensor(np.stack(groups, 1) & (apart >= APART)[:, None]).float()  # (N, K, N)

    def fit(self, x: Tensor) -> None:
        stiff = self._stiff(x)
        self.means, self.widths = stiff.mean(0), stiff.std(0).clamp(min=1e-4)

    def _stiff(self, x: Tensor) -> Tensor:
        """(T, A + B): angles in radian and bonds in nm."""
        bonds = (x[:, self.bonds[:, 1]] - x[:, self.bonds[:, 0]]).norm(dim=2)
        return bonds if self.angles is None else torch.cat((self.angles(x).clamp(-1, 1).acos(), bonds), 1)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """(T, N, 3) nm -> for each channel (N, D, T)."""
        if self.means is None or self.widths is None:
            raise ValueError("surroundings need fit() before they are used")
        stiff = (self._stiff(x) - self.means) / self.widths * STIFF
        turns = [] if self.dihedrals is None else list(self.dihedrals(x))
        columns = torch.cat((*turns, stiff, x.new_zeros(len(x), 1)), 1).T.contiguous()
        torsions = columns.index_select(0, self.index.flatten()).view(self.count, -1, len(x))
        near = torch.exp((torch.cdist(x, x) / -SOFT).clamp(min=FAINT)).permute(1, 2, 0)  # (N, N, T)
        contacts = HEIGHT * torch.bmm(self.groups, near).pow(SOFT / NEAR)  # of the soft minimum
        return [torsions, contacts]


@dataclasses.dataclass(frozen=True, eq=False)
class Extrapolation:
    """Landmarks, scales and limit of one molecule.

    Attributes:
        surroundings: what is looked at.
        landmarks: for each channel (N, M, D).
        scales: (channels, N), of the distance to the nearest landmark, that 95 % of held-out frames stay below.
        limit: the score that ``LEVEL`` of the held-out frames stay below.
        about: how it was calibrated (runs, frames, histogram of held-out scores); JSON can hold it.
    """

    beads: Beads
    surroundings: Surroundings
    landmarks: tuple[Tensor, ...]
    scales: Tensor
    limit: float
    about: dict[str, Any]

    def score(self, positions: np.ndarray) -> np.ndarray:
        """(T, N, 3) nm -> (T, N) without a unit: of the newer channel; infinite where positions are not finite."""
        return self.channels(positions).max(0)

    @torch.no_grad()
    def channels(self, positions: np.ndarray) -> np.ndarray:
        """(T, N, 3) nm -> (channels, T, N)."""
        if positions.ndim != 3 or positions.shape[1:] != (len(self.beads), 3):
            raise ValueError(f"expected positions (T, {len(self.beads)}, 3) nm, got {positions.shape}")
        step = max(1, PIECE // (len(self.beads) * max(LANDMARKS, len(self.beads))))
        found = [np.zeros((len(CHANNELS), 0, len(self.beads)), np.float32)]
        for start in range(0, len(positions), step):
            x = torch.tensor(np.array(positions[start : start + step], np.float32))
            good = torch.isfinite(x).flatten(1).all(1)
            parts = self.surroundings(torch.where(good[:, None, None], x, torch.zeros(())))
            distances = torch.stack([nearest(f, marks) for f, marks in zip(parts, self.landmarks, strict=True)])
            scores = (distances / self.scales[:, :, None]).transpose(1, 2)  # (channels, T, N)
            scores[:, ~good] = torch.inf
            found.append(scores.numpy())
        return np.concatenate(found, 1)

    @property
    def digest(self) -> str:
        """Tells one from another."""
        found = hashlib.sha256(repr(self.limit).encode())
        for _, tensor in sorted(self.tensors().items()):
            found.update(tensor.numpy().tobytes())
        return found.hexdigest()[:16]

    def tensors(self) -> dict[str, Tensor]:
        """All numbers, to be stored."""
        marks = {f"landmarks {name}": one for name, one in zip(CHANNELS, self.landmarks, strict=True)}
        assert self.surroundings.means is not None and self.surroundings.widths is not None
        return {**marks, "scales": self.scales, "means": self.surroundings.means, "widths": self.surroundings.widths}

    @classmethod
    def build(cls, beads: Beads, tensors: dict[str, Tensor], about: dict[str, Any]) -> Extrapolation:
        """The inverse of ``tensors`` and ``about``."""
        landmarks = tuple(tensors[f"landmarks {name}"] for name in CHANNELS)
        surroundings = Surroundings(beads, tensors["means"], tensors["widths"])
        return cls(beads, surroundings, landmarks, tensors["scales"], float(about["limit"]), about)


def nearest(features: Tensor, landmarks: Tensor) -> Tensor:
    """(N, D, T) and (N, M, D) -> (N, T): distance to the nearest landmark."""
    squares = torch.baddbmm(landmarks.square().sum(2, keepdim=True), landmarks, features, alpha=-2)
    return (squares.amin(1) + features.square().sum(1)).clamp(min=0).sqrt()


def farthest(features: Tensor, count: int) -> Tensor:
    """(N, D, T) -> (N, count, D): of each bead some of the frames, each the farthest from those before it."""
    size, every = features.square().sum(1), torch.arange(len(features))
    chosen = torch.zeros(len(features), dtype=torch.long)
    found, gap = [], torch.full_like(size, torch.inf)
    for _ in range(min(count, features.shape[2])):
        mark = features[every, :, chosen]  # (N, D)
        found.append(mark)
        ahead = size - 2 * torch.bmm(mark[:, None], features)[:, 0] + mark.square().sum(1, keepdim=True)
        gap = torch.minimum(gap, ahead)
        chosen = gap.argmax(1)
    return torch.stack(found, 1)


@torch.no_grad()
def fit_extrapolation(kept: Frames, frames: Frames, seed: int = 0) -> Extrapolation:
    """Landmarks from the ``kept`` frames, those a model learned from; scales and limit from all ``frames``.

    Whole runs are left out in turn; a single run is left out by fifths, which then are not independent. Scales and
    limit are quantiles by weight.
    Landmarks come from all frames with any weight alike, so that rare states have some. Of more than ``MOST`` frames,
    every second, third ... is used.

    Raises:
        ValueError: other beads, or fewer than ten frames.
    """
    if kept.beads != frames.beads:
        raise ValueError("expected kept frames with the same beads as all frames; map them with one mapping")
    if len(kept) < 10 or len(frames) < 10:
        raise ValueError(f"expected ten or more frames to learn what is usual, got {min(len(kept), len(frames))}")
    rng = np.random.default_rng(seed)
    surroundings = Surroundings(frames.beads)
    surroundings.fit(_positions(kept, _some(_used(kept), POOL, rng)))
    folds = _folds(frames)
    distances, shares, most = [], [], min(CALIBRATION, max(1000, CALIBRATION_BEADS // len(frames.beads)))
    for fold in folds:
        others = np.concatenate([other for other in folds if other is not fold])
        marks = _landmarks(surroundings, frames, others, rng)
        left = _some(fold, max(1, most * len(fold) * _stride(frames) // len(frames)), rng)
        distances.append(_distances(surroundings, marks, frames, left))
        shares.append(frames.probabilities[left] * (len(fold) / len(left)))
    pooled = np.concatenate(distances, 2)  # (channels, N, T)
    share = None if frames.weights is None else np.concatenate(shares)
    scales = np.maximum(quantile(pooled, BEAD_LEVEL, share), LEAST).astype(np.float32)
    scores = (pooled / scales[:, :, None]).max((0, 1))
    limit = float(quantile(scores, LEVEL, share))
    edges = np.linspace(0, 2 * limit, 41)
    counts = np.histogram(np.minimum(scores, edges[-1]), edges, weights=share)[0]
    about = {
        "limit": limit,
        "level": LEVEL,
        "runs": len(frames.lengths),
        "frames": len(scores),
        "edges": edges.round(4).tolist(),
        "held_out": (counts / counts.sum()).round(6).tolist(),
    }
    landmarks = tuple(_landmarks(surroundings, kept, _used(kept), rng))
    return Extrapolation(frames.beads, surroundings, landmarks, torch.from_numpy(scales), limit, about)


def quantile(values: np.ndarray, level: float, weights: np.ndarray | None) -> np.ndarray:
    """(..., T) -> (...): what a share ``level`` of the weights (T,) stays at or below; of the frames where None."""
    if weights is None:
        return np.quantile(values, level, axis=-1)
    order = np.argsort(values, axis=-1)
    share = np.cumsum(weights[order], axis=-1)
    place = (share < level * share[..., -1:]).sum(-1)
    return np.take_along_axis(values, np.take_along_axis(order, place[..., None], -1), -1)[..., 0]


def _used(frames: Frames) -> np.ndarray:
    every = np.arange(0, len(frames), _stride(frames))
    return every if frames.weights is None else every[np.asarray(frames.weights[every]) > 0]


def _stride(frames: Frames) -> int:
    return -(-len(frames) // MOST)


def _some(index: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return index if len(index) <= most else np.sort(rng.choice(index, most, replace=False))


def _positions(frames: Frames, index: np.ndarray) -> Tensor:
    return torch.tensor(np.array(frames.positions[index], np.float32))


def _folds(frames: Frames) -> list[np.ndarray]:
    """Indices of the frames in groups of whole runs, the longest dealt out first; or in fifths of a single run."""
    used = _used(frames)
    if len(frames.lengths) == 1:
        return [part for part in np.array_split(used, FOLDS) if len(part)]
    groups: list[list[np.ndarray]] = [[] for _ in range(min(FOLDS, len(frames.lengths)))]
    for run in sorted(frames.runs, key=lambda r: r.start - r.stop):
        inside = used[(used >= run.start) & (used < run.stop)]
        min(groups, key=lambda g: sum(map(len, g))).append(inside)
    folds = [np.sort(np.concatenate(group)) for group in groups if sum(map(len, group))]
    return folds if len(folds) > 1 else [part for part in np.array_split(used, FOLDS) if len(part)]


def _landmarks(surroundings: Surroundings, frames: Frames, index: np.ndarray, rng: np.random.Generator) -> list[Tensor]:
    most = min(POOL, max(LANDMARKS, POOL_BEADS // len(frames.beads)))
    x = _positions(frames, _some(index, most, rng))
    return [farthest(f, LANDMARKS) for f in _features(surroundings, x)]


def _features(surroundings: Surroundings, x: Tensor) -> list[Tensor]:
    """The surroundings of many frames, in pieces of memory."""
    step = max(1, PIECE // surroundings.count**2)
    return [torch.cat(parts, 2) for parts in zip(*(surroundings(piece) for piece in x.split(step)), strict=True)]


def _distances(surroundings: Surroundings, marks: list[Tensor], frames: Frames, index: np.ndarray) -> np.ndarray:
    """(channels, N, T) distances to the nearest landmark."""
    step, found = max(1, PIECE // (surroundings.count * max(LANDMARKS, surroundings.count))), []
    for start in range(0, len(index), step):
        parts = surroundings(_positions(frames, index[start : start + step]))
        found.append(torch.stack([nearest(f, m) for f, m in zip(parts, marks, strict=True)]))
    return torch.cat(found, 2).numpy()
