"""A correlated Gaussian of the stiff coordinates, given the soft angles that were drawn.

Means and scales of the coordinates come from a network and are bounded. Their correlations are those of a constant
triangular factor and, before it, of a few *stretches* of the whitened noise n, each along a direction g that the
network gives: n + g (f(a) - a) with a = g . n and f(a) = exp(t) (sinh(arsinh(a) + s) - sinh(s)), which has another
slope on either side of zero (cf. Jones and Pewsey 2009). This is a planar flow (Rezende and Mohamed 2015) whose two
vectors are one, so inverse and slope are exact. Where the chain folds back on itself, the stiff coordinates move
together so that its ends keep their contact, and a contact is steeper on one side.

In log density and in sampling the noise is truncated at ``LIMIT`` standard deviations.
"""

from __future__ import annotations

import abc
import math
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from cgsurrogate.models.steppers import _wrapped_normal

FEW, MOST_DROPOUT = 50_000, 0.5  # frames below which the network gets dropout, and its bound
LIMIT = 5.0  # standard deviations of the noise
REACH = 4.0  # bound of the mean, in standard deviations of the training data
MOST = 2.0  # bound of t
SKEW = 1.5  # bound of s
ROOT2 = math.sqrt(2)
INSIDE = math.erf(LIMIT / ROOT2)  # share of a normal distribution within the limit
EDGE = 1 - 1e-7  # erfinv of it is finite in float32


def dropout(frames: int) -> float:
    """How much dropout so few frames need."""
    return min(MOST_DROPOUT, max(0.0, 0.2 * (FEW / frames - 1)))


def bounded(value: Tensor, bound: float) -> Tensor:
    return bound * torch.tanh(value / bound)


class Stretch(NamedTuple):
    """Along ``direction`` (B, D), which has length one in each of K blocks of coordinates.

    ``member`` (D, K) says who is in which block; None where all are in one.
    """

    direction: Tensor
    factor: Tensor  # t (B, K)
    skew: Tensor  # s (B, K)
    member: Tensor | None = None

    def _along(self, noise: Tensor) -> Tensor:
        """(B, D) -> a, (B, K)."""
        product = self.direction * noise
        return product.sum(-1, keepdim=True) if self.member is None else product @ self.member

    def _moved(self, noise: Tensor, by: Tensor) -> Tensor:
        return noise + self.direction * (by if self.member is None else by @ self.member.T)

    def apply(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, D) stretched, and (B,) the log of the volume."""
        a = self._along(noise)
        turned = torch.asinh(a) + self.skew
        stretched = torch.exp(self.factor) * (torch.sinh(turned) - torch.sinh(self.skew))
        volume = self.factor + torch.log(torch.cosh(turned)) - 0.5 * torch.log1p(a.square())
        return self._moved(noise, stretched - a), volume.sum(-1)

    def undo(self, noise: Tensor) -> Tensor:
        a = self._along(noise)
        before = torch.sinh(torch.asinh(a * torch.exp(-self.factor) + torch.sinh(self.skew)) - self.skew)
        return self._moved(noise, before - a)


Given = TypeVar("Given")  # what the network of a kind takes, for B rows


class ConditionalGaussian(nn.Module, abc.ABC, Generic[Given]):
    """Density and draws, whatever network gives means, scales and stretches."""

    @abc.abstractmethod
    def _whitener(self, given: Given) -> tuple[Tensor, Tensor]:
        """(D, D) lower triangular, the constant inverse Cholesky factor of the correlations; log of its diagonal."""

    @abc.abstractmethod
    def _parameters_at(self, given: Given, kept: Tensor | float) -> tuple[Tensor, Tensor, list[Stretch]]:
        """Mean and log scale (B, D), and the stretches; ``kept`` is dropout of the hidden layer."""

    def log_density(self, given: Given, later: Tensor, kept: Tensor | float = 1.0) -> Tensor:
        """(B, D) -> (B,) nats; outside the truncation it goes on as if there were none."""
        mean, log_scale, stretches = self._parameters_at(given, kept)
        whitener, log_diagonal = self._whitener(given)
        noise = ((later - mean) * torch.exp(-log_scale)) @ whitener.T
        volume = log_diagonal.sum() - log_scale.sum(-1)
        for stretch in stretches:
            noise, more = stretch.apply(noise)
            volume = volume + more
        constant = later.shape[1] * (_wrapped_normal.LOG_ROOT_2PI + math.log(INSIDE))
        return volume - 0.5 * noise.square().sum(-1) - constant

    def draw(self, given: Given, uniform: Tensor) -> Tensor:
        """Uniform numbers (B, D) -> (B, D)."""
        mean, log_scale, stretches = self._parameters_at(given, 1.0)
        noise = ROOT2 * torch.erfinv(((2 * uniform - 1) * INSIDE).clamp(-EDGE, EDGE))
        for stretch in reversed(stretches):
            noise = stretch.undo(noise)
        rest = torch.linalg.solve_triangular(self._whitener(given)[0], noise.T, upper=False).T
        return mean + torch.exp(log_scale) * rest
