"""Weighted draws: the right frequencies, never what has no weight, the same rules for numpy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cgsurrogate.core.statistics import draw, systematic

SHARES = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=20)


def drawn(how, shares, count: int, seed: int, *, torch_: bool) -> np.ndarray:
    cumulative = np.cumsum(np.array(shares, float))
    if torch_:
        return how(torch.from_numpy(cumulative), count, torch.Generator().manual_seed(seed)).numpy()
    return how(cumulative, count, np.random.default_rng(seed))


@pytest.mark.parametrize("torch_", [False, True])
@settings(max_examples=25, deadline=None)
@given(shares=SHARES, count=st.integers(1, 100), seed=st.integers(0, 99))
def test_draws_by_weight(shares, count, seed, torch_):
    """Systematic draws differ from count p by less than one; nothing without weight is ever drawn."""
    assume(sum(shares) > 0)
    expected = count * np.array(shares) / sum(shares)
    found = np.bincount(drawn(systematic, shares, count, seed, torch_=torch_), minlength=len(shares))
    assert np.all(np.abs(found - expected) < 1 + 1e-9)
    free = np.bincount(drawn(draw, shares, count, seed, torch_=torch_), minlength=len(shares))
    assert free.sum() == count and not free[expected == 0].any()


@pytest.mark.parametrize("torch_", [False, True])
def test_independent_draws_have_the_right_frequencies(torch_):
    shares = np.array([1.0, 0.0, 3.0, 6.0])
    found = np.bincount(drawn(draw, shares, 20_000, 1, torch_=torch_), minlength=4) / 20_000
    assert found == pytest.approx(shares / 10, abs=0.015)


def test_without_random_numbers_it_is_the_same_every_time():
    shares = np.cumsum(np.ones(5))
    assert systematic(shares, 5).tolist() == systematic(torch.from_numpy(shares), 5).tolist() == [0, 1, 2, 3, 4]
