"""Boltzmann inversion by table, for a term whose own form cannot follow the data: U = -kT ln(p / volume), a spline.

The histogram of the coordinate is smoothed by a normal kernel and divided by the volume element. A small share of
uniform samples stands for what was never seen, so that barriers stay below some 10 kT. Between the points of an even
grid U is a cubic spline, so that forces have no jumps; beyond the sampled range it goes on as a straight line that
never falls outwards, and a harmonic wall.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CELLS = 256
UNSEEN = 1e-4  # share of uniform samples
TAIL = 1e-4  # of the weight at each end of the range that is left out
SMOOTH = 0.01  # of the sampled range, the width of the kernel


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """U (kJ/mol) at the nodes of an even grid of one coordinate, and the volume element there, (CELLS + 1,)."""

    nodes: np.ndarray
    energy: np.ndarray
    volume: np.ndarray
    kernel: float

    def density(self, kT: float) -> np.ndarray:
        return np.asarray(self.volume * np.exp(-(self.energy - self.energy.min()) / kT))


def periodic_table(samples: np.ndarray, share: np.ndarray, kernel: float, kT: float) -> Table:
    """Of an angle in radian from -pi to pi."""
    nodes = np.linspace(-np.pi, np.pi, CELLS + 1)
    nearest = np.rint((samples + np.pi) / (2 * np.pi) * CELLS).astype(int) % CELLS
    counts = np.bincount(nearest, share, CELLS)
    smooth = _smoothed(counts, kernel / (nodes[1] - nodes[0]), "wrap")
    return Table(nodes, _energy(np.append(smooth, smooth[0]), np.ones(CELLS + 1), kT), np.ones(CELLS + 1), kernel)


def ranged_table(
    samples: np.ndarray, share: np.ndarray, kernel: float, kT: float, bounds: tuple[float, float], power: int
) -> Table:
    """Of a coordinate between ``bounds``, whose volume element is its ``power``."""
    order = np.argsort(samples)
    seen = np.cumsum(share[order])
    low, high = samples[order[np.searchsorted(seen, (TAIL, 1 - TAIL)).clip(max=len(order) - 1)]]
    kernel = max(kernel, SMOOTH * float(high - low))
    nodes = np.linspace(max(bounds[0], low - 4 * kernel), min(bounds[1], high + 4 * kernel), CELLS + 1)
    half = (nodes[1] - nodes[0]) / 2
    edges = np.append(nodes - half, nodes[-1] + half)
    counts = np.histogram(np.clip(samples, nodes[0], nodes[-1]), edges, weights=share)[0]
    volume = nodes**power
    return Table(nodes, _energy(_smoothed(counts, kernel / (2 * half), "reflect"), volume, kT), volume, kernel)


def _smoothed(counts: np.ndarray, width: float, mode: str) -> np.ndarray:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(counts, width, mode=mode))


def _energy(counts: np.ndarray, volume: np.ndarray, kT: float) -> np.ndarray:
    seen = (1 - UNSEEN) * counts / counts.sum() + UNSEEN * volume / volume.sum()
    energy = -kT * np.log(seen / volume)
    return np.asarray(energy - energy.min())


class Tabulated(nn.Module):
    """Some terms of a prior by tables; empty until ``set``.

    Buffers ``terms`` (P,) rows of the prior, ``which`` (P,) table of each; of every table ``kinds`` (S,) the kind of
    term that it is for, ``low``, ``step`` (S,), ``coefficients`` (S, CELLS, 4) kJ/mol of powers of the way through a
    cell, and ``ends`` (S, 3), slopes at the lower and the upper end and the stiffness of the walls, kJ/mol by steps of
    the grid.
    """

    terms: Tensor
    which: Tensor
    kinds: Tensor
    low: Tensor
    step: Tensor
    coefficients: Tensor
    ends: Tensor

    def __init__(self, periodic: bool):
        super().__init__()
        self.periodic = periodic
        self.set([], [], np.zeros(0, int), 1.0)

    @property
    def empty(self) -> bool:
        return not len(self.terms)

    def take(self, other: Tabulated, index: np.ndarray) -> None:
        """Those of another molecule, for terms of the kinds ``index`` (M,)."""
        for name, buffer in other.named_buffers(recurse=False):
            self.register_buffer(name, buffer.clone())
        self._assign(index)

    def _assign(self, index: np.ndarray) -> None:
        """Each of its tables to the terms of its kind."""
        members = [np.flatnonzero(index == kind) for kind in self.kinds.tolist()]
        which = np.repeat(np.arange(len(members)), [len(m) for m in members])
        terms = np.concatenate([np.zeros(0, int), *members])
        self.register_buffer("terms", torch.as_tensor(terms, dtype=torch.long))
        self.register_buffer("which", torch.as_tensor(which, dtype=torch.long))

    def set(self, tables: list[Table], kinds: list[int], index: np.ndarray, kT: float) -> None:
        """Take these tables, each for a kind of term; ``index`` (M,) are the kinds of the terms."""
        from scipy.interpolate import CubicSpline

        kind = "periodic" if self.periodic else "natural"
        coefficients, ends, low, step = np.zeros((len(tables), CELLS, 4)), np.zeros((len(tables), 3)), [], []
        for row, table in enumerate(tables):
            spline = CubicSpline(np.arange(CELLS + 1), table.energy, bc_type=kind)
            coefficients[row] = spline.c[::-1].T
            low.append(table.nodes[0])
            step.append(table.nodes[1] - table.nodes[0])
            left, right = float(spline(0, 1)), float(spline(CELLS, 1))
            ends[row] = min(left, 0.0), max(right, 0.0), kT * (step[-1] / table.kernel) ** 2
        floats: dict[str, Any] = {"low": low, "step": step, "coefficients": coefficients, "ends": ends}
        for name, value in floats.items():
            self.register_buffer(name, torch.as_tensor(np.asarray(value), dtype=torch.get_default_dtype()))
        self.register_buffer("kinds", torch.as_tensor(kinds, dtype=torch.long))
        self._assign(index)

    def forward(self, coordinates: Tensor) -> Tensor:
        """All coordinates (B, M) of the prior -> the energies of the tabulated ones (B,) kJ/mol."""
        return self._curve(coordinates[:, self.terms].T)[0].sum(0)

    def add_to(self, coordinates: Tensor, value: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
        """The same for coordinates (M, B), added to energies (B,) and to slopes (M, B)."""
        if self.empty:
            return value, slope
        more, steep = self._curve(coordinates[self.terms])
        return value + more.sum(0), slope.index_add(0, self.terms, steep)

    def _curve(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """(P, B) -> energies and slopes, (P, B)."""
        cells = self.coefficients.shape[1]
        low, step = self.low[self.which, None], self.step[self.which, None]
        u = (q - low) / step
        inside = u.remainder(cells) if self.periodic else u.clamp(0, cells)
        cell = inside.detach().floor().clamp(0, cells - 1)
        a, b, c, d = self.coefficients[self.which[:, None], cell.long()].unbind(-1)
        t = inside - cell
        value, slope = ((d * t + c) * t + b) * t + a, (3 * d * t + 2 * c) * t + b
        if not self.periodic:
            beyond = u - inside
            left, right, wall = (self.ends[self.which, k, None] for k in range(3))
            push = torch.where(beyond > 0, right, left) + 0.5 * wall * beyond
            value = value + push * beyond
            slope = torch.where(beyond == 0, slope, push + 0.5 * wall * beyond)
        return value, slope / step

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Tables of any number; models that were stored before there were tables have none.

        Those that were stored before tables knew their kinds serve their own molecule only.
        """
        if prefix + "kinds" not in state and prefix + "low" in state:
            state[prefix + "kinds"] = torch.full_like(state[prefix + "low"], -1, dtype=torch.long)
        for name, mine in list(self.named_buffers(recurse=False)):
            found = state.setdefault(prefix + name, mine)
            if found.shape != mine.shape:
                self.register_buffer(name, torch.empty_like(mine).resize_(found.shape))
        super()._load_from_state_dict(state, prefix, *rest)
