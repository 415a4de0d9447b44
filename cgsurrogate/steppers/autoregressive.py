"""Soft angles drawn one after the other from mixtures on the circle, then the stiff rest from a Gaussian.

The density is exact. The molecule is described by a z-matrix. Coordinates that vary much (phi, psi, chi, CA-CA-CA
angles) are *soft*, the others (bonds, stiff angles, omega, impropers) *stiff*, as ``calibrate`` decides from data. Then

    p(later | now, lag) = prod_d p(soft_d | soft_<d, context) x N(stiff | soft, context),

with a context that a network computes once a jump from the whole present structure and the lag. Since bonds stay within
a bounded range and dihedrals keep their sign, no bond can break and no centre can flip, however long the rollout.

Internal coordinates do not know that beads far along the chain exclude each other. So a proposal in which two come
nearer than ever seen is drawn again: the stepper samples p restricted to structures without collisions. ``log_density``
is that of p itself; the restriction divides it by the share of proposals that are kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from cgsurrogate import bondgraph
from cgsurrogate.frames import Beads, Frames
from cgsurrogate.propagator import State, Stepper
from cgsurrogate.steppers import _layers
from cgsurrogate.zmatrix import ZMatrix, wrap

SOFT = 0.25  # rad, circular standard deviation from which on a coordinate is soft
BOUND = 8.0  # standard deviations of a stiff coordinate that are never left
APART = 4  # bonds between two beads from which on they may collide
TOLERANCE, CONTACT = 0.9, 0.3  # share of the closest approach seen, and the largest one (nm), that count as a collision
RETRIES = 20  # of a colliding proposal, before the replica stays where it is
LAG_WAVES = 4
ENOUGH = 100_000  # frames for means, scales and correlations


def build(
    beads: Beads,
    lag: float | None = None,
    width: int = 192,
    blocks: int = 2,
    hidden: int = 64,
    mixtures: int = 12,
) -> Autoregressive:
    """``lag`` ps is the main lag (None: chosen from the data in ``calibrate``); ``width`` and ``blocks`` of the trunk,
    ``hidden`` width and ``mixtures`` components of each head."""
    return Autoregressive(beads, lag, width, blocks, hidden, mixtures)


class Autoregressive(Stepper):
    """See the head of this file. The encoding: soft angles in radians, then the stiff coordinates whitened."""

    def __init__(self, beads: Beads, lag: float | None, width: int, blocks: int, hidden: int, mixtures: int):
        super().__init__()
        if mixtures < 2 or min(width, blocks, hidden) < 1:
            raise ValueError("expected at least 2 mixtures, and a positive width, blocks and hidden")
        self.zmatrix = ZMatrix(beads)
        self.sizes = {"width": width, "blocks": blocks, "hidden": hidden, "mixtures": mixtures}
        size = self.zmatrix.size
        self.register_buffer("soft", torch.zeros(size, dtype=torch.bool))
        self.register_buffer("closest", torch.zeros(len(beads), len(beads)))  # nm; what is nearer is drawn again
        self.register_buffer("apart", torch.tensor(bondgraph.separations(beads) >= APART), persistent=False)
        self.register_buffer("centre", torch.full((size,), math.nan))  # natural units
        self.register_buffer("scale", torch.full((size,), math.nan))
        self.register_buffer("lag_range", torch.full((2,), math.nan))  # ps
        self.register_buffer("main_lag", torch.tensor(math.nan if lag is None else float(lag)))
        self.soft[-len(self.zmatrix.torsion) :] = torch.as_tensor(self.zmatrix.torsion)  # until data decide
        self._make_networks()
        self.register_load_state_dict_pre_hook(_make_networks_before_loading)

    # -- lags ---------------------------------------------------------------------------------------------------------
    @property
    def lags(self) -> tuple[float, float]:  # type: ignore[override]
        return _rounded(self.lag_range[0]), _rounded(self.lag_range[1])

    @lags.setter
    def lags(self, values: tuple[float, float]) -> None:
        self.lag_range.copy_(torch.tensor(values))

    @property
    def lag(self) -> float:  # type: ignore[override]
        return _rounded(self.main_lag)

    @lag.setter
    def lag(self, value: float) -> None:
        low, high = self.lags  # nan before calibration, when any lag may be asked for
        if not value > 0 or value < low * (1 - 1e-6) or value > high * (1 + 1e-6):
            raise ValueError(
                f"expected a lag from {low:g} to {high:g} ps, on which the stepper was trained, got {value:g} ps"
            )
        self.main_lag.fill_(float(value))

    # -- coordinates --------------------------------------------------------------------------------------------------
    def _natural(self, positions: Tensor) -> Tensor:
        """(B, N, 3) -> (B, 3N - 6): bonds nm, angles as 2 angle - pi on the full circle, dihedrals."""
        bonds, angles, dihedrals = self.zmatrix.to_internal(positions)
        return torch.cat([bonds, 2 * angles - math.pi, dihedrals], 1)

    @property
    def _circular(self) -> Tensor:
        return torch.arange(self.zmatrix.size, device=self.soft.device) >= len(self.zmatrix.refs) - 1

    def encode(self, positions: Tensor) -> Tensor:
        self._check_calibrated()
        natural = self._natural(positions.to(self.scale.dtype))
        rest = natural - self.centre
        rest = torch.where(self._circular, wrap(rest), rest) / self.scale
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
        natural = _in_pieces(self._natural, frames.positions[::stride])
        weights = torch.as_tensor(frames.probabilities[::stride])[:, None]
        weights = weights / weights.sum()
        circular = self._circular
        cosine, sine = (weights * natural.cos()).sum(0), (weights * natural.sin()).sum(0)
        centre = torch.where(circular, torch.atan2(sine, cosine), (weights * natural).sum(0))
        rest = natural - centre
        rest = torch.where(circular, wrap(rest), rest)
        scale = (weights * rest.square()).sum(0).sqrt()
        if not (scale > 0).all():
            raise ValueError("a coordinate does not vary at all: a stepper needs many different frames")
        spread = torch.where(circular, 1 - torch.hypot(cosine, sine), -1.0)
        self.soft.copy_(spread > 1 - math.exp(-0.5 * SOFT**2))
        self.soft[spread.argmax()] = True  # at least one
        self.centre.copy_(centre)
        self.scale.copy_(torch.minimum(scale, self._largest_scale(centre)))
        nearest = _in_pieces(lambda x: torch.cdist(x, x).amin(0, keepdim=True), frames.positions[::stride]).amin(0)
        self.closest.copy_((TOLERANCE * nearest).clamp(max=CONTACT) * self.apart)
        self._choose_lags(frames)
        self._make_networks()
        stiff = (rest / self.scale)[:, ~self.soft]
        covariance = (weights * stiff).T @ stiff + 1e-4 * torch.eye(stiff.shape[1], dtype=stiff.dtype)
        self.tail.set_covariance(covariance)
        free = self.heads.mixtures - self.heads.near
        levels = (torch.arange(free, dtype=rest.dtype) + 0.5) / free
        quantiles = torch.quantile(rest[:: max(1, len(rest) // 5000), self.soft], levels, 0)
        self.heads.set_centres((centre[self.soft] + quantiles).T.to(self.scale.dtype), 0.3)

    def _choose_lags(self, frames: Frames) -> None:
        """A range around the main lag that the runs can support; the main lag itself, where none was given."""
        shortest, longest = frames.dt, frames.dt * max(1, max(frames.lengths) // 4)
        if math.isnan(self.lag):
            self.main_lag.fill_(default_lag(frames))
        lag = self.lag
        if not shortest * (1 - 1e-6) <= lag <= longest * (1 + 1e-6):
            raise ValueError(
                f"expected a lag from {shortest:g} ps (the time between frames) to {longest:g} ps "
                f"(a quarter of the longest run), got {lag:g} ps"
            )
        low, high = max(1, round(lag / 10 / frames.dt)) * frames.dt, min(longest, lag * 5)
        self.lag_range.copy_(torch.tensor([low, high]))

    def _make_networks(self) -> None:
        soft = int(self.soft.sum())
        stiff = self.zmatrix.size - soft
        width, hidden = self.sizes["width"], self.sizes["hidden"]
        inputs = 2 * _layers.HARMONICS * soft + stiff + LAG_WAVES + 1
        self.trunk = _layers.Trunk(inputs, width, self.sizes["blocks"])
        self.heads = _layers.Heads(soft, width, hidden, self.sizes["mixtures"])
        self.tail = _layers.Tail(stiff, width, 2 * _layers.HARMONICS * soft, width)
        for network in (self.trunk, self.heads, self.tail):
            network.to(self.scale)

    def _check_calibrated(self) -> None:
        if self.scale.isnan().any():
            raise ValueError("this stepper knows no data yet: call calibrate(frames), or load a trained one")

    # -- density and sampling -----------------------------------------------------------------------------------------
    def _context(self, now: Tensor, lag: Tensor) -> Tensor:
        soft = self.heads.count
        low, high = self.lag_range.log().to(now.dtype)
        place = (lag.to(now.dtype).log() - low) / (high - low).clamp_min(1e-6)
        ks = torch.arange(LAG_WAVES + 1, device=now.device, dtype=now.dtype)
        times = torch.cos(math.pi * ks[1:] * place[:, None])
        return self.trunk(
            torch.cat([_layers.waves(now[:, :soft]), now[:, soft:].clamp(-BOUND, BOUND), place[:, None], times], 1)
        )

    def log_density(self, now: Tensor, later: Tensor, lag: Tensor) -> Tensor:
        soft, stiff = self.log_density_parts(now, later, lag)
        return soft.sum(1) + stiff

    def log_density_parts(self, now: Tensor, later: Tensor, lag: Tensor) -> tuple[Tensor, Tensor]:
        """As ``log_density``, but the (B, soft) soft coordinates one by one, and the stiff ones (B,)."""
        self._check_calibrated()
        soft = self.heads.count
        context = self._context(now, lag)
        angles = self.heads.log_density(context, now[:, :soft], later[:, :soft])
        return angles, self.tail.log_density(context, _layers.waves(later[:, :soft]), later[:, soft:])

    @torch.no_grad()
    def draw(self, now: Tensor, lag: Tensor, rng: Generator) -> Tensor:
        """Encoded (B, D) and ps (B,) -> (B, D) drawn from p(later | now, lag)."""
        return self._drawn(now, lag, self._uniform(now, rng))

    def _uniform(self, now: Tensor, rng: Generator) -> Tensor:
        """All the randomness of one draw, (B, D + soft)."""
        self._check_calibrated()
        size = now.shape[1] + self.heads.count
        return torch.rand(len(now), size, generator=rng, dtype=now.dtype, device=now.device)

    def _drawn(self, now: Tensor, lag: Tensor, uniform: Tensor) -> Tensor:
        soft, count = self.heads.count, len(now)
        context = self._context(now, lag)
        angles = self.heads.draw(context, now[:, :soft], uniform[:, : 2 * soft].view(count, soft, 2))
        stiff = self.tail.draw(context, _layers.waves(angles), uniform[:, 2 * soft :])
        return torch.cat([angles, stiff.clamp(-BOUND, BOUND)], 1)

    def start(self, positions: Tensor, rng: Generator) -> State:
        self._check_calibrated()
        return State(positions)

    @torch.no_grad()
    def step(self, state: State, rng: Generator) -> State:
        before = state.positions.to(self.scale.dtype)
        now = self.encode(before)
        positions = self._proposed(now, before, self._uniform(now, rng))
        again = Generator(now.device).manual_seed(int(torch.randint(1 << 62, (1,), generator=rng, device=now.device)))
        for _ in range(RETRIES):
            bad = self._collides(positions)
            if not bad.any():
                break
            uniform = self._uniform(now, again)  # of all replicas, so that none depends on how others fared
            positions[bad] = self._proposed(now[bad], before[bad], uniform[bad])
        bad = self._collides(positions)
        positions[bad] = before[bad]
        return State(positions.to(state.positions.dtype), state.velocities, state.memory)

    @torch.no_grad()
    def propose(self, state: State, rng: Generator) -> State:
        """Without drawing again what collides; where a stiff coordinate reached its bound, nothing moves."""
        before = state.positions.to(self.scale.dtype)
        now = self.encode(before)
        code = self._drawn(now, now.new_full((len(now),), self.lag), self._uniform(now, rng))
        inside = (code[:, self.heads.count :].abs() < BOUND).all(1)[:, None, None]
        positions = torch.where(inside, self.decode(code, before).to(state.positions.dtype), state.positions)
        return State(positions, state.velocities, state.memory)

    def log_volume(self, positions: Tensor) -> Tensor:
        bonds, angles, _ = self.zmatrix.to_internal(positions.to(self.scale.dtype))
        return self.zmatrix.log_volume(bonds, angles)

    def _proposed(self, now: Tensor, before: Tensor, uniform: Tensor) -> Tensor:
        return self.decode(self._drawn(now, now.new_full((len(now),), self.lag), uniform), before)

    def _collides(self, positions: Tensor) -> Tensor:
        """(B,) whether two beads are nearer than training has ever seen them."""
        return ((torch.cdist(positions, positions) < self.closest) & self.apart).flatten(1).any(1)


def default_lag(frames: Frames) -> float:
    """ps: a 300th of the longest run, at least one frame, rounded to whole frames.

    Long enough that the beads' own fast motion has lost its memory, short enough that every run holds hundreds of
    independent jumps.
    """
    return frames.dt * max(1, round(max(frames.lengths) / 300))


def _rounded(value: Tensor) -> float:
    """The number that was put into a float32 buffer, if it had at most six digits."""
    return float(f"{float(value):.6g}")


def _in_pieces(function: Callable[[Tensor], Tensor], positions: np.ndarray, piece: int = 4096) -> Tensor:
    """``function`` of all positions, in float64, a few thousand frames at a time."""
    parts = [positions[i : i + piece].astype(np.float64) for i in range(0, len(positions), piece)]
    return torch.cat([function(torch.from_numpy(part)) for part in parts])


def _make_networks_before_loading(module: Autoregressive, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """The sizes of the networks follow from which coordinates are soft; that stands in the state."""
    soft = state.get(prefix + "soft")
    if soft is None or soft.shape != module.soft.shape:
        return  # loading itself will say what is wrong
    if not torch.equal(soft.to(module.soft.device), module.soft):
        module.soft.copy_(soft)
        module._make_networks()
