"""Mixtures on the circle with an exact density and an exact, loop-free way to draw from them.

Each component is a normal distribution truncated to the half turn on either side of its centre. Narrow ones cannot be
told from a von Mises distribution, wide ones tend to the uniform one; unlike von Mises no Bessel function is needed
for the density and no rejection for the sample.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cgsurrogate.zmatrix import wrap

ROOT2 = math.sqrt(2)
LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
EDGE = 1 - 1e-7  # erfinv of it is finite in float32


def log_density(x: Tensor, logits: Tensor, centre: Tensor, log_scale: Tensor) -> Tensor:
    """(...) radians and parameters (..., K) -> (...) log density per radian."""
    z = wrap(x.unsqueeze(-1) - centre) * torch.exp(-log_scale)
    inside = torch.erf(math.pi / ROOT2 * torch.exp(-log_scale))
    each = -0.5 * z.square() - log_scale - inside.log() - LOG_ROOT_2PI
    return torch.logsumexp(each + logits, -1) - torch.logsumexp(logits, -1)


def pick(logits: Tensor, uniform: Tensor) -> Tensor:
    """(..., K) and uniform numbers (..., 1) in [0, 1) -> (..., 1) number of a component."""
    steps = torch.softmax(logits, -1).cumsum_(-1)
    return (steps < uniform * steps[..., -1:]).sum(-1, keepdim=True)


def draw(centre: Tensor, log_scale: Tensor, uniform: Tensor) -> Tensor:
    """Of one component: parameters (...) and uniform numbers (...) -> (...) radians, by inverting its distribution."""
    scale = log_scale.exp()
    inside = torch.erf(math.pi / ROOT2 / scale)
    z = torch.erfinv(((2 * uniform - 1) * inside).clamp_(-EDGE, EDGE))
    return wrap(centre + ROOT2 * scale * z)
