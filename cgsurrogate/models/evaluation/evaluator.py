"""Forces for a simulation: the numbers of ``energy.forces``, without autograd where terms offer ``analytic()``.

Internal coordinates of all terms are measured once, every term adds its slopes, and one step pulls them back to the
beads. Large batches go in pieces. Terms without an analytic form are differentiated
by autograd beside it. Where a term has very many distances, only near ones are measured (neighbour lists).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Analytic, Energy, Internal, Sum, forces
from cgsurrogate.geometry.internal_forces import Geometry
from cgsurrogate.models.evaluation import analytic

PIECE = 1 << 22  # floats of the largest arrays of a piece of the batch
LEAST = 8  # replicas of a piece


class Forces:
    """(B, N, 3) nm -> energies (B,) kJ/mol and forces (B, N, 3) kJ/mol/nm. It follows changes of the energy."""

    def __init__(self, energy: Energy):
        self.energy = energy
        self.made: tuple | None = None

    def __getstate__(self) -> dict[str, Energy | None]:
        """For another process, or a copy: the constants are taken anew there."""
        return {"energy": self.energy, "made": None}

    @torch.no_grad()
    def __call__(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        if self._stale(positions):
            self._prepare(positions)
        if not self.terms or not len(positions):
            return forces(self.energy, positions)
        pieces = [self._piece(*piece) for piece in self._pieces(positions)]
        value, force = pieces[0] if len(pieces) == 1 else map(torch.cat, zip(*pieces, strict=True))
        if len(self.rest.terms):
            more, push = forces(self.rest, positions)
            value, force = value + more, force + push
        return value, force

    @torch.no_grad()
    def energies(self, positions: Tensor) -> Tensor:
        """(B, N, 3) nm -> (B,) kJ/mol, without the work for forces."""
        if self._stale(positions):
            self._prepare(positions)
        if not self.terms or not len(positions):
            return self.energy(positions)
        value = torch.cat([self._value(*piece) for piece in self._pieces(positions)])
        return value + self.rest(positions) if len(self.rest.terms) else value

    def _pieces(self, positions: Tensor) -> Iterator[tuple[Tensor, list, Geometry]]:
        """The batch in pieces that fit, each with its terms and coordinates."""
        if self.listed:
            for x in positions.split(1):
                yield x, *self._arranged(x, self._near(x))
        else:
            for x in positions.split(max(LEAST, PIECE // self.floats)):
                yield x, self.placed, self.geometry

    def _piece(self, positions: Tensor, placed: list, geometry: Geometry) -> tuple[Tensor, Tensor]:
        at, kept = geometry.measure(positions.permute(2, 1, 0).contiguous())
        d, c, t = at
        slopes = Internal(torch.zeros_like(d), torch.zeros_like(c), torch.zeros_like(t))
        value = positions.new_zeros(len(positions))
        for term, (i, j, k) in placed:
            mine = Internal(slopes.distances[i], slopes.cosines[j], slopes.dihedrals[k])
            value += term.evaluate(Internal(d[i], c[j], t[k]), mine)
        return value, geometry.pull(at, kept, slopes).permute(2, 1, 0).contiguous()

    def _value(self, positions: Tensor, placed: list, geometry: Geometry) -> Tensor:
        (d, c, t), _ = geometry.measure(positions.permute(2, 1, 0).contiguous())
        value = positions.new_zeros(len(positions))
        for term, (i, j, k) in placed:
            value += term.value(Internal(d[i], c[j], t[k]))
        return value

    def _prepare(self, positions: Tensor) -> None:
        terms: list[Analytic] = []
        rest: list[Energy] = []
        for term in terms_of(self.energy):
            form = term.analytic()
            if form is None:
                rest.append(term)
            else:
                terms.append(form)
        self.rest, self.terms = Sum(*rest), terms
        self.listed = {
            term: _Table(term.distances, positions.shape[1])
            for term in terms
            if term.cutoff is not None and len(term.distances) >= analytic.MANY
        }
        if not self.listed:
            self.placed, self.geometry = self._arranged(positions, terms)
            self.floats = max([self.geometry.floats, *(term.floats for term in terms)])
        self.made = _kind(positions)
        self.seen = [
            (owner, name, t, _mark(t))
            for module in self.energy.modules()
            for owner in (module._parameters, module._buffers)
            for name, t in owner.items()
            if t is not None
        ]

    @staticmethod
    def _arranged(positions: Tensor, terms: list[Analytic]) -> tuple[list, Geometry]:
        """The terms, each with where its coordinates are found, and the coordinates of all."""
        rows, placed = (_SharedRows(2), _SharedRows(3), _SharedRows(4)), []
        for term in sorted(terms, key=lambda term: -len(term.distances)):  # a short list may be part of a long one
            asked = (term.distances, term.angles, term.dihedrals)
            placed.append((term, tuple(r.add(new) for r, new in zip(rows, asked, strict=True))))
        return placed, Geometry(positions, *(r.rows for r in rows))

    def _near(self, positions: Tensor) -> list[Analytic]:
        """The terms with near distances only, of (1, N, 3); listed anew, so that a step depends on its state alone."""
        from scipy.spatial import cKDTree

        x = np.nan_to_num(positions[0].cpu().numpy(), nan=0.0, posinf=0.0, neginf=0.0)  # a lost replica stays lost
        pairs = cKDTree(x).query_pairs(max(term.cutoff or 0.0 for term in self.listed), output_type="ndarray")
        return [term.chosen(self.listed[term].rows(pairs)) if term in self.listed else term for term in self.terms]

    def _stale(self, positions: Tensor) -> bool:
        """Whether the energy or the kind of positions has changed since the constants were taken."""
        return self.made != _kind(positions) or any(
            owner.get(name) is not t or _mark(t) != mark for owner, name, t, mark in self.seen
        )


class _Table:
    """Finds pairs among many rows."""

    def __init__(self, rows: np.ndarray, count: int) -> None:
        self.count = count
        keys = self._keys(rows)
        self.order = np.argsort(keys, kind="stable")
        self.keys = keys[self.order]

    def rows(self, pairs: np.ndarray) -> np.ndarray:
        """The numbers of all rows that are among the pairs, in order."""
        keys = self._keys(pairs)
        first, last = np.searchsorted(self.keys, keys), np.searchsorted(self.keys, keys, "right")
        most = int((last - first).max(initial=0))
        found = [self.order[(first + k)[first + k < last]] for k in range(most)]
        return np.sort(np.concatenate([np.zeros(0, int), *found]))

    def _keys(self, pairs: np.ndarray) -> np.ndarray:
        return pairs.min(1).astype(np.int64) * self.count + pairs.max(1)


class _SharedRows:
    """Rows of beads that terms ask for; a block that is there already, in the same order, is shared."""

    def __init__(self, width: int) -> None:
        self.rows = np.zeros((0, width), int)

    def add(self, rows: np.ndarray) -> slice:
        for first in np.flatnonzero((self.rows == rows[0]).all(1)) if len(rows) else []:
            if np.array_equal(self.rows[first : first + len(rows)], rows):
                return slice(int(first), int(first) + len(rows))
        self.rows = np.concatenate((self.rows, rows))
        return slice(len(self.rows) - len(rows), len(self.rows))


def terms_of(energy: Energy) -> Iterator[Energy]:
    if type(energy) is Sum:
        for term in energy.terms:
            assert isinstance(term, Energy)
            yield from terms_of(term)
    else:
        yield energy


def _kind(positions: Tensor) -> tuple:
    return positions.shape[1], positions.dtype, positions.device


def _mark(t: Tensor) -> tuple:
    return t.data_ptr(), t._version, t.dtype
