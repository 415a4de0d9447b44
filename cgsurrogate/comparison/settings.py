"""What a comparison can be told; the command line reads its options' defaults here, so nothing heavy is imported."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cgsurrogate.analysis.cvs._base import CV
    from cgsurrogate.comparison.published._base import PublishedBenchmark

CVS = ("tica", "torsions", "rmsd", "gyration", "end_to_end")


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
        seed: of all that is random.
    """

    cvs: tuple[str | CV, ...] = CVS
    states: tuple[str, ...] = ()
    published: tuple[str | PublishedBenchmark, ...] = ()
    macrostates: int | None = None
    baseline: bool = True
    draws: bool = False
    burn_in: str | float = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            good = self.burn_in_time is None or 0 <= self.burn_in_time < math.inf
        except ValueError:
            good = False
        if not good:
            raise ValueError(f"expected --burn-in auto, or ps from 0 up, got {self.burn_in!r}")

    @property
    def burn_in_time(self) -> float | None:
        """ps; None where the simulations say."""
        return None if self.burn_in == "auto" else float(self.burn_in)
