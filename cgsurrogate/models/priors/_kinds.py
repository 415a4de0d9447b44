"""Priors whose parameters belong to kinds of terms: which term is of which kind, and weighted samples of each."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Prior
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.molecule import Molecule

CHUNK = 2000  # frames measured at once
MOST_FRAMES = 50_000  # evenly spaced; more make no visible difference to a one-dimensional fit


class KindPrior(Prior):
    """A prior with terms ``rows`` (M, width), whose parameters belong to kinds of terms; one row of nan a kind.

    ``names`` of the kinds; buffers ``index`` (M,) into them, ``types`` (K, width) of beads and ``misfit`` (K,), and
    one (K, ...) for every parameter of ``shapes``. Terms whose beads have the same types are of one kind, until a fit
    tells them apart.
    """

    index: Tensor
    types: Tensor
    misfit: Tensor

    def __init__(self, beads: Beads, rows: np.ndarray, **shapes: tuple[int, ...]):
        super().__init__()
        self.beads, self.rows, self.shapes = beads, rows, {**shapes, "misfit": ()}
        self.set_kinds(self.kinds_by_type())

    def kinds_by_type(self) -> np.ndarray:
        """(M,)."""
        return Molecule.of(self.beads).kinds(self.rows)[0]

    def set_kinds(self, index: np.ndarray) -> None:
        """Take (M,) as the kind of each term, numbered from 0; all parameters are nan again."""
        firsts = np.unique(index, return_index=True)[1]
        types = np.array(self.beads.types, np.int64)[self.rows[firsts]].reshape(len(firsts), self.rows.shape[1])
        self.register_buffer("index", torch.as_tensor(index, dtype=torch.long))
        self.register_buffer("types", torch.from_numpy(types))
        self.names = _names(Molecule.of(self.beads), self.rows, index)
        for name, shape in self.shapes.items():
            self.register_buffer(name, torch.full((len(firsts), *shape), torch.nan))

    def samples(
        self, values: Callable[[Tensor], Tensor], frames: Frames, what: str, most: int = MOST_FRAMES
    ) -> Iterator[tuple[int, str, np.ndarray, np.ndarray]]:
        """``values`` of (B, N, 3) positions, (B, M), in at most ``most`` frames, evenly spaced.

        Yields for each kind: its number, the name of the term, samples (S,) float64 and their probabilities (S,).

        Raises:
            ValueError: frames of another molecule, fewer than two, or values that are not finite.
        """
        found, weights = self.measured(values, frames, what, most)
        for kind, label in enumerate(self.names):
            yield kind, f"{what} {label}", *pooled(found, weights, self.index.numpy() == kind)

    def measured(
        self, values: Callable[[Tensor], Tensor], frames: Frames, what: str, most: int = MOST_FRAMES
    ) -> tuple[np.ndarray, np.ndarray]:
        """Values (T, M) float64 in some frames, and the probabilities (T,) of these, which sum to one."""
        chosen, weights = self._thinned(frames, most)
        parts = []
        with torch.no_grad():
            for start in range(0, len(chosen), CHUNK):
                block = np.array(frames.positions[chosen[start : start + CHUNK]], np.float32)
                parts.append(values(torch.from_numpy(block)).double().numpy())
        found = np.concatenate(parts)
        if len(found) < 2 and self.names:
            few = f"expected two or more frames to fit from, got {len(found)}; add frames"
            raise ValueError(f"{what} {self.names[0]}: {few}")
        bad = np.flatnonzero(~np.isfinite(found).all(0))
        if len(bad):
            name = f"{what} {self.names[int(self.index[bad[0]])]}"
            raise ValueError(f"{name}: its values are not finite; do two of these beads lie on one point?")
        return found, weights

    def _thinned(self, frames: Frames, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame numbers and their probabilities, which sum to one."""
        if frames.beads != self.beads:
            raise ValueError("the frames hold other beads than the prior was built for; build it for these beads")
        chosen = np.arange(0, len(frames), max(1, -(-len(frames) // most)))
        weights = frames.probabilities[chosen]
        if not weights.sum() > 0:
            raise ValueError(
                "all weights of the thinned frames are zero; give weights with more than a few large values"
            )
        return chosen, weights / weights.sum()

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Kinds as they were fitted; models that were stored before kinds could be told apart have those by type."""
        index = state.setdefault(prefix + "index", self.index)
        if not torch.equal(index.cpu(), self.index.cpu()):
            dtype, device = self.misfit.dtype, self.misfit.device
            self.set_kinds(index.cpu().numpy())
            self.to(device, dtype)
        super()._load_from_state_dict(state, prefix, *rest)


def pooled(values: np.ndarray, share: np.ndarray, terms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Samples (S,) of the chosen terms together, out of (T, M), and their probabilities (S,)."""
    columns = values[:, terms]
    return columns.reshape(-1), np.repeat(share / columns.shape[1], columns.shape[1])


def _names(molecule: Molecule, rows: np.ndarray, index: np.ndarray) -> list[str]:
    """One for each kind: that of its beads; with the numbers of residues for all but the largest kind of a name."""
    members = [np.flatnonzero(index == kind) for kind in range(int(index.max(initial=-1)) + 1)]
    plain = [molecule.label(rows[terms[0]]) for terms in members]
    largest: dict[str, int] = {}
    for kind, name in enumerate(plain):
        if name not in largest or len(members[kind]) > len(members[largest[name]]):
            largest[name] = kind
    names = [
        name if largest[name] == kind else molecule.label(rows[members[kind][0]], numbered=True)
        for kind, name in enumerate(plain)
    ]
    seen: collections.Counter[str] = collections.Counter()
    for kind, name in enumerate(names):
        seen[name] += 1
        names[kind] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return names
