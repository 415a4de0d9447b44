"""Mixtures of products: normalised, drawn from what they say, respectful of weights, and close to grouped data."""

import math

import numpy as np
import pytest
import torch

from cgsurrogate.simulation.monte_carlo.mixture import BINS, Mixture, choose


def two_states(count: int, seed: int) -> torch.Tensor:
    """(count, 3) radian: two dihedrals and an angle, all of them together in one of two states, 70 % in the first."""
    rng = np.random.default_rng(seed)
    first = rng.random(count) < 0.7
    centre = np.where(first[:, None], [-3.0, 1.0, 1.6], [0.5, -1.5, 2.2])
    values = centre + rng.normal(0, 0.15, (count, 3))
    values[:, :2] = (values[:, :2] + np.pi) % (2 * np.pi) - np.pi
    return torch.from_numpy(values)


def equal(count: int) -> torch.Tensor:
    return torch.full((count,), 1 / count, dtype=torch.float64)


def fitted(groups: int) -> Mixture:
    return Mixture(two_states(4000, 0), equal(4000), 2, groups, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("groups", [0, 6])
def test_the_density_is_normalised(groups):
    mixture = fitted(groups)
    middle = torch.arange(BINS) + 0.5
    grid = torch.cartesian_prod(middle, middle, middle) * mixture.width + mixture.low
    total = mixture.log_density(grid).exp().sum() * mixture.width.prod()
    assert float(total) == pytest.approx(1, abs=1e-6)


def drawn_from(mixture: Mixture, count: int) -> torch.Tensor:
    """(count, 3) radian, nothing given."""
    nothing = torch.zeros(count, 3, dtype=torch.bool)
    return mixture.draw_given(nothing.double(), nothing, torch.Generator().manual_seed(1))


@pytest.mark.parametrize("groups", [0, 6])
def test_what_is_drawn_has_the_density(groups):
    """The mean of f(z) / q(z) over draws is the integral of f, here of a bump of integral one."""
    mixture = fitted(groups)
    drawn = drawn_from(mixture, 40_000)
    assert mixture.covers(drawn).all() and float(drawn[:, 2].min()) > 0 and float(drawn[:, 2].max()) < math.pi
    centre, width = torch.tensor([-3.0, 1.0, 1.6], dtype=torch.float64), 0.2
    away = torch.remainder(drawn - centre + math.pi, 2 * math.pi) - math.pi
    bump = (-0.5 * (away / width).square().sum(1)).exp() / (2 * math.pi * width**2) ** 1.5
    ratio = bump / mixture.log_density(drawn).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=5 * float(ratio.std()) / 200)
    assert float(ratio.std()) < 12


def test_groups_keep_states_together_and_the_product_does_not():
    def together(mixture: Mixture) -> float:
        drawn = drawn_from(mixture, 4000)
        return float(((drawn[:, 1] > 0) == (drawn[:, 2] < 1.9)).double().mean())

    assert together(fitted(0)) < 0.7
    assert together(fitted(6)) > 0.73  # the broad levels and the product let them mix


def test_weights_are_respected():
    values = two_states(3000, 4)
    weights = (values[:, 1] < 0).double()
    drawn = drawn_from(Mixture(values, weights, 2, 4, torch.Generator().manual_seed(0)), 2000)
    assert float((drawn[:, 1] < 0).double().mean()) > 0.98


def test_the_number_of_groups_follows_the_data():
    rng = torch.Generator().manual_seed(0)
    grouped = choose(two_states(2000, 5), equal(2000), 2, (two_states(1000, 6), equal(1000)), rng)
    assert len(grouped.shares) > 1
    alone = [torch.rand(500, 3, generator=rng, dtype=torch.float64) * 2 for _ in range(2)]
    assert len(choose(alone[0], equal(500), 2, (alone[1], equal(500)), rng).shares) == 1
