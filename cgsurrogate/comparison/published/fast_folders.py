"""The metrics of the papers on fast-folding proteins: divergences of TIC 1, RMSD, native contacts and Rg."""

from __future__ import annotations

import math

import numpy as np

from cgsurrogate.analysis.cvs._base import CV, TooSmall
from cgsurrogate.analysis.free_energy.divergences import jensen_shannon_divergence
from cgsurrogate.comparison.published import _histograms as shared
from cgsurrogate.comparison.published._base import PublishedBenchmark, PublishedFigure
from cgsurrogate.core import registry
from cgsurrogate.core.frames import Frames

BINS = 100
EQUIJUMP = "12 fast folders, mean; dos Santos Costa et al. 2024 (EquiJump)"


def build(reference: Frames, to: str | int | np.ndarray = "medoid") -> FastFolders:
    """Each figure on 100 bins over the range of both.

    Args:
        to: the folded structure, as for the collective variables rmsd and native_contacts.
    """
    return FastFolders(reference, to)


class FastFolders(PublishedBenchmark):
    name = "fast folders"
    source = "Majewski et al. 2023, Nat. Commun. 14, 5739; dos Santos Costa et al. 2024, arXiv 2410.09667"
    metrics = {  # noqa: RUF012
        "TIC 1": "Jensen-Shannon divergence (0 to 0.693)",
        "RMSD": "Jensen-Shannon divergence of the CA-RMSD to the folded structure",
        "native contacts": "Jensen-Shannon divergence of the fraction of native contacts",
        "Rg": "Jensen-Shannon divergence of the radius of gyration",
    }
    figures = (
        PublishedFigure("Majewski et al. 2023, multi-protein model", "TIC 1", 0.30, EQUIJUMP),
        PublishedFigure("Majewski et al. 2023, multi-protein model", "RMSD", 0.20, EQUIJUMP),
        PublishedFigure("Majewski et al. 2023, multi-protein model", "native contacts", 0.27, EQUIJUMP),
        PublishedFigure("EquiJump", "TIC 1", 0.03, EQUIJUMP),
    )

    def __init__(self, reference: Frames, to: str | int | np.ndarray) -> None:
        few = shared.strided(reference)
        options = {"to": to}
        self.cvs: dict[str, CV] = {"TIC 1": registry.build("cvs", "tica", few)}
        self.cvs["RMSD"] = registry.build("cvs", "rmsd", reference, **options)
        missing: tuple[str, ...] = ()
        try:
            self.cvs["native contacts"] = registry.build("cvs", "native_contacts", reference, **options)
        except TooSmall as error:
            missing = (str(error),)
        self.cvs["Rg"] = registry.build("cvs", "gyration", reference)
        self.known = {metric: shared.sample(cv, few) for metric, cv in self.cvs.items()}
        self.notes = (
            "natural logarithm; the papers do not name theirs",
            "bins, features of TICA and contacts are those of this package where the papers do not say",
            *(note for cv in self.cvs.values() for note in cv.notes),
            *missing,
        )

    def __call__(self, frames: Frames) -> dict[str, float]:
        few = shared.strided(frames)
        result = dict.fromkeys(self.metrics, math.nan)
        for metric, cv in self.cvs.items():
            own = shared.sample(cv, few)
            result[metric] = shared.on_joint_range(own, self.known[metric], BINS, [0], jensen_shannon_divergence)
        return result
