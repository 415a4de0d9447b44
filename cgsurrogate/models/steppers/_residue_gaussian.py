"""Stiff coordinates of ``graph``: a Gaussian given the new soft angles, with weights by kind and skewed stretches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cgsurrogate.models.steppers._conditional_gaussian import MOST, REACH, SKEW, ConditionalGaussian, Stretch, bounded
from cgsurrogate.models.steppers._residue_graph import Layout, ResidueEncoder


class ResidueGaussian(ConditionalGaussian[tuple[Layout, Tensor]]):
    """All that it knows belongs to kinds of coordinates, and reaches so many residues.

    Means, scales and directions follow from the residue of a coordinate, which has heard its neighbours. Correlations
    are those of a constant factor, over neighbouring residues, and of stretches of the whitened noise, each over a
    block of residues; blocks of every other stretch begin half a block later.
    """

    def __init__(self, trunk: ResidueEncoder, slots: int, kinds: int, linked: int, width: int, stretches: int):
        super().__init__()
        self.trunk, self.outputs = trunk, 2 + stretches
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

    def _whitener(self, given: tuple[Layout, Tensor]) -> tuple[Tensor, Tensor]:
        layout, _ = given
        log_diagonal = self.log_diagonal[layout.stiff_kind]
        lower = log_diagonal.exp().diag().index_put((layout.link_rows, layout.link_columns), self.lower[layout.link])
        return lower, log_diagonal

    def _parameters_at(
        self, given: tuple[Layout, Tensor], kept: Tensor | float
    ) -> tuple[Tensor, Tensor, list[Stretch]]:
        """Given (B, S) soft angles in the order of drawing."""
        layout, angles = given
        hidden = nn.functional.silu(self.trunk(layout, angles)) * kept  # (R, B, V)
        weights = self.last[layout.stiff_slots].transpose(1, 2).flatten(2)  # (R, V, m O)
        out = torch.bmm(hidden, weights).view(layout.count, len(angles), -1, self.outputs)
        out = out.transpose(0, 1).flatten(1, 2)[:, layout.stiff_where] + self.bias[layout.stiff_kind]
        mean, log_scale, along = out[..., 0], out[..., 1], out[..., 2:].transpose(1, 2)
        factor, skew = self.factors(hidden).chunk(2, -1)  # (R, B, stretches)
        stretches = [_stretch(layout, k, along[:, k], factor[..., k], skew[..., k]) for k in range(self.outputs - 2)]
        return bounded(mean, REACH), 0.7 * torch.tanh(log_scale), stretches


def _stretch(layout: Layout, k: int, along: Tensor, factor: Tensor, skew: Tensor) -> Stretch:
    """Stretch k, from a direction (B, P) of any length and what each residue says of t and s, (R, B)."""
    member, pool = getattr(layout, f"member{k % 2}"), getattr(layout, f"pool{k % 2}")
    length = (along.square() @ member + 1e-12).rsqrt() @ member.T
    t, s = (torch.einsum("rb,rk->bk", part, pool) for part in (factor, skew))
    return Stretch(along * length, bounded(t, MOST), bounded(s, SKEW), member)
