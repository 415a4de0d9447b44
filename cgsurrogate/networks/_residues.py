"""``residues`` with its slopes written out, for simulation: messages by matrix products that stay in the cache.

    X (K S + 1, P, B)   radial functions of the S sites between each of the P pairs of residues r < q, and a one
    W (2 F, K S + 1)    the filters of both directions at one offset q - r, with its scales

Pairs are listed by their offset, so that ``W @ X`` are the filters of all pairs of an offset, and what these pairs send
to each other are slices of the nodes. Filters are formed again on the way back rather than kept: they are the largest
arrays by far, and a matrix product costs less than the memory.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.analytic import Analytic, Internal, by_angle, multiples

silu, silu_slope = torch.nn.functional.silu, torch.ops.aten.silu_backward
COLUMNS = 2048  # pairs times replicas of one matrix product, about


class Passes(Analytic):
    """See ``residues.Residues``, whose weights it takes."""

    def __init__(self, network, near: int, order: int, scale: float):
        self.residues, self.width = len(network.types), network.output.weight.shape[1]
        self._edges(network.edges, network.filters.weight, near, len(network.mixers))
        self._turns(network.turns, order)
        self.embedding = network.embedding(network.types).T[:, :, None]  # (F, R, 1)
        self.senders = [(one.weight, one.bias[:, None], two.weight, two.bias[:, None])
                        for one, _, two in network.senders]  # fmt: skip
        self.mixers = [(mixer.weight, mixer.bias[:, None]) for _, mixer in network.mixers]
        self.hidden = network.hidden.weight, network.hidden.bias[:, None]
        self.output = scale * network.output.weight  # (1, F)
        self.floats = max(self.width * self.residues * 4, self.radial * len(self.distances))

    def _edges(self, edges, weight: Tensor, near: int, layers: int) -> None:
        offsets = np.concatenate([np.full(self.residues - o, o) for o in range(1, self.residues)] or [np.zeros(0, int)])
        first = np.concatenate([np.arange(self.residues - o) for o in range(1, self.residues)] or [np.zeros(0, int)])
        rows, present = edges.between(first, first + offsets)  # (S, P, 2), (S, P)
        kept = [s for s in range(len(rows)) if present[s].any()]
        partner = [kept.index(edges.swapped[s]) for s in kept]
        self.sites, self.radial, self.cutoff = len(kept), edges.radial, edges.cutoff
        self.distances = rows[kept].reshape(-1, 2)
        self.centres, self.sharpness = edges.centres[:, None], edges.sharpness
        self.moments = torch.stack((torch.ones_like(edges.centres), edges.centres))  # (2, K)
        self.present = torch.as_tensor(present[kept], dtype=weight.dtype, device=weight.device)[:, :, None]
        self.complete = bool(present[kept].all())
        columns = np.arange(len(edges.swapped) * self.radial).reshape(-1, self.radial)
        forward = [*columns[kept].ravel(), columns.size]
        backward = [*columns[kept][np.argsort(partner)].ravel(), columns.size] if kept else forward
        self.filters = []  # by offset up to near + 1: for every layer (2 F, K S + 1)
        for o in range(1, near + 2):
            own = torch.ones_like(edges.scales)
            own[:, -1] = float(o <= near)
            both = [
                (weight * (own * edges.scales)[near + 1 + sign * o])[:, list(which)].unflatten(0, (layers, -1))
                for sign, which in ((1, forward), (-1, backward))
            ]
            self.filters.append(torch.cat(both, 1).contiguous())
        self.near = near

    def _turns(self, turns, order: int) -> None:
        self.order, index = order, turns.index.view(self.residues, -1)
        count = 0 if turns.measure is None else len(turns.rows)
        used = [int(t) for t in torch.unique(index) if t < count]
        self.dihedrals = turns.rows[used] if used else self.dihedrals
        place = {t: k for k, t in enumerate(used)}
        slots = [s for s in range(index.shape[1]) if (index[:, s] < count).any()]
        where = torch.full((len(slots), self.residues), len(used))  # the last entry is always zero
        back = torch.zeros(len(used), dtype=torch.long)
        for s, slot in enumerate(slots):
            for r in range(self.residues):
                if int(index[r, slot]) < count:
                    where[s, r] = place[int(index[r, slot])]
                    back[where[s, r]] = s * self.residues + r
        self.where, self.back = where.flatten().to(index.device), back.to(index.device)
        weight = turns.weight.view(-1, 2 * order, self.width)[slots]  # (slots, 2 order, F)
        self.turning = weight.permute(2, 1, 0).flatten(1).contiguous()  # (F, 2 order slots)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        batch = at.distances.shape[1] if len(self.distances) else at.dihedrals.shape[2]
        columns = self.residues * batch
        state = self.embedding.expand(-1, -1, batch).reshape(self.width, columns)
        if len(self.back):
            waves = multiples(at.dihedrals, self.order)  # (order, 2, T, B)
            padded = torch.cat((waves, waves.new_zeros(self.order, 2, 1, batch)), 2)
            state.addmm_(self.turning, padded.index_select(2, self.where).view(-1, columns))
        radial = self._radial(at.distances, batch)
        blocks = list(self._blocks(batch))
        kept = []
        for layer, ((one, one_bias, two, two_bias), (mixer, mixer_bias)) in enumerate(zip(self.senders, self.mixers, strict=True)):
            inner = torch.addmm(one_bias, one, state)
            sent = torch.addmm(two_bias, two, silu(inner)).view(self.width, self.residues, batch)
            heard = self._send(layer, blocks, radial[0], sent)
            state = torch.addmm(state, mixer, silu(heard)).add_(mixer_bias)
            kept.append((inner, sent, heard))
        weight, bias = self.hidden
        inner = torch.addmm(bias, weight, silu(state))
        value = (self.output @ silu(inner)).view(self.residues, batch).sum(0)
        slope = silu_slope(self.output.T.expand(-1, columns), inner)
        slope = silu_slope(weight.T @ slope, state)
        along = torch.zeros_like(radial[0])
        for layer in reversed(range(len(kept))):
            one, _, two, _ = self.senders[layer]
            inner, sent, heard = kept[layer]
            felt = silu_slope(self.mixers[layer][0].T @ slope, heard)
            back = self._return(layer, blocks, radial[0], sent, felt, along)
            slope.addmm_(one.T, silu_slope(two.T @ back, inner))
        if len(self.back):
            pulled = (self.turning.T @ slope).view(self.order, 2, -1, batch).index_select(2, self.back)
            slopes.dihedrals.add_(by_angle(waves, pulled))
        if self.sites:
            self._radial_slopes(at.distances, along, *radial[1:], slopes)
        return value

    def _radial(self, distances: Tensor, batch: int) -> tuple[Tensor, Tensor, Tensor]:
        """X; the Gaussians without their fading (S, K, P, B); and what fades (S, P, B), 1 - (d / cutoff)^2."""
        pairs = self.present.shape[1]
        x = distances.new_empty(self.sites * self.radial + 1, pairs, batch)
        x[-1] = 1.0
        d = distances.view(self.sites, 1, -1).clamp(max=self.cutoff)
        gauss = (d - self.centres).square_().mul_(-self.sharpness).exp_()
        near = (d / -self.cutoff).mul_(d / self.cutoff).add_(1)
        near = near if self.complete else near.view(-1, pairs, batch).mul(self.present).view_as(near)
        torch.mul(gauss, near.pow(3), out=x[:-1].view_as(gauss))
        return x, gauss, near

    def _radial_slopes(self, distances: Tensor, along: Tensor, gauss: Tensor, near: Tensor, slopes: Internal) -> None:
        total = self.moments @ gauss.mul_(along[:-1].view_as(gauss))  # (S, 2, P B)
        plain, first = total[:, :1], total[:, 1:]
        d = distances.view(self.sites, 1, -1)
        square = near.square()
        slope = (first - d * plain).mul_(2 * self.sharpness).mul_(near)
        slope.addcmul_(plain, d, value=-6 / self.cutoff**2).mul_(square)
        slopes.distances.add_(slope.view_as(distances))

    def _blocks(self, batch: int):
        """(filters, first pair, pairs, offsets) of consecutive pairs that share filters."""
        pair, group = 0, []
        for o in range(1, self.residues):
            group.append(o)
            size = sum(self.residues - k for k in group)
            if o <= self.near or size * batch >= COLUMNS or o == self.residues - 1:
                yield min(group[0], self.near + 1) - 1, pair, size, tuple(group)
                pair, group = pair + size, []

    def _send(self, layer: int, blocks: list, x: Tensor, sent: Tensor) -> Tensor:
        """What every residue hears, (F, R B), when all send (F, R, B)."""
        heard, batch, end = torch.zeros_like(sent), sent.shape[2], self.residues
        for which, pair, size, offsets in blocks:
            filters = self.filters[which][layer] @ x[:, pair : pair + size].flatten(1)
            filters = filters.view(2, self.width, size, batch)
            at = 0
            for o in offsets:
                there, back = filters[:, :, at : at + end - o]
                heard[:, : end - o].addcmul_(there, sent[:, o:])
                heard[:, o:].addcmul_(back, sent[:, : end - o])
                at += end - o
        return heard.view(self.width, -1)

    def _return(self, layer: int, blocks: list, x: Tensor, sent: Tensor, felt: Tensor, along: Tensor) -> Tensor:
        """Slopes with respect to what was sent, (F, R B), from those of what was heard; adds to ``along``, X's."""
        out, batch, end = torch.zeros_like(sent), sent.shape[2], self.residues
        felt = felt.view_as(sent)
        for which, pair, size, offsets in blocks:
            weight, columns = self.filters[which][layer], x[:, pair : pair + size].flatten(1)
            filters = (weight @ columns).view(2, self.width, size, batch)
            at = 0
            for o in offsets:
                there, back = filters[:, :, at : at + end - o]
                out[:, o:].addcmul_(there, felt[:, : end - o])
                out[:, : end - o].addcmul_(back, felt[:, o:])
                torch.mul(felt[:, : end - o], sent[:, o:], out=there)
                torch.mul(felt[:, o:], sent[:, : end - o], out=back)
                at += end - o
            along[:, pair : pair + size].view(len(x), -1).addmm_(weight.T, filters.view(2 * self.width, -1))
        return out.view(self.width, -1)
