"""What residues of ``residues`` hear of each other, and the way back; for simulation.

    m_rf = sum_q sum_c e_crq w_cf h_qf        channels c: S sites times K radial functions, and a constant

The sum over c or the sum over q can come first. ``Filtered`` forms the filters of all edges, R R F numbers; ``Summed``
forms w_cf h_qf, R C F numbers, and sums over (c, q) by one matrix product a replica. The smaller one is taken. With
very many residues, ``Listed`` has the near pairs of one replica only.
"""

from __future__ import annotations

import abc
import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cgsurrogate import analytic

FAINT = 1e-4  # of 1 - (d / cutoff)^2; logarithms stay finite, and denormal numbers, which are slow, do not come up


def build(network) -> Edges:
    """The cheapest way for ``residues.Residues`` of this size."""
    count = len(network.types)
    if network.edges.sites_used * count * (count - 1) // 2 >= analytic.MANY:
        return Listed(network)
    return (Summed if 1.5 * count > network.edges.channels else Filtered)(network)


class Edges(abc.ABC):
    """From distances ``rows`` (D, 2): for each of S sites those of all P pairs r < q, by offset q - r."""

    floats: int

    def __init__(self, network):
        edges, self.count = network.edges, len(network.types)
        offsets = np.concatenate([np.full(self.count - o, o) for o in range(1, self.count)] or [np.zeros(1, int)])
        first = np.concatenate([np.arange(self.count - o) for o in range(1, self.count)] or [np.zeros(1, int)])
        self.pairs = np.stack((first, first + offsets))  # (2, P) r, q
        rows, present = edges.between(*self.pairs)
        kept = [s for s, other in enumerate(edges.swapped) if present[[s, other]].any()] or [0]
        self.radial, self.cutoff, self.sites = edges.radial, edges.cutoff, len(kept)
        self.rows, self.present = rows[kept].reshape(-1, 2), present[kept]  # and (S, P): whether r sees q there
        self.partner = [kept.index(edges.swapped[s]) for s in kept]  # the site as q sees r
        channels = [s * self.radial + k for s in kept for k in range(self.radial)] + [edges.channels - 1]
        self.channels, self.near = len(channels), edges.scales.shape[0] // 2
        self.scales = edges.scales[:, channels].clone()  # (2 near + 1, C) by offset
        self.scales[[0, self.near, -1], -1] = 0.0  # the constant is for near offsets
        self.weights = network.filters.weight[:, channels].unflatten(0, (len(network.mixers), -1))  # (L, F, C)
        self.sharpness, self.middle = edges.sharpness**0.5, float(edges.centres.mean())
        centres, one = self.sharpness * (edges.centres - self.middle), torch.ones_like(edges.centres)
        self.moments = torch.stack((one, centres))  # (2, K)
        self.table = torch.stack((-centres.square(), 2 * centres, one), 1)  # (K, 3)

    def offset(self, seeing: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """The row of ``scales``."""
        return np.clip(seen - seeing, -self.near, self.near) + self.near

    def gaussians(self, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., S, 1, n) nm -> distances from the middle in widths; 1 - (d / cutoff)^2; Gaussians (..., S, K, n).

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


class _Dense(Edges):
    """All pairs: channels are (C, R R) by (q, r); the batch comes before or after both."""

    def __init__(self, network):
        super().__init__(network)
        total, device = self.pairs.shape[1], self.scales.device
        number = np.zeros((self.count, self.count), int)
        number[self.pairs[0], self.pairs[1]] = number[self.pairs[1], self.pairs[0]] = np.arange(total)
        seen, seeing = np.divmod(np.arange(self.count**2), self.count)
        number, ahead, self_pair = number[seeing, seen], seen > seeing, seen == seeing
        where, present = np.empty((2, self.sites, self.count**2), int)
        for s, other in enumerate(self.partner):
            where[s] = np.where(ahead, s, other) * total + number
            present[s] = np.where(ahead, self.present[s, number], self.present[other, number]) & ~self_pair
        self.where = torch.as_tensor(where.ravel(), device=device)  # (S R R) -> row
        places = np.argsort(np.where(self_pair, -1, where).ravel(), kind="stable")[self.sites * self.count :]
        places = places.reshape(-1, 2).T.copy() if self.count > 1 else np.zeros((2, self.sites), int)
        self.once, self.again = torch.as_tensor(places, device=device)
        scales = self.scales[torch.as_tensor(self.offset(seeing, seen), device=device)].T  # (C, R R)
        self.constant = scales[-1]
        mask = torch.as_tensor(present, dtype=scales.dtype, device=device)[:, None]
        self.scales = scales[:-1].reshape(self.sites, self.radial, -1) * mask  # (S, K, R R)

    def folded(self, slopes: Tensor) -> Tensor:
        """(S R R, B) -> (D, B): both directions of a pair have the same distance; r = q has none."""
        return slopes.index_select(0, self.once).add_(slopes.index_select(0, self.again))


class Filtered(_Dense):
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


class Summed(_Dense):
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


class Listed(Edges):
    """Near pairs of one replica, and those of near offsets; both directions one after the other, (C, 2 P)."""

    floats = 1

    def chosen(self, rows: np.ndarray) -> Listed:
        total = self.pairs.shape[1]
        always = np.flatnonzero(self.pairs[1] - self.pairs[0] < self.near)
        pairs = np.union1d(always, rows % total)
        new, device = copy.copy(self), self.scales.device
        new.rows = self.rows.reshape(self.sites, total, 2)[:, pairs].reshape(-1, 2)
        r, q = self.pairs[:, pairs]
        seeing, seen = np.concatenate((r, q)), np.concatenate((q, r))
        new.seeing, new.seen = torch.as_tensor(np.stack((seeing, seen)), device=device)
        present = np.concatenate((self.present[:, pairs], self.present[self.partner][:, pairs]), 1)  # (S, 2 P)
        mask = torch.as_tensor(present, dtype=self.scales.dtype, device=device).repeat_interleave(self.radial, 0)
        new.scales = self.scales[torch.as_tensor(self.offset(seeing, seen), device=device)].T.contiguous()
        new.scales[:-1] *= mask
        return new

    def at(self, distances: Tensor) -> tuple[Tensor, ...]:
        d, near, gauss = self.gaussians(distances.view(self.sites, 1, -1))
        both = torch.cat((gauss, gauss[self.partner]), 2).flatten(0, 1)  # (S K, 2 P)
        return torch.cat((both, torch.ones_like(both[:1]))).mul_(self.scales), d, near

    def hear(self, layer: int, edges: tuple[Tensor, ...], sent: Tensor) -> tuple[Tensor, Any]:
        filters, sent = edges[0].T @ self.weights[layer].T, sent[:, :, 0].T.contiguous()[self.seen]  # (2 P, F)
        heard = sent.new_zeros(self.count, sent.shape[1]).index_add_(0, self.seeing, filters * sent)
        return heard.T.contiguous(), (filters, sent)

    def back(self, layer: int, edges: tuple[Tensor, ...], memory, felt: Tensor, along: Tensor | None):
        (filters, sent), felt = memory, felt[:, :, 0].T.contiguous()[self.seeing]
        out = sent.new_zeros(self.count, sent.shape[1]).index_add_(0, self.seen, filters.mul_(felt))
        slope = self.weights[layer].T @ sent.mul_(felt).T  # (C, 2 P)
        return out.T.contiguous(), slope if along is None else along.add_(slope)

    def pull(self, edges: tuple[Tensor, ...], along: Tensor) -> Tensor:
        channels, d, near = edges
        there, back = along.mul_(channels)[:-1].view(self.sites, self.radial, -1).chunk(2, 2)
        return self.slopes(d, near, there + back[self.partner]).view(-1, 1)
