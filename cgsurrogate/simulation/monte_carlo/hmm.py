"""A hidden Markov model along a chain: which values of neighbouring dihedrals and angles go together.

    p(c) = sum_z  a(z_1) prod_t A_t(z_t, z_t+1) prod_t e_t(c_t | z_t)

Coordinate t of a conformation lies in cell c_t of its range. The hidden states, a few at every place of the chain,
carry what neighbours know of each other (helical or not). Fitted by expectation maximisation (Baum et al., Ann. Math.
Stat. 41, 164 (1970)). The density of a conformation is exact, and any part of it can be drawn anew given the rest
(forward filtering, backward sampling); so this makes proposals for a Markov chain Monte Carlo.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Generator, Tensor, nn

CELLS = 72
STATES = 8
ROUNDS = 40  # of expectation maximisation
MOST_FRAMES = 10_000
UNIFORM = 0.02  # share of uniform draws in every emission
FAINT = 1e-6  # least transition


class HiddenMarkovModel(nn.Module):
    """Buffers ``first`` (K,), ``then`` (D - 1, K, K), rows sum to one, and ``emission`` (D, K, CELLS)."""

    first: Tensor
    then: Tensor
    emission: Tensor
    below: Tensor  # the cumulative sum of ``emission``

    def __init__(self, first: np.ndarray, then: np.ndarray, emission: np.ndarray):
        super().__init__()
        for name, value in (("first", first), ("then", then), ("emission", emission)):
            self.register_buffer(name, torch.as_tensor(value, dtype=torch.float32))
        self.register_buffer("below", self.emission.cumsum(2), persistent=False)

    def __len__(self) -> int:
        return len(self.emission)

    def log_likelihood(self, cells: Tensor) -> Tensor:
        """(B, D) whole numbers -> (B,) log p, float64."""
        total = torch.zeros(len(cells), dtype=torch.float64, device=cells.device)
        seen = self.first.expand(len(cells), -1)
        for place in range(len(self)):
            if place:
                seen = seen @ self.then[place - 1]
            seen = seen * self.emission[place].T[cells[:, place]]
            scale = seen.sum(1, keepdim=True)
            total, seen = total + scale[:, 0].double().log(), seen / scale
        return total

    def redrawn(self, cells: Tensor, inside: Tensor, rng: Generator) -> Tensor:
        """(B, D) cells with those ``inside`` (B, D) drawn anew from their distribution given the others."""
        u = torch.rand((2 * len(self), len(cells), 1), generator=rng, device=cells.device).to(self.below)
        seen, filtered = self.first.expand(len(cells), -1), []
        for place in range(len(self)):
            if place:
                seen = seen @ self.then[place - 1]
            seen = torch.where(inside[:, place, None], seen, seen * self.emission[place].T[cells[:, place]])
            seen = seen / seen.sum(1, keepdim=True)
            filtered.append(seen)
        out, state = cells.clone(), _draw(filtered[-1], u[2 * len(self) - 1])
        for place in reversed(range(len(self))):
            if place < len(self) - 1:
                state = _draw(filtered[place] * self.then[place].T[state], u[2 * place + 1])
            fresh = torch.searchsorted(self.below[place][state], u[2 * place]).clamp_(max=CELLS - 1)[:, 0]
            out[:, place] = torch.where(inside[:, place], fresh, cells[:, place])
        return out


def _draw(weights: Tensor, u: Tensor) -> Tensor:
    """(B, K) weights and (B, 1) uniform numbers -> (B,)."""
    total = weights.cumsum(1)
    return (total < u * total[:, -1:]).sum(1).clamp(max=weights.shape[1] - 1)


def fit(cells: np.ndarray, weights: np.ndarray, periodic: np.ndarray, states: int = STATES) -> HiddenMarkovModel:
    """Maximum likelihood, smoothed a little, for (T, D) cells of frames with probabilities (T,).

    It begins with every coordinate's range cut into ``states`` parts of equal weight. Nothing is drawn at random, and
    what comes out is rounded, so that the same frames give the same model again.
    """
    weights = weights / weights.sum()
    places = cells.shape[1]
    emission = np.stack([_parts(cells[:, t], weights, states) for t in range(places)])
    emission = np.stack([_smooth(e, p) for e, p in zip(emission, periodic, strict=True)])
    first, then = np.full(states, 1 / states), np.full((places - 1, states, states), 1 / states)
    for _ in range(ROUNDS):
        seen = np.stack([emission[t].T[cells[:, t]] for t in range(places)])  # (D, T, K)
        ahead, behind = np.empty_like(seen), np.ones_like(seen)
        for t in range(places):
            ahead[t] = (first if t == 0 else ahead[t - 1] @ then[t - 1]) * seen[t]
            ahead[t] /= ahead[t].sum(1, keepdims=True)
        for t in reversed(range(places - 1)):
            behind[t] = (behind[t + 1] * seen[t + 1]) @ then[t].T
            behind[t] /= behind[t].sum(1, keepdims=True)
        known = ahead * behind
        known *= (weights[:, None] / known.sum(2, keepdims=True).reshape(places, -1, 1)).reshape(places, -1, 1)
        first = _normal(known[0].sum(0) + FAINT)
        for t in range(places - 1):
            last = behind[t + 1] * seen[t + 1]
            pair = np.einsum("nj,jk,nk->n", ahead[t], then[t], last)
            counts = then[t] * ((ahead[t] * (weights / pair)[:, None]).T @ last)
            then[t] = _normal(counts + FAINT)
        for t in range(places):
            counts = np.stack([np.bincount(cells[:, t], known[t, :, k], CELLS) for k in range(states)])
            emission[t] = _smooth(counts, periodic[t])
    return HiddenMarkovModel(*(_normal(np.round(table, 6)) for table in (first, then, emission)))


def _normal(table: np.ndarray) -> np.ndarray:
    return table / table.sum(-1, keepdims=True)


def _parts(cells: np.ndarray, weights: np.ndarray, states: int) -> np.ndarray:
    """(K, CELLS): the histogram, with nine tenths of its weight in the part of the range that is the state's own."""
    counts = np.bincount(cells, weights, CELLS)
    part = np.minimum((np.cumsum(counts) - counts / 2) / counts.sum() * states, states - 1e-9).astype(int)
    return counts * np.where(part == np.arange(states)[:, None], 0.9, 0.1 / states)


def _smooth(counts: np.ndarray, periodic: bool) -> np.ndarray:
    """(K, CELLS) densities from counts: a short kernel, and a share of uniform ones."""
    around = np.pad(counts, ((0, 0), (1, 1)), mode="wrap" if periodic else "edge")
    table = 0.25 * around[:, :-2] + 0.5 * around[:, 1:-1] + 0.25 * around[:, 2:] + 1e-12
    return (1 - UNIFORM) * _normal(table) + UNIFORM / CELLS
