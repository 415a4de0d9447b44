"""Kinds of internal coordinates, by which molecules share weights: what is learned of one serves every other.

The kind of a coordinate is the residue it belongs to (that of the bead to which a new bead is bonded) and its *slot*,
the names of its beads with their residues counted from there: ``LEU C-CA-N-C[-1]`` is phi of leucine. A proline beyond
the own residue is marked, ``ALA N[+1]'-C-CA-N``, since it changes the geometry before it.
"""

from __future__ import annotations

import collections
import dataclasses
import json

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.zmatrix import ZMatrix
from cgsurrogate.models.steppers import _similar_kinds as similar

ENDS = 4  # residues from an end of the chain, up to here, that are told apart
NAMED = 5  # how many kinds an error line names


@dataclasses.dataclass(frozen=True, eq=False)
class Chain:
    """One molecule of R residues and D = 3N - 6 coordinates (bonds, angles, dihedrals as ``ZMatrix`` orders them).

    Attributes:
        residues: canonical name of each residue.
        names: name of each bead.
        homes: (D,) the residue that each coordinate belongs to, from 0.
        kinds: of each coordinate.
        placed: (D,) when the bead of each coordinate is placed.
        anchors: (R,) the bead that stands for each residue: CA, else the first.
    """

    residues: tuple[str, ...]
    names: tuple[str, ...]
    homes: np.ndarray
    kinds: tuple[str, ...]
    placed: np.ndarray
    anchors: np.ndarray


def describe(beads: Beads, zmatrix: ZMatrix) -> Chain:
    """The chain of a molecule; its z-matrix must run ``from_start``, so that all residues are placed alike."""
    _, rank = np.unique(beads.residues, return_inverse=True)
    residues = [""] * (int(rank.max()) + 1)
    anchors = np.full(len(residues), -1)
    for i, r in enumerate(rank):
        residues[r] = bead_types.canonical(beads.residue_names[i])
        if anchors[r] < 0 or beads.names[i] == "CA":
            anchors[r] = i
    refs = zmatrix.refs
    rows = [(k, sorted(row[:2], reverse=True)) for k, row in enumerate(refs) if k > 0]
    rows += [(k, [max(i, q), p, min(i, q)]) for k, (i, p, q, _) in enumerate(refs) if k > 1]  # no matter from where
    rows += [(k, row) for k, row in enumerate(refs) if k > 2]
    homes = np.array([rank[row[1]] for _, row in rows])
    kinds: list[str] = []
    seen: collections.Counter[tuple[int, str]] = collections.Counter()
    for home, (_, row) in zip(homes, rows, strict=True):
        slot = "-".join(_name(beads.names[i], int(rank[i] - home), residues[rank[i]]) for i in row)
        count = seen[home, slot]
        seen[home, slot] += 1
        kinds.append(f"{residues[home]} {slot}" + (f"#{count}" if count else ""))
    placed = np.array([k for k, _ in rows])
    return Chain(tuple(residues), beads.names, homes, tuple(kinds), placed, anchors)


def _name(bead: str, offset: int, residue: str) -> str:
    if not offset:
        return bead
    return f"{bead}[{offset:+d}]" + ("'" if residue == "PRO" else "")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """What was seen in training: names of residues, beads and kinds, each sorted."""

    residues: tuple[str, ...]
    names: tuple[str, ...]
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, *chains: Chain) -> Vocabulary:
        def union(field: str) -> tuple[str, ...]:
            return tuple(sorted({value for chain in chains for value in getattr(chain, field)}))

        return cls(union("residues"), union("names"), union("kinds"))

    @property
    def slots(self) -> tuple[str, ...]:
        return tuple(sorted({_slot(kind) for kind in self.kinds}))

    def slot_of_kind(self) -> np.ndarray:
        """(K,) the slot of each kind."""
        return _places([_slot(kind) for kind in self.kinds], self.slots, "kind of coordinate")

    def find(self, chain: Chain) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residues (R,), bead names (N,) and kinds (D,) of a molecule, as places in this vocabulary.

        What was not seen has the place of what is most like it (``stand_ins``).

        Raises:
            ValueError: nothing is like some of it; they are named.
        """
        instead = self.stand_ins(chain)
        return (
            _places([instead.get(name, name) for name in chain.residues], self.residues, "residue"),
            _places([instead.get(name, name) for name in chain.names], self.names, "bead"),
            _places([instead.get(name, name) for name in chain.kinds], self.kinds, "kind of coordinate"),
        )

    def stand_ins(self, chain: Chain) -> dict[str, str]:
        """Residues, beads and kinds of a molecule that were not seen, and what is taken for each."""
        found = {}
        for field, like in (("residues", similar.residue), ("names", similar.bead), ("kinds", similar.kind)):
            known = getattr(self, field)
            for name in dict.fromkeys(getattr(chain, field)):
                if name not in known and (other := like(name, known)) is not None:
                    found[name] = other
        return found

    def packed(self) -> Tensor:
        """All of it as bytes in a tensor, so that it travels with the weights."""
        text = json.dumps(dataclasses.astuple(self))
        return torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())

    @classmethod
    def unpacked(cls, content: Tensor) -> Vocabulary:
        residues, names, kinds = json.loads(bytes(content.cpu().numpy()).decode())
        return cls(tuple(residues), tuple(names), tuple(kinds))


def stand_in_words(instead: dict[str, str]) -> str:
    """What a model was not trained on and what it takes for it, in one line; empty where that is nothing.

    >>> stand_in_words({"NLE": "LEU"})
    'the stepper was not trained on NLE; it takes what it knows of LEU'
    """
    if not instead:
        return ""
    shown = list(instead.items())[:NAMED]
    more = f", and {len(instead) - NAMED} more" if len(instead) > NAMED else ""
    unseen, taken = ", ".join(name for name, _ in shown), ", ".join(dict.fromkeys(other for _, other in shown))
    return f"the stepper was not trained on {unseen}{more}; it takes what it knows of {taken}"


def _slot(kind: str) -> str:
    return kind.split(" ", 1)[1]


def _places(values: tuple[str, ...] | list[str], known: tuple[str, ...], what: str) -> np.ndarray:
    place = {name: k for k, name in enumerate(known)}
    unseen = sorted(set(values) - set(known))
    if unseen:
        shown = ", ".join(unseen[:NAMED]) + (f", and {len(unseen) - NAMED} more" if len(unseen) > NAMED else "")
        raise ValueError(
            f"the stepper was not trained on {what} {shown}; train it on a molecule that has them, "
            "or choose a molecule of what it knows"
        )
    return np.array([place[value] for value in values])


def relations(
    chain: Chain, targets: np.ndarray, sources: np.ndarray, labels: np.ndarray, heard: np.ndarray, reach: int
) -> np.ndarray:
    """(P, 3) what each pair of coordinates is to one another: label of the target, slot of the source, offset.

    Args:
        targets, sources: (P,) coordinates of the chain.
        labels, heard: (D,) label of each coordinate as a target, and as a source.
        reach: residues; a source farther away along the chain has the offset ``reach + 1``, which no relation has.
    """
    offset = chain.homes[sources] - chain.homes[targets]
    offset = np.where(np.abs(offset) > reach, reach + 1, offset)
    return np.stack([labels[targets], heard[sources], offset], 1)


def lookup(wanted: np.ndarray, known: np.ndarray) -> np.ndarray:
    """(P, 3) and (Q, 3) -> (P,) the row of ``known`` that each of ``wanted`` is; Q where it is none."""
    rows = {tuple(row): k for k, row in enumerate(known.tolist())}
    return np.array([rows.get(tuple(row), len(known)) for row in wanted.tolist()], dtype=np.int64)
