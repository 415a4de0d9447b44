"""What residues of ``residues`` hear of each other, and the way back; for simulation.

    m_rf = sum_q f_erf h_qf,   f_ef = sum_c e_ec w_cf        e: the edge on which r sees q

Only edges with a site below the cutoff, and those of near offsets along the chain, are there: one flat list over the
whole batch, sorted by replica and seeing residue, so that all arrays are (E, channels) or (E, features), and a sum over
what a residue sees is one over neighbouring rows. The list is made anew in every step, which so depends on its state
alone. ``back`` numbers the edge on which q sees r.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.models.evaluation import analytic

SMALL = 16  # residues up to which all edges are taken, so that their list is made only once
FAINT = 1e-4  # of 1 - (d / cutoff)^2; logarithms stay finite, and denormal numbers, which are slow, do not come up


@dataclasses.dataclass(frozen=True, eq=False)
class EdgeList:
    """Edges of a batch of B replicas with R residues; rows of nodes are b R + r."""

    seeing: Tensor  # (E,) rows of nodes
    seen: Tensor  # (E,)
    back: Tensor  # (E,) edges
    order: Tensor  # (E,) 0, 1, 2 ...
    first: Tensor  # (B R,) the first edge of each node
    kind: Tensor  # (E,) rows of ``SparseEdges.scales``
    distance: Tensor  # (E, S) places in the flat distances (D B)


class SparseEdges:
    """From distances ``rows`` (D, 2): for each of S sites those of all pairs r < q, by offset q - r."""

    def __init__(self, network):
        edges, self.count = network.edges, len(network.types)
        self.device, count = edges.scales.device, self.count
        offsets = np.concatenate([np.full(count - o, o) for o in range(1, count)] or [np.zeros(1, int)])
        first = np.concatenate([np.arange(count - o) for o in range(1, count)] or [np.zeros(1, int)])
        self.pairs = np.stack((first, first + offsets))  # (2, P) r, q
        rows, present = edges.between(*self.pairs)
        kept = [s for s, other in enumerate(edges.swapped) if present[[s, other]].any()] or [0]
        self.radial, self.cutoff, self.sites = edges.radial, edges.cutoff, len(kept)
        self.rows, self.present = rows[kept].reshape(-1, 2), present[kept]  # and (S, P): whether r sees q there
        self.partner = [kept.index(edges.swapped[s]) for s in kept]  # the site as q sees r
        channels = [s * self.radial + k for s in kept for k in range(self.radial)] + [edges.channels - 1]
        self.near = edges.scales.shape[0] // 2
        self._constants(edges, channels)
        weights = network.filters.weight[:, channels].unflatten(0, (len(network.mixers), -1))  # (L, F, C)
        self.weights = weights.transpose(1, 2).contiguous()
        self.floats = count * count * max(len(channels), weights.shape[1])
        self.listed: EdgeList | None = None
        self.full: dict[int, EdgeList] = {}  # by the size of the batch
        self.rooms: dict[tuple, Tensor] = {}
        if self.sites * self.pairs.shape[1] < analytic.MANY:
            self._tables()

    def _constants(self, edges, channels: list[int]) -> None:
        """Scales of the channels by kind of edge, and the matrices that make and unmake Gaussians."""
        self.by_offset = scales = edges.scales[:, channels].clone()  # (2 near + 1, C)
        scales[[0, self.near, -1], -1] = 0.0  # the constant is for near offsets
        sites = np.arange(2**self.sites)[:, None] >> np.arange(self.sites) & 1
        there = torch.as_tensor(sites, device=self.device).to(scales.dtype).repeat_interleave(self.radial, 1)
        there = torch.nn.functional.pad(there, (0, 1), value=1.0)
        self.scales = (scales[:, None] * there).flatten(0, 1)  # (kinds, C): offset and which sites are there
        self.sharpness, self.middle = edges.sharpness**0.5, float(edges.centres.mean())
        self.centres = edges.centres
        centres, one = self.sharpness * (edges.centres - self.middle), torch.ones_like(edges.centres)
        eye = torch.eye(self.sites, dtype=scales.dtype, device=self.device)
        parts = torch.stack((-centres.square(), 2 * centres, one))  # (3, K): constant, distance, rest of the logarithm
        table = torch.einsum("pk,st->pstk", parts, eye).flatten(2).flatten(0, 1)  # (3 S, S K)
        self.table = torch.nn.functional.pad(table, (0, 1))  # the logarithm of the constant channel is 0
        self.moments = self.table[self.sites :].T.contiguous()  # (C, 2 S)

    def _described(self, seeing: np.ndarray, seen: np.ndarray, pair: np.ndarray, present: np.ndarray):
        """Rows of distances (n, S), kinds (n,) and whether there is any site (n,), for pairs as residues see them."""
        ahead, total, bits = seen > seeing, present.shape[1], 0
        where = np.empty((len(pair), self.sites), int)
        for s, other in enumerate(self.partner):
            where[:, s] = np.where(ahead, s, other) * total + pair
            bits = bits + (np.where(ahead, present[s, pair], present[other, pair]) & (seen != seeing)) * 2**s
        offset = np.clip(seen - seeing, -self.near, self.near) + self.near
        return where, offset * 2**self.sites + bits, bits > 0

    def _tables(self) -> None:
        """All ordered pairs (R R), of which ``found`` picks."""
        count = self.count
        seeing, seen = np.divmod(np.arange(count**2), count)
        pair = np.zeros((count, count), int)
        pair[self.pairs[0], self.pairs[1]] = pair[self.pairs[1], self.pairs[0]] = np.arange(self.pairs.shape[1])
        where, kind, some = self._described(seeing, seen, pair.ravel(), self.present)
        steps = np.abs(seen - seeing)
        always = (steps > 0) & (steps < self.near)
        tables = pair.ravel(), where, kind, seen, seen * count + seeing, always, some | always
        self.pair, self.where, self.kind, self.seen, self.swapped, self.always, self.possible = (
            torch.as_tensor(table, device=self.device) for table in tables
        )

    def found(self, distances: Tensor) -> EdgeList:
        """The edges of (D, B) nm."""
        if self.listed is not None:
            return self.listed
        batch = distances.shape[1]
        if self.count > SMALL:
            return self._found(distances)
        if batch not in self.full:
            self.full = {batch: self._found(torch.zeros_like(distances))}
        return self.full[batch]

    def _found(self, distances: Tensor) -> EdgeList:
        batch, count = distances.shape[1], self.count
        near = (distances <= self.cutoff).view(self.sites, -1, batch).any(0).T.contiguous()  # (B, P)
        mask = near.index_select(1, self.pair).logical_or_(self.always).logical_and_(self.possible)  # (B, R R)
        replica, number = mask.nonzero(as_tuple=True)
        order = torch.arange(len(number), device=self.device)
        place = torch.empty(mask.shape, dtype=torch.long, device=self.device)
        place[mask] = order
        total = mask.view(-1, count).sum(1)
        node = replica * count
        return EdgeList(
            seeing=torch.arange(batch * count, device=self.device).repeat_interleave(total),
            seen=node + self.seen[number],
            back=place.flatten()[replica * count**2 + self.swapped[number]],
            order=order,
            first=total.cumsum(0) - total,
            kind=self.kind[number],
            distance=self.where[number] * batch + replica[:, None],
        )

    def near_pairs(self, rows: np.ndarray) -> np.ndarray:
        """Pairs that have one of these rows of distances, and those of near offsets, in order."""
        always = np.flatnonzero(self.pairs[1] - self.pairs[0] < self.near)
        return np.union1d(always, rows % self.pairs.shape[1])

    def rows_of(self, pairs: np.ndarray) -> np.ndarray:
        """(S n, 2) the beads of their distances."""
        return self.rows.reshape(self.sites, -1, 2)[:, pairs].reshape(-1, 2)

    def chosen(self, rows: np.ndarray) -> SparseEdges:
        """For one replica, of whose distances only these rows are below the cutoff."""
        pairs, new = self.near_pairs(rows), copy.copy(self)
        new.rows = self.rows_of(pairs)
        seeing, seen = np.concatenate((self.pairs[:, pairs], self.pairs[::-1, pairs]), 1)
        order = np.lexsort((seen, seeing))
        back = np.argsort(order)[(order + len(pairs)) % len(order)]
        seeing, seen, pair = seeing[order], seen[order], order % len(pairs)
        where, kind, _ = self._described(seeing, seen, pair, self.present[:, pairs])
        first = np.searchsorted(seeing, np.arange(self.count))
        arrays = seeing, seen, back, np.arange(len(order)), first, kind, where
        new.listed = EdgeList(*(torch.as_tensor(array, device=self.device) for array in arrays))
        return new

    def at(self, distances: Tensor) -> tuple[Any, ...]:
        """(D, B) -> what the other methods need."""
        found = self.found(distances)
        full = distances.flatten()[found.distance]  # (E, S)
        near = (full / self.cutoff).square_().neg_().add_(1).clamp_(min=FAINT)
        d = full.clamp_(max=self.cutoff).sub_(self.middle).mul_(self.sharpness)
        terms = torch.cat((torch.ones_like(d), d, near.log().mul_(3).addcmul_(d, d, value=-1)), 1)
        channels = (terms @ self.table).exp_().mul_(self.scales.index_select(0, found.kind))  # (E, C)
        return found, channels, d, near, []

    def hear(self, layer: int, edges: tuple[Any, ...], sent: Tensor) -> tuple[Tensor, Any]:
        """h (B R, F) -> m (B R, F), and what ``back`` needs."""
        found, channels, *_ = edges
        filters = torch.mm(channels, self.weights[layer], out=self._room("filters", layer, found))
        sent = torch.index_select(sent, 0, found.seen, out=self._room("sent", layer, found))
        product = torch.mul(filters, sent, out=self._room("product", 0, found))
        return _sums(product, found.order, found), (filters, sent)

    def back(self, layer: int, edges: tuple[Any, ...], memory: Any, felt: Tensor, out: Tensor) -> Tensor:
        """dU/dm (B R, F) -> dU/dh (B R, F); the first layer, which is the last, adds dU/d distances to (D, B)."""
        (found, *_, along), (filters, sent) = edges, memory
        felt = torch.index_select(felt, 0, found.seeing, out=self._room("product", 0, found))
        slope, weight = sent.mul_(felt), self.weights[layer].T
        along[:] = [along[0].addmm_(slope, weight)] if along else [slope @ weight]  # (E, C)
        if layer == 0:
            self._pull(edges, out)
        return _sums(filters.mul_(felt), found.back, found)

    def _pull(self, edges: tuple[Any, ...], out: Tensor) -> None:
        found, channels, d, near, (along,) = edges
        first, plain = (along.mul_(channels) @ self.moments).split(self.sites, 1)
        slope = (first - 2 * d * plain).mul_(self.sharpness)
        outwards = d.div(self.sharpness).add_(self.middle).mul_(-6 / self.cutoff**2).mul_(near > FAINT)
        slope.addcmul_(plain, outwards / near)
        flat = torch.zeros(out.numel(), dtype=out.dtype, device=out.device)
        out += flat.index_add_(0, found.distance.flatten(), slope.flatten()).view_as(out)

    def _room(self, name: str, layer: int, found: EdgeList) -> Tensor:
        """(E, F) to write to, the same memory in every step: new memory is cleared page by page, which takes long."""
        count, room = len(found.seen), self.rooms.get((name, layer))
        if room is None or len(room) < count:
            room = self.rooms[name, layer] = self.weights.new_empty(count + count // 8, self.weights.shape[2])
        return room[:count]


def _sums(rows: Tensor, order: Tensor, found: EdgeList) -> Tensor:
    """(E, F) -> (B R, F): over the edges of each node, in the given order."""
    return torch.embedding_bag(rows, order, found.first, False, 0)[0]
