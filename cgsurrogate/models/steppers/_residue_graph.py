"""Networks of ``graph``: weights belong to residues, slots and kinds, never to a place in a chain.

Slots and kinds are those of ``_coordinate_types``.

A ``Layout`` says which weights each coordinate of one molecule takes; the networks are handed it with every call.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

from cgsurrogate.models.steppers import _coordinate_types
from cgsurrogate.models.steppers._heads import EACH, MixtureHeads, Noise, Weights, waves

NEAR = 4  # offsets along the chain that have filters of their own
RARE = 3  # offsets from here on are few in short chains; nothing is heard or seen at them until training says what
IDENTITY = 0.1  # standard deviation of the embeddings of residues at first, so that molecules teach what they share
RADIAL, CLOSEST, CUTOFF = 6, 0.4, 1.4  # radial functions of a distance between residues; nm
HEARD = 8  # residues back along the chain from which a head hears of drawn angles
LINKED = 1  # residues over which noise of the stiff coordinates is correlated by a constant
BLOCK = 8  # residues that a stretch of the noise can reach


class Layout(nn.Module):
    """Indices of one molecule into the weights: R residues, S soft coordinates in the order of drawing, P stiff ones.

    ``heard`` (Q, 3) and ``linked`` (Q, 3) are the relations that were seen in training
    (``_coordinate_types.relations``). Those of this molecule that were not are left out: nothing is heard there.
    """

    residues: Tensor  # (R,) and so on: places in the vocabulary
    first: Tensor
    last: Tensor
    anchors: Tensor
    offset: Tensor  # (R, R)
    beside: Tensor  # (R, 2 NEAR)
    order: Tensor  # (S,)
    back: Tensor
    soft_home: Tensor
    soft_slot: Tensor
    soft_kind: Tensor
    soft_table: Tensor  # (R, m)
    soft_slots: Tensor
    stiff_kind: Tensor  # (P,)
    stiff_where: Tensor
    stiff_slots: Tensor  # (R, m)
    rows: Tensor
    columns: Tensor
    before: Tensor  # (S, window)
    link: Tensor
    link_rows: Tensor
    link_columns: Tensor
    has_beside: Tensor  # (R, 2 NEAR, 1)
    far: Tensor  # (R, R)

    def __init__(
        self, chain: _coordinate_types.Chain, vocabulary: _coordinate_types.Vocabulary, soft: np.ndarray, window: int
    ):
        super().__init__()
        residues, _, kinds = vocabulary.find(chain)
        slots, count = vocabulary.slot_of_kind()[kinds], len(residues)
        self.count, self.window = count, window
        natural, stiff = np.flatnonzero(soft), np.flatnonzero(~soft)
        order = np.lexsort((natural, chain.placed[natural], chain.homes[natural]))
        drawn, homes = natural[order], chain.homes
        self.slots = slots[drawn].tolist()
        before = np.arange(len(drawn))[:, None] + np.arange(-window, 0)
        pairs = np.repeat(drawn, window), drawn[before.clip(0)].ravel()
        self.heard = _coordinate_types.relations(chain, *pairs, slots, slots, HEARD)
        self.heard[before.ravel() < 0, 2] = HEARD + 1
        rows, columns = np.tril_indices(len(stiff), -1)
        near = np.abs(homes[stiff[rows]] - homes[stiff[columns]]) <= LINKED
        rows, columns = rows[near], columns[near]
        self.linked = _coordinate_types.relations(chain, stiff[rows], stiff[columns], kinds, slots, LINKED)
        places = np.arange(count)
        offset = places[None] - places[:, None]
        steps = np.array([k for k in range(-NEAR, NEAR + 1) if k])
        beside = places[:, None] + steps
        self._keep(
            residues=residues, first=places.clip(0, _coordinate_types.ENDS - 1),
            last=(count - 1 - places).clip(0, _coordinate_types.ENDS - 1), anchors=chain.anchors,
            offset=np.where(np.abs(offset) > NEAR, 2 * NEAR + 1, offset + NEAR), beside=beside.clip(0, count - 1),
            order=order, back=np.argsort(order), soft_home=homes[drawn], soft_slot=slots[drawn],
            soft_kind=kinds[drawn], stiff_kind=kinds[stiff], rows=rows, columns=columns,
        )  # fmt: skip
        for name, which in (("soft", drawn), ("stiff", stiff)):
            table, where = _by_home(homes[which], count)
            padded = np.append(slots[which], 0)
            self._keep(**{f"{name}_table": table, f"{name}_where": where, f"{name}_slots": padded[table]})
        has = (beside >= 0) & (beside < count)
        self.register_buffer("has_beside", torch.from_numpy(has).float()[..., None], persistent=False)
        self.register_buffer("far", torch.from_numpy(np.abs(offset) > NEAR).float(), persistent=False)
        for k, shift in enumerate((0, BLOCK // 2)):
            block = (places + shift) // BLOCK if count > BLOCK else np.zeros_like(places)
            member = (block[:, None] == np.unique(block[homes[stiff]])).astype(np.float32)  # (R, blocks)
            self.register_buffer(f"pool{k}", torch.from_numpy(member / member.sum(0)), persistent=False)
            self.register_buffer(f"member{k}", torch.from_numpy(member[homes[stiff]]), persistent=False)

    def _keep(self, **arrays: np.ndarray) -> None:
        for name, array in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.asarray(array, dtype=np.int64)), persistent=False)

    def know(self, heard: np.ndarray, linked: np.ndarray) -> None:
        """Find this molecule's relations among those that have weights."""
        found = _coordinate_types.lookup(self.linked, linked)
        known = found < len(linked)
        self._keep(
            before=_coordinate_types.lookup(self.heard, heard).reshape(-1, self.window),
            link_rows=self.rows.numpy()[known], link_columns=self.columns.numpy()[known], link=found[known],
        )  # fmt: skip


def _by_home(homes: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(R, m) the coordinates of each residue, padded with D; and (D,) where each stands in the flattened table."""
    own = [np.flatnonzero(homes == r) for r in range(count)]
    table = np.full((count, max(1, *(len(o) for o in own))), len(homes))
    where = np.zeros(len(homes), dtype=np.int64)
    for r, o in enumerate(own):
        table[r, : len(o)] = o
        where[o] = r * table.shape[1] + np.arange(len(o))
    return table, where


class ResidueEncoder(nn.Module):
    """Message passing between residues: (B, S) soft angles -> (R, B, W).

    In each layer a residue hears those up to ``NEAR`` places away along the chain, through a few *views*, sums with
    weights by the offset. Where distances (B, R, R) nm are given, it also sees, to begin with, how far these are, and
    which residues farther along the chain are in reach of it.
    """

    def __init__(self, residues: int, slots: int, width: int, layers: int, views: int = 4, spatial: bool = True):
        super().__init__()
        self.residue, self.first, self.last = (
            nn.Embedding(n, width) for n in (residues, _coordinate_types.ENDS, _coordinate_types.ENDS)
        )
        with torch.no_grad():
            self.residue.weight.mul_(IDENTITY)
        self.angles = nn.Parameter(torch.randn(slots, EACH, width) / math.sqrt(EACH))
        along = 0.2 * torch.randn(layers, views, 2 * NEAR + 1)
        for view in range(views):
            along[:, view, NEAR + (-1, 1, -2, 2)[view % 4]] += 1.0
        along[..., (torch.arange(2 * NEAR + 1) - NEAR).abs() >= RARE] = 0.0
        self.along = nn.Parameter(along)
        self.contacts = ContactFeatures(residues, width) if spatial else None
        self.layers = nn.ModuleList(_Pass(width, views) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self, layout: Layout, angles: Tensor, added: Tensor | None = None, distances: Tensor | None = None
    ) -> Tensor:
        x = (self.residue(layout.residues) + self.first(layout.first) + self.last(layout.last))[:, None]  # (R, 1, W)
        if added is not None:
            x = x + added
        if self.contacts is not None:
            x = x + self.contacts(layout, distances)
        seen = nn.functional.pad(waves(angles).view(len(angles), -1, EACH), (0, 0, 0, 1))
        own = seen[:, layout.soft_table].transpose(0, 1).flatten(2)  # (R, B, m EACH)
        x = torch.baddbmm(x, own, self.angles[layout.soft_slots].flatten(1, 2))
        filters = nn.functional.pad(self.along, (0, 1))[:, :, layout.offset]  # (layers, views, R, R)
        for layer, own_filters in zip(self.layers, filters, strict=True):
            x = layer(x, own_filters)
        return self.norm(x)


class ContactFeatures(nn.Module):
    """(B, R, R) nm between residues -> (R, B, W) what each sees around it.

    Radial functions of the distance of those beside it along the chain; and by residue, how many of those farther along
    the chain are in reach: sums of (1 - (d / c)^2)^2 up to some cutoffs c.
    """

    CHANNELS = 16  # of a residue that is far along the chain
    REACHES = (0.7, 1.0, CUTOFF)  # nm
    centres: Tensor

    def __init__(self, residues: int, width: int):
        super().__init__()
        self.near = nn.Linear(2 * NEAR * RADIAL, width)
        self.who = nn.Embedding(residues, self.CHANNELS)
        self.far = nn.Linear(len(self.REACHES) * self.CHANNELS, width, bias=False)
        self.register_buffer("centres", torch.linspace(CLOSEST, CUTOFF, RADIAL), persistent=False)
        steps = torch.cat((torch.arange(-NEAR, 0), torch.arange(1, NEAR + 1)))
        with torch.no_grad():
            self.near.weight.unflatten(1, (2 * NEAR, RADIAL))[:, steps.abs() >= RARE] = 0.0
            self.far.weight.zero_()

    def forward(self, layout: Layout, distances: Tensor) -> Tensor:
        places = torch.arange(layout.count, device=distances.device)
        beside = distances[:, places[:, None], layout.beside].unsqueeze(-1)  # (B, R, 2 NEAR, 1)
        sharp = 1 / float(self.centres[1] - self.centres[0])
        waves = torch.exp(-((beside - self.centres) * sharp).square()) * layout.has_beside
        out = self.near(waves.flatten(2))
        if layout.count > NEAR + 1:
            squares = distances.square()
            who = self.who(layout.residues)  # (R, C)
            near = [(1 - squares / reach**2).clamp_min(0).square().mul_(layout.far) @ who for reach in self.REACHES]
            out = out + self.far(torch.cat(near, -1))
        return out.transpose(0, 1)


class _Pass(nn.Module):
    def __init__(self, width: int, views: int):
        super().__init__()
        self.views, self.each = views, max(1, width // views)
        self.norm, self.own, self.last = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)
        self.sent = nn.Linear(width, views * self.each, bias=False)
        self.heard = nn.Linear(views * self.each, width, bias=False)

    def forward(self, x: Tensor, filters: Tensor) -> Tensor:
        """(R, B, W) and (views, R, R) -> (R, B, W)."""
        count, batch, _ = x.shape
        y = self.norm(x)
        sent = self.sent(y).view(count, batch, self.views, self.each).permute(2, 0, 1, 3).reshape(self.views, count, -1)
        heard = (filters @ sent).view(self.views, count, batch, self.each).permute(1, 2, 0, 3).flatten(2)
        return x + self.last(nn.functional.silu(self.own(y) + self.heard(heard)))


class SlotHeads(MixtureHeads):
    """One head a slot (all phi), which sees the residue of an angle, the angles drawn before through weights by their
    relation to this one, and the kind of the angle."""

    def __init__(self, slots: int, kinds: int, heard: int, context: int, hidden: int, mixtures: int, window: int):
        super().__init__(window, mixtures)
        self.from_context = nn.Parameter(torch.randn(slots, context, hidden) / math.sqrt(context))
        self.from_before = nn.Parameter(torch.randn(heard, EACH, hidden) / math.sqrt(EACH * (min(heard, window) + 1)))
        self.kind = nn.Parameter(0.1 * torch.randn(kinds, hidden))
        self.middle = nn.Parameter(torch.randn(slots, hidden, hidden) / math.sqrt(hidden))
        self.middle_bias = nn.Parameter(torch.zeros(slots, 1, hidden))
        self.out = nn.Parameter(torch.randn(slots, hidden, 3 * mixtures) * 0.1 / math.sqrt(hidden))
        self.out_bias = nn.Parameter(torch.zeros(kinds, 3 * mixtures))

    def set_centres(self, kind: int, angles: Tensor) -> None:
        """Begin with the distribution of the angles (T,) of a kind, in radian."""
        self._begin(self.out_bias[kind], angles)

    def context(self, layout: Layout, residues: Tensor) -> Tensor:
        """(R, B, W) -> (S, B, H): what the head hears of the present for each angle."""
        return torch.baddbmm(
            self.kind[layout.soft_kind][:, None], residues[layout.soft_home], self.from_context[layout.soft_slot]
        )

    def _weights(self, layout: Layout, context: Tensor, middle: Tensor, middle_bias: Tensor, out: Tensor) -> Weights:
        before = nn.functional.pad(self.from_before, (0, 0, 0, 0, 0, 1))[layout.before].flatten(1, 2)
        return Weights(context, before, middle, middle_bias, out, self.out_bias[layout.soft_kind][:, None])

    def log_density(self, layout: Layout, context: Tensor, now: Tensor, later: Tensor) -> Tensor:
        """(S, B, H), (B, S) and (B, S) radians in the order of drawing -> (B, S) log densities of ``later``."""
        middle, middle_bias, out = (part[layout.soft_slot] for part in (self.middle, self.middle_bias, self.out))
        return self._density(self._weights(layout, context, middle, middle_bias, out), now, later)

    def draw(self, layout: Layout, context: Tensor, now: Tensor, gumbel: Tensor, normal: Tensor) -> Tensor:
        """(S, B, H), (B, S) radians, Gumbel noise (B, S, K), normal numbers (B, S) -> (B, S) radians, not wrapped."""
        weights = self._weights(layout, context, self.middle, self.middle_bias, self.out)
        return self._drawn(weights, now, Noise(gumbel.transpose(0, 1), normal), layout.slots)
