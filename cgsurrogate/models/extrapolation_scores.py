"""Frames on the disk get the scores of a model's ``Extrapolation``, and words about the worst of them.

``extrapolation.npy`` (T, N, half precision, no unit) lies beside the positions, and ``extrapolation`` of their
provenance is the summary. It is made after a simulation, from its final positions, so a simulation that was stopped
and continued has the same scores as an unbroken one; whoever is killed before it is there makes it with the same call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cgsurrogate.core import filesystem
from cgsurrogate.core.frames import MANIFEST, STORED, Beads, Frames
from cgsurrogate.models.extrapolation import CHANNELS, Extrapolation
from cgsurrogate.models.residue_extrapolation import ResidueExtrapolation

AnyExtrapolation = Extrapolation | ResidueExtrapolation
FILE = "extrapolation.npy"
PIECE = 5000  # frames at a time
OFTEN, FAR = 3.0, 1.5  # times the share by chance, and times the limit, from which on a warning is due


def add_extrapolation(
    folder: str | Path, extrapolation: AnyExtrapolation, report: Callable[[float], None] = lambda fraction: None
) -> Frames:
    """Score every frame of a folder and note it there; frames that have its scores are left alone.

    Raises:
        ValueError: frames of other beads.
        Busy: another process writes to the folder.
    """
    folder, frames = Path(folder), Frames.load(folder)
    if frames.beads != extrapolation.beads:
        raise ValueError(
            f"the frames in {folder} have other beads ({len(frames.beads)}) than the model "
            f"({len(extrapolation.beads)}); map them with the mapping that the model was trained with"
        )
    known = frames.provenance.extrapolation
    if frames.extrapolation is not None and known.get("scored by", known.get("novelty")) == extrapolation.digest:
        return frames
    with filesystem.locked(folder):
        notes = _write(folder / FILE, frames, extrapolation, report)
        manifest = filesystem.read_json(folder / MANIFEST)
        manifest["arrays"]["extrapolation"] = {
            "file": FILE,
            "sha256": filesystem.sha256(folder / FILE),
            "shape": list(frames.positions.shape[:2]),
        }
        manifest["source"] = dataclasses.replace(frames.provenance, extrapolation=notes).to_dict()
        filesystem.write_json(folder / MANIFEST, manifest)
    return Frames.load(folder)


def _write(
    path: Path, frames: Frames, extrapolation: AnyExtrapolation, report: Callable[[float], None]
) -> dict[str, Any]:
    """All scores into a file, piece by piece; the summary of them."""
    kind, shape = np.dtype(STORED["extrapolation"]), frames.positions.shape[:2]
    edges = np.asarray(extrapolation.about["edges"])
    worst, highest, above, counts = 0, -1.0, 0, np.zeros(len(edges) - 1)
    with filesystem.replacing(path) as handle:
        header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(handle, header)
        for start in range(0, len(frames), PIECE):
            scores = extrapolation.score(frames.positions[start : start + PIECE])
            of_frame = scores.max(1)
            if of_frame.max() > highest:
                worst, highest = start + int(of_frame.argmax()), float(of_frame.max())
            above += int((of_frame > extrapolation.limit).sum())
            counts += np.histogram(np.minimum(of_frame, edges[-1]), edges)[0]
            handle.write(scores.astype(kind).tobytes())
            frames.release()
            report(min(1.0, (start + PIECE) / len(frames)))
    return {
        "scored by": extrapolation.digest,
        **extrapolation.about,
        "scores": (counts / len(frames)).round(6).tolist(),
        "above": above,
        "of": len(frames),
        "worst": _worst(frames, extrapolation, worst),
    }


def _worst(frames: Frames, extrapolation: AnyExtrapolation, index: int) -> dict[str, Any]:
    """Which bead of which frame of which replica it is."""
    scores = extrapolation.channels(frames.positions[index : index + 1])[:, 0]  # (channels, N)
    channel, bead = np.unravel_index(int(scores.argmax()), scores.shape)
    run = next(k for k, part in enumerate(frames.runs) if part.start <= index < part.stop)
    within = index - frames.runs[run].start
    replicas = frames.provenance.replicas
    return {
        "frame": within,
        "replica" if replicas else "run": int(replicas[run]) if replicas else run,
        "time": (within + 1) * frames.dt if replicas else within * frames.dt,  # the start of a simulation is no frame
        "bead": int(bead),
        "name": bead_name(frames.beads, int(bead)),
        "where": CHANNELS[int(channel)],
        "score": float(min(scores.max(), np.finfo(np.float32).max)),
    }


def bead_name(beads: Beads, bead: int) -> str:
    """``ALA 4 CA``, residues counted from 1."""
    return f"{beads.residue_names[bead]} {beads.residues[bead] + 1} {beads.names[bead]}"


@dataclasses.dataclass(frozen=True)
class Words:
    """One line about the scores of some frames, and whether it is a warning."""

    text: str
    warn: bool


def words(frames: Frames) -> Words | None:
    """What the scores of frames say; None where there are none."""
    known = frames.provenance.extrapolation
    if not known:
        return None
    worst, limit, share = known["worst"], known["limit"], known["above"] / known["of"]
    level = f"{known['level']:.1%}".replace(".0%", "%")
    counted = f"{known['above']:,} of {known['of']:,} frames ({100 * share:.2g} %) are above it"
    few = "" if known["runs"] >= 5 else f"; the limit rests on {known['runs']} run(s) and is rough"
    warn = worst["score"] > FAR * limit or share > OFTEN * (1 - known["level"])
    place = f"replica {worst['replica']}" if "replica" in worst else f"run {worst['run']}"
    where = f"frame {worst['frame']} of {place} (t = {worst['time']:g} ps): bead {worst['bead']} ({worst['name']})"
    if warn:
        text = (
            f"{where} is outside what the training frames cover (its {worst['where']}, score {worst['score']:.3g}; "
            f"{level} of held-out frames are below {limit:.3g}); {counted}{few}"
        )
    else:
        text = (
            f"within what the training frames cover: {level} of held-out frames score below {limit:.3g}, {counted}, "
            f"the highest {worst['score']:.3g} is {where}{few}"
        )
    return Words(text, warn)


def check(frames: Frames) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Histograms of frame scores, of these frames and of the held-out frames of the calibration, to be drawn beside
    those of bonds and angles (``Ensemble.geometry``); None where there are no scores."""
    known = frames.provenance.extrapolation
    if not known:
        return None
    worst, shared = known["worst"], {"unit": "score", "edges": known["edges"]}
    text = f"{worst['name']}, {worst['where']}: {worst['score']:.3g}, limit {known['limit']:.3g}"
    own = {**shared, "probability": known["scores"], "worst": text, "above limit": known["above"]}
    held = {**shared, "probability": known["held_out"], "worst": f"limit {known['limit']:.3g}"}
    return own, held
