"""``residues`` with its slopes written out, for simulation.

    e_crq   channels of an edge: S sites times K radial functions, and a constant; with the scales of its offset
    w_cf    filters, in each layer
    m_rf    = sum_q sum_c e_crq w_cf h_qf

The sum over c or the sum over q can come first. ``Filtered`` forms the filters of all edges, R R F numbers; ``Summed``
forms w_cf h_qf, R C F numbers, and sums over (c, q) by one matrix product a replica. The smaller one is taken.
"""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.analytic import Analytic, Internal, by_angle, multiples

FAINT = 1e-4  # of 1 - (d / cutoff)^2; logarithms stay finite, and denormal numbers, which are slow, do not come up

silu, silu_slope = torch.nn.functional.silu, torch.ops.aten.silu_backward


class Passes(Analytic):
    """``residues.Residues``, whose weights it takes."""

    def __init__(self, network, order: int, scale: float):
        self.edges = (Summed if 1.5 * len(network.types) > network.edges.channels else Filtered)(network)
        self.residues, self.width, self.distances = len(network.types), network.output.weight.shape[1], self.edges.rows
        self._turns(network.turns, order)
        self.embedding = network.embedding(network.types).T[:, :, None]  # (F, R, 1)
        self.senders = [(one.weight, one.bias[:, None], two.weight, two.bias[:, None])
                        for one, _, two in network.senders]  # fmt: skip
        self.mixers = [(mixer.weight, mixer.bias[:, None]) for _, mixer in network.mixers]
        self.hidden = network.hidden.weight, network.hidden.bias[:, None]
        self.output = scale * network.output.weight  # (1, F)
        self.floats = self.edges.floats

    def _turns(self, turns, order: int) -> None:
        self.order, index = order, turns.index.view(self.residues, -1)
        count = 0 if turns.measure is None else len(turns.rows)
        used = [int(t) for t in torch.unique(index) if t < count]
        self.dihedrals = turns.rows[used] if used else self.dihedrals
        slots = [s for s in range(index.shape[1]) if (index[:, s] < count).any()]
        where = torch.full((len(slots), self.residues), len(used))  # the last entry is always zero
        back = torch.zeros(len(used), dtype=torch.long)
        for s, slot in enumerate(slots):
            for r in range(self.residues):
                if int(index[r, slot]) < count:
                    where[s, r] = used.index(int(index[r, slot]))
                    back[where[s, r]] = s * self.residues + r
        self.where, self.back = where.flatten().to(index.device), back.to(index.device)
        weight = turns.weight.view(-1, order, 2, self.width)[slots]  # (slots, order, 2, F)
        self.turning = weight.permute(3, 2, 1, 0).flatten(1).contiguous()  # (F, 2 order slots)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        batch = at.distances.shape[1]
        columns = self.residues * batch
        state = self.embedding.expand(-1, -1, batch).reshape(self.width, columns)
        if len(self.back):
            waves = multiples(at.dihedrals, self.order)  # (2, order, T, B)
            padded = torch.nn.functional.pad(waves, (0, 0, 0, 1))
            state.addmm_(self.turning, padded.index_select(2, self.where).view(-1, columns))
        edges, kept = self.edges.at(at.distances), []
        for layer, (one, one_bias, two, two_bias) in enumerate(self.senders):
            inner = torch.addmm(one_bias, one, state)
            sent = torch.addmm(two_bias, two, silu(inner)).view(self.width, self.residues, batch)
            heard, memory = self.edges.hear(layer, edges, sent)
            mixer, bias = self.mixers[layer]
            state = torch.addmm(state, mixer, silu(heard)).add_(bias)
            kept.append((inner, heard, memory))
        weight, bias = self.hidden
        inner = torch.addmm(bias, weight, silu(state))
        value = (self.output @ silu(inner)).view(self.residues, batch).sum(0)
        slope = silu_slope(self.output.T.expand(-1, columns), inner)
        slope, along = silu_slope(weight.T @ slope, state), None
        for layer, (inner, heard, memory) in reversed(list(enumerate(kept))):
            felt = silu_slope(self.mixers[layer][0].T @ slope, heard).view(self.width, self.residues, batch)
            back, along = self.edges.back(layer, edges, memory, felt, along)
            one, _, two, _ = self.senders[layer]
            slope.addmm_(one.T, silu_slope(two.T @ back, inner))
        if len(self.back):
            pulled = (self.turning.T @ slope).view(2, self.order, -1, batch).index_select(2, self.back)
            slopes.dihedrals.add_(by_angle(waves, pulled))
        slopes.distances.add_(self.edges.pull(edges, along))
        return value


class _Edges(abc.ABC):
    """What residue r sees of q, from distances ``rows`` (D, 2): those of all pairs r < q by offset, for each site.

    Channels are (S K + 1) by (q, r); the batch comes before or after both.
    """

    floats: int

    def __init__(self, network):
        edges, count = network.edges, len(network.types)
        pairs = [(r, r + o) for o in range(1, count) for r in range(count - o)] or [(0, 0)]
        number = np.zeros((count, count), int)
        for k, (r, q) in enumerate(pairs):
            number[r, q] = number[q, r] = k
        ordered, _ = edges.between(*zip(*pairs, strict=True))
        seen, seeing = np.divmod(np.arange(count**2), count)
        _, present = edges.between(seeing, seen)  # (S, R R)
        kept = [s for s in range(len(ordered)) if present[s].any()] or [0]
        self.count, self.radial, self.cutoff, self.sites = count, edges.radial, edges.cutoff, len(kept)
        self.rows = ordered[kept].reshape(-1, 2)
        partner = [kept.index(edges.swapped[s]) for s in kept]
        where = np.stack(
            [np.where(seen > seeing, k, partner[k]) * len(pairs) + number[seeing, seen] for k in range(len(kept))]
        )
        like = edges.scales
        self.where = torch.as_tensor(where.ravel(), device=like.device)  # (S R R) -> row
        places = np.argsort(np.where(seen == seeing, -1, where).ravel(), kind="stable")[len(kept) * count :]
        self.once, self.again = torch.as_tensor(
            places.reshape(-1, 2).T.copy() if count > 1 else np.zeros((2, len(kept)), int), device=like.device
        )
        size, sharpness = edges.radial, edges.sharpness**0.5
        channels = [s * size + k for s in kept for k in range(size)]
        scales = like[edges.offset].permute(2, 1, 0).reshape(like.shape[1], -1)  # (C, R R), q before r
        mask = torch.as_tensor(present[kept], dtype=like.dtype, device=like.device)
        self.scales = scales[channels].view(self.sites, size, -1) * mask[:, None]  # (S, K, R R)
        self.constant = scales[-1] * edges.constant.view(count, count).T.flatten()  # (R R)
        self.sharpness, self.middle = sharpness, float(edges.centres.mean())
        centres, one = sharpness * (edges.centres - self.middle), torch.ones_like(edges.centres)
        self.moments = torch.stack((one, centres))  # (2, K)
        self.table = torch.stack((-centres.square(), 2 * centres, one), 1)  # (K, 3)
        layers = len(network.mixers)
        self.weights = network.filters.weight[:, [*channels, like.shape[1] - 1]].unflatten(0, (layers, -1))  # (L, F, C)
        self.channels = len(channels) + 1

    def gaussians(self, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., S, 1, n) nm -> how far from the middle, in widths; 1 - (d / cutoff)^2; Gaussians that fade (..., S, K, n).

        The logarithm of exp(-(d - c)^2) near^3 is one small matrix product: few passes over memory.
        """
        near = (distances / self.cutoff).square_().neg_().add_(1).clamp_(min=FAINT)
        d = distances.clamp(max=self.cutoff).sub_(self.middle).mul_(self.sharpness)
        terms = torch.cat((torch.ones_like(d), d, near.log().mul_(3).addcmul_(d, d, value=-1)), -2)
        return d, near, torch.matmul(self.table, terms).exp_()

    def slopes(self, d: Tensor, near: Tensor, along: Tensor) -> Tensor:
        """Slopes with respect to (..., S, 1, n) distances, from those of the logarithm of the Gaussians."""
        plain, first = (self.moments @ along).split(1, -2)
        slope = (first - d * plain).mul_(2 * self.sharpness)
        outwards = d.div(self.sharpness).add_(self.middle).mul_(-6 / self.cutoff**2).mul_(near > FAINT)
        return slope.addcmul_(plain, outwards / near)

    def folded(self, slopes: Tensor) -> Tensor:
        """(S R R, B) -> (D, B): both directions of a pair have the same distance; r = q has none."""
        return slopes.index_select(0, self.once).add_(slopes.index_select(0, self.again))

    @abc.abstractmethod
    def at(self, distances: Tensor) -> tuple[Tensor, ...]:
        """(D, B) -> what the other methods need, the channels first."""

    @abc.abstractmethod
    def hear(self, layer: int, edges: tuple[Tensor, ...], sent: Tensor) -> tuple[Tensor, Any]:
        """h (F, R, B) -> m (F, R B), and what ``back`` needs."""

    @abc.abstractmethod
    def back(
        self, layer: int, edges: tuple[Tensor, ...], memory, felt: Tensor, along: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """dU/dm (F, R, B) -> dU/dh (F, R B), and dU/de with that of other layers, ``along``."""

    @abc.abstractmethod
    def pull(self, edges: tuple[Tensor, ...], along: Tensor) -> Tensor:
        """dU/de -> dU/d distances, (D, B)."""


class Filtered(_Edges):
    """The sum over channels first; the batch is last."""

    def __init__(self, network):
        super().__init__(network)
        self.floats = self.count**2 * max(self.weights.shape[1], self.channels)

    def at(self, distances: Tensor) -> tuple[Tensor, ...]:
        full, batch = distances.index_select(0, self.where).view(self.sites, 1, -1), distances.shape[1]
        d, near, gauss = self.gaussians(full)
        channels = d.new_empty(self.channels, self.count**2, batch)
        torch.mul(
            gauss.view(*self.scales.shape, batch),
            self.scales[..., None],
            out=channels[:-1].view(*self.scales.shape, batch),
        )
        channels[-1] = self.constant[:, None]
        return channels, d, near

    def hear(self, layer: int, edges: tuple[Tensor, ...], sent: Tensor) -> tuple[Tensor, Any]:
        filters = (self.weights[layer] @ edges[0].flatten(1)).view(len(sent), self.count, self.count, -1)
        return (filters * sent[:, :, None]).sum(1).flatten(1), (filters, sent)

    def back(
        self, layer: int, edges: tuple[Tensor, ...], memory, felt: Tensor, along: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        filters, sent = memory
        slope = sent[:, :, None] * felt[:, None]
        out = filters.mul_(felt[:, None]).sum(2).flatten(1)
        slope, weight = slope.view(len(sent), -1), self.weights[layer].T
        return out, weight @ slope if along is None else along.addmm_(weight, slope)

    def pull(self, edges: tuple[Tensor, ...], along: Tensor) -> Tensor:
        channels, d, near = edges
        along = along[:-1].view(self.sites, self.radial, -1).mul_(channels[:-1].view(self.sites, self.radial, -1))
        return self.folded(self.slopes(d, near, along).view(-1, channels.shape[2]))


class Summed(_Edges):
    """Senders times weights first, then the sum over (channel, sender) as a product of matrices for each replica."""

    def __init__(self, network):
        super().__init__(network)
        weights = self.weights.transpose(1, 2)[:, :, None].expand(-1, -1, self.count, -1)  # (L, C, R, F)
        self.floats = self.count * self.channels * max(self.weights.shape[1], self.count)
        self.weights = weights.flatten(2)  # repeated for every residue: long rows are fast

    def at(self, distances: Tensor) -> tuple[Tensor, ...]:
        full = distances.index_select(0, self.where).T.reshape(-1, self.sites, 1, self.count**2)
        d, near, gauss = self.gaussians(full)
        channels = d.new_empty(len(d), self.channels, self.count**2)
        torch.mul(gauss, self.scales, out=channels[:, :-1].view_as(gauss))
        channels[:, -1] = self.constant
        channels = channels.view(len(d), self.channels, self.count, self.count)
        turned = channels.transpose(2, 3).contiguous()
        return channels.flatten(1, 2), turned.flatten(1, 2), d, near

    def hear(self, layer: int, edges: tuple[Tensor, ...], sent: Tensor) -> tuple[Tensor, Any]:
        spread = self.spread(layer, sent)
        heard = spread.transpose(1, 2) @ edges[0]  # (B, F, R)
        return heard.permute(1, 2, 0).reshape(len(sent), -1), spread

    def spread(self, layer: int, nodes: Tensor) -> Tensor:
        """(F, R, B) times the weights, (B, C R, F)."""
        rows = nodes.permute(2, 1, 0).reshape(nodes.shape[2], 1, -1)
        return (rows * self.weights[layer]).view(len(rows), -1, len(nodes))

    def back(
        self, layer: int, edges: tuple[Tensor, ...], memory, felt: Tensor, along: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        out = self.spread(layer, felt).transpose(1, 2) @ edges[1]
        out, felt = out.permute(1, 2, 0).reshape(len(felt), -1), felt.permute(2, 0, 1).contiguous()
        return out, memory @ felt if along is None else along.baddbmm_(memory, felt)

    def pull(self, edges: tuple[Tensor, ...], along: Tensor) -> Tensor:
        channels, _, d, near = edges
        along = along.mul_(channels).view(len(d), self.channels, -1)[:, :-1]
        return self.folded(
            self.slopes(d, near, along.view(len(d), self.sites, self.radial, -1)).view(len(d), -1).T.contiguous()
        )
