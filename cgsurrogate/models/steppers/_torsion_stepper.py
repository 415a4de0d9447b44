"""What every stepper in internal coordinates shares: the encoding and its calibration, lags, memory, and the rollout.

The molecule is described by a z-matrix. Coordinates that vary much (phi, psi, chi, CA-CA-CA angles) are *soft*, the
others (bonds, stiff angles, omega, impropers) *stiff*, as ``calibrate`` decides from data. Since bonds stay within a
bounded range and dihedrals keep their sign, no bond can break and no centre can flip, however long the rollout.

Internal coordinates do not know that beads far along the chain exclude each other. So where two come nearer than ever
seen, the stiff coordinates are drawn again: the stepper samples p(soft | now) p(stiff | soft, no collision). Drawing
the soft angles again as well would make every compact structure rarer by the share of its proposals that collide (of
helices of five residues 0.4). ``log_density`` is that of p without the restriction.

Beads that hide a part of the state are not Markovian at short lags. Then a recurrent memory helps: a vector that a
gated recurrent unit (Cho et al. 2014) updates from every structure that was seen, and that travels in ``State.memory``.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import torch
from torch import Generator, Tensor, nn

from cgsurrogate.core.frames import Beads, Frames
from cgsurrogate.core.propagator import State, Stepper
from cgsurrogate.geometry.molecule import Molecule
from cgsurrogate.geometry.zmatrix import ZMatrix, wrap
from cgsurrogate.models.steppers import _lags
from cgsurrogate.models.steppers._collisions import TRIALS, collision_distances, in_pieces, without_collisions
from cgsurrogate.models.steppers._heads import EACH, waves

SOFT = 0.2  # rad, circular standard deviation from which on a coordinate is soft; bond angles count twice
BOUND = 8.0  # standard deviations of a stiff coordinate that are never left
APART = 4  # bonds between two beads from which on they may collide
ENOUGH = 100_000  # frames for means, scales and correlations

Noise = tuple[Tensor, ...]  # (B, ...) each: all the randomness of one draw, that of the stiff coordinates last
Moves = tuple[list[Tensor], ...]  # soft angles now and later, (T, soft) radian each, at the ends of the lags


class TorsionStepper(Stepper):
    """The encoding: soft angles in radians, then the stiff coordinates in standard deviations from their means."""

    soft: Tensor  # (D,) bool
    closest: Tensor  # (N, N) nm; what is nearer is drawn again
    apart: Tensor  # (N, N) bool
    _far_pairs: Tensor  # (2, P)
    centre: Tensor  # (D,) natural units
    scale: Tensor  # (D,)
    lag_range: Tensor  # (2,) ps
    main_lag: Tensor  # ps

    def __init__(self, beads: Beads, lag: float | None, memory: int = 0, from_start: bool = False):
        super().__init__()
        if memory < 0:
            raise ValueError(f"expected a size of the memory of 0 (none) or more, got {memory}")
        self.zmatrix = ZMatrix(beads, from_start)
        self.memory = memory
        size = self.zmatrix.size
        self.register_buffer("soft", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("closest", torch.zeros(len(beads), len(beads)))
        self.register_buffer("apart", torch.tensor(Molecule.of(beads).separations >= APART), persistent=False)
        self.register_buffer("_far_pairs", self.apart.triu().nonzero().T.contiguous(), persistent=False)
        self.register_buffer("centre", torch.full((size,), math.nan))
        self.register_buffer("scale", torch.full((size,), math.nan))
        self.register_buffer("lag_range", torch.full((2,), math.nan))
        self.register_buffer("main_lag", torch.tensor(math.nan if lag is None else float(lag)))
        self.soft[-len(self.zmatrix.torsion) :] = torch.as_tensor(self.zmatrix.torsion)  # until data decide
        self.register_load_state_dict_pre_hook(_make_networks_before_loading)

    # -- what a kind adds ---------------------------------------------------------------------------------------------
    @abc.abstractmethod
    def _make_networks(self) -> None:
        """Everything whose size depends on which coordinates are soft; the memory cell by ``_make_memory``."""

    @abc.abstractmethod
    def _begin(self, codes: Tensor, weights: Tensor, moves: Moves) -> None:
        """Start values of the networks from encoded training frames (T, D) with weights (T, 1) that sum to one, and
        from moves, of which there are none where frames know no time."""

    @abc.abstractmethod
    def _noise(self, count: int, rng: Generator) -> Noise: ...

    @abc.abstractmethod
    def _draw_soft(self, now: Tensor, context: Tensor, noise: Noise) -> Tensor:
        """Encoded (B, D), context (B, C), noise without its last part -> (B, soft) radians, not wrapped."""

    @abc.abstractmethod
    def _draw_stiff(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """(B, soft) radians, context (B, C), the last part of the noise -> (B, stiff), which may lie anywhere."""

    @abc.abstractmethod
    def _context(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        """Whatever is computed once a jump from the present structure: (B, C)."""

    # -- lags ---------------------------------------------------------------------------------------------------------
    @property
    def lags(self) -> tuple[float, float]:  # type: ignore[override]
        return _lags.rounded(self.lag_range[0]), _lags.rounded(self.lag_range[1])

    @lags.setter
    def lags(self, values: tuple[float, float]) -> None:
        self.lag_range.copy_(torch.tensor(values))

    @property
    def lag(self) -> float:  # type: ignore[override]
        return _lags.rounded(self.main_lag)

    @lag.setter
    def lag(self, value: float) -> None:
        low, high = self.lags  # nan before calibration, when any lag may be asked for
        if not value > 0 or value < low * (1 - 1e-6) or value > high * (1 + 1e-6):
            raise ValueError(
                f"expected a lag from {low:g} to {high:g} ps, on which the stepper was trained, got {value:g} ps"
            )
        self.main_lag.fill_(float(value))

    # -- coordinates --------------------------------------------------------------------------------------------------
    def natural(self, positions: Tensor) -> Tensor:
        """(B, N, 3) -> (B, 3N - 6): bonds nm, angles as 2 angle - pi on the full circle, dihedrals."""
        bonds, angles, dihedrals = self.zmatrix.to_internal(positions)
        return torch.cat([bonds, 2 * angles - math.pi, dihedrals], 1)

    @property
    def circular(self) -> Tensor:
        return torch.arange(self.zmatrix.size, device=self.soft.device) >= len(self.zmatrix.refs) - 1

    def encode(self, positions: Tensor) -> Tensor:
        self._check_calibrated()
        natural = self.natural(positions.to(self.scale.dtype))
        rest = natural - self.centre
        rest = torch.where(self.circular, wrap(rest), rest) / self.scale
        return torch.cat([natural[:, self.soft], rest[:, ~self.soft]], 1)

    def decode(self, code: Tensor, like: Tensor | None = None) -> Tensor:
        """The inverse of ``encode``: (B, D) -> (B, N, 3) nm, with the place and direction of ``like`` (B, N, 3)."""
        count = int(self.soft.sum())
        natural = code.new_empty(len(code), self.zmatrix.size)
        natural[:, self.soft] = code[:, :count]
        natural[:, ~self.soft] = code[:, count:] * self.scale[~self.soft] + self.centre[~self.soft]
        beads = len(self.zmatrix.refs)
        bonds, angles, dihedrals = natural.split([beads - 1, beads - 2, beads - 3], 1)
        return self.zmatrix.to_positions(bonds, (angles + math.pi) / 2, dihedrals, like)

    def _largest_scale(self, centre: Tensor) -> Tensor:
        """Standard deviations so small that ``BOUND`` of them keep stiff bonds positive and stiff angles in (0, pi)."""
        beads = len(self.zmatrix.refs)
        room = torch.full_like(centre, math.pi - 0.1)
        room[: beads - 1] = 0.8 * centre[: beads - 1]
        room[beads - 1 : 2 * beads - 3] -= centre[beads - 1 : 2 * beads - 3].abs()
        return torch.where(self.soft, math.inf, room.clamp_min(0.02) / BOUND)

    # -- fitting ------------------------------------------------------------------------------------------------------
    def calibrate(self, frames: Frames) -> None:
        stride = math.ceil(len(frames) / ENOUGH)
        natural = in_pieces(self.natural, frames.positions[::stride])
        weights = torch.tensor(frames.probabilities[::stride])[:, None]
        weights = weights / weights.sum()
        circular = self.circular
        cosine, sine = (weights * natural.cos()).sum(0), (weights * natural.sin()).sum(0)
        centre = torch.where(circular, torch.atan2(sine, cosine), (weights * natural).sum(0))
        rest = natural - centre
        rest = torch.where(circular, wrap(rest), rest)
        scale = (weights * rest.square()).sum(0).sqrt()
        self.soft.copy_(which_are_soft(scale, circular, cosine, sine))
        self.centre.copy_(centre)
        self.scale.copy_(torch.minimum(scale, self._largest_scale(centre)))
        self.closest.copy_(collision_distances(frames.positions[::stride]) * self.apart)
        self._choose_lags(frames)
        self._make_networks()
        self._begin(
            torch.cat([natural[:, self.soft], (rest / self.scale)[:, ~self.soft]], 1), weights, self._moves(frames)
        )

    def _moves(self, frames: Frames) -> Moves:
        ends = () if frames.weights is not None else tuple(_lags.pairs(frames, lag) for lag in self.lags)
        return tuple([in_pieces(lambda x: self.natural(x)[:, self.soft], frames.positions[i]) for i in e] for e in ends)

    def _choose_lags(self, *every: Frames) -> None:
        lag, lowest, highest = _lags.chosen(self.lag, every)
        self.main_lag.fill_(lag)
        self.lag_range.copy_(torch.tensor([lowest, highest]))

    def _make_memory(self) -> None:
        if self.memory:
            self.cell = nn.GRUCell(self.context_inputs - self.memory, self.memory)

    def _check_calibrated(self) -> None:
        if self.scale.isnan().any():
            raise ValueError("this stepper knows no data yet: call calibrate(frames), or load a trained one")

    # -- what the networks see ----------------------------------------------------------------------------------------
    @property
    def context_inputs(self) -> int:
        """Numbers that ``_inputs`` gives for each structure."""
        return EACH * int(self.soft.sum()) + _lags.INPUTS + self.memory

    def _inputs(self, now: Tensor, lag: Tensor, memory: Tensor | None) -> Tensor:
        """The present structure, the lag (B,) in ps, and the memory (B, M), as numbers of order one.

        Of the structure only the soft angles are seen: the stiff coordinates lose their memory within picoseconds, and
        networks that see them learn their noise by heart.
        """
        seen = self._seen(now, lag)
        if not self.memory:
            return seen
        return torch.cat([seen, now.new_zeros(len(now), self.memory) if memory is None else memory], 1)

    def _seen(self, now: Tensor, lag: Tensor) -> Tensor:
        return torch.cat([waves(now[:, : int(self.soft.sum())]), self._lag_inputs(lag, now)], 1)

    def _lag_inputs(self, lag: Tensor, like: Tensor) -> Tensor:
        """(B,) ps -> (B, ``_lags.INPUTS``)."""
        return _lags.inputs(lag.to(like.dtype), self.lag_range.to(like.dtype))

    def remember(self, memory: Tensor | None, now: Tensor, lag: Tensor) -> Tensor | None:
        return self.cell(self._seen(now, lag), memory) if self.memory else None

    # -- the rollout --------------------------------------------------------------------------------------------------
    @torch.no_grad()
    def draw(self, now: Tensor, lag: Tensor, rng: Generator, memory: Tensor | None = None) -> Tensor:
        """Encoded (B, D), ps (B,) and what ``remember`` gave -> (B, D) drawn from p(later | now, lag)."""
        self._check_calibrated()
        context, (*noise, rest) = self._context(now, lag, memory), self._noise(len(now), rng)
        return self._completed(self._draw_soft(now, context, tuple(noise)), context, rest)

    def _completed(self, soft: Tensor, context: Tensor, noise: Tensor) -> Tensor:
        """(B, soft) angles with stiff coordinates drawn to them: encoded (B, D)."""
        return torch.cat([wrap(soft), self._draw_stiff(soft, context, noise).clamp(-BOUND, BOUND)], 1)

    def start(self, positions: Tensor, rng: Generator) -> State:
        self._check_calibrated()
        size = (len(positions), self.memory)
        return State(positions, memory=positions.new_zeros(size).to(self.scale) if self.memory else None)

    def step(self, state: State, rng: Generator) -> State:
        with torch.inference_mode():  # an eighth faster than no_grad; what it makes must be copied before others use it
            positions, memory = self._stepped(state, rng)
        return State(positions.clone(), state.velocities, None if memory is None else memory.clone())

    def _stepped(self, state: State, rng: Generator) -> tuple[Tensor, Tensor | None]:
        before = state.positions.to(self.scale.dtype)
        now = self.encode(before)
        lag = now.new_full((len(now),), self.lag)
        memory = self.remember(state.memory, now, lag)
        context = self._context(now, lag, memory)
        *noise, rest = self._noise(len(now), rng)
        soft = self._draw_soft(now, context, tuple(noise))
        positions = self.decode(self._completed(soft, context, rest), before)
        seeds = torch.randint(1 << 62, (len(now),), generator=rng, device=now.device)

        def again(members: Tensor, number: int, kept: bool) -> Tensor:
            source = members.repeat_interleave(TRIALS)
            *noise, rest = self._noise_of_each(seeds[members] + number)
            angles = soft[source] if kept else self._draw_soft(now[source], context[source], tuple(noise))
            return self.decode(self._completed(angles, context[source], rest), before[source])

        positions = without_collisions(positions, before, self._collides, again)
        return positions.to(state.positions.dtype), memory

    def _noise_of_each(self, seeds: Tensor) -> Noise:
        """``TRIALS`` rows a seed: what one replica draws does not depend on how the others fared."""
        parts = [self._noise(TRIALS, Generator(seeds.device).manual_seed(seed)) for seed in seeds.tolist()]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))

    def _collides(self, positions: Tensor) -> Tensor:
        """(B,) whether two beads are nearer than training has ever seen them."""
        x = positions.permute(1, 2, 0).contiguous()  # (N, 3, B): replicas innermost, which vectorises
        first, second = self._far_pairs
        x, y, z = (x[first] - x[second]).unbind(1)
        squares = (x * x).addcmul_(y, y).addcmul_(z, z)  # (P, B)
        return (squares < self.closest[first, second].square()[:, None]).any(0)


def which_are_soft(scale: Tensor, circular: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """(D,) bool, from standard deviations, which are on a circle, and the mean cosine and sine; at least one."""
    if not (scale > 0).all():
        raise ValueError("a coordinate does not vary at all: a stepper needs many different frames")
    spread = torch.where(circular, 1 - torch.hypot(cosine, sine), -1.0)
    soft = spread > 1 - math.exp(-0.5 * SOFT**2)
    soft[spread.argmax()] = True
    return soft


def _make_networks_before_loading(module: TorsionStepper, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """The sizes of the networks follow from which coordinates are soft; that stands in the state."""
    soft = state.get(prefix + "soft")
    if soft is None or soft.shape != module.soft.shape:
        return  # loading itself will say what is wrong
    if not torch.equal(soft.to(module.soft.device), module.soft):
        module.soft.copy_(soft)
        module._make_networks()
        module.to(module.scale)
