"""A graph network whose nodes are residues: continuous filters over a few distances between them, and their dihedrals.

    s_r  = embedding of the residue + sum_t A_t w(dihedral t of r)
    h_r  = MLP(s_r)
    s_r <- s_r + M sum_q (sum_k R_k(d_rq; pair of sites, offset) V_k) * h_q       (every layer)
    U    = sum_r MLP(s_r)

A chain of 30 backbone beads has 435 pairs, but their distances follow from a dozen dihedrals, so that most pairs
tell a network nothing new. Here a residue is one node. It sees the dihedrals of its own bonds (cosine and sine, so the
energy is chiral), and, through continuous filters (Schuett et al., J. Chem. Phys. 148, 241722 (2018)), the other
residues by the distances between CA and CA, CB and CB, O and N, N and O. The filters are scaled by the offset along the
chain, which is what tells a helix's hydrogen bond from a turn's. In a mapping to CA a node is a bead.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.core import bead_types
from cgsurrogate.core.energy import Analytic, Energy
from cgsurrogate.core.frames import Beads
from cgsurrogate.geometry.internal_coordinates import Differences, Dihedrals, multiples
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.models.networks import _residues_analytic, _residues_compiled

ORDER = 3  # multiples of a dihedral
SCALE = 5.0  # kJ/mol; unit of the output layer
SITES = (("CA", "CA"), ("CB", "CB"), ("O", "N"), ("N", "O"))  # of the seeing and of the seen residue
NEAR = 4  # offsets along the chain that have scales of their own; beyond it they share one
CLOSEST = 0.2  # nm
NAMED = {("C", "N", "CA", "C"): 0, ("N", "CA", "C", "N"): 1, ("CA", "C", "N", "CA"): 2, ("CA", "CA", "CA", "CA"): 3}
SLOTS = 12  # kinds of dihedrals: the named ones, then those of the side chain in their order


def build(
    beads: Beads, width: int = 64, layers: int = 1, radial: int = 10, cutoff: float = 1.2, identity: float = 1.0
) -> Residues:
    """Args:
    width: channels of a node.
    layers: message passes, 1 or more.
    radial: radial functions of a distance.
    cutoff: nm; sites farther apart do not see each other.
    identity: standard deviation of the embeddings of residues at the start. Where it is small, molecules first teach
        what they share.
    """
    return Residues(beads, width, layers, radial, cutoff, identity)


class Residues(Energy):
    """Weights belong to residues, sites and kinds of dihedrals; the output layer starts at zero."""

    chiral, transfers = True, True

    types: Tensor

    def __init__(self, beads: Beads, width: int, layers: int, radial: int, cutoff: float, identity: float = 1.0):
        super().__init__()
        if not identity > 0:
            raise ValueError(f"expected an identity above 0, got {identity}")
        if width < 1 or layers < 1 or radial < 2 or not cutoff > CLOSEST:
            raise ValueError(
                f"expected width and layers of at least 1, two or more radial functions and a cutoff above {CLOSEST} "
                f"nm, got {width}, {layers}, {radial}, {cutoff}"
            )
        groups = [list(g) for _, g in itertools.groupby(range(len(beads)), key=lambda i: beads.residues[i])]
        anchors = [next((i for i in g if beads.names[i] == "CA"), g[0]) for g in groups]
        self.register_buffer("types", torch.tensor([beads.types[i] for i in anchors]), persistent=False)
        self.edges = EdgeFeatures(beads, groups, radial, cutoff)
        self.turns = TorsionFeatures(beads, groups, width)
        self.embedding = nn.Embedding(bead_types.COUNT, width)
        with torch.no_grad():
            self.embedding.weight.mul_(identity)
        self.filters = nn.Linear(self.edges.channels, layers * width, bias=False)  # of all layers at once
        self.senders = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(layers)
        )
        self.mixers = nn.ModuleList(nn.Sequential(nn.SiLU(), nn.Linear(width, width)) for _ in range(layers))
        self.hidden = nn.Linear(width, width)
        self.output = nn.Linear(width, 1, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, positions: Tensor) -> Tensor:
        filters = self.filters(self.edges(positions)).chunk(len(self.mixers), -1)  # each (B, R, R, F)
        state = self.turns(positions) + self.embedding(self.types)  # (B, R, F)
        for own, sender, mixer in zip(filters, self.senders, self.mixers, strict=True):
            state = state + mixer((own * sender(state).unsqueeze(1)).sum(2))
        return SCALE * self.output(nn.functional.silu(self.hidden(nn.functional.silu(state)))).sum((1, 2))

    def analytic(self) -> Analytic:
        return _residues_compiled.build(_residues_analytic.Passes(self, ORDER, SCALE))


class EdgeFeatures(nn.Module):
    """(B, N, 3) nm -> (B, R, R, C): for every residue, what it sees of every other one, in len(SITES) K + 1 channels.

    The last channel is a constant for near offsets along the chain, so that neighbours always hear of each other.
    """

    index: Tensor
    offset: Tensor
    constant: Tensor
    centres: Tensor

    def __init__(self, beads: Beads, groups: list[list[int]], radial: int, cutoff: float):
        super().__init__()
        self.cutoff, self.residues, self.radial = cutoff, len(groups), radial
        self.channels = len(SITES) * radial + 1
        self.apart = Molecule.of(beads).separations
        self.site = {name: np.array([_site(beads, group, name) for group in groups]) for two in SITES for name in two}
        self.swapped = [SITES.index(two[::-1]) for two in SITES]
        self.sites_used = sum(all((self.site[name] >= 0).any() for name in two) for two in SITES)
        seeing, seen = (side.ravel() for side in np.indices((len(groups), len(groups))))
        rows, present = self.between(seeing, seen)  # (S, R R, 2), (S, R R)
        keys = np.where(present, rows.min(2) * len(beads) + rows.max(2), -1).T.ravel()  # by (seeing, seen, site)
        unique, where = np.unique(keys, return_inverse=True)
        found = unique >= 0
        index = torch.from_numpy(np.where(keys < 0, found.sum(), where - (~found).sum()))  # the last one is always zero
        unique = np.stack(np.divmod(unique[found], len(beads)), 1)
        if not len(unique):
            unique, index = np.array([[0, min(1, len(beads) - 1)]]), torch.ones_like(index)
        numbers = np.arange(len(groups))
        offset = torch.as_tensor(np.clip(numbers[None] - numbers[:, None], -NEAR - 1, NEAR + 1) + NEAR + 1)
        constant = ((offset != 0) & (offset != 2 * NEAR + 2) & (offset != NEAR + 1)).float()
        self.differences = Differences(len(beads), unique)
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("offset", offset, persistent=False)  # (R, R)
        self.register_buffer("constant", constant[None, :, :, None], persistent=False)
        self.register_buffer("centres", torch.linspace(CLOSEST, cutoff, radial), persistent=False)
        self.sharpness = 0.5 / (0.9 * float(self.centres[1] - self.centres[0])) ** 2
        scales = 1 + 0.3 * torch.randn(2 * NEAR + 3, self.channels)
        scales[~torch.isin(torch.arange(len(scales)), offset)] = 0.0  # of offsets that only longer chains have
        self.scales = nn.Parameter(scales)

    def between(self, seeing: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each of SITES and each pair of residues: the two beads (S, P, 2), and whether there is an edge (S, P).

        Without an edge the beads are some others.
        """
        rows = np.stack([np.stack((self.site[mine][seeing], self.site[theirs][seen]), 1) for mine, theirs in SITES])
        there = (rows >= 0).all(2) & (seeing != seen)
        present = there & (self.apart[rows[..., 0], rows[..., 1]] >= 3)
        rows[~there] = 0, len(self.apart) > 1
        return rows, present

    def forward(self, positions: Tensor) -> Tensor:
        distance = (self.differences(positions).square().sum(1) + 1e-12).sqrt()  # (B, M)
        fade = (1 - (distance / self.cutoff).square()).clamp(min=0).pow(3)
        waves = torch.exp(-self.sharpness * (distance[:, :, None] - self.centres).square()) * fade[:, :, None]
        waves = torch.cat((waves, torch.zeros_like(waves[:, :1])), 1)  # (B, M + 1, K)
        seen = waves.index_select(1, self.index).view(positions.shape[0], self.residues, self.residues, -1)
        seen = torch.cat((seen, self.constant.expand(positions.shape[0], -1, -1, -1)), 3)
        return seen * self.scales[self.offset]


class TorsionFeatures(nn.Module):
    """(B, N, 3) -> (B, R, F): the dihedrals of each residue, with weights by their kind."""

    index: Tensor

    def __init__(self, beads: Beads, groups: list[list[int]], width: int):
        super().__init__()
        self.rows = rows = Molecule.of(beads).dihedrals
        self.measure = Dihedrals(len(beads), rows) if len(rows) else None
        first = beads.residues[0]
        numbers = {beads.residues[g[0]]: k for k, g in enumerate(groups)}
        taken: dict[int, int] = {}
        index = torch.full((len(groups), SLOTS), len(rows))
        for t, row in enumerate(rows):
            residue = numbers.get(beads.residues[row[2]], numbers[first])
            names = tuple(beads.names[i] for i in row)
            kind = NAMED.get(names, NAMED.get(names[::-1]))
            if kind is None:
                kind = min(len(set(NAMED.values())) + taken.get(residue, 0), SLOTS - 1)
                taken[residue] = taken.get(residue, 0) + 1
            index[residue, kind] = t
        self.register_buffer("index", index.flatten(), persistent=False)
        self.residues = len(groups)
        self.weight = nn.Parameter(torch.randn(SLOTS * 2 * ORDER, width) / np.sqrt(6 * ORDER))

    def forward(self, positions: Tensor) -> Tensor:
        if self.measure is None:
            return positions.new_zeros(positions.shape[0], self.residues, self.weight.shape[1]) + 0 * self.weight.sum()
        cosine, sine = self.measure(positions)
        waves = multiples(cosine, sine, ORDER)  # (B, T, 2 ORDER)
        waves = torch.cat((waves, torch.zeros_like(waves[:, :1])), 1)
        return waves.index_select(1, self.index).view(positions.shape[0], self.residues, -1) @ self.weight


def _site(beads: Beads, group: list[int], name: str) -> int:
    """The bead of a residue that is a site: by name; the last of a side chain for CB; the first for CA. -1 for none."""
    if name == "CB":
        side = [i for i in group if beads.names[i] not in ("N", "CA", "C", "O", "OXT", "CH3")]
        return side[-1] if side and len(group) > 1 else -1
    found = next((i for i in group if beads.names[i] == name), -1)
    return group[0] if found < 0 and name == "CA" else found
