"""``residues`` with its slopes written out, for simulation.

    e_crq   channels of an edge: S sites times K radial functions, and a constant; with the scales of its offset
    w_cf    filters, in each layer
    m_rf    = sum_q sum_c e_crq w_cf h_qf

Here are the nodes; ``_residue_edges`` has the sums.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from cgsurrogate.core.energy import Analytic, Internal
from cgsurrogate.models.evaluation.analytic import by_angle, multiples
from cgsurrogate.models.networks._residue_edges import SparseEdges

silu, silu_slope = torch.nn.functional.silu, torch.ops.aten.silu_backward


class Passes(Analytic):
    """``residues.Residues``, whose weights it takes."""

    def __init__(self, network, order: int, scale: float):
        self.edges = SparseEdges(network)
        self.residues, self.width, self.distances = len(network.types), network.output.weight.shape[1], self.edges.rows
        self._turns(network.turns, order)
        self.embedding = network.embedding(network.types)  # (R, F)
        self.senders = [(one.weight, one.bias, two.weight, two.bias) for one, _, two in network.senders]
        self.mixers = [(mixer.weight, mixer.bias) for _, mixer in network.mixers]
        self.hidden = network.hidden.weight, network.hidden.bias
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
        self.turning = weight.permute(2, 1, 0, 3).flatten(0, 2).contiguous()  # (2 order slots, F)

    def evaluate(self, at: Internal, slopes: Internal) -> Tensor:
        batch = at.distances.shape[1]
        value, state, inner, edges, kept, waves = self._forward(at)
        slope = silu_slope(self.output.expand(len(inner), -1), inner)
        slope = silu_slope(slope @ self.hidden[0], state)
        for layer, (inner, heard, memory) in reversed(list(enumerate(kept))):
            felt = silu_slope(slope @ self.mixers[layer][0], heard)
            back = self.edges.back(layer, edges, memory, felt, slopes.distances)
            one, _, two, _ = self.senders[layer]
            slope.addmm_(silu_slope(back @ two, inner), one)
        if waves is not None:
            pulled = (self.turning @ slope.T).view(-1, batch, self.residues).transpose(1, 2)
            pulled = pulled.reshape(2, self.order, -1, batch).index_select(2, self.back)
            slopes.dihedrals.add_(by_angle(waves, pulled))
        return value

    def value(self, at: Internal) -> Tensor:
        return self._forward(at)[0]

    def _forward(self, at: Internal) -> tuple:
        """Energies (B,), and what the way back needs."""
        batch, waves = at.distances.shape[1], None
        state = self.embedding.repeat(batch, 1)  # (B R, F)
        if len(self.back):
            waves = multiples(at.dihedrals, self.order)  # (2, order, T, B)
            padded = torch.nn.functional.pad(waves, (0, 0, 0, 1)).index_select(2, self.where)
            padded = padded.view(-1, self.residues, batch).transpose(1, 2).flatten(1)  # (2 order slots, B R)
            state = torch.addmm(state, padded.T, self.turning)
        edges, kept = self.edges.at(at.distances), []
        for layer, (one, one_bias, two, two_bias) in enumerate(self.senders):
            inner = torch.addmm(one_bias, state, one.T)
            heard, memory = self.edges.hear(layer, edges, torch.addmm(two_bias, silu(inner), two.T))
            mixer, bias = self.mixers[layer]
            state = torch.addmm(state, silu(heard), mixer.T).add_(bias)
            kept.append((inner, heard, memory))
        weight, bias = self.hidden
        inner = torch.addmm(bias, silu(state), weight.T)
        value = (silu(inner) @ self.output.T).view(batch, self.residues).sum(1)
        return value, state, inner, edges, kept, waves

    def chosen(self, rows: np.ndarray) -> Passes:
        near = copy.copy(self)
        near.edges = self.edges.chosen(rows)
        near.distances = near.edges.rows
        return near
