"""Samples of terms from the frames of one molecule or of several, pooled by kind, and the names of kinds."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from cgsurrogate.geometry.molecule import Molecule

MIXED_IN = 20_000  # samples of terms that are alike


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """Of one molecule: its terms ``rows`` (M, width), their ``values`` (T, M) float64, and probabilities (T,)."""

    molecule: Molecule
    rows: np.ndarray
    values: np.ndarray
    share: np.ndarray


@dataclasses.dataclass(eq=False)
class Pool:
    """All terms of some molecules, one molecule after the other: ``index`` (M,) is the kind of each."""

    blocks: Sequence[Block]
    index: np.ndarray

    @property
    def labelled(self) -> list[tuple[Molecule, np.ndarray]]:
        return [(block.molecule, row) for block in self.blocks for row in block.rows]

    @property
    def names(self) -> list[str]:
        return kind_names(self.labelled, self.index)

    @property
    def frames(self) -> int:
        return sum(len(block.values) for block in self.blocks)

    def samples(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        """Samples (S,) of all terms of a kind together, and their probabilities (S,): each term counts the same."""
        return self._samples(self.index == kind)

    def _samples(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = self._columns(chosen)
        count = sum(columns.sum() for columns in own)
        parts = [
            (block.values[:, columns].reshape(-1), np.repeat(block.share / count, columns.sum()))
            for block, columns in zip(self.blocks, own, strict=True)
        ]
        return np.concatenate([values for values, _ in parts]), np.concatenate([share for _, share in parts])

    def shrunk(self, kind: int, alike: np.ndarray, weight: float) -> tuple[np.ndarray, np.ndarray]:
        """As ``samples``, with some of all terms that are ``alike`` ((M,) numbers) mixed in: as many as ``weight``
        terms would have. What few terms of a kind did not show, and others like it did, stays possible."""
        members = self.index == kind
        share = weight / (weight + members.sum())
        own, others = self.samples(kind), self._samples(alike == alike[members.argmax()])
        few = np.arange(0, len(others[0]), max(1, len(others[0]) // MIXED_IN))
        mixed = others[1][few] / others[1][few].sum()
        return np.concatenate((own[0], others[0][few])), np.concatenate(((1 - share) * own[1], share * mixed))

    def columns(self, kind: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """(T, m) values of the terms of a kind and probabilities (T,), of every molecule that has some."""
        own = self._columns(self.index == kind)
        return [(b.values[:, c], b.share) for b, c in zip(self.blocks, own, strict=True) if c.any()]

    def _columns(self, chosen: np.ndarray) -> list[np.ndarray]:
        return np.split(chosen, np.cumsum([len(block.rows) for block in self.blocks])[:-1])


def kind_names(terms: Sequence[tuple[Molecule, np.ndarray]], index: np.ndarray) -> list[str]:
    """One for each kind: that of its beads; with the numbers of residues for all but the largest kind of a name."""
    members = [np.flatnonzero(index == kind) for kind in range(int(index.max(initial=-1)) + 1)]

    def label(kind: int, numbered: bool = False) -> str:
        molecule, row = terms[members[kind][0]]
        return molecule.label(row, numbered=numbered)

    plain = [label(kind) for kind in range(len(members))]
    largest: dict[str, int] = {}
    for kind, name in enumerate(plain):
        if name not in largest or len(members[kind]) > len(members[largest[name]]):
            largest[name] = kind
    names = [name if largest[name] == kind else label(kind, numbered=True) for kind, name in enumerate(plain)]
    seen: collections.Counter[str] = collections.Counter()
    for kind, name in enumerate(names):
        seen[name] += 1
        names[kind] = name if seen[name] == 1 else f"{name} #{seen[name]}"
    return names
