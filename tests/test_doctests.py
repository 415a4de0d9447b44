"""Examples in docstrings of the nouns and of file formats do what they show."""

import doctest
import importlib
import pkgutil

import pytest

from cgsurrogate import core, geometry
from cgsurrogate.data import formats

MODULES = [
    m.name for room in (core, geometry, formats) for m in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name):
    assert not doctest.testmod(importlib.import_module(name)).failed
