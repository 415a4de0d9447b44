"""How far the sequence of a molecule is from those that a model learned from: residues, neighbours, length.

This looks at sequences alone. Where frames were scored, ``extrapolation`` looks at structures.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

from cgsurrogate.core.frames import Beads


@dataclasses.dataclass(frozen=True)
class Reach:
    """What of a sequence was in training.

    Attributes:
        sequence: residue by residue, caps among them.
        trained: the sequences of training.
        residues: of the sequence, that no molecule of training has, in their order.
        pairs: neighbours, "GLY-PRO", that stand beside each other in no molecule of training.
    """

    sequence: tuple[str, ...]
    trained: tuple[tuple[str, ...], ...]
    residues: tuple[str, ...]
    pairs: tuple[str, ...]

    @classmethod
    def of(cls, sequence: Sequence[str], trained: Sequence[Sequence[str]]) -> Reach:
        """
        >>> Reach.of(("ALA", "GLY"), [("ALA", "VAL")]).residues
        ('GLY',)
        """
        own, known = tuple(sequence), tuple(map(tuple, trained))
        seen = {residue for one in known for residue in one}
        beside = {pair for one in known for pair in itertools.pairwise(one)}
        pairs = ("-".join(pair) for pair in itertools.pairwise(own) if pair not in beside)
        new = (residue for residue in own if residue not in seen)
        return cls(own, known, tuple(dict.fromkeys(new)), tuple(dict.fromkeys(pairs)))

    @property
    def known(self) -> bool:
        """Whether the very sequence was in training."""
        return self.sequence in self.trained

    @property
    def lengths(self) -> tuple[int, int]:
        """The least and the greatest number of residues in training, caps among them."""
        counts = [len(one) for one in self.trained]
        return min(counts), max(counts)

    @property
    def as_long(self) -> bool:
        """Whether training had molecules as short and as long."""
        least, most = self.lengths
        return least <= len(self.sequence) <= most


def sequence(beads: Beads) -> tuple[str, ...]:
    """The name of each residue.

    >>> sequence(Beads(("CA", "CA"), (13, 6), (12.0, 12.0), (0, 1), ("ALA", "GLY"), bonds=((0, 1),)))
    ('ALA', 'GLY')
    """
    return tuple(dict(zip(beads.residues, beads.residue_names, strict=True)).values())
