"""What the verdict says of one ensemble against another: a finding for each thing that is judged, and a sentence."""

from __future__ import annotations

import dataclasses
import math

from cgsurrogate.analysis.results import Result

AGREES, DIFFERS, UNKNOWN, NOT_APPLICABLE = "agrees", "differs", "cannot be judged", "not applicable"
MARKS = (AGREES, DIFFERS, UNKNOWN, NOT_APPLICABLE)
FAMILIES = ("geometry", "shape", "surfaces", "populations", "kinetics")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is judged, such as temperature, bond angles, the visits to one state, or the slow rates.

    Amounts are in ``unit``: "K", "degrees", "pm", "%", or "x" for a factor, where 1 means no error (else 0 does).

    Attributes:
        name: what is judged.
        family: of ``FAMILIES``; the figures of a family are tested together.
        mark: of ``MARKS``.
        value, low, high: the error that was found, with its 90 % interval; nan where it has no single amount.
        detectable: the smallest error that these data would have shown in 80 of 100 cases; nan where unknown.
        tolerance: an error that is small enough to agree.
        p: of the finding alone, adjusted for all of its family.
        text: more on what was found ("worst: N-CA-C (ALA 3)"), or why it cannot be judged.
        need: what would be needed to judge it, "about 300 ns more of the reference".
    """

    name: str
    family: str
    mark: str
    unit: str = ""
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    detectable: float = math.nan
    tolerance: float = math.nan
    p: float = math.nan
    text: str = ""
    need: str = ""

    def __post_init__(self) -> None:
        if self.mark not in MARKS or self.family not in FAMILIES:
            raise ValueError(f"expected a mark of {MARKS} and a family of {FAMILIES}, got {self.mark}, {self.family}")


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Judgement(Result):
    """One ensemble against another, by one joint test at a stated level.

    Attributes:
        against: what it is held against, "held-out runs", "training runs".
        mark: DIFFERS if the joint test rejects; AGREES only if every finding that applies agrees.
        head: the sentence to quote.
        findings: in the order of ``FAMILIES``.
        p: of each family that was tested, adjusted for all of them (step-down minP, Westfall and Young 1993); the
            joint test rejects where one of them is at most ``level``.
        level: chance that a perfect surrogate is said to differ.
        blocks: independent blocks of the reference and of the ensemble that the slow figures rest on.
        notes: what a reader must know of how it was made.
    """

    against: str
    mark: str
    head: str
    findings: tuple[Finding, ...]
    p: dict[str, float]
    level: float
    blocks: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, mark: str) -> tuple[Finding, ...]:
        """The findings with this mark."""
        return tuple(one for one in self.findings if one.mark == mark)
