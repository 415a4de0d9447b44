"""Priors whose parameters belong to kinds of terms: which term is of which kind, and weighted samples of each."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Prior
from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.priors import _library
from cgsurrogate.models.priors._library import Library
from cgsurrogate.models.priors._pooled import Block, Pool, kind_names

CHUNK = 2000  # frames measured at once
MOST_FRAMES = 50_000  # evenly spaced; more make no visible difference to a one-dimensional fit


class KindPrior(Prior):
    """A prior with terms ``rows`` (M, width), whose parameters belong to kinds of terms; one row of nan a kind.

    ``names`` of the kinds; buffers ``index`` (M,) into them, ``types`` (K, width) of beads and ``misfit`` (K,), and
    one (K, ...) for every parameter of ``shapes``. Terms whose beads have the same types are of one kind, until a fit
    tells them apart. Where several molecules were fitted, ``library`` says what each kind is known by; some may then
    be of no term of this molecule.
    """

    transfers = True
    what: ClassVar[str]  # name of the terms
    ends: ClassVar[bool] = True  # whether those at the ends of a chain are told apart where several are fitted
    residues: ClassVar[str] = "own"  # by whose residue a term is known where several are fitted (``_library.keys``)

    index: Tensor
    types: Tensor
    misfit: Tensor
    packed: Tensor

    def __init__(self, beads: Beads, rows: np.ndarray, **shapes: tuple[int, ...]):
        super().__init__()
        self.beads, self.rows, self.shapes = beads, rows, {**shapes, "misfit": ()}
        self.set_kinds(self.kinds_by_type())

    def kinds_by_type(self) -> np.ndarray:
        """(M,)."""
        return Molecule.of(self.beads).kinds(self.rows)[0]

    def coordinates(self, positions: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B, M), of each term."""
        raise NotImplementedError

    # -- kinds -------------------------------------------------------------------------------------------------------
    def set_kinds(self, index: np.ndarray) -> None:
        """Take (M,) as the kind of each term, numbered from 0; all parameters are nan again."""
        firsts = np.unique(index, return_index=True)[1]
        types = np.array(self.beads.types, np.int64)[self.rows[firsts]].reshape(len(firsts), self.rows.shape[1])
        molecule = Molecule.of(self.beads)
        self.names = kind_names([(molecule, row) for row in self.rows], index)
        self._make(index, types, torch.zeros(0, dtype=torch.uint8))

    def _make(self, index: np.ndarray, types: np.ndarray, packed: Tensor) -> None:
        self.register_buffer("index", torch.as_tensor(index, dtype=torch.long))
        self.register_buffer("types", torch.from_numpy(types))
        self.register_buffer("packed", packed)
        for name, shape in self.shapes.items():
            self.register_buffer(name, torch.full((len(types), *shape), torch.nan))

    def _keys(self, beads: Beads, rows: np.ndarray) -> list[_library.Key]:
        """Of terms where several molecules are fitted."""
        return _library.keys(beads, rows, ends=self.ends, residues=self.residues)

    @property
    def library(self) -> Library:
        if len(self.packed):
            return Library.unpacked(self.packed)
        return Library.of(_library.keys(self.beads, self.rows, ends=False), self.index.cpu().numpy(), self.names)

    def _take_library(self, library: Library, index: np.ndarray) -> None:
        """The kinds of several molecules, of which ``index`` (M,) are those of the terms of this one."""
        types = [[int(text[:5]) for text in key.types] for key in library.keys]
        self._make(index, np.array(types, np.int64).reshape(len(types), self.rows.shape[1]), library.packed())
        self.names = list(library.names)

    def bound(self, beads: Beads) -> KindPrior:
        other: KindPrior = self.spec.build(beads)
        library = self.library
        several = bool(len(self.packed))
        index, instead = library.find(
            self._keys(beads, other.rows) if several else _library.keys(beads, other.rows, ends=False)
        )
        if said := _library.words(instead, self.what):
            warnings.warn(said, stacklevel=3)
        other._take_library(library, index)
        for name in self.shapes:
            setattr(other, name, getattr(self, name).clone())
        return other.to(self.misfit)

    # -- samples -----------------------------------------------------------------------------------------------------
    def pool(self, frames: Frames, *others: Frames, most: int = MOST_FRAMES) -> Pool:
        """Samples of all terms, by kind of their types, in at most ``most`` frames of each molecule.

        The kinds of this prior become those of the pool; those of several molecules are in its ``library``.

        Raises:
            ValueError: frames of another molecule, fewer than two, or values that are not finite.
        """
        if not others:
            self.set_kinds(self.kinds_by_type())
            return Pool([self._measured(frames, most)], self.index.numpy())
        members = [self, *(self.spec.build(one.beads) for one in others)]
        keys = [key for m in members for key in self._keys(m.beads, m.rows)]
        number = {key: k for k, key in enumerate(dict.fromkeys(keys))}
        blocks = [m._measured(f, most) for m, f in zip(members, (frames, *others), strict=True)]
        pool = Pool(blocks, np.array([number[key] for key in keys], np.int64))
        self.take_kinds(pool)
        return pool

    def take_kinds(self, pool: Pool) -> None:
        """The kinds of a pool; all parameters are nan again."""
        own = pool.index[: len(self.rows)]
        if len(pool.blocks) == 1:
            self.set_kinds(own)
            return
        keys = [key for b in pool.blocks for key in self._keys(b.molecule.beads, b.rows)]
        self._take_library(Library.of(keys, pool.index, pool.names), own)

    def _measured(self, frames: Frames, most: int) -> Block:
        """Values (T, M) float64 in some frames, and the probabilities (T,) of these, which sum to one."""
        chosen, weights = self._thinned(frames, most)
        parts = []
        with torch.no_grad():
            for start in range(0, len(chosen), CHUNK):
                block = np.array(frames.positions[chosen[start : start + CHUNK]], np.float32)
                parts.append(self.coordinates(torch.from_numpy(block)).double().numpy())
        found = np.concatenate(parts)
        bad = np.flatnonzero(~np.isfinite(found).all(0))
        if len(self.rows) and len(found) < 2:
            few = f"expected two or more frames to fit from, got {len(found)}; add frames"
            raise ValueError(f"{self._called(0)}: {few}")
        if len(bad):
            raise ValueError(
                f"{self._called(bad[0])}: its values are not finite; do two of these beads lie on one point?"
            )
        return Block(Molecule.of(self.beads), self.rows, found, weights)

    def _called(self, term: int) -> str:
        """The name of a term by the types of its beads, for a message."""
        index = self.kinds_by_type()
        names = kind_names([(Molecule.of(self.beads), row) for row in self.rows], index)
        return f"{self.what} {names[int(index[term])]}"

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
        packed = state.setdefault(prefix + "packed", torch.zeros(0, dtype=torch.uint8))
        dtype, device = self.misfit.dtype, self.misfit.device
        if len(packed):
            self._take_library(Library.unpacked(packed), index.cpu().numpy())
        elif not torch.equal(index.cpu(), self.index.cpu()) or len(self.packed):
            self.set_kinds(index.cpu().numpy())
        self.to(device, dtype)
        super()._load_from_state_dict(state, prefix, *rest)
