"""``residues`` with its slopes written out, for simulation.

    e_crq   channels of an edge: S sites times K radial functions, and a constant; with the scales of its offset
    w_cf    filters, in each layer
    m_rf    = sum_q sum_c e_crq w_cf h_qf

Here are the nodes; ``_edges`` has the sums.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.analytic import Analytic, Internal, by_angle, multiples
from cgsurrogate.networks import _edges

silu, silu_slope = torch.nn.functional.silu, torch.ops.aten.silu_backward


class Passes(Analytic):
    """``residues.Residues``, whose weights it takes."""

    def __init__(self, network, order: int, scale: float):
        self.edges = _edges.build(network)
        self.residues, self.width, self.distances = len(network.types), network.output.weight.shape[1], self.edges.rows
        self._turns(network.turns, order)
        self.embedding = network.embedding(network.types).T[:, :, None]  # (F, R, 1)
        self.senders = [(one.weight, one.bias[:, None], two.weight, two.bias[:, None])
                        for one, _, two in network.senders]  # fmt: skip
        self.mixers = [(mixer.weight, mixer.bias[:, None]) for _, mixer in network.mixers]
        self.hidden = network.hidden.weight, network.hidden.bias[:, None]
        self.output = scale * network.output.weight  # (1, F)
        self.floats, self.cutoff = self.edges.floats, self.edges.cutoff

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
        value, state, inner, edges, kept, waves = self._forward(at)
        weight, _ = self.hidden
        slope = silu_slope(self.output.T.expand(-1, columns), inner)
        slope, along = silu_slope(weight.T @ slope, state), None
        for layer, (inner, heard, memory) in reversed(list(enumerate(kept))):
            felt = silu_slope(self.mixers[layer][0].T @ slope, heard).view(self.width, self.residues, batch)
            back, along = self.edges.back(layer, edges, memory, felt, along)
            one, _, two, _ = self.senders[layer]
            slope.addmm_(one.T, silu_slope(two.T @ back, inner))
        if waves is not None:
            pulled = (self.turning.T @ slope).view(2, self.order, -1, batch).index_select(2, self.back)
            slopes.dihedrals.add_(by_angle(waves, pulled))
        slopes.distances.add_(self.edges.pull(edges, along))
        return value

    def value(self, at: Internal) -> Tensor:
        return self._forward(at)[0]

    def _forward(self, at: Internal) -> tuple:
        """Energies (B,), and what the way back needs."""
        batch = at.distances.shape[1]
        columns, waves = self.residues * batch, None
        state = self.embedding.expand(-1, -1, batch).reshape(self.width, columns)
        if len(self.back):
            waves = multiples(at.dihedrals, self.order)  # (2, order, T, B)
            padded = torch.nn.functional.pad(waves, (0, 0, 0, 1))
            state = torch.addmm(state, self.turning, padded.index_select(2, self.where).view(-1, columns))
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
        return value, state, inner, edges, kept, waves

    def chosen(self, rows: np.ndarray) -> Passes:
        near = copy.copy(self)
        near.edges = self.edges.chosen(rows)
        near.distances = near.edges.rows
        return near
