"""Weighted draws: the right frequencies, never what has no weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cgsurrogate.core.statistics import draw, systematic

SHARES = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=20)


def counts(drawn, of: int) -> np.ndarray:
    return np.bincount(drawn.numpy(), minlength=of)


@settings(max_examples=50, deadline=None)
@given(shares=SHARES, count=st.integers(1, 100), seed=st.integers(0, 99), shift=st.floats(0, 1, exclude_max=True))
def test_draws_by_weight(shares, count, seed, shift):
    """Systematic draws differ from count p by less than one; nothing without weight is ever drawn."""
    assume(sum(shares) > 0)
    cumulative, expected = torch.tensor(shares).double().cumsum(0), count * np.array(shares) / sum(shares)
    assert np.all(np.abs(counts(systematic(cumulative, count, shift), len(shares)) - expected) < 1 + 1e-9)
    free = counts(draw(cumulative, count, torch.Generator().manual_seed(seed)), len(shares))
    assert free.sum() == count and not free[expected == 0].any()


def test_independent_draws_have_the_right_frequencies():
    shares = torch.tensor([1.0, 0.0, 3.0, 6.0])
    found = counts(draw(shares.cumsum(0), 20_000, torch.Generator().manual_seed(1)), 4) / 20_000
    assert found == pytest.approx(shares.numpy() / 10, abs=0.015)
