"""One set of weights for chains of any length and sequence: message passing between residues, angles drawn one by one.

The density is exact, as that of ``autoregressive``:

    p(later | now, lag) = prod_d p(soft_d | soft_<d, residue of d) x N(stiff | soft),

but nothing in it belongs to a place in the chain. Residues hear each other along the chain, and see the distances
between them in the present structure. Soft angles are drawn from the first residue to the last, all phi by one head,
all psi by another, which hear of those drawn before within a window. Stiff coordinates follow from the new angles of
the residues around. What a coordinate is follows from its residue and the names of its beads
(``_coordinate_types``), and means, scales and weights belong to that. So one model can be trained on several molecules,
and be bound to one that it never saw; kinds that training did not have take the place of those most like them.
"""

from __future__ import annotations

import math
import warnings
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import Stepper
from cgsurrogate.models.steppers import _coordinate_types, _kind_statistics, _lags, _trained_rows, _wrapped_normal
from cgsurrogate.models.steppers._conditional_gaussian import dropout
from cgsurrogate.models.steppers._heads import ENOUGH
from cgsurrogate.models.steppers._residue_gaussian import ResidueGaussian
from cgsurrogate.models.steppers._residue_graph import HEARD, Layout, ResidueEncoder, SlotHeads
from cgsurrogate.models.steppers._torsion_stepper import Moves, Noise, TorsionStepper

SKIP = 2  # of the pairs of a batch, each such one teaches the stiff coordinates
STIFF = 0.25  # weight of the stiff coordinates in the loss, and so in the choice of the best weights on held-out runs
NETWORKS = ("trunk", "lag_in", "heads", "tail")  # shared by all molecules, as are these tables
TABLES = ("words", "kind_soft", "kind_centre", "kind_scale", "nearest", "heard", "linked")


def build(
    beads: Beads,
    lag: float | None = None,
    width: int = 96,
    layers: int = 2,
    hidden: int = 96,
    mixtures: int = 12,
    window: int = 16,
    tail: int = 64,
    stretches: int = 4,
) -> Graph:
    """Args:
    lag: ps, the main lag; None for one chosen from the data by ``calibrate``.
    width: of a residue.
    layers: of message passing.
    hidden: width of the heads.
    mixtures: components of the heads.
    window: soft angles before its own that a head sees.
    tail: width of the network of the stiff coordinates.
    stretches: directions in which the correlations of stiff coordinates vary.
    """
    sizes = {"width": width, "layers": layers, "hidden": hidden, "mixtures": mixtures, "window": window}
    return Graph(beads, lag, {**sizes, "tail": tail, "stretches": stretches})


class Graph(TorsionStepper):
    """See the head of this file and of ``_torsion_stepper``. ``chain`` and ``layout`` are those of one molecule."""

    transfers: ClassVar[bool] = True

    words: Tensor  # the vocabulary, packed
    kind_soft: Tensor  # (K,) bool
    kind_centre: Tensor  # (K,)
    kind_scale: Tensor
    nearest: Tensor  # (U, U) nm
    heard: Tensor  # (Q, 3)
    linked: Tensor

    def __init__(self, beads: Beads, lag: float | None, sizes: dict[str, int]):
        super().__init__(beads, lag, from_start=True)
        if sizes["mixtures"] < 2 or min(sizes.values()) < 1:
            raise ValueError(
                "expected at least 2 mixtures, and positive width, layers, hidden, window, tail and stretches"
            )
        self.sizes, self.dropout = sizes, 0.0
        self.chain = _coordinate_types.describe(beads, self.zmatrix)
        vocabulary = _coordinate_types.Vocabulary.of(self.chain)
        soft = np.zeros(len(vocabulary.kinds), bool)
        soft[vocabulary.find(self.chain)[2][self.soft.numpy()]] = True
        self._learn(vocabulary, torch.from_numpy(soft), [self.chain])
        self.register_load_state_dict_pre_hook(_take_before_loading)

    # -- what belongs to all molecules ------------------------------------------------------------------------------
    def _learn(
        self, vocabulary: _coordinate_types.Vocabulary, soft: Tensor, chains: list[_coordinate_types.Chain]
    ) -> None:
        """Take a vocabulary, which of its kinds are soft (K,), and the relations of these molecules."""
        flags, kinds = soft.numpy(), len(soft)
        made = [Layout(c, vocabulary, flags[vocabulary.find(c)[2]], self.sizes["window"]) for c in chains]
        heard = np.concatenate([layout.heard for layout in made])
        self._take(
            words=vocabulary.packed(),
            kind_soft=soft,
            kind_centre=torch.full((kinds,), math.nan),
            kind_scale=torch.full((kinds,), math.nan),
            nearest=torch.zeros(len(vocabulary.names), len(vocabulary.names)),
            heard=torch.from_numpy(np.unique(heard[heard[:, 2] <= HEARD], axis=0)),
            linked=torch.from_numpy(np.unique(np.concatenate([layout.linked for layout in made]), axis=0)),
        )
        self._make_networks()

    def _take(self, **tables: Tensor) -> None:
        for name, value in tables.items():
            self.register_buffer(name, value)

    @property
    def vocabulary(self) -> _coordinate_types.Vocabulary:
        return _coordinate_types.Vocabulary.unpacked(self.words)

    def _make_networks(self) -> None:
        vocabulary, sizes = self.vocabulary, self.sizes
        residues, slots, kinds = len(vocabulary.residues), len(vocabulary.slots), len(vocabulary.kinds)
        self.trunk = ResidueEncoder(residues, slots, sizes["width"], sizes["layers"])
        self.lag_in = torch.nn.Linear(_lags.INPUTS, sizes["width"])
        size = {"context": sizes["width"], "hidden": sizes["hidden"], "mixtures": sizes["mixtures"]}
        self.heads = SlotHeads(slots, kinds, len(self.heard), window=sizes["window"], **size)
        inner = ResidueEncoder(residues, slots, sizes["tail"], 1, spatial=False)
        self.tail = ResidueGaussian(inner, slots, kinds, len(self.linked), sizes["tail"], sizes["stretches"])
        self._made = _fingerprint(self.state_dict(), "")
        self._bind()

    # -- one molecule -------------------------------------------------------------------------------------------------
    def _bind(self) -> None:
        """Layout, means, scales and closest approaches of the present molecule, by its kinds."""
        vocabulary = self.vocabulary
        _, names, kinds = (torch.from_numpy(part) for part in vocabulary.find(self.chain))
        self.soft.copy_(self.kind_soft[kinds])
        self.layout = Layout(self.chain, vocabulary, self.soft.cpu().numpy(), self.sizes["window"])
        self.layout.know(self.heard.cpu().numpy(), self.linked.cpu().numpy())
        self.layout.to(self.scale)
        self.centre.copy_(self.kind_centre[kinds])
        self.scale.copy_(torch.minimum(self.kind_scale[kinds], self._largest_scale(self.centre)))
        self.closest.copy_(self.nearest[names][:, names] * self.apart)

    def bound(self, beads: Beads) -> Graph:
        other = Graph(beads, None, self.sizes)
        other._take(**{name: getattr(self, name) for name in TABLES})
        for name in NETWORKS:
            setattr(other, name, getattr(self, name))
        other.lag_range.copy_(self.lag_range)
        other.main_lag.copy_(self.main_lag)
        other.to(self.scale)
        other._made, other.dropout = self._made, self.dropout
        other._bind()
        if words := _coordinate_types.stand_in_words(self.vocabulary.stand_ins(other.chain)):
            warnings.warn(words, stacklevel=2)
        if hasattr(self, "spec"):
            other.spec = self.spec
        return other.train(self.training)

    # -- fitting ------------------------------------------------------------------------------------------------------
    def calibrate(self, frames: Frames, *others: Frames) -> None:
        """Of one molecule, or of several: then everything is averaged over molecules and places."""
        every = (frames, *others)
        molecules = [self, *(Graph(f.beads, None, self.sizes) for f in others)]
        vocabulary = _coordinate_types.Vocabulary.of(*(m.chain for m in molecules))
        samples = [_kind_statistics.Sample(m, m.chain, f, vocabulary) for m, f in zip(molecules, every, strict=True)]
        centre, scale, soft = _kind_statistics.moments(samples)
        self._choose_lags(*every)
        self._learn(vocabulary, soft, [m.chain for m in molecules])
        self.kind_centre.copy_(centre)
        self.kind_scale.copy_(scale)
        self.nearest.copy_(_kind_statistics.nearest(samples, len(vocabulary.names)))
        self._bind()
        self._begin_all([self, *(self.bound(f.beads) for f in others)], samples)

    def begin_from(self, trained: Stepper, frames: Frames, *others: Frames) -> None:
        """All that the trained one knows, with room for what only these molecules have (see ``_trained_rows``)."""
        assert isinstance(trained, Graph)
        molecules = [self, *(Graph(f.beads, None, self.sizes) for f in others)]
        taken = _trained_rows.Taken.of_molecules(trained, molecules, (frames, *others))
        self._take(**taken.tables)
        self.lag_range.copy_(trained.lag_range)
        self.main_lag.copy_(trained.main_lag)
        self._make_networks()
        taken.fill(self, trained)
        self.dropout = dropout(taken.frames)

    def _begin(self, codes: Tensor, weights: Tensor, moves: Moves) -> None:
        raise NotImplementedError("calibrate begins with all molecules at once")

    def _begin_all(self, molecules: list[Graph], samples: list[_kind_statistics.Sample]) -> None:
        covariances: list[Tensor] = []
        angles: dict[int, list[Tensor]] = {}
        for m, s in zip(molecules, samples, strict=True):
            stiff = (s.rest(self.kind_centre.double()) / m.scale)[:, ~m.soft]
            covariances.append((s.weights * stiff).T @ stiff + 1e-4 * torch.eye(stiff.shape[1], dtype=stiff.dtype))
            for d in m.soft.nonzero()[:, 0].tolist():
                angles.setdefault(int(s.kinds[d]), []).append(s.natural[:: max(1, len(s.natural) // ENOUGH), d])
        self.tail.set_covariances([m.layout for m in molecules], covariances)
        self.dropout = dropout(sum(len(s.natural) for s in samples))
        for kind, parts in angles.items():
            self.heads.set_centres(kind, torch.cat(parts))

    # -- the density --------------------------------------------------------------------------------------------------
    def _angles(self, code: Tensor) -> Tensor:
        """(B, D) -> (B, S) soft angles in the order of drawing."""
        return code[:, self.layout.order]

    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        """(B, S, H)."""
        with torch.no_grad():
            anchors = self.decode(now)[:, self.layout.anchors]
            distances = torch.cdist(anchors, anchors)
        residues = self.trunk(self.layout, self._angles(now), self.lag_in(self._lag_inputs(lag, now)), distances)
        return self.heads.context(self.layout, residues).transpose(0, 1)

    def log_density(self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None) -> Tensor:
        soft, stiff = self.log_density_parts(now, later, lag, memory)
        return soft.sum(1) + stiff

    def loss(self, now: Tensor, later: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Nats a coordinate. The two parts share no weights, so ``STIFF`` only lets the soft angles, which carry the
        kinetics and learn slowly, decide when training is best. In training, every ``SKIP``-th pair teaches the stiff
        coordinates, which learn long before the others."""
        kept: Tensor | float = 1.0
        some = later[::SKIP] if self.training else later
        if self.training and self.dropout:
            kept = torch.rand(len(some), self.sizes["tail"], generator=rng, dtype=now.dtype).to(now.device)
            kept = (kept >= self.dropout).to(now.dtype) / (1 - self.dropout)
        stiff = self._stiff_density(some, kept)
        return -(self._soft_density(now, later, lag).sum(1).mean() + STIFF * stiff.mean()) / now.shape[1]

    def log_density_parts(
        self, now: Tensor, later: Tensor, lag: Tensor, memory: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As ``log_density``, but the (B, soft) soft coordinates one by one, and the stiff ones (B,)."""
        self._check_calibrated()
        return self._soft_density(now, later, lag), self._stiff_density(later)

    def _soft_density(self, now: Tensor, later: Tensor, lag: Tensor) -> Tensor:
        context = self._context(now, lag, None).transpose(0, 1)
        angles = self.heads.log_density(self.layout, context, self._angles(now), self._angles(later))
        return angles[:, self.layout.back]

    def _stiff_density(self, later: Tensor, kept: Tensor | float = 1.0) -> Tensor:
        given = self.layout, self._angles(later)
        return self.tail.log_density(given, later[:, len(self.layout.order) :], kept)

    def _noise(self, count: int, rng: Generator) -> Noise:
        """Gumbel noise and normal numbers for the head, uniform numbers for the tail."""
        soft = len(self.layout.order)
        like: dict[str, Any] = {"generator": rng, "dtype": self.scale.dtype, "device": self.scale.device}
        choice = torch.rand(count, soft, self.sizes["mixtures"], **like)
        stiff = torch.rand(count, self.zmatrix.size - soft, **like)
        return _wrapped_normal.gumbel(choice), torch.randn(count, soft, **like), stiff

    def _draw_soft(self, now: Tensor, context: Tensor, noise: Noise) -> Tensor:
        first = context.transpose(0, 1).contiguous()
        return self.heads.draw(self.layout, first, self._angles(now), *noise)[:, self.layout.back]

    def _draw_stiff(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        return self.tail.draw((self.layout, soft[:, self.layout.order]), noise)


def _fingerprint(state: dict[str, Tensor], prefix: str) -> tuple[bytes, ...]:
    """All that the sizes of the networks and the layout follow from."""
    return tuple(state[prefix + name].cpu().numpy().tobytes() for name in ("words", "kind_soft", "heard", "linked"))


def _take_before_loading(module: Graph, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """The sizes of the networks follow from what was seen in training; that stands in the state."""
    if prefix + "words" not in state or _fingerprint(state, prefix) == module._made:
        return
    module._take(**{name: state[prefix + name].clone() for name in TABLES})
    module._make_networks()
    module.to(module.scale)
