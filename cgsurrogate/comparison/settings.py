"""What a comparison can be told; the command line reads its options' defaults here, so nothing heavy is imported."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cgsurrogate.core import limits

if TYPE_CHECKING:
    from cgsurrogate.analysis.cvs._base import CV
    from cgsurrogate.comparison.published._base import PublishedBenchmark

CVS = ("tica", "torsions", "rmsd", "gyration", "end_to_end")


@dataclasses.dataclass(frozen=True)
class Tolerances:
    """Errors that are small enough to agree; a factor counts either way.

    Attributes:
        temperature: K.
        degrees, picometres: of the mean of a bond angle or improper, and of a bond length.
        blur: degrees, of every torsion.
        shuffled: per cent of the frames with angles and torsions that do not belong together.
        spread: of the mean of any one torsion, pair or distance, in its own standard deviations.
        distance: Jensen-Shannon, beyond that between permuted blocks.
        populations, rates: factors.
    """

    temperature: float = 15.0
    degrees: float = 1.0
    picometres: float = 5.0
    blur: float = 5.0
    shuffled: float = 10.0
    spread: float = 0.25
    distance: float = 0.1
    populations: float = 2.0
    rates: float = 1.5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            least = 1.0 if field.name in ("populations", "rates") else 0.0
            if not least < getattr(self, field.name) < math.inf:
                raise ValueError(
                    f"the tolerance of {field.name} must be above {least:g}, got {getattr(self, field.name)}"
                )

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Tolerances:
        """From "rates=2"; the others keep their defaults.

        >>> Tolerances.parse(["rates=2"]).rates
        2.0
        """
        names = [field.name for field in dataclasses.fields(cls)]
        given: dict[str, float] = {}
        for text in texts:
            name, equals, value = text.partition("=")
            if name not in names or not equals:
                raise ValueError(f"expected --tolerance NAME=NUMBER with a name of {', '.join(names)}, got {text!r}")
            try:
                given[name] = float(value)
            except ValueError:
                raise ValueError(f"expected a number in --tolerance {text!r}, got {value!r}") from None
        return cls(**given)


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """How ensembles are compared.

    Attributes:
        cvs: collective variables, as names (``cgsurrogate kinds cvs``) or objects made from the reference. The
            projection (TICA) is always among them; of the usual ones, those that a molecule is too small for are left
            out.
        states: of your own, "folded=RMSD<0.2"; beside the metastable states of the reference.
        published: metrics of papers, as names (``cgsurrogate kinds published``) or objects made from the reference.
        macrostates: how many metastable states; None where the gap in the reference's spectrum is largest.
        baseline: with training frames, whether a Markov state model of them is a further row.
        draws: with training frames, whether these in random order are a further row: right populations, no dynamics.
        burn_in: ps to drop from the beginning of each replica of the surrogates; "auto": of simulations, for as long as
            they remember the frames that they started from.
        tolerances: errors that are small enough to agree, "rates=2"; see ``Tolerances``.
        seed: of all that is random.
    """

    cvs: tuple[str | CV, ...] = CVS
    states: tuple[str, ...] = ()
    published: tuple[str | PublishedBenchmark, ...] = ()
    macrostates: int | None = None
    baseline: bool = True
    draws: bool = False
    burn_in: str | float = "auto"
    tolerances: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            good = self.burn_in_time is None or 0 <= self.burn_in_time <= limits.LONGEST
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"expected --burn-in auto, or ps from 0 to {limits.LONGEST:g}, got {self.burn_in!r}")
        Tolerances.parse(self.tolerances)

    @property
    def burn_in_time(self) -> float | None:
        """ps; None where the simulations say."""
        return None if self.burn_in == "auto" else float(self.burn_in)
