"""A page whose every name is an attack, written once for the tests of the page and of the browser."""

from __future__ import annotations

import dataclasses

import pytest
from comparison_example import HOSTILE, TRAINING, comparison

from cgsurrogate.report import page


@pytest.fixture(scope="session")
def example():
    return comparison()


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    made = comparison(names=(HOSTILE, "$x^{2}$ & {{ 7 * 7 }}"), residues=2)
    return page.write_report(
        dataclasses.replace(made, warnings=(HOSTILE,)),
        tmp_path_factory.mktemp("hostile") / "page.html",
        training={HOSTILE: TRAINING["stepper"]},
        provenance={HOSTILE: {HOSTILE: HOSTILE}},
        title=HOSTILE,
    )
