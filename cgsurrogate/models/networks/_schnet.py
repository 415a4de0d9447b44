"""``schnet`` with its slopes written out, for simulation; the batch comes first, and sums are matrix products."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Analytic, Internal
from cgsurrogate.models.evaluation.analytic import by_angle, multiples

silu, silu_slope = torch.nn.functional.silu, torch.ops.aten.silu_backward


class Passes(Analytic):
    """``schnet.SchNet``, whose weights it takes; ``faint`` is the least fading, ``spread`` (nm) that of resolution."""

    def __init__(self, network, order: int, scale: float, faint: float, spread: float):
        radial, self.order, self.faint, self.spread = network.radial, order, faint, spread
        self.cutoff_squared, self.count = radial.cutoff**2, len(network.types)
        edge = radial.edge.bool().cpu().numpy()
        first, second = np.nonzero(np.triu(edge, 1))
        self.distances, device = np.stack((first, second), 1), radial.edge.device
        row = np.full(edge.shape, len(first))  # the last one stands for no edge
        row[first, second] = row[second, first] = np.arange(len(first))
        self.row = torch.as_tensor(row.ravel(), device=device)
        places = first * self.count + second, second * self.count + first
        self.ahead, self.behind = (torch.as_tensor(place, device=device) for place in places)
        self.sharpness, centres, one = radial.sharpness, radial.centres, torch.ones_like(radial.centres)
        self.table = torch.stack((2 * self.sharpness * centres, one, -self.sharpness * centres.square()))  # (3, K)
        self.moments = torch.stack((one, centres), 1)  # (K, 2)
        self.embedding = network.embedding(network.types)
        sender = network.sender(network.types)
        self.first = torch.einsum("jf,fkg->jkg", sender, network.filters[0]).flatten(0, 1)  # (N K, F)
        self.layers = [
            (mixer[1].weight, mixer[1].bias, weight.flatten(1))
            for mixer, weight in zip(network.mixers, network.filters[1:], strict=True)
        ]
        self.hidden, self.output = (network.hidden.weight, network.hidden.bias), scale * network.output.weight
        self._turns(network.local)
        self.floats = self.count**2 * len(centres)

    def _turns(self, local) -> None:
        self.slots = local.index.shape[1]
        if local.count:
            self.dihedrals = local.measure_rows
            self.index = local.index.flatten()
            weight = local.weight[local.place] * (1 + local.gate(local.types))[:, None, None]
            self.turning = weight.flatten(1, 2)  # (N, slots * 2 order, F)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        batch, width = at.distances.shape[1], self.output.shape[1]
        s, near, gauss = self._radial(at.distances)
        edges = gauss.view(batch, self.count, -1)  # (B, N, N K)
        state = self.embedding + edges @ self.first
        if len(self.dihedrals):
            waves = multiples(at.dihedrals, self.order)  # (2, order, T, B)
            seen = torch.nn.functional.pad(waves.permute(2, 3, 1, 0).flatten(2), (0, 0, 0, 0, 0, 1))  # (T + 1, B, .)
            seen = seen.index_select(0, self.index).view(self.count, self.slots, batch, -1)
            state += (seen.transpose(1, 2).flatten(2) @ self.turning).transpose(0, 1)
        kept = []
        for weight, bias, spread in self.layers:
            inner = torch.nn.functional.linear(silu(state), weight, bias)
            sent = (silu(inner) @ spread).view(batch, -1, width)  # (B, N K, F)
            kept.append((state, inner, sent))
            state = state + edges @ sent
        weight, bias = self.hidden
        inner = torch.nn.functional.linear(silu(state), weight, bias)
        value = (silu(inner) @ self.output.T).sum((1, 2))
        slope = silu_slope(silu_slope(self.output.expand_as(inner), inner) @ weight, state)
        along = None
        for (weight, _, spread), (state, inner, sent) in zip(self.layers[::-1], kept[::-1], strict=True):
            more = slope @ sent.transpose(1, 2)
            along = more if along is None else along.add_(more)
            back = (edges.transpose(1, 2) @ slope).view(batch, self.count, -1) @ spread.T
            slope = slope + silu_slope(silu_slope(back, inner) @ weight, state)
        more = slope @ self.first.T
        along = more if along is None else along.add_(more)
        if len(self.dihedrals):
            pulled = slope.transpose(0, 1) @ self.turning.transpose(1, 2)  # (N, B, slots * 2 order)
            pulled = pulled.view(self.count, batch, self.slots, -1).transpose(1, 2).flatten(0, 1)
            total = pulled.new_zeros(len(self.dihedrals) + 1, *pulled.shape[1:]).index_add_(0, self.index, pulled)[:-1]
            slopes.dihedrals.add_(by_angle(waves, total.unflatten(2, (self.order, 2)).permute(3, 2, 0, 1)))
        self._pull(at.distances, s, near, along.view_as(gauss).mul_(gauss), slopes.distances)
        return value

    def _radial(self, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(P, B) nm -> s and 1 - (d / cutoff)^2 (B, N N), for 1 nm where there is no edge; Gaussians (B, N N, K)."""
        full = torch.nn.functional.pad(distances, (0, 0, 0, 1), value=1.0).T.contiguous().index_select(1, self.row)
        edge = self.row < len(distances)
        near = (1 - full.square() / self.cutoff_squared).clamp_(min=0)
        s = (full / -self.spread).exp_()
        fade = (near * near * near * edge).clamp_(min=self.faint).log_()
        terms = torch.stack((s, fade.addcmul_(s, s, value=-self.sharpness), torch.ones_like(s)), -1)
        return s, near, (terms @ self.table).exp_()

    def _pull(self, distances: Tensor, s: Tensor, near: Tensor, along: Tensor, out: Tensor) -> None:
        """Adds dU/d distances, (P, B), from dU/d the logarithms of the Gaussians."""
        total, first = (along @ self.moments).unbind(-1)  # (B, N N)
        total, first = (x[:, self.ahead].add_(x[:, self.behind]).T for x in (total, first))  # (P, B)
        s, near = s[:, self.ahead].T, near[:, self.ahead].T
        slope = 2 * self.sharpness * (first - s * total) * s / -self.spread
        fading = torch.where(near.pow(3) > self.faint, -6 / self.cutoff_squared * distances / near, 0.0)
        out += slope + total * fading
