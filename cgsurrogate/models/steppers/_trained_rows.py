"""What a ``graph`` stepper that begins with a trained one takes from it, and the room for what only its molecules have.

Weights stand in rows, one a residue, slot, kind or relation. A row of something new is a copy of the one that the
trained stepper would use for it, that of what is most like it (``_similar_kinds``). So to bind a trained stepper to a
molecule and to begin with it are the same density, but for stiff coordinates of new kinds, whose mean and scale come
from the data. Where nothing is like a kind, its rows begin as without training, and nothing hears of it yet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.frames import Frames
from cgsurrogate.models.steppers import _kind_statistics
from cgsurrogate.models.steppers._coordinate_types import Chain, Vocabulary, lookup
from cgsurrogate.models.steppers._heads import ENOUGH
from cgsurrogate.models.steppers._residue_graph import HEARD, Layout

MOST_NEW = 0.5  # share of the kinds of the molecules of which nothing like it is known; above it these are other beads
ROWS = {  # what the first dimension of a weight counts; all others are copied whole
    "trunk.residue.weight": "residues",
    "trunk.contacts.who.weight": "residues",
    "trunk.angles": "slots",
    "heads.from_context": "slots",
    "heads.from_before": "heard",
    "heads.kind": "kinds",
    "heads.middle": "slots",
    "heads.middle_bias": "slots",
    "heads.out": "slots",
    "heads.out_bias": "kinds",
    "tail.trunk.residue.weight": "residues",
    "tail.trunk.angles": "slots",
    "tail.last": "slots",
    "tail.bias": "kinds",
    "tail.lower": "linked",
    "tail.log_diagonal": "kinds",
}
OWN = ("heads.from_context", "heads.kind", "heads.middle", "heads.middle_bias", "heads.out", "heads.out_bias")
"""Weights of an angle's own density, whose new rows keep their random start; those of all others are zero."""


@dataclasses.dataclass(frozen=True, eq=False)
class Room:
    """A vocabulary that holds an old one, and where each row comes from.

    Attributes:
        places: (K',) where the kinds of the molecules' own vocabulary stand.
        of: by "residues", "names", "slots", "kinds": the place in the old vocabulary that each begins with, or -1.
        known: (K,) whether the old vocabulary has a kind itself.
        soft: (K,).
    """

    old: Vocabulary
    new: Vocabulary
    places: np.ndarray
    of: dict[str, np.ndarray]
    known: np.ndarray
    soft: np.ndarray

    @classmethod
    def of_chains(cls, old: Vocabulary, chains: Sequence[Chain], old_soft: np.ndarray, own_soft: np.ndarray) -> Room:
        """``own_soft`` (K',) is of the kinds of ``Vocabulary.of(*chains)``, as the data say.

        Raises:
            ValueError: the molecules are of other beads than the trained ones.
        """
        own = Vocabulary.of(*chains)
        new = Vocabulary(*(tuple(sorted({*getattr(old, f), *getattr(own, f)})) for f in ("residues", "names", "kinds")))
        instead = {name: other for chain in chains for name, other in old.stand_ins(chain).items()}
        of = {field: _sources(getattr(new, field), getattr(old, field), instead) for field in ("residues", "names")}
        kinds = _sources(new.kinds, old.kinds, instead)
        places = np.array([new.kinds.index(kind) for kind in own.kinds])
        soft = np.where(kinds >= 0, old_soft[kinds], False)
        unlike = own_soft & ~soft[places]  # a stiff coordinate stands for one that turns: nothing to learn from
        known = np.isin(new.kinds, old.kinds)
        kinds[places[unlike & ~known[places]]] = -1
        soft[places] = np.where(kinds[places] >= 0, soft[places], own_soft)
        _refuse_other_beads(own, of["names"][[new.names.index(name) for name in own.names]], kinds[places])
        slots = np.full(len(new.slots), -1)
        for slot, source in zip(new.slot_of_kind()[::-1], kinds[::-1], strict=True):
            slots[slot] = old.slot_of_kind()[source] if source >= 0 else slots[slot]
        exact = {slot: k for k, slot in enumerate(old.slots)}
        of |= {"kinds": kinds, "slots": np.array([exact.get(s, k) for s, k in zip(new.slots, slots, strict=True)])}
        return cls(old, new, places, of, known, soft)

    def relations(self, trained: Tensor, made: np.ndarray, target: str) -> tuple[np.ndarray, np.ndarray]:
        """(Q, 3) old relations in the new vocabulary with those of the molecules, and the old row of each or -1.

        Args:
            target: what the first column counts, "slots" or "kinds"; the second counts slots.
        """
        old, first, second = trained.cpu().numpy(), self._moved(target), self._moved("slots")
        kept = np.stack([first[old[:, 0]], second[old[:, 1]], old[:, 2]], 1)
        every = np.unique(np.concatenate([kept, made]), axis=0)
        there = lookup(every, kept)
        alike = lookup(np.stack([self.of[target][every[:, 0]], self.of["slots"][every[:, 1]], every[:, 2]], 1), old)
        source = np.where(there < len(old), there, alike)
        return every, np.where(source < len(old), source, -1)

    def _moved(self, field: str) -> np.ndarray:
        """Where each slot or kind of the old vocabulary stands in the new one."""
        place = {name: k for k, name in enumerate(getattr(self.new, field))}
        return np.array([place[name] for name in getattr(self.old, field)])

    def statistics(self, trained: Tensor, own: Tensor) -> Tensor:
        """(K,) of each kind: what was learned where it is known, else that of the data, (K',)."""
        whole = torch.zeros(len(self.new.kinds), dtype=own.dtype)
        whole[self.places] = own
        source = torch.from_numpy(np.searchsorted(self.old.kinds, self.new.kinds).clip(max=len(self.old.kinds) - 1))
        return torch.where(torch.from_numpy(self.known), trained.cpu().to(own.dtype)[source], whole)

    def nearest(self, trained: Tensor, own: Tensor, names: Sequence[str]) -> Tensor:
        """(U, U) nm: the nearer of what was learned and what the beads (U',) of these ``names`` do; 0 is not known."""
        found = torch.full((2, len(self.new.names), len(self.new.names)), torch.inf, dtype=own.dtype)
        for known, values, which in zip(
            found, (trained.cpu().to(own.dtype), own), (self.old.names, names), strict=True
        ):
            place = torch.tensor([self.new.names.index(name) for name in which])
            known[place[:, None], place] = torch.where(values > 0, values, torch.inf)
        nearer = found.amin(0)
        return torch.where(nearer.isinf(), 0.0, nearer)


@dataclasses.dataclass(frozen=True, eq=False)
class Taken:
    """All that a stepper of some molecules begins with.

    Attributes:
        tables: its buffers that belong to kinds.
        of: by what a weight has rows for, the row of the trained one that each begins with, or -1.
        angles: (T,) radian of each kind that turns and that nothing known is like, by its number.
        frames: how many are learned from.
    """

    tables: dict[str, Tensor]
    of: dict[str, np.ndarray]
    angles: dict[int, Tensor]
    frames: int

    @classmethod
    def of_molecules(cls, trained: Any, molecules: Sequence[Any], every: Sequence[Frames]) -> Taken:
        """From a trained ``Graph``, and those of the molecules of these frames.

        Raises:
            ValueError: they are of other beads than the trained ones.
        """
        chains = [m.chain for m in molecules]
        own = Vocabulary.of(*chains)
        samples = [_kind_statistics.Sample(m, m.chain, f, own) for m, f in zip(molecules, every, strict=True)]
        centre, scale, soft = _kind_statistics.moments(samples)
        room = Room.of_chains(trained.vocabulary, chains, trained.kind_soft.cpu().numpy(), soft.numpy())
        layouts = [Layout(c, room.new, room.soft[room.new.find(c)[2]], trained.sizes["window"]) for c in chains]
        made = np.concatenate([one.heard for one in layouts])
        heard, heard_of = room.relations(trained.heard, made[made[:, 2] <= HEARD], "slots")
        linked, linked_of = room.relations(trained.linked, np.concatenate([one.linked for one in layouts]), "kinds")
        nearest = room.nearest(trained.nearest, _kind_statistics.nearest(samples, len(own.names)), own.names)
        tables = {
            "words": room.new.packed(),
            "kind_soft": torch.from_numpy(room.soft),
            "kind_centre": room.statistics(trained.kind_centre, centre).float(),
            "kind_scale": room.statistics(trained.kind_scale, scale).float(),
            "nearest": nearest.float(),
            "heard": torch.from_numpy(heard),
            "linked": torch.from_numpy(linked),
        }
        of = {**room.of, "heard": heard_of, "linked": linked_of}
        return cls(tables, of, _new_angles(room, samples), sum(len(s.natural) for s in samples))

    @torch.no_grad()
    def fill(self, stepper: Any, trained: Any) -> None:
        """Copy the weights, into networks that were made of the tables."""
        for kind, angles in self.angles.items():
            stepper.heads.set_centres(kind, angles)
        theirs = dict(trained.named_parameters())
        for name, mine in stepper.named_parameters():
            if name not in ROWS:
                mine.copy_(theirs[name])
                continue
            source = torch.from_numpy(self.of[ROWS[name]])
            begun = mine if name in OWN else torch.zeros_like(mine)
            there = (source >= 0).view(-1, *[1] * (mine.dim() - 1))
            mine.copy_(torch.where(there, theirs[name][source], begun))


def _new_angles(room: Room, samples: Sequence[_kind_statistics.Sample]) -> dict[int, Tensor]:
    found: dict[int, list[Tensor]] = {}
    for s in samples:
        for d, kind in enumerate(room.places[s.kinds.numpy()].tolist()):
            if room.soft[kind] and room.of["kinds"][kind] < 0:
                found.setdefault(kind, []).append(s.natural[:: max(1, len(s.natural) // ENOUGH), d])
    return {kind: torch.cat(parts) for kind, parts in found.items()}


def _sources(names: Sequence[str], known: Sequence[str], instead: dict[str, str]) -> np.ndarray:
    place = {name: k for k, name in enumerate(known)}
    return np.array([place.get(instead.get(name, name), -1) for name in names])


def _refuse_other_beads(own: Vocabulary, names: np.ndarray, kinds: np.ndarray) -> None:
    strange = [name for name, source in zip(own.names, names, strict=True) if source < 0]
    if strange or (kinds < 0).mean() > MOST_NEW:
        what = f"the beads {', '.join(strange)}" if strange else "other beads"
        raise ValueError(f"the frames have {what}, which the stepper was not trained on; map them as its own were")
