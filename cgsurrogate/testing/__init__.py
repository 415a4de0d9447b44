"""The contract of every family, for whoever writes a kind; ``cgsurrogate kinds --check ./mine.py`` runs it.

In a test of your own::

    from cgsurrogate import testing

    def test_my_network():
        testing.check("./mine.py:strength=2", "networks")

``LAWS`` names the laws of each family, every one a function; the tests of this package run them over every kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cgsurrogate.analysis.cvs._base import CV
from cgsurrogate.comparison.published._base import PublishedBenchmark
from cgsurrogate.core import registry
from cgsurrogate.core.energy import Energy, Prior
from cgsurrogate.core.propagator import Propagator, Stepper
from cgsurrogate.data.mapping import Mapping
from cgsurrogate.testing import energies, ensembles, propagators, samples
from cgsurrogate.testing._law import ContractError, Kind, Law, sentence

__all__ = ["LAWS", "ContractError", "Kind", "Law", "check", "family_of", "outcomes", "sentence"]

LAWS: dict[str, tuple[Law, ...]] = {
    "mappings": ensembles.MAPPINGS,
    "priors": energies.PRIORS,
    "networks": energies.NETWORKS,
    "integrators": propagators.INTEGRATORS,
    "steppers": propagators.STEPPERS,
    "cvs": ensembles.CVS,
    "published": ensembles.PUBLISHED,
}
BUILT: dict[str, type] = {  # in the order in which a file is tried
    "integrators": Propagator,
    "steppers": Stepper,
    "priors": Prior,
    "networks": Energy,
    "cvs": CV,
    "published": PublishedBenchmark,
    "mappings": Mapping,
}


def _arguments(family: str) -> tuple[Any, ...]:
    """What ``build`` of a family is given."""
    if family == "integrators":
        return samples.chain_beads(4), samples.Springs(), samples.TEMPERATURE
    if family in ("cvs", "published"):
        return (samples.peptide_frames(),)
    return (samples.all_atom().topology,) if family == "mappings" else (samples.peptide(),)


def family_of(text: str) -> str:
    """The family of a kind, from what its ``build`` makes of the arguments of each family.

    Raises:
        ContractError: it makes nothing that a family knows.
    """
    name, options = registry.parse(text)
    tried = []
    for family, wanted in BUILT.items():
        try:
            built = registry.builder(family, name)(*_arguments(family), **options)
        except Exception as error:
            tried.append(f"as {family}: {type(error).__name__}: {error}")
            continue
        if isinstance(built, wanted):
            return family
        tried.append(f"as {family}: build gave {type(built).__name__}, no {wanted.__name__}")
    raise ContractError(f"expected a kind of some family in {text}; but {'; '.join(tried)}")


def outcomes(text: str, family: str | None = None) -> Iterator[tuple[str, ContractError | None]]:
    """Each law of the family in words, and what breaks it, if anything does."""
    name, options = registry.parse(text)
    kind = Kind(family or family_of(text), name, options)
    if kind.family not in LAWS:
        raise ValueError(f"expected a family out of {', '.join(LAWS)}, got {kind.family!r}")
    for law in LAWS[kind.family]:
        try:
            law(kind)
        except ContractError as error:
            yield sentence(law), error
        except Exception as error:
            came = (
                f"expected no error; got {type(error).__name__}: {error}; see {type(error).__name__} in build or below"
            )
            yield sentence(law), ContractError(came)
        else:
            yield sentence(law), None


def check(text: str, family: str | None = None) -> None:
    """Every law of the family of ``name:key=value`` or ``./file.py:key=value``.

    Raises:
        ContractError: the first law that is broken.
    """
    for law, error in outcomes(text, family):
        if error is not None:
            raise ContractError(f"{text}: {law}: {error}") from error
