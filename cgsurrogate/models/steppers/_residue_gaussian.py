"""Stiff coordinates of ``graph``: a Gaussian given the new soft angles, with weights by kind and skewed stretches."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cgsurrogate.models.steppers import _wrapped_normal
from cgsurrogate.models.steppers._heads import EDGE, ROOT2
from cgsurrogate.models.steppers._residue_graph import Layout, Trunk


class Tail(nn.Module):
    """As ``_layers.Tail``, but everything that it knows belongs to kinds of coordinates, and reaches so many residues.

    Means, scales and directions follow from the residue of a coordinate, which has heard its neighbours. Correlations
    are those of a constant factor, over neighbouring residues, and of stretches of the whitened noise, each over a
    block of residues; blocks of every other stretch begin half a block later.
    """

    LIMIT, REACH, MOST, SKEW = 5.0, 4.0, 2.0, 1.5  # as in ``_layers.Tail``

    def __init__(self, trunk: Trunk, slots: int, kinds: int, linked: int, width: int, stretches: int):
        super().__init__()
        self.trunk, self.stretches, self.outputs = trunk, stretches, 2 + stretches
        last = torch.zeros(slots, width, 2), 0.02 * torch.randn(slots, width, stretches)
        self.last = nn.Parameter(torch.cat(last, 2))
        self.bias = nn.Parameter(torch.cat([torch.zeros(kinds, 2), torch.randn(kinds, stretches)], 1))
        self.factors = nn.Linear(width, 2 * stretches)
        nn.init.zeros_(self.factors.weight)
        nn.init.zeros_(self.factors.bias)
        self.lower = nn.Parameter(torch.zeros(linked))  # of the inverse Cholesky factor
        self.log_diagonal = nn.Parameter(torch.zeros(kinds))

    def set_covariances(self, layouts: list[Layout], covariances: list[Tensor]) -> None:
        """Begin with the regression of each coordinate on those before it that it is linked to; the mean over places.

        The (P, P) covariances are those of the training data of each molecule.
        """
        slopes, count = torch.zeros_like(self.lower), torch.zeros_like(self.lower)
        scales, places = torch.zeros_like(self.log_diagonal), torch.zeros_like(self.log_diagonal)
        for layout, covariance in zip(layouts, covariances, strict=True):
            for d, kind in enumerate(layout.stiff_kind.tolist()):
                own = layout.link_rows == d
                seen = layout.link_columns[own]
                slope = torch.linalg.solve(covariance[seen][:, seen], covariance[seen, d])
                rest = covariance[d, d] - slope @ covariance[seen, d]
                slopes.index_add_(0, layout.link[own], slope.to(slopes.dtype))
                count.index_add_(0, layout.link[own], torch.ones_like(slope).to(slopes.dtype))
                scales[kind] += 0.5 * rest.log()
                places[kind] += 1
        with torch.no_grad():
            self.log_diagonal.copy_(-scales / places.clamp_min(1))
            for layout in layouts:
                target = self.log_diagonal[layout.stiff_kind[layout.link_rows]]
                self.lower[layout.link] = -(slopes / count.clamp_min(1))[layout.link] * target.exp()

    def _whitener(self, layout: Layout) -> Tensor:
        diagonal = self.log_diagonal[layout.stiff_kind].exp().diag()
        return diagonal.index_put((layout.link_rows, layout.link_columns), self.lower[layout.link])

    def _parameters_at(self, layout: Layout, angles: Tensor, kept: Tensor | float) -> tuple[Tensor, ...]:
        """Mean, log scale (B, P), directions (B, S, P), not normalised, and log factors and skews (R, B, S)."""
        hidden = nn.functional.silu(self.trunk(layout, angles)) * kept  # (R, B, V)
        weights = self.last[layout.stiff_slots].transpose(1, 2).flatten(2)  # (R, V, m O)
        out = torch.bmm(hidden, weights).view(layout.count, len(angles), -1, self.outputs)
        out = out.transpose(0, 1).flatten(1, 2)[:, layout.stiff_where] + self.bias[layout.stiff_kind]
        mean, log_scale, along = out[..., 0], out[..., 1], out[..., 2:].transpose(1, 2)
        factor, skew = self.factors(hidden).chunk(2, -1)
        return self.REACH * torch.tanh(mean / self.REACH), 0.7 * torch.tanh(log_scale), along, factor, skew

    def _stretch(self, layout: Layout, k: int, along: Tensor, factor: Tensor, skew: Tensor) -> tuple[Tensor, ...]:
        """Stretch k: its direction (B, P), of length one in each block, and t and s (B, blocks); who is a member."""
        member, pool = getattr(layout, f"member{k % 2}"), getattr(layout, f"pool{k % 2}")
        length = (along[:, k].square() @ member + 1e-12).rsqrt() @ member.T
        t, s = (torch.einsum("rb,rk->bk", part[..., k], pool) for part in (factor, skew))
        t, s = self.MOST * torch.tanh(t / self.MOST), self.SKEW * torch.tanh(s / self.SKEW)
        return along[:, k] * length, t, s, member

    def log_density(self, layout: Layout, angles: Tensor, later: Tensor, kept: Tensor | float = 1.0) -> Tensor:
        """(B, S) soft angles and (B, P) -> (B,) nats; outside the truncation it goes on as if there were none."""
        mean, log_scale, *rest = self._parameters_at(layout, angles, kept)
        noise = ((later - mean) * torch.exp(-log_scale)) @ self._whitener(layout).T
        volume = self.log_diagonal[layout.stiff_kind].sum() - log_scale.sum(-1)
        for k in range(self.stretches):
            g, t, s, member = self._stretch(layout, k, *rest)
            a = (g * noise) @ member
            turned = torch.asinh(a) + s
            stretched = torch.exp(t) * (torch.sinh(turned) - torch.sinh(s))
            volume = volume + (t + torch.log(torch.cosh(turned)) - 0.5 * torch.log1p(a.square())).sum(-1)
            noise = noise + g * ((stretched - a) @ member.T)
        constant = later.shape[1] * (_wrapped_normal.LOG_ROOT_2PI + math.log(math.erf(self.LIMIT / ROOT2)))
        return volume - 0.5 * noise.square().sum(-1) - constant

    def draw(self, layout: Layout, angles: Tensor, uniform: Tensor) -> Tensor:
        """(B, S) soft angles and uniform numbers (B, P) -> (B, P)."""
        mean, log_scale, *rest = self._parameters_at(layout, angles, 1.0)
        inside = math.erf(self.LIMIT / ROOT2)
        noise = ROOT2 * torch.erfinv(((2 * uniform - 1) * inside).clamp(-EDGE, EDGE))
        for k in reversed(range(self.stretches)):
            g, t, s, member = self._stretch(layout, k, *rest)
            a = (g * noise) @ member
            before = torch.sinh(torch.asinh(a * torch.exp(-t) + torch.sinh(s)) - s)
            noise = noise + g * ((before - a) @ member.T)
        rest = torch.linalg.solve_triangular(self._whitener(layout), noise.T, upper=False).T
        return mean + torch.exp(log_scale) * rest
