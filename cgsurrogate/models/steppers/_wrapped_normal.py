"""Mixtures on the circle with a density in closed form and an exact way to draw from them without a loop.

Each component is a wrapped normal distribution: narrow ones cannot be told from a von Mises distribution, wide ones
tend to the uniform one. A draw is a normal number; the density is a sum over images, of which the nearest two are
enough for scales up to ``exp(LOG_SCALES[1])`` (relative error below 2e-6, and far below for narrow ones).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cgsurrogate.geometry.zmatrix import wrap

LOG_SCALES = (-4.0, math.log(1.2))  # of a component, log radians
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
WIDTH, ROUNDS = 0.3, 50  # radian, of components before a fit; rounds of it


def log_density(x: Tensor, logits: Tensor, centre: Tensor, log_scale: Tensor) -> Tensor:
    """(...) radians and parameters (..., K) -> (...) log density per radian."""
    each = log_density_of_each(x, centre, log_scale)
    return torch.logsumexp(each + logits, -1) - torch.logsumexp(logits, -1)


def log_density_of_each(x: Tensor, centre: Tensor, log_scale: Tensor) -> Tensor:
    """(...) radians and parameters (..., K) -> (..., K), of each component alone."""
    narrow = torch.exp(-log_scale)
    apart = wrap(x.unsqueeze(-1) - centre).abs()
    # The image a turn away, relative to the nearest: exp(-(2 pi - d)^2 / 2 s^2 + d^2 / 2 s^2).
    image = torch.exp(2 * math.pi * narrow.square() * (apart - math.pi))
    return -0.5 * (apart * narrow).square() - log_scale + torch.log1p(image) - LOG_ROOT_2PI


def gumbel(uniform: Tensor) -> Tensor:
    """Uniform numbers in [0, 1) -> Gumbel noise: the argmax of logits plus it is a draw from their softmax."""
    return -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-7)))


@torch.no_grad()
def fitted(angles: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mixture that fits angles (T, ...) radian: weights that sum to one, centres and log scales, (K, ...) each.

    By expectation-maximisation (Dempster et al. 1977), with one pseudocount for each component. Centres begin far
    apart: each at the angle that is farthest from those before, so that a rare basin gets a component of its own.
    """
    centres = [torch.atan2(angles.sin().mean(0), angles.cos().mean(0))]
    distance = wrap(angles - centres[0]).abs()
    for _ in range(components - 1):
        centres.append(angles.gather(0, distance.argmax(0, keepdim=True))[0])
        distance = torch.minimum(distance, wrap(angles - centres[-1]).abs())
    centre = torch.stack(centres)
    weight, scale = torch.full_like(centre, 1 / components), torch.full_like(centre, WIDTH)
    for _ in range(ROUNDS):
        away = wrap(angles - centre.unsqueeze(1))  # (K, T, ...)
        share = (weight / scale).log().unsqueeze(1) - 0.5 * (away / scale.unsqueeze(1)).square()
        share = share.softmax(0)
        count = share.sum(1)
        weight = (count + 1) / (len(angles) + components)
        centre = wrap(centre + (share * away).sum(1) / (count + 1))
        scale = ((share * away.square()).sum(1) + WIDTH**2).div(count + 1).sqrt().clamp(*map(math.exp, LOG_SCALES))
    return weight, centre, scale.log()


@torch.no_grad()
def fitted_logits(each: Tensor) -> Tensor:
    """The logarithms of the weights (K,) that fit log densities (T, K) of components that are what they are.

    By expectation-maximisation, with half a pseudocount for each component.
    """
    logits = each.new_full((each.shape[1],), -math.log(each.shape[1]))
    for _ in range(ROUNDS):
        count = (each + logits).softmax(-1).sum(0)
        logits = ((count + 0.5) / (len(each) + 0.5 * len(count))).log()
    return logits
