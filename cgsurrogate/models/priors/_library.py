"""Kinds of terms that serve several molecules: what each is known by, and which one a term of a new molecule is of.

A kind is known by the types of its beads and, where several molecules were fitted, by whether it stands at an end
of the chain: a charged terminus has other bonds and angles than the same residue inside.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core import bead_types
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.molecule import Molecule

NAMED = 5  # of what was not fitted, in a message


@dataclasses.dataclass(frozen=True)
class Key:
    """``types``, a text a bead as ``Molecule.type_keys`` gives them, and ``end``, "", "N", "C" or "NC"."""

    types: tuple[str, ...]
    end: str = ""

    @property
    def atoms(self) -> tuple[tuple[str, str], ...]:
        """(residue, atom) of each bead."""
        found = []
        for text in self.types:
            number, _, named = text.partition(" ")
            residue, _, atom = named.partition(" ")
            found.append((residue, atom) if named else NAMES.get(int(number), ("", text)))
        return tuple(found)

    def __str__(self) -> str:
        residues = "-".join(dict.fromkeys(residue for residue, _ in self.atoms))
        return f"{'-'.join(atom for _, atom in self.atoms)} ({residues})"


NAMES = {number: row for row, number in bead_types.TABLE.items()}
ANY_RESIDUE = {  # the type of a bead that stands for the same atom of all residues: that of alanine, else the first
    f"{number:05d}": f"{bead_types.TABLE.get(('ALA', atom), min(n for n, (_, a) in NAMES.items() if a == atom)):05d}"
    for number, (_, atom) in NAMES.items()
}


def keys(beads: Beads, rows: np.ndarray, *, ends: bool, residues: str = "each") -> list[Key]:
    """Of each row (M, width); with ``ends`` those at the ends of a chain are told apart.

    Args:
        residues: by ``each`` bead's residue; by their ``own``, that of most beads, and of the others' only whether it
            is proline; or by ``none``, the same atoms of all residues together.
    """
    molecule = Molecule.of(beads)
    found = [tuple(molecule.type_key(i) for i in row) for row in rows.tolist()]
    if residues == "none":
        found = [tuple(ANY_RESIDUE.get(text, text) for text in one) for one in found]
    elif residues == "own":
        found = [_of_own(key, np.asarray(beads.residues)[row]) for key, row in zip(found, rows, strict=True)]
    found = [min(key, key[::-1]) for key in found]
    if not ends:
        return [Key(key) for key in found]
    part = np.asarray(molecule.parts)
    number = np.asarray(beads.residues)
    first = {p: number[part == p].min() for p in set(part.tolist())}
    last = {p: number[part == p].max() for p in set(part.tolist())}
    made = []
    for key, row in zip(found, rows, strict=True):
        touched = {(int(part[i]), int(number[i])) for i in row}
        start, stop = any(r == first[p] for p, r in touched), any(r == last[p] for p, r in touched)
        made.append(Key(key, "N" * start + "C" * stop))
    return made


def _of_own(key: tuple[str, ...], residues: np.ndarray) -> tuple[str, ...]:
    """A key (width,) of beads of these residues. The dihedral phi belongs to the residue of its N, CA and C, omega to
    none. What follows or precedes hardly matters unless it is proline, and each pair of amino acids is in few
    molecules. Beads that are all of different residues keep these."""
    numbers, counts = np.unique(residues, return_counts=True)
    if counts.max() == 1:
        return key
    most = numbers[counts == counts.max()]
    own = most[0] if len(most) == 1 else None
    return tuple(
        text if residue == own or name == "PRO" else f"{bead_types.OTHER:05d} * {atom}"
        for text, residue, (name, atom) in zip(key, residues, Key(key).atoms, strict=True)
    )


@dataclasses.dataclass(frozen=True)
class Library:
    """The key of each kind, its name, and how many terms it was fitted from."""

    keys: tuple[Key, ...]
    names: tuple[str, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, keys: Sequence[Key], index: np.ndarray, names: Sequence[str]) -> Library:
        """From the key and the kind (M,) of each term, and the name of each kind."""
        first = {int(kind): k for k, kind in reversed(list(enumerate(index)))}
        count = np.bincount(index, minlength=len(names))
        return cls(tuple(keys[first[k]] for k in range(len(names))), tuple(names), tuple(count.tolist()))

    def find(self, wanted: Sequence[Key]) -> tuple[np.ndarray, dict[str, str]]:
        """(M,) the kind of each term, and what is taken for those of residues that were not fitted at all.

        Raises:
            ValueError: nothing that was fitted is like a term.
        """
        known: dict[Key, int] = {}
        missing = []
        for key in dict.fromkeys(wanted):
            if (kind := self._most_like(key)) is None:
                missing.append(str(key))
            else:
                known[key] = kind
        if missing:
            more = f", and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            raise ValueError(
                f"the force field was not fitted on {', '.join(missing[:NAMED])}{more}, nor on anything like it; train "
                "it on a molecule that has them"
            )
        residues = {residue for key in self.keys for residue, _ in key.atoms}
        strange = {key: kind for key, kind in known.items() if {residue for residue, _ in key.atoms} - residues}
        instead = {str(key): self.names[kind] for key, kind in strange.items()}
        return np.array([known[key] for key in wanted], np.int64), instead

    def _most_like(self, key: Key) -> int | None:
        """The kind of the same atoms with the most beads of the same residues; among several that at the same end of a
        chain, then the one of most terms."""
        alike = {k: found for k, one in enumerate(self.keys) if (found := _alike(one, key)) is not None}
        return max(alike, key=lambda k: (alike[k], self.keys[k].end == key.end, self.counts[k], -k), default=None)

    def packed(self) -> Tensor:
        """All of it as bytes in a tensor, so that it travels with the parameters."""
        rows = [[one.types, one.end] for one in self.keys]
        text = json.dumps([rows, self.names, self.counts])
        return torch.from_numpy(np.frombuffer(text.encode(), np.uint8).copy())

    @classmethod
    def unpacked(cls, content: Tensor) -> Library:
        rows, names, counts = json.loads(bytes(content.cpu().numpy()).decode())
        return cls(tuple(Key(tuple(types), end) for types, end in rows), tuple(names), tuple(counts))


def _alike(one: Key, other: Key) -> int | None:
    """How many beads are of the same residue, where both are of the same atoms in this or in the other order."""
    first, found = one.atoms, []
    for second in (other.atoms, other.atoms[::-1]):
        if [atom for _, atom in first] == [atom for _, atom in second]:
            found.append(sum(a[0] == b[0] for a, b in zip(first, second, strict=True)))
    return max(found, default=None)


def words(instead: dict[str, str], what: str) -> str:
    """What was not fitted and what is taken for it, in one line; empty where that is nothing."""
    if not instead:
        return ""
    shown = [f"{name} as {other}" for name, other in list(instead.items())[:NAMED]]
    more = f", and {len(instead) - NAMED} more" if len(instead) > NAMED else ""
    return f"{what} that the force field was not fitted on are taken from what is most like: {', '.join(shown)}{more}"
