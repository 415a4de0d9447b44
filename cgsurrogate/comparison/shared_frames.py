"""Is a surrogate judged by frames that it was made of, or trained on? Then agreement shows nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cgsurrogate.core.fingerprints import fingerprints
from cgsurrogate.core.frames import Frames

REMEDY = "hold runs out with cgsurrogate split, and judge by those"


def words(reference: Frames, training: Frames | None, surrogates: Mapping[str, Frames]) -> list[str]:
    """A warning for each ensemble that shares frames with the reference, by coordinates or by what its model knows."""
    own, found = np.unique(fingerprints(reference)), []
    if training is not None:
        count = _shared(own, training)
        if count:
            found.append(
                f"{count:,} of {len(reference):,} frames of the reference are training frames: the verdict says whether"
                f" these were learned, not whether new ones are predicted; {REMEDY}"
            )
    for name, frames in surrogates.items():
        count, known = _shared(own, frames), frames.provenance.trained_on
        if count:
            found.append(f"{name}: {count:,} of {len(reference):,} frames of the reference are its own; {REMEDY}")
        share = np.isin(np.array(known, np.uint64), own).mean() if known else 0.0
        if share > 0:
            found.append(
                f"{name}: about {share:.0%} of the frames that it was trained on are in the reference, so agreement"
                f" shows that it learned, not that it predicts; {REMEDY}"
            )
    return found


def _shared(own: np.ndarray, frames: Frames) -> int:
    """How many of these fingerprints, each once, an ensemble holds as well."""
    return len(np.intersect1d(own, fingerprints(frames)))
