"""A graph network with continuous filters (Schuett et al., J. Chem. Phys. 148, 241722 (2018)), made to be cheap.

    s_i  = embedding of the type of i + local dihedrals + sum_j sum_k R_k(d_ij) W_k e_j          (first layer)
    h_i  = MLP(s_i)
    s_i <- s_i + sum_j sum_k R_k(d_ij) V_k h_j                                                   (further layers)
    U    = sum_i MLP(s_i)

The filter of an edge is linear in its K radial functions R_k, so that filter and sum over neighbours become one matrix
product over (k, j); the radial functions are computed once and no network runs on edges. Bonded pairs and pairs around
an angle are no edges: the priors hold them (but for pairs two residues apart, as in a mapping to CA).

Distances cannot tell a molecule from its mirror image. Sine and cosine of the proper dihedrals that a bead takes part
in are therefore features of its node, and the energy is ``chiral``.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.core import bead_types
from cgsurrogate.core.energy import Energy
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Dihedrals, multiples
from cgsurrogate.geometry.molecule import Molecule

FAINT = 1e-12
ORDER = 2  # multiples of a dihedral
SCALE = 5.0  # kJ/mol; unit of the output layer
SHORT, SPREAD = 0.2, 0.5  # nm: shortest distance resolved, and how fast resolution fades with distance
OVERLAP = 1.5  # width of the Gaussians in units of their spacing


def build(beads: Beads, width: int = 32, layers: int = 1, radial: int = 10, cutoff: float = 1.2) -> SchNet:
    """Args:
    width: channels of a node.
    layers: message passes, 1 or more.
    radial: number of radial functions.
    cutoff: nm; beads farther apart do not see each other directly.
    """
    return SchNet(beads, width, layers, radial, cutoff)


class SchNet(Energy):
    """Weights belong to bead types (``bead_types``), and the output layer starts at zero."""

    chiral, transfers = True, True

    types: Tensor

    def __init__(self, beads: Beads, width: int, layers: int, radial: int, cutoff: float):
        super().__init__()
        if width < 1 or layers < 1 or radial < 2 or not cutoff > SHORT:
            raise ValueError(
                f"expected width and layers of at least 1, two or more radial functions and a cutoff above {SHORT} nm, "
                f"got {width}, {layers}, {radial}, {cutoff}"
            )
        self.radial = Radial(beads, radial, cutoff)
        self.local = Local(beads, width)
        self.register_buffer("types", torch.tensor(beads.types), persistent=False)
        self.embedding = nn.Embedding(bead_types.COUNT, width)
        self.sender = nn.Embedding(bead_types.COUNT, width)
        self.filters = nn.ParameterList(nn.Parameter(_normal(width, radial, width)) for _ in range(layers))
        self.mixers = nn.ModuleList(
            nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU()) for _ in range(layers - 1)
        )
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, positions: Tensor) -> Tensor:
        edges = self.radial(positions).flatten(2)  # (B, N, N K)
        first = torch.einsum("jf,fkg->jkg", self.sender(self.types), self.filters[0]).flatten(0, 1)
        state = edges @ first + self.embedding(self.types) + self.local(positions)
        for mixer, weight in zip(self.mixers, self.filters[1:], strict=True):
            sent = mixer(state) @ weight.flatten(1)  # (B, N, K F)
            state = state + edges @ sent.reshape(positions.shape[0], -1, weight.shape[2])
        state = nn.functional.silu(state)
        return SCALE * self.output(nn.functional.silu(self.hidden(state))).sum((1, 2))


class Radial(nn.Module):
    """(B, N, 3) nm -> (B, N, N, K): Gaussians of s = exp(-d / 0.5 nm), fading smoothly to zero at the cutoff.

    Zero on the diagonal and for pairs that are no edges. Narrow at short distances, wide at long ones (as in PhysNet,
    Unke & Meuwly, J. Chem. Theory Comput. 15, 3678 (2019)).
    """

    edge: Tensor
    centres: Tensor

    def __init__(self, beads: Beads, count: int, cutoff: float):
        super().__init__()
        self.cutoff = cutoff
        apart, residues = Molecule.of(beads).separations, np.asarray(beads.residues)
        edge = (apart >= 3) | ((apart == 2) & (np.abs(residues[:, None] - residues) >= 2))
        self.register_buffer("edge", torch.tensor(edge, dtype=torch.float32), persistent=False)
        centres = torch.linspace(float(np.exp(-cutoff / SPREAD)), float(np.exp(-SHORT / SPREAD)), count)
        self.register_buffer("centres", centres, persistent=False)
        # wide enough that the farthest centre gives no denormal numbers, which are slow
        self.sharpness = 0.5 / (OVERLAP * float(centres[1] - centres[0])) ** 2

    def forward(self, positions: Tensor) -> Tensor:
        x = positions - positions.mean(1, keepdim=True)
        length = x.square().sum(2)
        squared = torch.baddbmm(length.unsqueeze(2) + length.unsqueeze(1), x, x.transpose(1, 2), alpha=-2)
        distance = (squared * self.edge + (1 - self.edge)).sqrt()  # (B, N, N); 1 nm where there is no edge
        fade = (1 - (distance / self.cutoff).square()).clamp(min=0)
        fade = fade * fade * fade * self.edge
        return Gaussians.apply(torch.exp(-distance / SPREAD), fade, self.centres, self.sharpness)


class Gaussians(torch.autograd.Function):
    """f exp(-a (s - c_k)^2) of s and f (B, N, N) -> (B, N, N, K), with few passes over memory.

    The exponent a (2 c_k s - s^2 - c_k^2) + log f is one matrix product. f is at least 1e-12: infinite logarithms and
    denormal numbers would make this many times slower.
    """

    @staticmethod
    def forward(ctx, s: Tensor, fade: Tensor, centres: Tensor, sharpness: float) -> Tensor:
        one = torch.ones_like(centres)
        table = torch.stack((2 * sharpness * centres, one, -sharpness * centres.square()))
        terms = torch.stack((s, fade.clamp(min=FAINT).log() - sharpness * s.square(), torch.ones_like(s)), -1)
        value = (terms.flatten(0, 2) @ table).exp_().unflatten(0, s.shape)
        ctx.sharpness = sharpness
        ctx.save_for_backward(s, fade, centres, value)
        return value

    @staticmethod
    def backward(ctx, slope: Tensor):
        s, fade, centres, value = ctx.saved_tensors
        moments = (slope * value) @ torch.stack((torch.ones_like(centres), centres), 1)  # (B, N, N, 2)
        total, first = moments.unbind(-1)
        return 2 * ctx.sharpness * (first - s * total), total / fade.clamp(min=FAINT), None, None


class Local(nn.Module):
    """(B, N, 3) -> (B, N, F): the proper dihedrals that each bead takes part in, with weights of the bead types."""

    index: Tensor
    place: Tensor
    types: Tensor

    def __init__(self, beads: Beads, width: int):
        super().__init__()
        rows = Molecule.of(beads).dihedrals
        self.count, self.width = len(rows), width
        self.measure = Dihedrals(len(beads), rows)
        places = [[(t, p) for t, row in enumerate(rows) for p in range(4) if row[p] == i] for i in range(len(beads))]
        self.most = max((len(p) for p in places), default=0)
        index = torch.full((len(beads), max(self.most, 1)), self.count)
        place = torch.zeros(len(beads), max(self.most, 1), dtype=torch.long)
        for i, found in enumerate(places):
            for slot, (t, p) in enumerate(found):
                index[i, slot], place[i, slot] = t, p
        types = torch.tensor(beads.types)
        self.register_buffer("index", index, persistent=False)  # (N, slots) dihedral, or count for none
        self.register_buffer("place", place, persistent=False)  # (N, slots) which of the four beads it is
        self.register_buffer("types", types, persistent=False)
        self.weight = nn.Parameter(_normal(4, 2 * ORDER, width))
        self.gate = nn.Embedding(bead_types.COUNT, width)

    def forward(self, positions: Tensor) -> Tensor:
        if not self.count:
            return positions.new_zeros(positions.shape[0], positions.shape[1], self.width)
        cosine, sine = self.measure(positions)
        waves = multiples(cosine, sine, ORDER)  # (B, T, 2 ORDER)
        waves = torch.cat((waves, torch.zeros_like(waves[:, :1])), 1)
        seen = waves.index_select(1, self.index.flatten()).unflatten(1, self.index.shape)
        seen = seen.flatten(2).transpose(0, 1)  # (N, B, slots * 2 ORDER)
        weight = (self.weight[self.place] * (1 + self.gate(self.types))[:, None, None]).flatten(1, 2)
        return (seen @ weight).transpose(0, 1)


def _normal(*shape: int) -> Tensor:
    return torch.randn(*shape) / float(np.sqrt(np.prod(shape[:-1])))
