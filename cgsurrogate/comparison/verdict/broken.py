"""Frames that are no longer that molecule: a reason to differ by themselves, without a test."""

from __future__ import annotations

import dataclasses

from cgsurrogate.comparison.ensemble import Ensemble
from cgsurrogate.comparison.judgement import DIFFERS, Finding, Judgement
from cgsurrogate.comparison.verdict import words

CHECKS = {  # check of the structure -> the count that must be 0, and what it is called
    "bonds": ("bad frames", "frames with a broken bond"),
    "chirality": ("bad frames", "frames with a residue of the wrong chirality"),
    "closest approach": ("below half", "frames with beads nearer than half of the reference's closest"),
}


def with_broken(judged: Judgement, reference: Ensemble, own: Ensemble) -> Judgement:
    """The judgement with a finding that differs for each check that frames fail, where none of the reference does."""
    found = []
    for check, (count, name) in CHECKS.items():
        known, bad = (one.geometry.get(check, {}).get(count, 0) for one in (reference, own))
        if bad and not known:
            text = f"{int(bad):,} of {own.frames_count:,}; {own.geometry[check].get('worst', '')}".rstrip("; ")
            found.append(Finding(name, "geometry", DIFFERS, "%", 100 * bad / own.frames_count, p=0.0, text=text))
    if not found:
        return judged
    judged = dataclasses.replace(judged, mark=DIFFERS, findings=(*found, *judged.findings))
    return dataclasses.replace(judged, head=words.head(judged))
